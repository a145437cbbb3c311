//! What a figure is made of, before it is written as SVG or painted as PNG: lines, areas and words, in pixels.

/// Shapes on a canvas, later ones over earlier ones.
#[derive(Default)]
pub(super) struct Scene {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) shapes: Vec<Shape>,
}

pub(super) type Point = (f32, f32);

pub(super) enum Shape {
    Line { points: Vec<Point>, ink: Ink, width: f32 },
    Area { corners: Vec<Point>, ink: Ink, opacity: f32 },
    Words { at: Point, words: String, size: f32, bold: bool, anchor: Anchor, upwards: bool },
}

/// What a shape is drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Axes.
    Axis,
    /// The grid behind the curves.
    Grid,
    /// The curve of that number: a colour and a pattern of dashes, which also tells curves apart without colours.
    Series(usize),
    /// The worst case over all other curves.
    WorstCase,
}

/// Which end of words is at their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The colours of Okabe and Ito that stand out from white and black, which people with any colour vision tell apart.
pub(super) const COLORS: [[u8; 3]; 7] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233], [119, 119, 119]];

/// Lengths of dashes and gaps; none for a solid line.
const DASHES: [&[f32]; 4] = [&[], &[6.0, 2.5], &[2.0, 2.0], &[8.0, 2.0, 2.0, 2.0]];

impl Ink {
    /// Red, green and blue on white.
    pub(super) const fn color(self) -> [u8; 3] {
        match self {
            Self::Axis => [51, 51, 51],
            Self::Grid => [221, 221, 221],
            Self::Series(index) => COLORS[index % COLORS.len()],
            Self::WorstCase => [102, 102, 102],
        }
    }

    /// The same as `#rrggbb`.
    pub(super) fn hexadecimal(self) -> String {
        let [red, green, blue] = self.color();
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// Its dashes.
    pub(super) const fn dashes(self) -> &'static [f32] {
        match self {
            Self::Series(index) => DASHES[index % DASHES.len()],
            Self::WorstCase => &[4.0, 3.0],
            _ => &[],
        }
    }
}

impl Scene {
    pub(super) fn line(&mut self, points: impl Into<Vec<Point>>, ink: Ink, width: f32) {
        self.shapes.push(Shape::Line { points: points.into(), ink, width });
    }

    pub(super) fn area(&mut self, corners: impl Into<Vec<Point>>, ink: Ink, opacity: f32) {
        self.shapes.push(Shape::Area { corners: corners.into(), ink, opacity });
    }

    pub(super) fn words(&mut self, at: Point, words: &str, size: f32, anchor: Anchor) {
        let words = words.to_owned();
        self.shapes.push(Shape::Words { at, words, size, bold: false, anchor, upwards: false });
    }

    pub(super) fn heading(&mut self, at: Point, words: &str, size: f32, anchor: Anchor) {
        let words = words.to_owned();
        self.shapes.push(Shape::Words { at, words, size, bold: true, anchor, upwards: false });
    }

    /// Words that are read from below.
    pub(super) fn upwards(&mut self, at: Point, words: &str, size: f32) {
        let words = words.to_owned();
        self.shapes.push(Shape::Words { at, words, size, bold: false, anchor: Anchor::Middle, upwards: true });
    }

    /// The mark of a curve's points, so large that its middle stays within `radius`.
    pub(super) fn mark(&mut self, (x, y): Point, ink: Ink, radius: f32) {
        let series = if let Ink::Series(index) = ink { index } else { 0 };
        // Corners, the angle of the first as a share of a turn, and what makes the marks look equally large.
        let (corners, first, scale) = [(24, 0.0, 1.0), (4, 0.125, 1.2), (3, 0.75, 1.35), (4, 0.0, 1.25)][series % 4];
        let corner = |index: u32| {
            let angle = std::f32::consts::TAU * (first + index as f32 / corners as f32);
            (x + radius * scale * angle.cos(), y + radius * scale * angle.sin())
        };
        self.area((0..corners).map(corner).collect::<Vec<_>>(), ink, 1.0);
    }

    /// Puts another scene on this one.
    pub(super) fn place(&mut self, other: Self, (left, top): Point) {
        let moved = |points: Vec<Point>| points.into_iter().map(|(x, y)| (x + left, y + top)).collect();
        self.shapes.extend(other.shapes.into_iter().map(|shape| match shape {
            Shape::Line { points, ink, width } => Shape::Line { points: moved(points), ink, width },
            Shape::Area { corners, ink, opacity } => Shape::Area { corners: moved(corners), ink, opacity },
            Shape::Words { at: (x, y), words, size, bold, anchor, upwards } => {
                Shape::Words { at: (x + left, y + top), words, size, bold, anchor, upwards }
            }
        }));
    }
}
