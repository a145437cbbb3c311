//! Local median smoothing: each pixel becomes the median of its neighbourhood, channel by channel.
//!
//! ## What it does
//! The window is `window` pixels high and wide; a window of even size reaches one pixel further up and left. Images are
//! continued by mirroring them at their edges. With an even number of neighbours, the larger of the two in the middle is
//! taken, so the result is always a pixel of the image.
//!
//! ## Gradient
//! Exact: what comes back for a pixel goes to the neighbour that was chosen, the first of equal ones. The filter is not
//! smooth, so this slope may say little about larger changes; compare with `gradient = "identity"` (BPDA).
//!
//! ## References
//! Xu, Evans, Qi: Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks, NDSS 2018
//! (arXiv:1704.01155), where it is called spatial smoothing.

use realsafe_plugin::{About, Defense, Error, Gradient, Parameter, Shape, Values};

realsafe_plugin::plugin!(static PLUGIN: [defense MedianSmoothing]);
realsafe_plugin::export!(PLUGIN);

struct MedianSmoothing {
    window: usize,
}

impl Defense for MedianSmoothing {
    const ABOUT: About = About {
        id: "median-smoothing",
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "window = 3",
        parameters: &[Parameter::count("window", 2, 15)
            .fallback("2")
            .unit("pixels")
            .documentation("The height and width of the neighbourhood.")],
    };
    const GRADIENT: Gradient = Gradient::Exact;
    const DIFFERENTIABLE: bool = true;

    fn create(values: &Values<'_>) -> Result<Self, Error> {
        Ok(Self { window: values.count("window")? as usize })
    }

    fn forward(&self, shape: &Shape, images: &[f32], output: &mut [f32]) -> Result<(), Error> {
        self.medians(shape, images, |place, chosen| output[place] = images[chosen]);
        Ok(())
    }

    fn pull(&self, shape: &Shape, images: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        gradients.fill(0.0);
        self.medians(shape, images, |place, chosen| gradients[chosen] += cotangents[place]);
        Ok(())
    }
}

impl MedianSmoothing {
    /// Visits every value of all images, together with the place of the median of its neighbourhood.
    fn medians(&self, shape: &Shape, images: &[f32], mut visit: impl FnMut(usize, usize)) {
        let (height, width) = (shape.height as usize, shape.width as usize);
        let mut neighbours = Vec::with_capacity(self.window * self.window);
        for plane in (0..images.len()).step_by(height * width) {
            for y in 0..height {
                for x in 0..width {
                    neighbours.clear();
                    for row in self.reach(y, height) {
                        neighbours.extend(self.reach(x, width).map(|column| plane + row * width + column));
                    }
                    let middle = neighbours.len() / 2;
                    let mut sorted: Vec<f32> = neighbours.iter().map(|place| images[*place]).collect();
                    let (_, median, _) = sorted.select_nth_unstable_by(middle, f32::total_cmp);
                    let chosen = neighbours.iter().find(|place| images[**place].total_cmp(median).is_eq());
                    visit(plane + y * width + x, *chosen.expect("the median is one of the neighbours"));
                }
            }
        }
    }

    /// The places of the window around one, along one side of the image.
    fn reach(&self, center: usize, length: usize) -> impl Iterator<Item = usize> {
        let first = center as isize - (self.window / 2) as isize;
        (first..first + self.window as isize).map(move |place| {
            // A mirrored image repeats after twice its length.
            let place = place.rem_euclid(2 * length as isize) as usize;
            place.min(2 * length - 1 - place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 1, height: 3, width: 3, classes: 0 };
    const IMAGE: [f32; 9] = [0.1, 0.9, 0.2, 0.3, 0.5, 0.4, 0.8, 0.6, 0.7];

    fn smooth(window: usize) -> [f32; 9] {
        let mut output = [0.0; 9];
        MedianSmoothing { window }.forward(&SHAPE, &IMAGE, &mut output).unwrap();
        output
    }

    #[test]
    fn odd_windows_are_centred_and_mirrored() {
        // Around the corner: 0.1 four times, 0.9 and 0.3 twice, 0.5 once.
        assert_eq!(smooth(3)[0], 0.3);
        // The whole image.
        assert_eq!(smooth(3)[4], 0.5);
    }

    #[test]
    fn even_windows_reach_up_and_left_and_take_the_larger_one() {
        // 0.1, 0.9, 0.3 and 0.5.
        assert_eq!(smooth(2)[4], 0.5);
        // The corner sees itself only.
        assert_eq!(smooth(2)[0], 0.1);
    }

    #[test]
    fn cotangents_go_to_the_chosen_pixels() {
        for window in [2, 3, 15] {
            let defense = MedianSmoothing { window };
            let cotangents: Vec<f32> = (1_u8..10).map(f32::from).collect();
            let mut gradients = [0.0; 9];
            defense.pull(&SHAPE, &IMAGE, &cotangents, &mut gradients).unwrap();
            for place in 0..9 {
                let mut moved = IMAGE;
                moved[place] += 1e-3;
                let mut output = [0.0; 9];
                defense.forward(&SHAPE, &moved, &mut output).unwrap();
                let pairs = output.iter().zip(smooth(window)).zip(&cotangents);
                let slope: f32 = pairs.map(|((after, before), cotangent)| (after - before) / 1e-3 * cotangent).sum();
                assert!((slope - gradients[place]).abs() < 1e-2, "window {window}, pixel {place}");
            }
        }
    }

    #[test]
    fn equal_pixels_count_as_the_first() {
        let mut gradients = [9.0; 9];
        MedianSmoothing { window: 3 }.pull(&SHAPE, &[0.5; 9], &[1.0; 9], &mut gradients).unwrap();
        // Windows at the upper and left edges begin with the pixel at the edge.
        assert_eq!(gradients, [4.0, 2.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
