//! `[[figure]]`: which curves are drawn.

use super::Scope;
use super::components::Named;
use super::matrix::Axes;
use crate::diagnostic::{Diagnostic, list};
use crate::fields::{self, Fields};
use crate::figure::{CurveAxis, Facet, Figure};
use crate::tree::Node;
use crate::{Access, AttackSpec, Number};

impl Scope<'_> {
    /// Reads the figures; without any, makes those that fit the attacks.
    pub(super) fn figures(&mut self, top: &mut Fields<'_>, axes: &Axes<'_>) -> Vec<Figure> {
        if top.node("figure").is_none() {
            return default_figures(axes);
        }
        let mut figures = Vec::new();
        for node in self.elements(top, "figure") {
            figures.extend(self.figure(node, axes));
        }
        self.check_unique("figure", &figures, "give one of them another `id`");
        figures.into_iter().filter_map(|figure| figure.item).collect()
    }

    fn figure(&mut self, node: &Node, axes: &Axes<'_>) -> Option<Named<Figure>> {
        let before = self.diagnostics.len();
        let mut fields = Fields::of(node, &mut self.diagnostics)?;
        let id = fields.read("id", fields::id, &mut self.diagnostics);
        let title = fields.text("title", &mut self.diagnostics).unwrap_or_default().to_owned();
        let axis = fields.required("x-axis", &mut self.diagnostics);
        let axis = axis.and_then(|node| {
            fields::read(node, |node| fields::named(node, &CurveAxis::ALL, |axis| axis.name()), &mut self.diagnostics)
        });
        let scale = fields.read("scale", |node| fields::word(node, &["linear", "log"]), &mut self.diagnostics);
        let panels = self.facets(&mut fields, "panels", axis);
        let series = self.facets(&mut fields, "series", axis);
        if let (Some(panels), Some(series)) = (&panels, &series)
            && let Some(both) = panels.iter().find(|facet| series.contains(facet))
        {
            let message = format!("`{}` can tell either panels or lines apart, but not both", both.name());
            self.diagnostics.push(Diagnostic::at(&fields.place, message));
        }
        let (panels, series) = (
            panels.clone().unwrap_or_else(|| without(&Figure::PANELS, series.as_deref())),
            series.unwrap_or_else(|| without(&Figure::SERIES, panels.as_deref())),
        );
        let filter = self.axes_filter(&mut fields, axes);
        let eps = self.figure_radii(&mut fields, axis, axes);
        let place = fields.name_place();
        fields.finish(&mut self.diagnostics);
        let id = id.or(axis.map(CurveAxis::name))?.to_owned();
        let complete = self.diagnostics.len() == before;
        let item = axis.filter(|_| complete).map(|axis| Figure {
            id: id.clone(),
            title,
            axis,
            logarithmic: scale == Some("log"),
            panels,
            series,
            eps,
            filter,
        });
        Some(Named { id, place, item })
    }

    /// A list of facets; none if it is not written.
    fn facets(&mut self, fields: &mut Fields<'_>, key: &str, axis: Option<CurveAxis>) -> Option<Vec<Facet>> {
        let known = if axis == Some(CurveAxis::Eps) { &Facet::ALL[..4] } else { &Facet::ALL };
        let mut facets = Vec::new();
        for node in fields::one_or_more(fields.node(key)?) {
            let read =
                fields::read(node, |node| fields::named(node, known, |facet| facet.name()), &mut self.diagnostics);
            if read.is_some_and(|facet| facets.contains(&facet)) {
                self.diagnostics.push(Diagnostic::at(&node.place, "this occurs twice"));
            }
            facets.extend(read);
        }
        Some(facets)
    }

    /// `eps`: radii of the threat models, each in the unit of its threat model.
    fn figure_radii(&mut self, fields: &mut Fields<'_>, axis: Option<CurveAxis>, axes: &Axes<'_>) -> Vec<Number> {
        let Some(node) = fields.node("eps") else { return Vec::new() };
        if axis == Some(CurveAxis::Eps) {
            let message = "`eps` is the axis of this figure, and cannot be chosen";
            self.diagnostics.push(Diagnostic::at(&node.place, message));
        }
        let mut radii: Vec<Number> = Vec::new();
        for node in fields::one_or_more(node) {
            let Some(eps) = fields::read(node, fields::number, &mut self.diagnostics) else { continue };
            let threats = axes.threats.iter().filter_map(|threat| threat.item.as_ref());
            let listed = threats.clone().flat_map(|threat| {
                let wanted = eps.clone().scaled(threat.unit.size).value();
                threat.eps.iter().filter(move |other| other.value() == wanted)
            });
            let found: Vec<Number> = listed.cloned().collect();
            // A threat with a mistake of its own may have had it.
            if found.is_empty() && axes.threats.iter().all(|threat| threat.item.is_some()) {
                let known: Vec<&str> = threats.flat_map(|threat| &threat.eps).map(Number::text).collect();
                let unknown = Diagnostic::at(&node.place, format!("no threat has an eps {eps}"));
                self.diagnostics.push(unknown.help(format!("there is {}", list(&known))));
            }
            for eps in found {
                if !radii.contains(&eps) {
                    radii.push(eps);
                }
            }
        }
        radii
    }
}

fn without(facets: &[Facet], taken: Option<&[Facet]>) -> Vec<Facet> {
    facets.iter().filter(|facet| !taken.unwrap_or_default().contains(facet)).copied().collect()
}

fn default_figures(axes: &Axes<'_>) -> Vec<Figure> {
    let attacks: Vec<_> = axes.attacks.iter().filter_map(|attack| attack.item.as_ref()).collect();
    let threats: Vec<_> = axes.threats.iter().filter_map(|threat| threat.item.as_ref()).collect();
    let lists = threats.iter().map(|threat| threat.eps.as_slice());
    let middle: Vec<Number> = lists.filter_map(|list| list.get(list.len().checked_sub(1)? / 2)).cloned().collect();
    let has_curves = |axis: &CurveAxis| match axis {
        CurveAxis::Eps => {
            threats.iter().any(|threat| threat.eps.len() > 1)
                || attacks.iter().any(|attack| attack.minimises_distance())
        }
        CurveAxis::Queries => {
            let black_box = |access| matches!(access, Access::Labels | Access::Scores);
            let in_black =
                |attack: &AttackSpec| threats.iter().any(|threat| black_box(attack.choice_in(threat).access()));
            // Of what minimises the distance, steps tell what was known when.
            let is_told = |attack: &AttackSpec| !attack.minimises_distance() || !attack.choice.record.is_empty();
            attacks.iter().any(|attack| in_black(attack) && is_told(attack))
        }
        CurveAxis::Iterations => attacks.iter().any(|attack| !attack.choice.record.is_empty()),
    };
    Figure::defaults(CurveAxis::ALL.into_iter().filter(has_curves), &middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lines_take_panels_leave() {
        assert_eq!(without(&Figure::PANELS, Some(&[Facet::Stack])), [Facet::Model]);
        assert_eq!(without(&Figure::PANELS, None), Figure::PANELS);
    }
}
