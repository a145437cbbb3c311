//! What walks along the boundary draw: a value per pixel, or on a coarse grid that is enlarged bilinearly.

use std::borrow::Cow;

use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

/// The side of the grid.
pub(crate) const DIMENSION_REDUCTION: Parameter = Parameter {
    name: "dimension-reduction",
    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
    unit: "pixels",
    fallback: Fallback::Unset,
    documentation: "The side of the grid on which changes are drawn; where it is unset, they are drawn per pixel value.",
};

/// Where changes are drawn.
pub(crate) enum Noise {
    /// On the values of an image, of which there are so many.
    Pixels(usize),
    /// On a square grid per channel that is enlarged to the image.
    Grid { channels: usize, side: usize, rows: Vec<Between>, columns: Vec<Between> },
}

/// A place between two lines of the grid, and the weight of the second.
pub(crate) struct Between {
    first: usize,
    second: usize,
    weight: f32,
}

impl Noise {
    /// From [`DIMENSION_REDUCTION`], for images of a shape.
    ///
    /// # Errors
    /// Where the grid has more lines than the images.
    pub(crate) fn from(values: &Values, shape: [usize; 3]) -> Result<Self, String> {
        let [channels, height, width] = shape;
        if !values.is_set(DIMENSION_REDUCTION.name) {
            return Ok(Self::Pixels(channels * height * width));
        }
        let side = values.count(DIMENSION_REDUCTION.name) as usize;
        if side > height.min(width) {
            return Err(format!(
                "dimension-reduction = {side} is more than the images have, {height} x {width} pixels; \
                 choose a smaller side, or leave it out to draw per pixel value"
            ));
        }
        // Centres of pixels lie on centres of pixels.
        let places = |pixels: usize| -> Vec<Between> {
            let place = |pixel: usize| {
                let at = ((pixel as f64 + 0.5) * side as f64 / pixels as f64 - 0.5).clamp(0.0, (side - 1) as f64);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place of the grid")]
                let (first, weight) = (at as usize, at.fract() as f32);
                Between { first, second: (first + 1).min(side - 1), weight }
            };
            (0..pixels).map(place).collect()
        };
        Ok(Self::Grid { channels, side, rows: places(height), columns: places(width) })
    }

    /// How many values are drawn.
    pub(crate) const fn coordinates(&self) -> usize {
        match self {
            Self::Pixels(values) => *values,
            Self::Grid { channels, side, .. } => *channels * *side * *side,
        }
    }

    /// What was drawn, as values of the image.
    pub(crate) fn enlarge<'v>(&self, values: &'v [f32]) -> Cow<'v, [f32]> {
        let Self::Grid { channels, side, rows, columns } = self else { return Cow::Borrowed(values) };
        let mut pixels = Vec::with_capacity(channels * rows.len() * columns.len());
        for channel in values.chunks_exact(side * side) {
            for row in rows {
                let line = |line: usize| &channel[line * side..(line + 1) * side];
                let (above, below) = (line(row.first), line(row.second));
                let at = |column: usize| above[column] + row.weight * (below[column] - above[column]);
                pixels.extend(columns.iter().map(|column| {
                    let (left, right) = (at(column.first), at(column.second));
                    left + column.weight * (right - left)
                }));
            }
        }
        Cow::Owned(pixels)
    }
}
