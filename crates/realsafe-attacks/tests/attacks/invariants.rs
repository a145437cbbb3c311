//! What every attack must keep, whatever the model: ball, box, budget, determinism, and independence of the batch.

use std::sync::Arc;

use proptest::prelude::*;
use realsafe_core::{AttackEntry, Judgement, Model, Samples, Verdict, inventory};
use realsafe_plan::{Access, AttackTraits, Budget, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, linear_problem, run, run_on, samples, scatter};

/// Attacks that draw no random numbers where there is a gradient; `rays` does only where neither white nor black is a start,
/// FAB only in restarts.
const DETERMINISTIC: [&str; 13] =
    ["bim", "cw", "ddn", "deepfool", "fab", "fab-t", "fgsm", "fmn", "mim", "rays", "sgm", "si-ni-fgsm", "tim"];

/// Every registered attack, with parameters that make it short.
fn attacks() -> Vec<(&'static str, &'static str, &'static AttackTraits)> {
    let entries = inventory::iter::<AttackEntry>();
    let mut attacks: Vec<_> = entries
        .map(|entry| {
            let component = &entry.component;
            let has = |name: &str| component.parameter(name).is_some();
            let parameters = match component.id {
                // Fewer coordinates than there are, or nothing would be random.
                "zoo" => "queries = 40\ncoordinates = 3\nlearning-rate = 0.5",
                _ if has("queries") => "queries = 40",
                _ if has("steps") => "steps = 8",
                _ => "",
            };
            (component.id, parameters, component.attack().expect("attacks have attack traits"))
        })
        .collect();
    attacks.sort_unstable_by_key(|attack| attack.0);
    attacks
}

/// A network whose samples lie near the corners of the box, some of them misclassified.
fn crooked_problem() -> (Arc<dyn Model>, Samples) {
    let layer = |rows: usize, columns: usize, from: usize| -> Vec<Vec<f32>> {
        (0..rows).map(|row| (0..columns).map(|column| 2.0 * scatter(from + row * columns + column)).collect()).collect()
    };
    let first = Linear::new(&layer(7, 12, 0), &[0.1; 7]);
    let second = Linear::new(&layer(4, 7, 400), &[0.0; 4]);
    let pixels: Vec<Vec<f32>> = (0..33)
        .map(|row| (0..12).map(|at| (0.5 + 0.7 * scatter(2000 + row * 12 + at)).clamp(0.0, 1.0)).collect())
        .collect();
    let labels: Vec<u32> = (0..33).map(|row| row % 4).collect();
    (Arc::new(TwoLayers { first, second }), samples(&pixels, &labels))
}

/// Radii in a norm: next to nothing, some, and more than enough.
fn radii(norm: Norm) -> [f64; 3] {
    if norm == Norm::L0 { [1.0, 3.0, 12.0] } else { [1e-3, 0.1, 1.0] }
}

fn settings(norm: Norm, traits: &AttackTraits, eps: f64) -> Vec<Setting> {
    let mut settings = Vec::new();
    for &goal in traits.goals {
        for success in Success::ALL {
            let eps = (!traits.minimises_distance).then_some(eps);
            settings.push(Setting { goal, ..Setting::untargeted(norm, eps, success) });
        }
    }
    settings
}

fn in_threat(judged: &Judgement, setting: &Setting) -> bool {
    let boxed = judged.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel));
    boxed && setting.eps.is_none_or(|eps| judged.distances.in_norm(setting.norm) <= setting.norm.tolerance(eps))
}

#[test]
fn results_stay_in_ball_and_box_and_verify() {
    let (model, samples) = crooked_problem();
    for (id, parameters, traits) in attacks() {
        for norm in traits.norms {
            for eps in radii(*norm) {
                for setting in settings(*norm, traits, eps) {
                    for judged in run((id, parameters), &model, &samples, &setting) {
                        assert!(matches!(judged.verdict, Verdict::Robust | Verdict::Broken), "{id} {judged:?}");
                        assert!(in_threat(&judged, &setting), "{id} {norm:?} {eps}");
                    }
                }
            }
        }
    }
}

#[test]
fn two_runs_are_the_same_and_another_seed_is_not_for_random_attacks() {
    let (model, samples) = crooked_problem();
    for (id, parameters, traits) in attacks() {
        let (norms, minimises) = (traits.norms, traits.minimises_distance);
        let setting = Setting::untargeted(norms[0], (!minimises).then_some(0.02), Success::Last);
        let pixels = |seed| -> Vec<Vec<f32>> {
            let setting = Setting { seed, ..setting.clone() };
            run((id, parameters), &model, &samples, &setting).into_iter().map(|judged| judged.pixels).collect()
        };
        assert_eq!(pixels(0), pixels(0), "{id}");
        assert_eq!(pixels(0) == pixels(1), DETERMINISTIC.contains(&id), "{id}");
    }
}

#[test]
fn budgets_are_never_exceeded_and_exhausted_samples_are_not_broken_by_decree() {
    let (_, model, samples) = linear_problem();
    for (id, parameters, traits) in attacks() {
        let (norms, minimises) = (traits.norms, traits.minimises_distance);
        for queries in [0, 1, 5] {
            let budget = Budget { queries: Some(queries), forwards: Some(queries + 1), backwards: Some(queries) };
            let eps = (!minimises).then_some(1e-6);
            let setting = Setting { budget, restarts: 3, ..Setting::untargeted(norms[0], eps, Success::AnyIterate) };
            for judged in run((id, parameters), &model, &samples, &setting) {
                assert!(judged.spent.queries <= queries, "{id} spent {:?}", judged.spent);
                if !minimises {
                    assert_eq!(judged.verdict, Verdict::Robust, "{id}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any part of the samples, in any order, gives for each of them what all samples together give.
    #[test]
    fn neighbours_do_not_matter(order in prop::sample::subsequence((0..33_usize).collect::<Vec<_>>(), 1..33).prop_shuffle(), pick in 0..attacks().len()) {
        let (model, all) = crooked_problem();
        let (id, parameters, traits) = attacks()[pick];
        let (norms, minimises) = (traits.norms, traits.minimises_distance);
        let setting = Setting::untargeted(norms[norms.len() - 1], (!minimises).then_some(0.1), Success::AnyIterate);
        let together = run((id, parameters), &model, &all, &setting);
        let part = Samples {
            pixels: order.iter().flat_map(|&row| all.pixels[row * 12..(row + 1) * 12].to_vec()).collect(),
            labels: order.iter().map(|&row| all.labels[row]).collect(),
            ..all
        };
        let indices: Vec<u32> = order.iter().map(|&row| u32::try_from(row).unwrap()).collect();
        // Images of the pool decide where a decision-based attack starts; it is the dataset's, not the batch's.
        prop_assume!(traits.access != Access::Labels);
        let alone = run_on((id, parameters), &model, &part, &indices, &setting).unwrap().0;
        for (judged, &row) in alone.iter().zip(&order) {
            prop_assert_eq!(&judged.pixels, &together[row].pixels, "{}", id);
            prop_assert_eq!(judged.spent, together[row].spent);
        }
    }
}
