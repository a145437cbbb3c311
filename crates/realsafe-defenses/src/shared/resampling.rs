//! Resampling of images with a window and a place of its own for every row, as products with matrices: so the derivative is
//! exact, and rows do not influence each other.

use burn::tensor::{Tensor, TensorData};
use realsafe_core::product;
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

/// The interpolation of a resized image.
pub(crate) const INTERPOLATION: Parameter = Parameter {
    name: "interpolation",
    kind: ParameterKind::Choice(&["bilinear", "nearest"]),
    unit: "",
    fallback: Fallback::Value("bilinear"),
    documentation: "How resized pixels are computed: pixels are squares, without smoothing where the image shrinks.",
};

/// The size of resized images.
pub(crate) const SIZE: Parameter = Parameter {
    name: "size",
    kind: ParameterKind::Count { minimum: 1, maximum: 4096 },
    unit: "pixels",
    fallback: Fallback::Unset,
    documentation: "Height and width of what comes out; those of the image, unless it is set.",
};

/// Channels, height and width of what comes out, by [`SIZE`].
pub(crate) fn output_size(values: &Values, [channels, height, width]: [usize; 3]) -> [usize; 3] {
    if values.is_set(SIZE.name) {
        let size = values.count(SIZE.name) as usize;
        return [channels, size, size];
    }
    [channels, height, width]
}

/// How pixels between those of the input are computed.
#[derive(Clone, Copy)]
pub(crate) enum Interpolation {
    /// From the two neighbours on each axis, pixels being squares whose centres are looked up.
    Bilinear,
    /// From the pixel at the start of the output pixel.
    Nearest,
}

impl Interpolation {
    /// That of [`INTERPOLATION`].
    pub(crate) fn from(values: &Values) -> Self {
        if values.text(INTERPOLATION.name) == "nearest" { Self::Nearest } else { Self::Bilinear }
    }
}

/// What happens along one axis: `used` pixels from `from` on become `filled` pixels from `to` on.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: usize,
    pub(crate) used: usize,
    pub(crate) to: usize,
    pub(crate) filled: usize,
}

impl Window {
    /// Adds the weights of `input` pixels for each of the output pixels to a matrix of zeros.
    fn weigh(&self, interpolation: Interpolation, input: usize, matrix: &mut [f32]) {
        for at in 0..self.filled {
            let weights = &mut matrix[(self.to + at) * input + self.from..][..self.used];
            match interpolation {
                Interpolation::Nearest => weights[at * self.used / self.filled] = 1.0,
                Interpolation::Bilinear => {
                    let last = (self.used - 1) as f64;
                    let place = (at as f64 + 0.5) * self.used as f64 / self.filled as f64 - 0.5;
                    let place = place.clamp(0.0, last);
                    let share = (place - place.floor()) as f32;
                    weights[place.floor() as usize] += 1.0 - share;
                    weights[place.ceil() as usize] += share;
                }
            }
        }
    }
}

/// Resamples every row of `[n, channels, height, width]` to `[n, channels, output..]`, by a window for the height and one for
/// the width; pixels outside of the windows are `fill`.
pub(crate) fn resample(
    images: Tensor<4>,
    windows: &[[Window; 2]],
    interpolation: Interpolation,
    output: [usize; 2],
    fill: f32,
) -> Tensor<4> {
    let [rows, channels, height, width] = images.dims();
    let device = images.device();
    let matrices = |axis: usize, input: usize| {
        let mut weights = vec![0.0; rows * output[axis] * input];
        for (window, matrix) in windows.iter().zip(weights.chunks_exact_mut(output[axis] * input)) {
            window[axis].weigh(interpolation, input, matrix);
        }
        let weights = TensorData::new(weights, [rows, 1, output[axis], input]);
        Tensor::<4>::from_data(weights, &device).expand([rows, channels, output[axis], input])
    };
    let seen = product(product(matrices(0, height), images), matrices(1, width).swap_dims(2, 3));
    let mut around = vec![fill; rows * output[0] * output[1]];
    for (window, around) in windows.iter().zip(around.chunks_exact_mut(output[0] * output[1])) {
        let [vertical, horizontal] = window;
        for line in around.chunks_exact_mut(output[1]).skip(vertical.to).take(vertical.filled) {
            line[horizontal.to..][..horizontal.filled].fill(0.0);
        }
    }
    seen + Tensor::from_data(TensorData::new(around, [rows, 1, output[0], output[1]]), &device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::shared::reference::{pattern, reference};

    fn resampled(windows: [Window; 2], interpolation: Interpolation, output: [usize; 2]) -> Vec<f32> {
        let images = Tensor::from_data(TensorData::new(pattern(2 * 7 * 9), [1, 2, 7, 9]), &Device::flex());
        resample(images, &[windows], interpolation, output, 0.25).into_data().try_into_vec().unwrap()
    }

    fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
    }

    #[test]
    fn it_resizes_as_pytorch_does() {
        let whole = |used, filled| Window { from: 0, used, to: 0, filled };
        for (interpolation, name) in
            [(Interpolation::Bilinear, "smaller-bilinear"), (Interpolation::Nearest, "smaller-nearest")]
        {
            near(&resampled([whole(7, 5), whole(9, 6)], interpolation, [5, 6]), &reference(name));
        }
        let part = [(4, 2, 7), (5, 1, 9)].map(|(used, from, filled)| Window { from, used, to: 0, filled });
        near(&resampled(part, Interpolation::Bilinear, [7, 9]), &reference("crop-bilinear"));
    }

    #[test]
    fn around_the_window_there_is_the_fill() {
        let placed = [Window { from: 0, used: 7, to: 1, filled: 5 }, Window { from: 0, used: 9, to: 2, filled: 6 }];
        let found = resampled(placed, Interpolation::Bilinear, [8, 9]);
        let mut expected = vec![0.25; 2 * 8 * 9];
        for (at, value) in reference("smaller-bilinear").into_iter().enumerate() {
            let (channel, y, x) = (at / 30, at / 6 % 5, at % 6);
            expected[(channel * 8 + y + 1) * 9 + x + 2] = value;
        }
        near(&found, &expected);
    }
}
