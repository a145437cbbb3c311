//! Checks of attacks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use realsafe_core::{
    AttackContext, AttackEntry, Control, DefendedModel, Driver, Judgement, Locations, Member, Pool, Samples, Stop,
    Task, Verdict,
};
use realsafe_plan::{Access, AttackTraits, Budget, Chosen, Ensemble, Goal, Norm, Success, Surrogates};

use super::victim::{CLASSES, Network, SHAPE, samples};
use super::{Bench, told};

/// How many samples there are.
const COUNT: usize = 12;
/// How soon an attack that was told to stop has to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// An attack and how it is tried.
struct Trial<'a> {
    entry: &'static AttackEntry,
    chosen: &'a Chosen,
    locations: &'a Locations,
    traits: &'a AttackTraits,
    norm: Norm,
    goal: Goal,
    success: Success,
    budget: Budget,
    /// The samples, in their order.
    rows: Vec<usize>,
}

/// What a trial gave.
struct Tried {
    judgements: Vec<Judgement>,
    warnings: Vec<String>,
}

pub(super) fn check(bench: &mut Bench<'_>, entry: &'static AttackEntry, chosen: &Chosen, locations: &Locations) {
    let Some(traits) = entry.component.attack() else { return };
    let trial = |norm, goal| Trial {
        entry,
        chosen,
        locations,
        traits,
        norm,
        goal,
        success: Success::Last,
        budget: Budget::default(),
        rows: (0..COUNT).collect(),
    };
    let mut sound = true;
    for &norm in traits.norms {
        for &goal in traits.goals {
            let what = format!("{} in {}: ends, within ball, box and declared cost", goal.name(), norm.name());
            let tried = trial(norm, goal).run(bench);
            sound &= bench.note(&what, tried.and_then(|tried| legal(&tried)));
        }
    }
    // Whoever fails at the simplest fails at the rest for the same reason.
    let (Some(&norm), Some(&goal), true) = (traits.norms.first(), traits.goals.first(), sound) else { return };
    let Ok(first) = trial(norm, goal).run(bench) else { return };

    let again = trial(norm, goal).run(bench);
    bench.note("two runs give the same", again.and_then(|again| same(&first, &again, &(0..COUNT).collect::<Vec<_>>())));

    let order: Vec<usize> = (0..COUNT).rev().step_by(2).collect();
    let some = Trial { rows: order.clone(), ..trial(norm, goal) }.run(bench);
    bench
        .note("a sample's result does not depend on its neighbours", some.and_then(|some| same(&first, &some, &order)));

    if traits.access != Access::Nothing {
        early_exit(bench, &trial(norm, goal));
        let budget = Budget { queries: Some(7), forwards: Some(7), backwards: Some(5) };
        let tight = Trial { budget, ..trial(norm, goal) }.run(bench);
        bench.note("a hard budget is kept", tight.map(drop));
    }
    bench.note("it ends soon when the user stops the run", cancel(bench, &trial(norm, goal)));
    let tape = first.warnings.iter().find(|warning| warning.contains("tape"));
    bench.note("no tape is left behind", tape.map_or(Ok(()), |warning| Err(warning.clone())));
    let printed = first.warnings.iter().find(|warning| warning.contains("standard output"));
    bench.note("nothing is printed", printed.map_or(Ok(()), |warning| Err(warning.clone())));
}

/// Rows that leave early must not change what the others get.
fn early_exit(bench: &mut Bench<'_>, trial: &Trial<'_>) {
    let early = |rows: Vec<usize>| Trial { success: Success::AnyIterate, rows, ..*trial };
    let result = early((0..COUNT).collect()).run(bench).and_then(|together| {
        (0..COUNT).try_for_each(|row| {
            let alone = early(vec![row]).run(bench)?;
            same(&together, &alone, &[row])
        })
    });
    bench.note("rows that leave early do not change the others", result);
}

fn cancel(bench: &Bench<'_>, trial: &Trial<'_>) -> Result<(), String> {
    let flag = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    // The third propagation comes after that of the clean images, in the middle of what the attack does.
    match trial.attempt(bench, Some((3, flag))) {
        Ok(_) | Err(Stop::Cancelled) if started.elapsed() < PATIENCE => Ok(()),
        Ok(_) | Err(Stop::Cancelled) => {
            Err(format!("it went on for {:.1} s after it was told to stop", started.elapsed().as_secs_f64()))
        }
        Err(stop) => Err(told(&stop)),
    }
}

fn legal(tried: &Tried) -> Result<(), String> {
    let outside = tried.judgements.iter().position(|judgement| judgement.verdict == Verdict::Invalid);
    match outside {
        None => Ok(()),
        Some(sample) => {
            let distances = tried.judgements[sample].distances;
            let (linf, l2) = (distances.linf, distances.l2);
            Err(format!("sample {sample} is not finite, or leaves the ball or the box (linf {linf}, l2 {l2})"))
        }
    }
}

/// That some of the rows got what they got among all.
fn same(all: &Tried, some: &Tried, rows: &[usize]) -> Result<(), String> {
    for (&row, found) in rows.iter().zip(&some.judgements) {
        let expected = &all.judgements[row];
        let differs = if found.pixels != expected.pixels {
            "another image"
        } else if found.spent != expected.spent {
            "another cost"
        } else {
            continue;
        };
        return Err(format!("sample {row} got {differs}"));
    }
    Ok(())
}

impl Trial<'_> {
    fn run(&self, bench: &Bench<'_>) -> Result<Tried, String> {
        self.attempt(bench, None).map_err(|stop| told(&stop))
    }

    /// Attacks the rows; with `patience`, the user stops the run after that many propagations.
    fn attempt(&self, bench: &Bench<'_>, patience: Option<(usize, Arc<AtomicBool>)>) -> Result<Tried, Stop> {
        let flag = patience.as_ref().map_or_else(Arc::default, |(_, flag)| Arc::clone(flag));
        let all = samples(&Network::new(0, None), COUNT)?;
        let size: usize = SHAPE.iter().product();
        let mine = Samples {
            pixels: self.rows.iter().flat_map(|row| all.pixels[row * size..(row + 1) * size].to_vec()).collect(),
            labels: self.rows.iter().map(|&row| all.labels[row]).collect(),
            ..all.clone()
        };
        let surrogates = usize::from(self.traits.surrogates == Surrogates::Needed);
        let context = AttackContext {
            registry: Arc::new(bench.registry.clone()),
            locations: self.locations.clone(),
            norm: self.norm,
            goal: self.goal,
            shape: SHAPE,
            classes: CLASSES,
            surrogates,
            pool: Arc::new(Pool::new(Arc::new(all))),
        };
        let attack = (self.entry.build)(&self.chosen.values, &context)
            .map_err(|message| Stop::Component { failure: realsafe_core::ComponentFailure::Failed, message })?;
        let victim = Network::new(0, patience);
        let target = |label: &u32| self.goal.has_target().then_some((label + 1) % CLASSES as u32);
        let eps = match self.norm {
            Norm::Linf => 0.05,
            Norm::L2 => 0.5,
            Norm::L1 | Norm::L0 => 5.0,
        };
        let task = Task {
            model: DefendedModel::new(Arc::new(victim), Vec::new()),
            surrogates: (0..surrogates)
                .map(|_| DefendedModel::new(Arc::new(Network::new(1, None)), Vec::new()))
                .collect(),
            ensemble: Ensemble::default(),
            transfers: self.traits.access == Access::Nothing,
            indices: self.rows.iter().map(|&row| row as u32).collect(),
            targets: mine.labels.iter().map(target).collect(),
            clean: mine.labels.clone(),
            samples: mine,
            norm: self.norm,
            goal: self.goal,
            eps: (!self.traits.minimises_distance).then_some(eps),
            search: None,
            success: self.success,
            budget: self.budget,
            record: Vec::new(),
            seed: 0,
            draws: None,
        };
        let control = Control { cancelled: &flag, stepped: &|_| {} };
        let minimises_distance = self.traits.minimises_distance;
        let member = Member { attack: &*attack, restarts: 1, eot: 1, minimises_distance };
        let judgements = Driver::run(task, &[member], &Device::flex(), control)?.judgements;
        Ok(Tried { judgements, warnings: attack.warnings() })
    }
}
