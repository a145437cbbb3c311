//! Square attack's changes for l2 and l1: bumps that fall off from their middle, and mass that moves from one window to another.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::projection::project_l1;
use realsafe_plan::Norm;

/// Windows of one channel, by their upper left corners.
#[derive(Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    side: usize,
}

impl Window {
    /// Anywhere in an image of that size.
    fn anywhere(side: usize, height: usize, width: usize, random: &mut ChaCha8Rng) -> Self {
        Self { top: random.random_range(0..=height - side), left: random.random_range(0..=width - side), side }
    }

    /// The places of its pixels in a channel, line by line.
    fn places(self, width: usize) -> impl Iterator<Item = usize> {
        let lines = self.top..self.top + self.side;
        lines.flat_map(move |line| (self.left..self.left + self.side).map(move |column| line * width + column))
    }

    fn contains(self, place: usize, width: usize) -> bool {
        let (line, column) = (place / width, place % width);
        (self.top..self.top + self.side).contains(&line) && (self.left..self.left + self.side).contains(&column)
    }
}

/// The side of windows: odd, at least three, and no larger than the image.
pub(crate) fn side(side: usize, height: usize, width: usize) -> usize {
    (side.max(3) | 1).min(height.min(width))
}

/// The first candidate: a grid of bumps, five along the shorter side where there is room, one sign per bump and channel.
pub(crate) fn tiled(
    norm: Norm,
    [channels, height, width]: [usize; 3],
    clean: &[f32],
    eps: f32,
    random: &mut ChaCha8Rng,
) -> Vec<f32> {
    let side = (height.min(width) / 5).max(1);
    let mut change = vec![0.0; channels * height * width];
    let margin = |extent: usize| extent % side / 2;
    for top in (margin(height)..=height - side).step_by(side) {
        for left in (margin(width)..=width - side).step_by(side) {
            let bump = bump(norm, side, random);
            for channel in change.chunks_exact_mut(height * width) {
                let sign = sign(random);
                let window = Window { top, left, side };
                window.places(width).zip(&bump).for_each(|(place, height)| channel[place] = sign * height);
            }
        }
    }
    confined(norm, clean, &change, eps)
}

/// The next candidate: in each channel a bump is added to one window, which then gets the mass that it and another had and
/// what is left of the radius; the other is emptied.
pub(crate) fn moved(
    norm: Norm,
    [channels, height, width]: [usize; 3],
    clean: &[f32],
    best: &[f32],
    eps: f32,
    side: usize,
    random: &mut ChaCha8Rng,
) -> Vec<f32> {
    let mut change: Vec<f64> =
        best.iter().zip(clean).map(|(best, clean)| f64::from(*best) - f64::from(*clean)).collect();
    let (to, from) = (Window::anywhere(side, height, width, random), Window::anywhere(side, height, width, random));
    let bump = bump(norm, side, random);
    let left = left_of(norm, f64::from(eps), size(norm, change.iter().copied()), channels);
    for channel in change.chunks_exact_mut(height * width) {
        let sign = sign(random);
        let old: Vec<f64> = to.places(width).map(|place| channel[place]).collect();
        let emptied = from.places(width).filter(|place| !to.contains(*place, width));
        let mass = size(norm, old.iter().copied().chain(emptied.map(|place| channel[place])));
        let old_size = size(norm, old.iter().copied()) + 1e-12;
        let new: Vec<f64> = bump.iter().zip(&old).map(|(height, old)| sign * height + old / old_size).collect();
        let scale = match norm {
            Norm::L2 => (left + mass * mass).sqrt(),
            // Larger than the radius by a factor, which the projection takes back from the smallest changes.
            _ => (left + mass) * channels as f64,
        } / (size(norm, new.iter().copied()) + 1e-12);
        from.places(width).for_each(|place| channel[place] = 0.0);
        to.places(width).zip(new).for_each(|(place, new)| channel[place] = scale * new);
    }
    confined(norm, clean, &change, eps)
}

/// What is left of the radius for each channel; squared for l2.
fn left_of(norm: Norm, eps: f64, used: f64, channels: usize) -> f64 {
    let left = if norm == Norm::L2 { eps * eps - used * used } else { eps - used };
    left.max(0.0) / channels as f64
}

/// Two bumps side by side, one up and one down, beside or above each other, of size 1 together.
fn bump(norm: Norm, side: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let upper = half(norm, side / 2, side);
    let lower = half(norm, side - side / 2, side).into_iter().map(|height| -height);
    let upright: Vec<f64> = upper.into_iter().chain(lower).collect();
    let total = size(norm, upright.iter().copied());
    let lying = random.random();
    let place = |at: usize| if lying { at % side * side + at / side } else { at };
    (0..side * side).map(|at| upright[place(at)] / total).collect()
}

/// A stack of centred rectangles whose heights fall with their size, of size 1.
fn half(norm: Norm, height: usize, width: usize) -> Vec<f64> {
    let power = if norm == Norm::L2 { 2 } else { 4 };
    let layers = height.max(width) / 2 + 1;
    let level = |ring: usize| -> f64 { (ring..layers).map(|layer| ((layer + 1) as f64).powi(-power)).sum() };
    let ring = |line: usize, column: usize| line.abs_diff(height / 2).max(column.abs_diff(width / 2));
    let levels: Vec<f64> = (0..height * width).map(|at| level(ring(at / width, at % width))).collect();
    let total = size(norm, levels.iter().copied());
    levels.into_iter().map(|level| level / total).collect()
}

fn sign(random: &mut ChaCha8Rng) -> f64 {
    if random.random() { 1.0 } else { -1.0 }
}

fn size(norm: Norm, change: impl Iterator<Item = f64>) -> f64 {
    if norm == Norm::L2 { change.map(|by| by * by).sum::<f64>().sqrt() } else { change.map(f64::abs).sum() }
}

/// The clean image with a change: stretched to the radius and clipped for l2, the nearest point of ball and box for l1.
#[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
fn confined(norm: Norm, clean: &[f32], change: &[f64], eps: f32) -> Vec<f32> {
    let scale = if norm == Norm::L2 {
        // What rounding pixels to single precision can add to the length.
        let rounding = f64::from(f32::EPSILON) / 2.0 * (clean.len() as f64).sqrt();
        (f64::from(eps) - rounding).max(0.0) / size(norm, change.iter().copied()).max(1e-12)
    } else {
        1.0
    };
    let pixels = clean.iter().zip(change).map(|(clean, change)| f64::from(*clean) + scale * change);
    if norm == Norm::L2 {
        return pixels.map(|pixel| pixel.clamp(0.0, 1.0) as f32).collect();
    }
    let mut image: Vec<f32> = pixels.map(|pixel| pixel as f32).collect();
    project_l1(&mut image, clean, eps);
    image
}
