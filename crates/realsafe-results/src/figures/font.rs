//! The width and the outlines of words, in DejaVu Sans, which the program carries: images are the same everywhere.

use std::sync::LazyLock;

use tiny_skia::PathBuilder;
use ttf_parser::{Face, OutlineBuilder};

use super::scene::Point;

/// Regular and bold; none if a font could not be read, which leaves words out.
static FACES: LazyLock<[Option<Face<'static>>; 2]> =
    LazyLock::new(|| [dejavu::sans::regular(), dejavu::sans::bold()].map(|font| Face::parse(font, 0).ok()));

/// How wide words are, in pixels. The fonts that SVG asks for are narrower.
pub(super) fn width(words: &str, size: f32, bold: bool) -> f32 {
    let Some(face) = &FACES[usize::from(bold)] else { return 0.0 };
    let glyphs = words.chars().map(|letter| face.glyph_index(letter).unwrap_or_default());
    let units: f32 = glyphs.map(|glyph| f32::from(face.glyph_hor_advance(glyph).unwrap_or(0))).sum();
    units * size / f32::from(face.units_per_em())
}

/// Adds the outlines of words that start at a point of the base line.
pub(super) fn outline(path: &mut PathBuilder, words: &str, size: f32, bold: bool, (left, base): Point) {
    let Some(face) = &FACES[usize::from(bold)] else { return };
    let scale = size / f32::from(face.units_per_em());
    let mut pen = Pen { path, left, base, scale };
    for letter in words.chars() {
        let glyph = face.glyph_index(letter).unwrap_or_default();
        // Glyphs without an outline, such as spaces, leave a gap.
        face.outline_glyph(glyph, &mut pen);
        pen.left += scale * f32::from(face.glyph_hor_advance(glyph).unwrap_or(0));
    }
}

/// Draws the units of a font, whose y axis points upwards.
struct Pen<'a> {
    path: &'a mut PathBuilder,
    left: f32,
    base: f32,
    scale: f32,
}

impl Pen<'_> {
    fn at(&self, x: f32, y: f32) -> Point {
        (self.left + self.scale * x, self.base - self.scale * y)
    }
}

impl OutlineBuilder for Pen<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_a_width_and_outlines() {
        let narrow = width("iii", 10.0, false);
        assert!(narrow > 5.0 && narrow < width("www", 10.0, false));
        assert!(width("www", 10.0, false) < width("www", 10.0, true));
        let mut path = PathBuilder::new();
        outline(&mut path, "ab c", 10.0, false, (100.0, 50.0));
        let bounds = path.finish().unwrap().bounds();
        assert!(bounds.left() > 100.0 && bounds.right() < 100.0 + width("ab c", 10.0, false));
        assert!(bounds.top() > 40.0 && bounds.bottom() < 51.0);
    }
}
