//! A scene as PNG, twice as many pixels each way as the SVG has units.

use std::io;

use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Stroke, StrokeDash, Transform};

use super::font;
use super::scene::{Anchor, Ink, Point, Scene, Shape};

const SCALE: f32 = 2.0;

/// Paints a scene on white.
pub(super) fn paint(scene: &Scene) -> io::Result<Vec<u8>> {
    let pixels = |length: f32| (SCALE * length).ceil() as u32;
    let (width, height) = (pixels(scene.width), pixels(scene.height));
    let too_large = || io::Error::other(format!("a figure of {width} times {height} pixels cannot be painted"));
    let mut canvas = Pixmap::new(width, height).ok_or_else(too_large)?;
    canvas.fill(Color::WHITE);
    for shape in &scene.shapes {
        match shape {
            Shape::Line { points, ink, width } => {
                let dash = StrokeDash::new(ink.dashes().to_vec(), 0.0);
                let stroke = Stroke { width: *width, dash, ..Stroke::default() };
                if let Some(path) = path(points, false) {
                    canvas.stroke_path(&path, &paint_of(*ink, 1.0), &stroke, scaled(), None);
                }
            }
            Shape::Area { corners, ink, opacity } => {
                if let Some(path) = path(corners, true) {
                    canvas.fill_path(&path, &paint_of(*ink, *opacity), FillRule::Winding, scaled(), None);
                }
            }
            Shape::Words { at: (x, y), words, size, bold, anchor, upwards } => {
                let width = font::width(words, *size, *bold);
                let before = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => width / 2.0,
                    Anchor::End => width,
                };
                let mut outlines = PathBuilder::new();
                font::outline(&mut outlines, words, *size, *bold, (x - before, *y));
                let turn = if *upwards { Transform::from_rotate_at(-90.0, *x, *y) } else { Transform::identity() };
                if let Some(path) = outlines.finish() {
                    let turned = turn.post_concat(scaled());
                    canvas.fill_path(&path, &paint_of(Ink::Axis, 1.0), FillRule::Winding, turned, None);
                }
            }
        }
    }
    canvas.encode_png().map_err(io::Error::other)
}

fn scaled() -> Transform {
    Transform::from_scale(SCALE, SCALE)
}

fn paint_of(ink: Ink, opacity: f32) -> Paint<'static> {
    let [red, green, blue] = ink.color();
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, (255.0 * opacity).round() as u8);
    paint
}

fn path(points: &[Point], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    rest.iter().for_each(|(x, y)| path.line_to(*x, *y));
    if closed {
        path.close();
    }
    path.finish()
}
