//! Orthonormal directions of images.

use std::f64::consts::PI;

use realsafe_plugin::Shape;

/// Directions of length 1, all at right angles to each other.
pub(crate) enum Basis {
    /// One value each.
    Pixels(usize),
    /// The cosines of each channel's two-dimensional discrete cosine transform.
    Cosines { channels: usize, vertical: Cosines, horizontal: Cosines },
}

/// The lowest frequencies of the discrete cosine transform (DCT-II) of a line, one after the other.
pub(crate) struct Cosines {
    frequencies: usize,
    length: usize,
    values: Vec<f32>,
}

impl Basis {
    pub(crate) fn pixels(shape: &Shape) -> Self {
        Self::Pixels(shape.values())
    }

    /// Keeps a share of the frequencies of each side, at least one.
    pub(crate) fn cosines(shape: &Shape, share: f64) -> Self {
        let (vertical, horizontal) = (Cosines::new(shape.height, share), Cosines::new(shape.width, share));
        Self::Cosines { channels: shape.channels as usize, vertical, horizontal }
    }

    /// The number of directions.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Pixels(count) => *count,
            Self::Cosines { channels, vertical, horizontal } => {
                channels * vertical.frequencies * horizontal.frequencies
            }
        }
    }

    /// Moves an image along a direction.
    pub(crate) fn add(&self, direction: usize, step: f32, image: &mut [f32]) {
        match self {
            Self::Pixels(_) => image[direction] += step,
            Self::Cosines { vertical, horizontal, .. } => {
                let (rest, x) = (direction / horizontal.frequencies, direction % horizontal.frequencies);
                let (channel, y) = (rest / vertical.frequencies, rest % vertical.frequencies);
                let size = vertical.length * horizontal.length;
                let lines = image[channel * size..][..size].chunks_exact_mut(horizontal.length);
                for (line, down) in lines.zip(vertical.of(y)) {
                    line.iter_mut().zip(horizontal.of(x)).for_each(|(pixel, across)| *pixel += step * down * across);
                }
            }
        }
    }
}

impl Cosines {
    fn new(length: u32, share: f64) -> Self {
        let frequencies = ((f64::from(length) * share).ceil() as u32).clamp(1, length);
        let side = f64::from(length);
        let value = |frequency: u32, place: u32| {
            let scale = if frequency == 0 { 1.0 / side } else { 2.0 / side };
            (scale.sqrt() * (PI * (f64::from(place) + 0.5) * f64::from(frequency) / side).cos()) as f32
        };
        let mut values = Vec::with_capacity(frequencies as usize * length as usize);
        for frequency in 0..frequencies {
            values.extend((0..length).map(|place| value(frequency, place)));
        }
        Self { frequencies: frequencies as usize, length: length as usize, values }
    }

    fn of(&self, frequency: usize) -> &[f32] {
        &self.values[frequency * self.length..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 2, height: 3, width: 5, classes: 10 };

    #[test]
    fn directions_are_orthonormal() {
        for basis in [Basis::pixels(&SHAPE), Basis::cosines(&SHAPE, 1.0)] {
            assert_eq!(basis.len(), 30);
            let vectors: Vec<[f32; 30]> = (0..30)
                .map(|direction| {
                    let mut vector = [0.0; 30];
                    basis.add(direction, 1.0, &mut vector);
                    vector
                })
                .collect();
            for (i, a) in vectors.iter().enumerate() {
                for (j, b) in vectors.iter().enumerate() {
                    let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    assert!((product - if i == j { 1.0 } else { 0.0 }).abs() < 1e-6, "{i} and {j}");
                }
            }
        }
    }

    #[test]
    fn low_frequencies_are_kept() {
        let basis = Basis::cosines(&SHAPE, 0.4);
        // Two of each side and channel.
        assert_eq!(basis.len(), 8);
        let mut image = [0.0; 30];
        basis.add(4, 1.0, &mut image);
        // The first direction of the second channel is constant there.
        assert!(image[..15].iter().all(|pixel| *pixel == 0.0));
        assert!(image[15..].iter().all(|pixel| (pixel - 1.0 / 15.0_f32.sqrt()).abs() < 1e-6));
        assert_eq!(Basis::cosines(&SHAPE, 0.0).len(), 2);
    }
}
