//! The doors through which attacks reach their victim: an attack names the one it needs, and gets no other.

use burn::tensor::Tensor;

use realsafe_plan::Ensemble;

use crate::ensemble::{combine, mean};
use crate::oracle::{Ascent, Oracle, Role};
use crate::{Batch, ComponentFailure, Logits, Loss, Parametrisation, Stop};

/// The victim's predicted labels.
pub trait Labels {
    /// The predicted class of each image; none where the model gives NaN.
    ///
    /// # Errors
    /// See [`Stop`].
    fn labels(&mut self, batch: &Batch, images: &Tensor<4>, role: Role) -> Result<Vec<Option<u32>>, Stop>;
}

/// The victim's logits.
pub trait Scores: Labels {
    /// The logits of each image.
    ///
    /// # Errors
    /// See [`Stop`].
    fn scores(&mut self, batch: &Batch, images: &Tensor<4>, role: Role) -> Result<Logits, Stop>;

    /// The logits of each image, and the loss that an attacker raises there; of a randomised victim, the means over its draws.
    ///
    /// # Errors
    /// See [`Stop`].
    fn losses(
        &mut self,
        batch: &Batch,
        images: &Tensor<4>,
        loss: &dyn Loss,
        role: Role,
    ) -> Result<(Logits, Vec<f32>), Stop>;
}

/// Writes the derivative of a function of the logits of a row of the batch, given its place there.
pub type DeriveRow<'a> = &'a mut dyn FnMut(usize, &[f32], &mut [f32]);

/// The victim's gradients.
pub trait Gradients: Scores {
    /// What the victim answers, and the way in which the attacker's objective rises: the loss for the label, or minus the loss
    /// for the target.
    ///
    /// # Errors
    /// See [`Stop`].
    fn gradient(&mut self, batch: &Batch, images: &Tensor<4>, loss: &dyn Loss, role: Role) -> Result<Ascent, Stop>;

    /// The logits of each image, and the gradient of a function of them: `derive` is given the place of a row in the batch
    /// and its logits, and writes the derivative with respect to each. Such a function is of what several networks answer
    /// together, also where each would have a loss of its own.
    ///
    /// # Errors
    /// See [`Stop`].
    fn gradient_of_logits(
        &mut self,
        batch: &Batch,
        images: &Tensor<4>,
        derive: DeriveRow<'_>,
        role: Role,
    ) -> Result<(Logits, Tensor<4>), Stop>;

    /// The images that the victim's outermost defense leaves as they are.
    ///
    /// # Errors
    /// If that defense does not project.
    fn parametrisation(&self) -> Result<&dyn Parametrisation, Stop>;
}

/// The gradients of the surrogates, combined as the spec says; they cost the victim nothing.
pub trait Surrogates {
    /// The gradient `[n, channels, height, width]` along which the attacker's objective rises.
    ///
    /// # Errors
    /// See [`Stop`].
    fn surrogate_gradient(&mut self, batch: &Batch, images: &Tensor<4>, loss: &dyn Loss) -> Result<Tensor<4>, Stop>;
}

/// The victim's logits and the surrogates' gradients.
pub trait ScoresAndSurrogates: Scores + Surrogates {}

impl ScoresAndSurrogates for Oracle {}

/// What the driver can open for an attack.
pub trait Door {
    /// Opens the door.
    fn open(oracle: &mut Oracle) -> &mut Self;
}

impl Door for dyn Labels {
    fn open(oracle: &mut Oracle) -> &mut Self {
        oracle
    }
}

impl Door for dyn Scores {
    fn open(oracle: &mut Oracle) -> &mut Self {
        oracle
    }
}

impl Door for dyn Gradients {
    fn open(oracle: &mut Oracle) -> &mut Self {
        oracle
    }
}

impl Door for dyn ScoresAndSurrogates {
    fn open(oracle: &mut Oracle) -> &mut Self {
        oracle
    }
}

/// For attacks whose access is known only when the program runs; whoever builds them keeps the other doors shut.
impl Door for Oracle {
    fn open(oracle: &mut Oracle) -> &mut Self {
        oracle
    }
}

impl Labels for Oracle {
    fn labels(&mut self, batch: &Batch, images: &Tensor<4>, role: Role) -> Result<Vec<Option<u32>>, Stop> {
        self.scores(batch, images, role).map(|logits| logits.predictions())
    }
}

impl Scores for Oracle {
    fn scores(&mut self, batch: &Batch, images: &Tensor<4>, role: Role) -> Result<Logits, Stop> {
        let asked = self.stand_ins().into_iter();
        let parts = asked.map(|network| self.scores_of(network, batch, images, role)).collect::<Result<Vec<_>, _>>()?;
        Ok(combine(self.rules.ensemble, &parts))
    }

    fn losses(
        &mut self,
        batch: &Batch,
        images: &Tensor<4>,
        loss: &dyn Loss,
        role: Role,
    ) -> Result<(Logits, Vec<f32>), Stop> {
        let networks = self.stand_ins();
        let several = networks.len() > 1;
        let mut answers = Vec::new();
        for network in networks {
            answers.extend(self.answers_of(network, batch, images, role)?);
        }
        let ensemble = self.rules.ensemble;
        let together = combine(if several { ensemble } else { Ensemble::Logits }, &answers);
        if several && ensemble != Ensemble::Loss {
            answers = vec![together.clone()];
        }
        let evaluate = |logits: &Logits| {
            let mut derivatives = vec![0.0; logits.values().len()];
            loss.evaluate(logits, &batch.labels, &batch.targets, &mut derivatives)
        };
        let losses = answers.iter().map(evaluate).collect::<Result<Vec<_>, Stop>>()?;
        Ok((together, mean(&losses)))
    }
}

impl Gradients for Oracle {
    fn gradient(&mut self, batch: &Batch, images: &Tensor<4>, loss: &dyn Loss, role: Role) -> Result<Ascent, Stop> {
        self.raise(&self.stand_ins(), batch, images, loss, role)
    }

    fn gradient_of_logits(
        &mut self,
        batch: &Batch,
        images: &Tensor<4>,
        derive: DeriveRow<'_>,
        role: Role,
    ) -> Result<(Logits, Tensor<4>), Stop> {
        let ensemble = match self.rules.ensemble {
            Ensemble::Loss => Ensemble::Logits,
            ensemble => ensemble,
        };
        let ascent =
            self.ascend(&self.stand_ins(), ensemble, batch, images, role, &mut |rows, logits, derivatives| {
                let derivatives = derivatives.chunks_exact_mut(logits.classes());
                rows.zip(logits.rows()).zip(derivatives).for_each(|((row, logits), to)| derive(row, logits, to));
                Ok(Vec::new())
            })?;
        Ok((ascent.logits, ascent.gradient))
    }

    fn parametrisation(&self) -> Result<&dyn Parametrisation, Stop> {
        self.model.parametrisation().ok_or_else(|| Stop::Component {
            failure: ComponentFailure::Failed,
            message: "the outermost defense does not project, so its images have no codes".to_owned(),
        })
    }
}

impl Surrogates for Oracle {
    fn surrogate_gradient(&mut self, batch: &Batch, images: &Tensor<4>, loss: &dyn Loss) -> Result<Tensor<4>, Stop> {
        Ok(self.raise(&self.all_surrogates(), batch, images, loss, Role::Probe)?.gradient)
    }
}
