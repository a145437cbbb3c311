//! `[threat]` or `[[threat]]`: norm, radii and goal.

use super::Scope;
use super::components::Named;
use crate::diagnostic::Diagnostic;
use crate::fields::{self, Fields};
use crate::tree::Node;
use crate::{Goal, Norm, Number, TargetRule, ThreatSpec, Unit};

/// The norms that specs know: their word, what they are, and whether the radius is per square root of the dimension.
pub(crate) const NORMS: [(&str, Norm, bool); 5] = [
    ("linf", Norm::Linf, false),
    ("l2", Norm::L2, false),
    ("l2-rms", Norm::L2, true),
    ("l1", Norm::L1, false),
    ("l0", Norm::L0, false),
];

impl Scope<'_> {
    /// Reads all threat models; `shape` is that of the images, once it is known.
    pub(super) fn threats(&mut self, top: &mut Fields<'_>, shape: Option<[usize; 3]>) -> Vec<Named<ThreatSpec>> {
        let nodes =
            top.section("threat", "[threat]", &mut self.diagnostics).map(fields::one_or_more).unwrap_or_default();
        let mut threats: Vec<(Named<ThreatSpec>, bool)> = Vec::new();
        for node in nodes {
            threats.extend(self.threat(node, shape));
        }
        let named_by_norm = |id: &str| threats.iter().filter(|(threat, given)| !given && threat.id == id).count();
        let shared: Vec<bool> = threats.iter().map(|(threat, given)| !given && named_by_norm(&threat.id) > 1).collect();
        for ((threat, _), shared) in threats.iter_mut().zip(shared) {
            if let Some(spec) = threat.item.as_mut() {
                if shared {
                    threat.id = format!("{}-{}", threat.id, spec.goal.name());
                }
                spec.id.clone_from(&threat.id);
            }
        }
        let threats: Vec<Named<ThreatSpec>> = threats.into_iter().map(|(threat, _)| threat).collect();
        self.check_unique("threat", &threats, "give one of them another `id`");
        threats
    }

    /// Reads a threat model; also says whether the spec gives it an id.
    fn threat(&mut self, node: &Node, shape: Option<[usize; 3]>) -> Option<(Named<ThreatSpec>, bool)> {
        let diagnostics = &mut self.diagnostics;
        let mut fields = Fields::of(node, diagnostics)?;
        let before = diagnostics.len();
        let id = fields.read("id", fields::id, diagnostics);
        let norm = fields.required("norm", diagnostics);
        let norm =
            norm.and_then(|node| fields::read(node, |node| fields::named(node, &NORMS, |norm| norm.0), diagnostics));
        let goal = fields.read("goal", |node| fields::named(node, &Goal::ALL, |goal| goal.name()), diagnostics);
        let goal = goal.unwrap_or(Goal::Untargeted);
        let target_node = fields.node("target");
        let target = fields.read("target", |node| fields::named(node, &TargetRule::ALL, TargetRule::name), diagnostics);
        if let Some(node) = target_node.filter(|_| !goal.has_target()) {
            let message = format!("the goal `{}` has no target", goal.name());
            diagnostics
                .push(Diagnostic::at(&node.place, message).help("remove `target`, or write goal = \"targeted\""));
        }
        let target = goal.has_target().then(|| target.unwrap_or(TargetRule::Random));
        let dimension = shape.map(|shape| shape.iter().product::<usize>() as f64);
        let unit = norm
            .and_then(|(name, _, per_root)| Some(Unit { name, size: if per_root { dimension?.sqrt() } else { 1.0 } }));
        let size = unit.map_or(1.0, |unit| unit.size);
        let eps = fields.read("eps", |node| radii(node, norm.map(|norm| norm.1), size), diagnostics);
        let place = fields.name_place();
        fields.finish(diagnostics);
        let name = id.or(norm.map(|norm| norm.0))?.to_owned();
        // The threat stands even when its neighbours have mistakes; only its own count.
        let complete = diagnostics.len() == before;
        let item = norm.zip(unit).filter(|_| complete).map(|((_, norm, _), unit)| ThreatSpec {
            id: name.clone(),
            norm,
            unit,
            eps: eps.unwrap_or_default(),
            goal,
            target,
        });
        Some((Named { id: name, place, item }, id.is_some()))
    }
}

fn radii(node: &Node, norm: Option<Norm>, size: f64) -> Result<Vec<Number>, Diagnostic> {
    let mut radii: Vec<Number> = Vec::new();
    for node in fields::one_or_more(node) {
        let eps = radius(node, norm.as_slice())?.scaled(size);
        if radii.iter().any(|other| other.value() == eps.value()) {
            return Err(Diagnostic::at(&node.place, "this eps occurs twice"));
        }
        radii.push(eps);
    }
    if radii.is_empty() {
        return Err(Diagnostic::at(&node.place, "the list of eps is empty"));
    }
    Ok(radii)
}

/// A radius that makes sense in all of these norms.
pub(super) fn radius(node: &Node, norms: &[Norm]) -> Result<Number, Diagnostic> {
    let eps = fields::number(node)?;
    if eps.value() <= 0.0 {
        return Err(fields::out_of_range(node, eps.text(), "greater than 0"));
    }
    if norms.contains(&Norm::Linf) && eps.value() > 1.0 {
        let help = format!("pixels lie in [0, 1]; write \"{eps}/255\" if 8-bit steps are meant");
        return Err(fields::out_of_range(node, eps.text(), "at most 1 in linf").help(help));
    }
    if norms.contains(&Norm::L0) && (eps.value() < 1.0 || eps.value().fract() != 0.0) {
        return Err(fields::out_of_range(node, eps.text(), "a whole number in l0").help("it counts changed values"));
    }
    Ok(eps)
}
