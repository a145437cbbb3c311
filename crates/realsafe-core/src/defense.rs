//! Defenses that stand in front of a model, image in, image out, or around it.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_plan::{GradientMode, Norm};

use crate::{Certifier, Draws, Model, Stop, Tape};

/// A step in front of a model: images `[n, channels, height, width]` in `[0, 1]` to what a model takes, of the shape that
/// [`DefenseTraits`](realsafe_plan::DefenseTraits) say.
///
/// Rows do not influence each other. Where a defense is random, a row's numbers come from its own stream of the draws, and
/// the same draws give the same images.
pub trait Defense: Send + Sync {
    /// What the model gets to see. Called on plain tensors only, unless [`Defense::backward`] is left as it is.
    ///
    /// # Errors
    /// What failed, where the defense is not part of the program.
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop>;

    /// The vector-Jacobian product of [`Defense::forward`] at `images`, with the same draws: by default from its own autodiff.
    ///
    /// # Errors
    /// What failed, where the defense is not part of the program.
    fn backward(&self, images: Tensor<4>, cotangent: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        pull(images, cotangent, |images| self.forward(images, draws))
    }

    /// A function close to [`Defense::forward`] whose autodiff gives the gradient [`GradientMode::Smooth`]; only asked of
    /// defenses that offer it.
    ///
    /// # Errors
    /// What failed, where the defense is not part of the program.
    fn smooth(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        self.forward(images, draws)
    }

    /// The model that takes the place of all that is behind the defense, where it does more than change images: it asks
    /// what is behind several times, say, or judges its answers. [`Defense::forward`] is not asked then, and the model sees
    /// to the gradient mode itself, except that [`GradientMode::Blocked`] is seen to for it.
    fn around(&self, _behind: &Arc<dyn Model>, _gradient: GradientMode) -> Option<Arc<dyn Model>> {
        None
    }

    /// The images that the defense leaves as they are, of one that projects; see
    /// [`DefenseTraits::projects`](realsafe_plan::DefenseTraits).
    fn parametrisation(&self) -> Option<&dyn Parametrisation> {
        None
    }
}

/// The images that a projecting defense leaves as they are, as a differentiable function of codes: who varies the codes is
/// not held up by the projection, whose own gradient is of no use (reparameterisation; Athalye et al. 2018, section 4.3).
pub trait Parametrisation: Send + Sync {
    /// Codes `[n, length, 1, 1]` of the projections of images.
    ///
    /// # Errors
    /// What failed.
    fn codes(&self, images: Tensor<4>) -> Result<Tensor<4>, Stop>;

    /// The images of codes, with autodiff where the codes have it.
    ///
    /// # Errors
    /// What failed.
    fn images(&self, codes: Tensor<4>) -> Result<Tensor<4>, Stop>;

    /// The vector-Jacobian product of [`Parametrisation::images`].
    ///
    /// # Errors
    /// What failed.
    fn pull(&self, codes: Tensor<4>, cotangent: Tensor<4>) -> Result<Tensor<4>, Stop> {
        pull(codes, cotangent, |codes| self.images(codes))
    }
}

/// The vector-Jacobian product of a function at some inputs, from its autodiff.
fn pull(
    inputs: Tensor<4>,
    cotangent: Tensor<4>,
    function: impl FnOnce(Tensor<4>) -> Result<Tensor<4>, Stop>,
) -> Result<Tensor<4>, Stop> {
    let leaf = inputs.clone().autodiff().require_grad();
    let output = function(leaf.clone())?;
    if !output.is_tracked() {
        return Ok(inputs.zeros_like());
    }
    let mut gradients = (output * cotangent).sum().backward();
    Ok(leaf.grad_remove(&mut gradients).unwrap_or_else(|| inputs.zeros_like()))
}

/// A model behind a stack of defenses, outermost first, each with the gradient that the attacker is given.
#[derive(Clone)]
pub struct DefendedModel {
    model: Arc<dyn Model>,
    stack: Vec<(Arc<dyn Defense>, GradientMode)>,
}

impl DefendedModel {
    /// Puts a stack of defenses in front of a model, or around it and those that are between.
    pub fn new(model: Arc<dyn Model>, stack: Vec<(Arc<dyn Defense>, GradientMode)>) -> Self {
        let bare = Self { model, stack: Vec::new() };
        stack.into_iter().rev().fold(bare, |mut behind, layer| {
            let (defense, gradient) = &layer;
            let whole = if behind.stack.is_empty() { Arc::clone(&behind.model) } else { Arc::new(behind.clone()) };
            match defense.around(&whole, *gradient) {
                Some(model) if *gradient == GradientMode::Blocked => {
                    Self { model: Arc::new(Blocked(model)), stack: Vec::new() }
                }
                Some(model) => Self { model, stack: Vec::new() },
                None => {
                    behind.stack.insert(0, layer);
                    behind
                }
            }
        })
    }

    /// The images that the outermost defense leaves as they are, if it projects.
    pub(crate) fn parametrisation(&self) -> Option<&dyn Parametrisation> {
        self.stack.first().and_then(|(defense, _)| defense.parametrisation())
    }

    /// The same model with [`Model::with_residual_decay`] behind the same defenses.
    pub fn with_residual_decay(&self, decay: f64) -> Option<Self> {
        Some(Self { model: self.model.with_residual_decay(decay)?, stack: self.stack.clone() })
    }
}

impl Model for DefendedModel {
    fn passes(&self) -> u64 {
        self.model.passes()
    }

    /// Proofs are about what the model gets to see: there are none for a model with something in front.
    fn certifier(&self, norm: Norm) -> Option<&dyn Certifier> {
        if self.stack.is_empty() { self.model.certifier(norm) } else { None }
    }

    fn rejects(&self) -> bool {
        self.model.rejects()
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let mut layers = self.stack.iter().enumerate();
        let seen =
            layers.try_fold(images, |images, (layer, (defense, _))| defense.forward(images, &draws.of_layer(layer)))?;
        self.model.logits(seen, &draws.of_layer(self.stack.len()))
    }

    /// The way back goes through the model and the gradients that the defenses give.
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let mut inputs = Vec::with_capacity(self.stack.len());
        let mut seen = images;
        for (layer, (defense, _)) in self.stack.iter().enumerate() {
            let draws = draws.of_layer(layer);
            inputs.push((seen.clone(), draws.clone()));
            seen = defense.forward(seen, &draws)?;
        }
        let tape = self.model.forward(seen, &draws.of_layer(self.stack.len()))?;
        if self.stack.is_empty() {
            return Ok(tape);
        }
        let layers: Vec<_> = self.stack.iter().cloned().zip(inputs).rev().collect();
        Ok(tape.then(move |gradient| {
            layers.into_iter().try_fold(gradient, |gradient, ((defense, mode), (input, draws))| match mode {
                GradientMode::Exact => defense.backward(input, gradient, &draws),
                GradientMode::Smooth => pull(input, gradient, |images| defense.smooth(images, &draws)),
                GradientMode::Identity => Ok(gradient),
                GradientMode::Blocked => Ok(input.zeros_like()),
            })
        }))
    }
    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        Some(Arc::new(self.with_residual_decay(decay)?))
    }
}

/// A model that answers, but gives attackers zeros for gradients.
struct Blocked(Arc<dyn Model>);

impl Model for Blocked {
    fn certifier(&self, norm: Norm) -> Option<&dyn Certifier> {
        self.0.certifier(norm)
    }

    fn passes(&self) -> u64 {
        self.0.passes()
    }

    fn rejects(&self) -> bool {
        self.0.rejects()
    }

    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        self.0.logits(images, draws)
    }

    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tape, Stop> {
        let nothing = images.zeros_like();
        Ok(Tape::new(self.0.logits(images, draws)?, |_| Ok(nothing)))
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self(self.0.with_residual_decay(decay)?)))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::RngExt;

    use super::*;
    use crate::random::Purpose;

    /// One logit, the sum of all pixels times three, and one the sum of what each row draws.
    struct Network;

    impl Model for Network {
        fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
            let [rows, ..] = images.dims();
            let drawn: Vec<f32> = (0..rows).map(|row| draws.stream(row).random()).collect();
            let drawn = Tensor::<1>::from_floats(drawn.as_slice(), &images.device()).reshape([rows, 1]);
            let drawn = if images.is_tracked() { drawn.autodiff() } else { drawn };
            Ok(Tensor::cat(vec![images.flatten::<2>(1, 3).sum_dim(1) * 3.0, drawn], 1))
        }
    }

    /// Adds to every pixel.
    struct Adds(f64);

    impl Defense for Adds {
        fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
            Ok(images + self.0)
        }
    }

    /// Asks what is behind for the image and for twice the image, and adds the answers.
    struct AsksTwice;

    impl Defense for AsksTwice {
        fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
            Ok(images)
        }

        fn around(&self, behind: &Arc<dyn Model>, _: GradientMode) -> Option<Arc<dyn Model>> {
            Some(Arc::new(Twice(Arc::clone(behind))))
        }
    }

    struct Twice(Arc<dyn Model>);

    impl Model for Twice {
        fn passes(&self) -> u64 {
            2 * self.0.passes()
        }

        fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
            let once = self.0.logits(images.clone(), &draws.of_part(0))?;
            Ok(once + self.0.logits(images * 2.0, &draws.of_part(1))?)
        }
    }

    fn stack(gradient: GradientMode, depth: usize) -> DefendedModel {
        let mut stack: Vec<(Arc<dyn Defense>, GradientMode)> = vec![(Arc::new(Adds(1.0)), GradientMode::Exact)];
        for _ in 0..depth {
            stack.push((Arc::new(AsksTwice), gradient));
            stack.push((Arc::new(Adds(10.0)), GradientMode::Exact));
        }
        DefendedModel::new(Arc::new(Network), stack)
    }

    fn ask(model: &DefendedModel) -> (Vec<f32>, Vec<f32>) {
        let images = Tensor::<1>::from_floats([0.5, 0.25], &Device::flex()).reshape([2, 1, 1, 1]);
        let draws = Draws::new(3, Purpose::Defense, [(7, 0), (8, 0)]);
        let plain = read(model.logits(images.clone(), &draws).unwrap());
        let tape = model.forward(images, &draws).unwrap();
        assert_eq!(read(tape.logits.clone()), plain);
        let cotangents = Tensor::<1>::from_floats([1.0, 0.0, 1.0, 0.0], &Device::flex()).reshape([2, 2]);
        (plain, read(tape.pull(cotangents).unwrap()))
    }

    fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        crate::read(tensor).unwrap()
    }

    #[test]
    fn what_stands_around_asks_all_that_is_behind_it_and_pays_for_it() {
        let model = stack(GradientMode::Exact, 1);
        assert_eq!(model.passes(), 2);
        let (logits, gradient) = ask(&model);
        // 3 ((x + 1) + 10) + 3 (2 (x + 1) + 10)
        assert_eq!([logits[0], logits[2]], [73.5, 71.25]);
        assert_eq!(gradient, [9.0, 9.0]);
        let (blocked, nothing) = ask(&stack(GradientMode::Blocked, 1));
        assert_eq!((blocked, nothing), (logits, vec![0.0; 2]));
        assert_eq!(stack(GradientMode::Exact, 3).passes(), 8);
    }

    #[test]
    fn parts_of_parts_draw_numbers_of_their_own() {
        fn draw(model: &dyn Fn(&Draws) -> f32, draws: &Draws, depth: u32, seen: &mut Vec<f32>) {
            if depth == 0 {
                seen.push(model(draws));
                return;
            }
            (0..5).for_each(|part| draw(model, &draws.of_part(part), depth - 1, seen));
        }
        let draws = Draws::new(3, Purpose::Defense, [(7, 0)]);
        let mut seen = Vec::new();
        (0..6).for_each(|depth| draw(&|draws| draws.stream(0).random(), &draws, depth, &mut seen));
        assert_eq!(seen.len(), 1 + 5 + 25 + 125 + 625 + 3125);
        seen.sort_by(f32::total_cmp);
        let distinct = seen.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1;
        // Of as many numbers of 24 bits, hardly any two are equal by chance.
        assert!(seen.len() - distinct < 5, "{distinct} of {}", seen.len());
    }
}
