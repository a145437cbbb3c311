//! Coarse grids: the data-dependent prior of score attacks, by which gradients of images are smooth.

use rand_chacha::ChaCha8Rng;
use realsafe_core::{fill_gaussian, length};

/// A grid of cells over an image: the subspace of images that are constant on every cell of every channel.
pub(crate) struct Grid {
    shape: [usize; 3],
    rows: usize,
    columns: usize,
}

impl Grid {
    /// A cell per pixel.
    pub(crate) const fn fine(shape: [usize; 3]) -> Self {
        Self { shape, rows: shape[1], columns: shape[2] }
    }

    /// As many cells for an image of this size as 50 × 50 are for one of 299 × 299.
    pub(crate) fn scaled(shape: [usize; 3]) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "fewer than the pixels")]
        let cells = |pixels: usize| ((pixels as f64 * 50.0 / 299.0).round() as usize).max(1);
        Self { shape, rows: cells(shape[1]), columns: cells(shape[2]) }
    }

    /// So many cells along the longer side; along the other as many as make them square.
    pub(crate) fn with_side(shape: [usize; 3], side: usize) -> Self {
        let [_, height, width] = shape;
        let longer = height.max(width);
        let cells = |pixels: usize| ((side.min(longer) * pixels + longer / 2) / longer).max(1);
        Self { shape, rows: cells(height), columns: cells(width) }
    }

    /// How many cells there are along the longer side.
    pub(crate) fn side(&self) -> usize {
        self.rows.max(self.columns)
    }

    /// How many cells there are: the dimension of the subspace.
    pub(crate) const fn cells(&self) -> usize {
        self.shape[0] * self.rows * self.columns
    }

    /// How many values an image has.
    pub(crate) const fn pixels(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2]
    }

    /// The cell of each pixel, in the order of pixels.
    fn cell_of_pixels(&self) -> impl Iterator<Item = usize> {
        let [channels, height, width] = self.shape;
        let (rows, columns) = (self.rows, self.columns);
        (0..channels * height).flat_map(move |line| {
            let first = (line / height * rows + line % height * rows / height) * columns;
            (0..width).map(move |column| first + column * columns / width)
        })
    }

    /// Gives every pixel the value of its cell (nearest upsampling).
    pub(crate) fn enlarge(&self, cells: &[f32], pixels: &mut [f32]) {
        pixels.iter_mut().zip(self.cell_of_pixels()).for_each(|(pixel, cell)| *pixel = cells[cell]);
    }

    /// A random unit vector of the subspace: a standard normal number per cell, enlarged and normalised.
    pub(crate) fn draw(&self, random: &mut ChaCha8Rng, pixels: &mut [f32]) {
        self.fill(pixels, |cells| fill_gaussian(random, cells));
        normalise(pixels);
    }

    /// Fills the cells, and gives every pixel the value of its cell.
    pub(crate) fn fill(&self, pixels: &mut [f32], fill: impl FnOnce(&mut [f32])) {
        if self.cells() == pixels.len() {
            return fill(pixels);
        }
        let mut cells = vec![0.0; self.cells()];
        fill(&mut cells);
        self.enlarge(&cells, pixels);
    }

    /// The pixels of each cell.
    pub(crate) fn pixels_of_cells(&self) -> Vec<Vec<usize>> {
        let mut pixels = vec![Vec::new(); self.cells()];
        self.cell_of_pixels().enumerate().for_each(|(pixel, cell)| pixels[cell].push(pixel));
        pixels
    }

    /// The share of a gradient's energy, its squared length, that lies in the subspace; 0 for a gradient of zero.
    pub(crate) fn share(&self, gradient: &[f32]) -> f64 {
        let (mut sums, mut sizes) = (vec![0.0; self.cells()], vec![0_u32; self.cells()]);
        let mut energy = 0.0;
        for (value, cell) in gradient.iter().map(|value| f64::from(*value)).zip(self.cell_of_pixels()) {
            sums[cell] += value;
            sizes[cell] += 1;
            energy += value * value;
        }
        let inside: f64 = sums.iter().zip(sizes).map(|(sum, size)| sum * sum / f64::from(size)).sum();
        if energy > 0.0 { (inside / energy).min(1.0) } else { 0.0 }
    }
}

/// Scales a vector to length 1 and says whether it could: a vector of zero, or of numbers that are none, becomes zero.
pub(crate) fn normalise(vector: &mut [f32]) -> bool {
    // Scaling by the largest entry first keeps squares of tiny entries from underflowing.
    let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if !largest.is_normal() || vector.iter().any(|value| value.is_nan()) {
        vector.fill(0.0);
        return false;
    }
    vector.iter_mut().for_each(|value| *value /= largest);
    let length = length(vector);
    vector.iter_mut().for_each(|value| *value /= length);
    true
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn grids_scale_with_the_image() {
        let sides = |shape| {
            let Grid { rows, columns, .. } = Grid::scaled(shape);
            [rows, columns]
        };
        assert_eq!(
            [[3, 299, 299], [3, 32, 32], [1, 28, 28], [1, 1, 12]].map(sides),
            [[50, 50], [5, 5], [5, 5], [1, 2]]
        );
        let Grid { rows, columns, .. } = Grid::with_side([3, 16, 32], 10);
        assert_eq!([rows, columns], [5, 10]);
    }

    #[test]
    fn a_vector_of_the_subspace_has_all_its_energy_there_and_one_across_it_none() {
        let grid = Grid::with_side([2, 4, 4], 2);
        let mut inside = vec![0.0; grid.pixels()];
        grid.draw(&mut ChaCha8Rng::seed_from_u64(1), &mut inside);
        assert!((grid.share(&inside) - 1.0).abs() < 1e-6 && (length(&inside) - 1.0).abs() < 1e-6);
        let across: Vec<f32> = (0..grid.pixels()).map(|pixel| if pixel % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(grid.share(&across) < 1e-12);
        let both: Vec<f32> = inside.iter().zip(&across).map(|(a, b)| 3.0 * a + 4.0 * b / 32_f32.sqrt()).collect();
        assert!((grid.share(&both) - 9.0 / 25.0).abs() < 1e-5);
    }

    #[test]
    fn nothing_to_normalise_becomes_zero() {
        for mut vector in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            assert!(!normalise(&mut vector));
            assert_eq!(vector, [0.0, 0.0]);
        }
        let mut tiny = [3e-30, 4e-30];
        assert!(normalise(&mut tiny) && (tiny[1] - 0.8).abs() < 1e-6);
    }
}
