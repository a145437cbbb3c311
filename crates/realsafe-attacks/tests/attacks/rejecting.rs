//! Attacks on a victim that rejects images: what they find is neither recognised nor rejected, whatever they may ask.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::{Draws, Model, Stop, Verdict};
use realsafe_plan::{Goal, Norm, REJECTED, Success};

use crate::bench::{Setting, run};
use crate::problems::{Problem, linear_problem};

/// Rejects images whose first pixel is brighter than this.
const BRIGHTEST: f64 = 0.6;

struct Guard(Arc<dyn Model>);

impl Model for Guard {
    fn rejects(&self) -> bool {
        true
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let logits = self.0.logits(images.clone(), draws)?;
        let first = images.flatten::<2>(1, 3).narrow(1, 0, 1);
        let rejection = logits.clone().max_dim(1) + (first - BRIGHTEST) * 20.0;
        Ok(Tensor::cat(vec![logits, rejection], 1))
    }
}

#[test]
fn adversarials_beat_the_label_and_the_detector_at_once() {
    let Problem { model: bare, samples, .. } = linear_problem();
    let guarded: Arc<dyn Model> = Arc::new(Guard(Arc::clone(&bare)));
    let bright = |pixels: &[f32]| f64::from(pixels[0]) > BRIGHTEST;
    let clean: Vec<bool> = samples.pixels.chunks_exact(12).map(bright).collect();
    assert!(clean.contains(&true) && clean.contains(&false));
    let setting = Setting::untargeted(Norm::Linf, 0.4, Success::AnyIterate);
    let unaware = run(("pgd", "steps = 20"), &bare, &samples, &setting);
    assert!(unaware.iter().zip(&clean).any(|(judged, clean)| !clean && bright(&judged.pixels)), "it needs no care");
    for attack in [
        ("pgd", "steps = 40"),
        ("pgd", "steps = 40\nloss = \"margin\""),
        ("apgd", "steps = 40"),
        ("apgd-t", "steps = 20\ntargets = 2"),
        ("square", "queries = 500"),
    ] {
        let judged = run(attack, &guarded, &samples, &setting);
        let mut broken = 0;
        for (row, (judged, clean)) in judged.iter().zip(&clean).enumerate() {
            if *clean {
                assert_eq!((judged.verdict, judged.prediction), (Verdict::Broken, Some(REJECTED)), "{attack:?} {row}");
                assert_eq!(judged.distances.linf, 0.0, "a rejected clean image is an error");
                continue;
            }
            assert!([Verdict::Broken, Verdict::Robust].contains(&judged.verdict), "{attack:?} {row} {judged:?}");
            if judged.verdict == Verdict::Broken {
                broken += 1;
                let prediction = judged.prediction.unwrap();
                assert!(prediction != samples.labels[row] && prediction != REJECTED, "{attack:?} {row}");
                assert!(!bright(&judged.pixels), "{attack:?} {row}");
            }
        }
        let open = clean.iter().filter(|clean| !**clean).count();
        assert!(2 * broken > open, "{attack:?} broke {broken} of {open}");
    }
}

#[test]
fn the_nearest_adversarials_are_not_rejected() {
    let Problem { model: bare, samples, .. } = linear_problem();
    let guarded: Arc<dyn Model> = Arc::new(Guard(bare));
    for attack in [("fab-t", "steps = 30\ntargets = 2"), ("rays", "queries = 500")] {
        let setting = Setting::untargeted(Norm::Linf, None, Success::AnyIterate);
        let judged = run(attack, &guarded, &samples, &setting);
        for (judged, clean) in judged.iter().zip(samples.pixels.chunks_exact(12)) {
            assert_eq!(judged.verdict, Verdict::Broken, "{attack:?}");
            assert_eq!(judged.prediction == Some(REJECTED), f64::from(clean[0]) > BRIGHTEST, "{attack:?}");
            assert_eq!(judged.prediction == Some(REJECTED), judged.distances.linf == 0.0, "{attack:?}");
        }
    }
}

#[test]
fn rejection_reaches_no_target() {
    let Problem { model: bare, samples, .. } = linear_problem();
    let guarded: Arc<dyn Model> = Arc::new(Guard(bare));
    let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::Linf, 0.4, Success::AnyIterate) };
    let judged = run(("pgd", "steps = 40\nloss = \"margin\""), &guarded, &samples, &setting);
    for (judged, label) in judged.iter().zip(&samples.labels) {
        let reached = judged.prediction == Some((label + 1) % 3);
        assert_eq!(judged.verdict, if reached { Verdict::Broken } else { Verdict::Robust });
    }
    assert!(judged.iter().any(|judged| judged.verdict == Verdict::Broken));
}
