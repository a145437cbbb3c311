//! Input diversity: the gradient at randomly shrunk and padded images.

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::random::Purpose;
use realsafe_core::{Batch, Gradients, Loss, Role, Stop};
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

use crate::shared::separable::Separable;

/// How often images are transformed.
pub(crate) const fn probability(fallback: &'static str) -> Parameter {
    Parameter {
        name: "diversity-probability",
        kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
        unit: "probability per step and sample",
        fallback: Fallback::Value(fallback),
        documentation: "How often the gradient is taken at a shrunk and padded image instead of the iterate itself.",
    }
}

/// How small images become.
pub(crate) const RESIZE_SHARE: Parameter = Parameter {
    name: "resize-share",
    kind: ParameterKind::Number { minimum: 0.1, maximum: 1.0 },
    unit: "share of the side of the image",
    fallback: Fallback::Value("0.9"),
    documentation: "The smallest side of a shrunk image; the largest is one pixel less than that of the image.",
};

/// How images become smaller.
pub(crate) const INTERPOLATION: Parameter = Parameter {
    name: "interpolation",
    kind: ParameterKind::Choice(&["bilinear", "nearest"]),
    unit: "",
    fallback: Fallback::Value("bilinear"),
    documentation: "How images are shrunk; neither smooths first.",
};

/// Random shrinking and padding, another one for each row and step.
pub(crate) struct Diversity {
    probability: f64,
    resize_share: f64,
    bilinear: bool,
}

impl Diversity {
    /// From the parameters `diversity-probability`, `resize-share` and `interpolation`.
    pub(crate) fn from(values: &Values) -> Self {
        Self {
            probability: values.number("diversity-probability"),
            resize_share: values.number("resize-share"),
            bilinear: values.text("interpolation") == "bilinear",
        }
    }

    /// The gradient of the loss of transformed images with respect to the images.
    ///
    /// What is left as it is counts as an iterate. So does what is transformed, but it does not lie in the ball.
    pub(crate) fn gradient(
        &self,
        victim: &mut dyn Gradients,
        batch: &Batch,
        images: &Tensor<4>,
        loss: &dyn Loss,
    ) -> Result<Tensor<4>, Stop> {
        if self.probability == 0.0 {
            return Ok(victim.gradient(batch, images, loss, Role::Iterate)?.gradient);
        }
        let transform = self.draw(batch);
        let gradient = victim.gradient(batch, &transform.apply(images.clone()), loss, Role::Iterate)?.gradient;
        Ok(transform.transposed(gradient))
    }

    /// Draws for each row whether it is transformed, its size, and how many zeros are above it and to its left.
    fn draw(&self, batch: &Batch) -> Separable {
        let [_, height, width] = batch.shape();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for row in 0..batch.len() {
            let mut random = batch.stream(row, Purpose::Step);
            let transformed = random.random_bool(self.probability);
            let size: f64 = random.random();
            for (side, matrices) in [(height, &mut left), (width, &mut right)] {
                let shrunk = if transformed { self.shrunk(side, size) } else { side };
                let offset = random.random_range(0..=side - shrunk);
                self.push(side, shrunk, offset, matrices);
            }
        }
        Separable::new(left, right, [height, width], &batch.device())
    }

    /// The side of a shrunk image, for a number in `[0, 1)` that says where it lies between the smallest and the largest.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of pixels")]
    fn shrunk(&self, side: usize, size: f64) -> usize {
        let smallest = ((side as f64 * self.resize_share) as usize).max(1);
        smallest + ((side - smallest) as f64 * size) as usize
    }

    /// Appends the matrix that shrinks `side` pixels to `shrunk` and puts them behind `offset` zeros.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the index of a pixel")]
    fn push(&self, side: usize, shrunk: usize, offset: usize, matrices: &mut Vec<f32>) {
        let start = matrices.len();
        matrices.resize(start + side * side, 0.0);
        let scale = side as f64 / shrunk as f64;
        let rows = matrices[start..].chunks_exact_mut(side).skip(offset).take(shrunk);
        for (at, row) in rows.enumerate() {
            if self.bilinear {
                // Pixels are squares: the centre of the first lies at one half.
                let source = ((at as f64 + 0.5) * scale - 0.5).max(0.0);
                let first = source as usize;
                let share = source - first as f64;
                row[first] += (1.0 - share) as f32;
                row[(first + 1).min(side - 1)] += share as f32;
            } else {
                row[(at as f64 * scale) as usize] = 1.0;
            }
        }
    }
}
