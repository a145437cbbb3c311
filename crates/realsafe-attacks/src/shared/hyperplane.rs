//! The smallest change that brings an image onto a hyperplane without leaving the box, in double precision.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use realsafe_plan::Norm;

/// The change of `point`, smallest in a norm (linf, l2 or l1), after which a linear function that has this `value` at `point`
/// and the slopes `normal` is zero, and all pixels lie in the box `[0, 1]`. Where the box does not reach that far, the
/// change that comes nearest to it. Slopes that are no finite numbers count as zero.
pub(crate) fn onto_hyperplane(norm: Norm, point: &[f32], normal: &[f32], value: f64) -> Vec<f64> {
    let mut changes = vec![0.0; point.len()];
    if !value.is_finite() || value == 0.0 {
        return changes;
    }
    // Pixels move against the slope where the value is positive; how far says the box.
    let direction = |slope: f64| -slope.signum() * value.signum();
    let pixels = point.iter().zip(normal).enumerate().filter(|(_, (_, slope))| slope.is_finite() && **slope != 0.0);
    let pixels = pixels.map(|(at, (pixel, slope))| {
        let (pixel, slope) = (f64::from(*pixel), f64::from(*slope));
        let room = if direction(slope) > 0.0 { 1.0 - pixel } else { pixel };
        Pixel { at, slope, room: room.max(0.0) }
    });
    let pixels: Vec<Pixel> = pixels.collect();
    let mut change = |pixel: &Pixel, by: f64| changes[pixel.at] = direction(pixel.slope) * by;
    if norm == Norm::L1 {
        steepest_first(&pixels, value.abs(), change);
    } else {
        // Everything moves at a speed of its own until the box stops it: alike for linf, as its slope for l2.
        let speed = |pixel: &Pixel| if norm == Norm::Linf { 1.0 } else { pixel.slope.abs() };
        let time = arrival(&pixels, speed, value.abs());
        pixels.iter().for_each(|pixel| change(pixel, (time * speed(pixel)).min(pixel.room)));
    }
    changes
}

struct Pixel {
    at: usize,
    slope: f64,
    /// How far it can move.
    room: f64,
}

/// When the value has changed by `needed`, if every pixel moves with its speed while it has room; infinite if never.
///
/// What is gained grows with time along a concave line of straight pieces, so Newton's method from zero never goes too far,
/// and ends exactly on the solution once it is on the right piece.
fn arrival(pixels: &[Pixel], speed: impl Fn(&Pixel) -> f64, needed: f64) -> f64 {
    let mut time = 0.0;
    loop {
        let (mut stopped, mut rate) = (0.0, 0.0);
        for pixel in pixels {
            let (slope, speed) = (pixel.slope.abs(), speed(pixel));
            if time * speed >= pixel.room {
                stopped += slope * pixel.room;
            } else {
                rate += slope * speed;
            }
        }
        let next = if rate > 0.0 { (needed - stopped) / rate } else { f64::INFINITY };
        if next <= time {
            return time;
        }
        time = next;
    }
}

/// Moves the pixels with the largest slopes as far as they can, one by one, until the value has changed by `needed`.
fn steepest_first(pixels: &[Pixel], mut needed: f64, mut change: impl FnMut(&Pixel, f64)) {
    // The bits of numbers that are not negative are ordered as the numbers are.
    let queue = pixels.iter().enumerate().map(|(place, pixel)| (pixel.slope.abs().to_bits(), Reverse(place)));
    let mut queue: BinaryHeap<_> = queue.collect();
    while needed > 0.0
        && let Some((_, Reverse(place))) = queue.pop()
    {
        let pixel = &pixels[place];
        let by = (needed / pixel.slope.abs()).min(pixel.room);
        change(pixel, by);
        needed -= by * pixel.slope.abs();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The size of a change in a norm.
    fn size(norm: Norm, change: &[f64]) -> f64 {
        match norm {
            Norm::Linf => change.iter().fold(0.0, |largest, by| by.abs().max(largest)),
            Norm::L2 => change.iter().map(|by| by * by).sum::<f64>().sqrt(),
            _ => change.iter().map(|by| by.abs()).sum(),
        }
    }

    /// By how much a change can lower `value` at most, if it has no more than this size and stays in the box: slowly, and
    /// from the size instead of the value.
    fn gain(norm: Norm, point: &[f32], normal: &[f32], value: f64, size: f64) -> f64 {
        let room = |at: usize| {
            let pixel = f64::from(point[at]);
            if f64::from(normal[at]) * value > 0.0 { pixel } else { 1.0 - pixel }
        };
        let slope = |at: usize| f64::from(normal[at]).abs();
        let mut places: Vec<usize> = (0..point.len()).collect();
        match norm {
            Norm::Linf => places.iter().map(|&at| slope(at) * room(at).min(size)).sum(),
            Norm::L2 => {
                // Bisection over the multiplier of the length.
                let moved = |scale: f64| places.iter().map(|&at| (scale * slope(at)).min(room(at))).collect::<Vec<_>>();
                let (mut low, mut high) = (0.0, 1e6);
                for _ in 0..200 {
                    let middle = 0.5 * (low + high);
                    let length = moved(middle).iter().map(|by| by * by).sum::<f64>().sqrt();
                    if length > size { high = middle } else { low = middle }
                }
                moved(low).iter().zip(&places).map(|(by, &at)| by * slope(at)).sum()
            }
            _ => {
                places.sort_by(|&a, &b| slope(b).total_cmp(&slope(a)));
                let mut left = size;
                let mut gain = 0.0;
                for at in places {
                    let by = room(at).min(left);
                    left -= by;
                    gain += by * slope(at);
                }
                gain
            }
        }
    }

    proptest! {
        /// The change lies in the box and on the hyperplane, and nothing smaller reaches as far.
        #[test]
        fn the_change_is_the_smallest_that_reaches_the_hyperplane(
            point in prop::collection::vec(prop_oneof![Just(0.0_f32), Just(1.0_f32), 0.0_f32..1.0], 7),
            normal in prop::collection::vec(prop_oneof![Just(0.0_f32), -2.0_f32..2.0], 7),
            value in -6.0_f64..6.0,
            norm in prop_oneof![Just(Norm::Linf), Just(Norm::L2), Just(Norm::L1)],
        ) {
            let change = onto_hyperplane(norm, &point, &normal, value);
            for (pixel, by) in point.iter().zip(&change) {
                prop_assert!((-1e-12..=1.0 + 1e-12).contains(&(f64::from(*pixel) + by)));
            }
            let reached: f64 = normal.iter().zip(&change).map(|(slope, by)| -f64::from(*slope) * by * value.signum()).sum();
            let most = gain(norm, &point, &normal, value, 1e3);
            prop_assert!((reached - value.abs().min(most)).abs() < 1e-9, "{reached} of {value}, at most {most}");
            if value.abs() < most {
                let shorter = gain(norm, &point, &normal, value, 0.999 * size(norm, &change));
                prop_assert!(shorter < value.abs(), "{shorter} of {value} in less");
            }
        }
    }

    #[test]
    fn what_is_no_number_moves_nothing() {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            assert_eq!(onto_hyperplane(norm, &[0.5; 2], &[0.0; 2], 1.0), [0.0; 2]);
            assert_eq!(onto_hyperplane(norm, &[0.5; 2], &[1.0; 2], f64::NAN), [0.0; 2]);
            assert_eq!(onto_hyperplane(norm, &[0.5; 2], &[f32::NAN, 2.0], 0.5), [0.0, -0.25]);
        }
    }
}
