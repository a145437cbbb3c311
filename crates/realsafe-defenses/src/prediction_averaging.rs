//! Prediction averaging: answers with the mean prediction of several passes, each with random draws of its own.
//!
//! ## What it does
//! All that is behind, defenses that follow in the stack and the network, is asked `passes` times for the same image. The logits
//! are the logarithms of the means of the softmax outputs, so that their softmax is that mean. Where something behind is
//! random, each pass draws anew; where nothing is, all passes are alike.
//!
//! That is how several random defenses were published: `image-noise` and `inner-noise` of a network (random self-ensemble),
//! `crop-rescale` with 30 passes, and `rand-mix` with 10, of which RealSafe averages the logits instead. Put it in front of them:
//! `stacks = [["prediction-averaging", "crop-rescale"]]`. A single answer without it is one pass.
//!
//! An answer costs `passes` times what one of what is behind does.
//!
//! ## What an attacker sees
//! `exact`: the gradient of the mean, through all of its passes and by the gradients that the defenses behind give. It is an
//! expectation over as many draws; `eot` averages several of such answers.
//!
//! ## References
//! Liu, Cheng, Zhang, Hsieh: Towards Robust Neural Networks via Random Self-Ensemble, ECCV 2018 (arXiv:1712.00673). Guo, Rana,
//! Cisse, van der Maaten: Countering Adversarial Images Using Input Transformations, ICLR 2018 (arXiv:1711.00117). Averages
//! over draws do not stop who averages, too: Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420).

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::{Defense, DefenseEntry, Draws, Model, Stop, Tape, inventory, mixture};
use realsafe_plan::{Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits};

struct PredictionAveraging {
    passes: u64,
}

impl Defense for PredictionAveraging {
    /// Images reach what is behind as they are.
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images)
    }

    fn around(&self, behind: &Arc<dyn Model>, _: GradientMode) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Averaged { passes: self.passes, behind: Arc::clone(behind) }))
    }
}

/// A model that answers with the mean of several passes.
struct Averaged {
    passes: u64,
    behind: Arc<dyn Model>,
}

impl Model for Averaged {
    fn passes(&self) -> u64 {
        self.passes * self.behind.passes()
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let pass = |number| self.behind.logits(images.clone(), &draws.of_part(number));
        let answers: Vec<Tensor<2>> = (0..self.passes).map(pass).collect::<Result<_, _>>()?;
        Ok(mixture(&answers))
    }

    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let pass = |number| self.behind.forward(images.clone(), &draws.of_part(number));
        Ok(Tape::mixture((0..self.passes).map(pass).collect::<Result<_, _>>()?))
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { passes: self.passes, behind: self.behind.with_residual_decay(decay)? }))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "prediction-averaging",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("prediction_averaging.rs"),
            parameters: &[
                Parameter {
                    name: "passes",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000 },
                    unit: "passes per answer",
                    fallback: Fallback::Value("10"),
                    documentation: "How many passes through all that is behind an answer is the mean of.",
                },
            ],
            example: "passes = 3",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Blocked],
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(PredictionAveraging { passes: values.count("passes") })),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::RngExt;
    use realsafe_core::random::Purpose;
    use realsafe_core::{DefendedModel, read};

    use super::*;

    /// Logits `[3 s, 0]`, `s` being the sum of an image's pixels.
    struct Sums;

    impl Model for Sums {
        fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
            let sums: Tensor<2> = images.flatten::<2>(1, 3).sum_dim(1) * 3.0;
            Ok(Tensor::cat(vec![sums.clone(), sums.zeros_like()], 1))
        }

        fn passes(&self) -> u64 {
            2
        }
    }

    /// Adds one number to all pixels of an image.
    struct Shift;

    impl Defense for Shift {
        fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
            let rows = images.dims()[0];
            let shifts: Vec<f32> = (0..rows).map(|row| draws.stream(row).random::<f32>() - 0.5).collect();
            let shifts = Tensor::<4>::from_data(TensorData::new(shifts, [rows, 1, 1, 1]), &images.device());
            Ok(images + shifts)
        }
    }

    fn victim(passes: u64, random: bool) -> DefendedModel {
        let mut stack: Vec<(Arc<dyn Defense>, GradientMode)> =
            vec![(Arc::new(PredictionAveraging { passes }), GradientMode::Exact)];
        stack.extend(random.then(|| (Arc::new(Shift) as Arc<dyn Defense>, GradientMode::Exact)));
        DefendedModel::new(Arc::new(Sums), stack)
    }

    fn images() -> Tensor<4> {
        Tensor::<1>::from_floats([0.1, -0.2, 0.3, -0.05], &Device::flex()).reshape([2, 1, 1, 2])
    }

    fn draws(pass: u64) -> Draws {
        Draws::new(5, Purpose::Defense, [(7, pass), (8, pass)])
    }

    fn logits(model: &dyn Model, draws: &Draws) -> Vec<f32> {
        read(model.logits(images(), draws).unwrap()).unwrap()
    }

    #[test]
    fn answers_are_means_of_passes_with_draws_of_their_own() {
        let model = victim(5, true);
        assert_eq!(model.passes(), 10);
        let single = DefendedModel::new(Arc::new(Sums), vec![(Arc::new(Shift), GradientMode::Exact)]);
        let passes: Vec<Vec<f32>> = (0..5).map(|pass| logits(&single, &draws(3).of_part(0).of_part(pass))).collect();
        for (row, found) in logits(&model, &draws(3)).chunks_exact(2).enumerate() {
            let probability = |pass: &Vec<f32>| 1.0 / (1.0 + f64::from(pass[2 * row + 1] - pass[2 * row]).exp());
            let mean = passes.iter().map(probability).sum::<f64>() / 5.0;
            assert!((f64::from(found[0]) - mean.ln()).abs() < 1e-5, "{} {}", found[0], mean.ln());
            assert!((f64::from(found[1]) - (1.0 - mean).ln()).abs() < 1e-5);
            let first = passes[0][2 * row];
            assert!(passes[1..].iter().all(|pass| pass[2 * row] != first), "passes draw the same");
        }
        assert_eq!(logits(&model, &draws(3)), logits(&model, &draws(3)));
        assert_ne!(logits(&model, &draws(3)), logits(&model, &draws(4)));
    }

    #[test]
    fn where_nothing_is_random_the_prediction_is_that_of_one_pass() {
        let probability = |logits: Vec<f32>| -> Vec<f32> {
            logits.chunks_exact(2).map(|row| 1.0 / (1.0 + (row[1] - row[0]).exp())).collect()
        };
        let (averaged, once) =
            (probability(logits(&victim(4, false), &draws(0))), probability(logits(&Sums, &draws(0))));
        assert!(averaged.iter().zip(&once).all(|(a, b)| (a - b).abs() < 1e-6), "{averaged:?} {once:?}");
    }

    #[test]
    fn gradients_are_those_of_finite_differences_of_the_mean() {
        let model = victim(6, true);
        let cotangents = Tensor::<1>::from_floats([1.0, -0.5, 0.25, 2.0], &Device::flex()).reshape([2, 2]);
        let tape = model.forward(images(), &draws(1)).unwrap();
        assert_eq!(read(tape.logits.clone()).unwrap(), logits(&model, &draws(1)));
        let gradient = read(tape.pull(cotangents.clone()).unwrap()).unwrap();
        for (place, found) in gradient.into_iter().enumerate() {
            let moved = |by: f32| {
                let mut step = vec![0.0; 4];
                step[place] = by;
                let images = images() + Tensor::from_data(TensorData::new(step, [2, 1, 1, 2]), &Device::flex());
                let product = model.logits(images, &draws(1)).unwrap() * cotangents.clone();
                f64::from(product.sum().into_scalar::<f32>())
            };
            let slope = (moved(5e-3) - moved(-5e-3)) / 1e-2;
            assert!((slope - f64::from(found)).abs() < 2e-3 * (1.0 + slope.abs()), "{place}: {slope} {found}");
        }
    }
}
