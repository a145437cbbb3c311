//! Attacks that vary the codes of a defense that projects: on a plane through the space of images, the nearest adversarial of a
//! linear model is known.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::{Defense, Draws, Model, Parametrisation, Stop, Verdict};
use realsafe_plan::{GradientMode, Norm, Success};

use crate::bench::{Linear, Setting, run, samples};

/// Two orthonormal directions, and what lies between the pixels of an image.
const DIRECTIONS: [[f32; 4]; 2] = [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]];
const CENTRE: f32 = 0.5;
const PARAMETERS: &str = "initial-constant = 1\nsteps = 400\n";

/// Projects onto the plane of these directions through the centre.
struct Plane;

impl Defense for Plane {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        self.images(self.codes(images)?)
    }

    fn parametrisation(&self) -> Option<&dyn Parametrisation> {
        Some(self)
    }
}

impl Parametrisation for Plane {
    fn codes(&self, images: Tensor<4>) -> Result<Tensor<4>, Stop> {
        let code = |direction: [f32; 4]| {
            let direction = Tensor::<1>::from_floats(direction, &images.device()).reshape([1, 1, 1, 4]);
            ((images.clone() - CENTRE) * direction).sum_dim(3)
        };
        Ok(Tensor::cat(DIRECTIONS.map(code).to_vec(), 1))
    }

    fn images(&self, codes: Tensor<4>) -> Result<Tensor<4>, Stop> {
        let part = |place: usize| {
            let direction = Tensor::<1>::from_floats(DIRECTIONS[place], &codes.device()).reshape([1, 1, 1, 4]);
            let direction = if codes.is_tracked() { direction.autodiff() } else { direction };
            codes.clone().narrow(1, place, 1) * direction
        };
        Ok(part(0) + part(1) + CENTRE)
    }
}

#[test]
fn cw_finds_the_nearest_adversarial_that_the_projection_leaves_as_it_is() {
    let weights = [0.9_f32, -0.2, 0.4, 0.1];
    let model: Arc<dyn Model> = Arc::new(Linear::new(&[weights.to_vec(), vec![0.0; 4]], &[-0.4, 0.0]));
    let images = [vec![0.6, 0.4, 0.7, 0.5], vec![0.55, 0.6, 0.5, 0.5], vec![0.3, 0.2, 0.5, 0.6]];
    let dot = |a: &[f32; 4], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let slopes = DIRECTIONS.map(|direction| dot(&direction, &weights));
    let exact = images.each_ref().map(|image| {
        let moved: Vec<f32> = image.iter().map(|pixel| pixel - CENTRE).collect();
        let codes = DIRECTIONS.map(|direction| dot(&direction, &moved));
        let beside = dot(&[1.0; 4], &moved.iter().map(|pixel| pixel * pixel).collect::<Vec<_>>())
            - codes.iter().map(|code| code * code).sum::<f64>();
        let margin = dot(&weights, &[CENTRE; 4]) - 0.4 + codes[0] * slopes[0] + codes[1] * slopes[1];
        (beside + margin * margin / (slopes[0] * slopes[0] + slopes[1] * slopes[1])).sqrt()
    });
    let labels = images.each_ref().map(|image| u32::from(dot(&weights, image) < 0.4));
    let samples = samples(&images, &labels);
    let attack = |parameters: &str, gradient: GradientMode| {
        let mut setting = Setting::untargeted(Norm::L2, None, Success::AnyIterate);
        setting.stack = vec![(Arc::new(Plane), gradient)];
        run(("cw", parameters), &model, &samples, &setting)
    };
    let codes = attack(&format!("{PARAMETERS}variables = \"codes\""), GradientMode::Identity);
    for (judged, exact) in codes.iter().zip(exact) {
        assert!((exact..1.01 * exact).contains(&(judged.distances.l2 + 1e-6)), "{} {exact}", judged.distances.l2);
    }
    let held_up = attack(PARAMETERS, GradientMode::Blocked);
    assert!(held_up.iter().all(|judged| judged.verdict == Verdict::Robust), "pixels have no gradient");
}
