//! Several defenses in front of one network.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::{DefendedModel, Defense, DefenseEntry, Draws, Model, Stop, inventory};
use realsafe_plan::GradientMode;

use super::{
    Waves, cotangents, draws, example, gradient, images, is_around, named, pattern, pulled, shape, traits, values,
    victims,
};

/// In front of `bit-depth`: by hand, layer by layer, each with its own part of the draws.
#[test]
fn a_stack_is_applied_outermost_first_and_gone_back_through_in_reverse() {
    for entry in inventory::iter::<DefenseEntry>() {
        let (images, all) = (pattern(2, shape(entry)), draws(5..7, 4));
        let rounding = example(named("bit-depth"));
        let behind = DefendedModel::new(Arc::new(Waves), vec![(rounding.clone(), GradientMode::Identity)]);
        for mode in traits(entry).gradients {
            let [_, victim] = victims(entry, *mode);
            let (answers, gradient) =
                (values(victim.logits(images.clone(), &all).unwrap()), pulled(&victim, images.clone(), &all));
            let defense = example(entry);
            if is_around(entry) {
                let whole = defense.around(&(Arc::new(behind.clone()) as Arc<dyn Model>), *mode).unwrap();
                assert_eq!(
                    answers,
                    values(whole.logits(images.clone(), &all.of_part(0)).unwrap()),
                    "{}",
                    entry.component.id
                );
                continue;
            }
            let own = all.of_part(0);
            let seen = defense.forward(images.clone(), &own).unwrap();
            let rounded = rounding.forward(seen.clone(), &all.of_part(1)).unwrap();
            let tape = Waves.forward(rounded, &all.of_part(2)).unwrap();
            assert_eq!(answers, values(tape.logits.clone()), "{}", entry.component.id);
            let cotangents = cotangents(tape.logits.dims());
            let slopes = tape.pull(cotangents).unwrap();
            let back = match mode {
                GradientMode::Exact => defense.backward(images.clone(), slopes, &own).unwrap(),
                GradientMode::Identity => slopes,
                GradientMode::Blocked => images.zeros_like(),
                GradientMode::Smooth => {
                    let leaf = images.clone().autodiff().require_grad();
                    let mut gradients = (defense.smooth(leaf.clone(), &own).unwrap() * slopes).sum().backward();
                    leaf.grad_remove(&mut gradients).unwrap()
                }
            };
            assert_eq!(gradient, values(back), "{} {mode:?}", entry.component.id);
        }
    }
}

#[test]
fn gradients_go_back_through_changes_of_shape() {
    let stack = || {
        let of = |id, mode| (example(named(id)), mode);
        vec![
            of("random-resize-pad", GradientMode::Exact),
            of("total-variation", GradientMode::Identity),
            of("thermometer", GradientMode::Smooth),
            of("per-image-standardisation", GradientMode::Exact),
        ]
    };
    let once = values(gradient(stack(), images(3), &draws(4..7, 0)));
    assert_eq!(once.len(), 3 * 3 * 16 * 16);
    assert!(once.iter().any(|value| *value != 0.0));
    let alone = values(gradient(stack(), images(3).narrow(0, 2, 1), &draws([6], 0)));
    assert_eq!(once[2 * alone.len()..], alone);
}

/// A smooth defense that leaves its gradient to autodiff.
struct Squares;

impl Defense for Squares {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images.clone() * images)
    }
}

#[test]
fn gradients_are_chained_segment_by_segment() {
    // The second logit behind two squares is the sum of x^8.
    let stack = |mode| -> Vec<(Arc<dyn Defense>, GradientMode)> {
        vec![(Arc::new(Squares), GradientMode::Exact), (Arc::new(Squares), mode)]
    };
    let found = |mode| values(gradient(stack(mode), images(1), &Draws::none(1)));
    for (found, pixel) in found(GradientMode::Exact).iter().zip(values(images(1))) {
        assert!((found - 8.0 * pixel.powi(7)).abs() < 1e-4, "{found} at {pixel}");
    }
    // With the inner square passed over, its output still is where the model's gradient is taken.
    for (found, pixel) in found(GradientMode::Identity).iter().zip(values(images(1))) {
        assert!((found - 4.0 * pixel.powi(5)).abs() < 1e-4, "{found} at {pixel}");
    }
}
