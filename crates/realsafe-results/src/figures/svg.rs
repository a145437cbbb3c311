//! A scene as SVG: a file that stands alone, or a part of a page, which takes its colours from there.

use std::fmt::Write;

use maud::{Markup, html};

use super::scene::{Anchor, COLORS, Ink, Point, Scene, Shape};

/// Fonts that are there on every system; the first is what journals print.
const FONTS: &str = "Helvetica, Arial, 'DejaVu Sans', sans-serif";

/// A file of its own, on white.
pub(super) fn file(scene: &Scene, title: &str) -> String {
    let size = format!("0 0 {} {}", number(scene.width), number(scene.height));
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(number(scene.width)) height=(number(scene.height)) viewBox=(size)
            font-family=(FONTS) role="img" {
            title { (title) }
            rect width="100%" height="100%" fill="#fff" {}
            g fill=(Ink::Axis.hexadecimal()) { @for shape in &scene.shapes { (draw(shape)) } }
        }
    };
    format!("{}\n", svg.into_string())
}

/// A part of a page: transparent, words in the page's colour, as wide as there is room.
pub(super) fn part(scene: &Scene, title: &str) -> Markup {
    let size = format!("0 0 {} {}", number(scene.width), number(scene.height));
    html! {
        svg viewBox=(size) role="img" aria-label=(title) {
            g fill="currentColor" { @for shape in &scene.shapes { (draw(shape)) } }
        }
    }
}

fn draw(shape: &Shape) -> Markup {
    match shape {
        Shape::Line { points, ink, width } => {
            let dashes: Vec<String> = ink.dashes().iter().map(|length| number(*length)).collect();
            let dashes = (!dashes.is_empty()).then(|| dashes.join(" "));
            html! {
                path class=(format!("line {}", class(*ink))) d=(path(points)) fill="none" stroke=(ink.hexadecimal())
                    stroke-width=(number(*width)) stroke-dasharray=[dashes] {}
            }
        }
        Shape::Area { corners, ink, opacity } => html! {
            path class=(format!("area {}", class(*ink))) d=(format!("{}Z", path(corners))) fill=(ink.hexadecimal())
                fill-opacity=[(*opacity < 1.0).then(|| opacity.to_string())] {}
        },
        Shape::Words { at: (x, y), words, size, bold, anchor, upwards } => {
            let anchor = match anchor {
                Anchor::Start => None,
                Anchor::Middle => Some("middle"),
                Anchor::End => Some("end"),
            };
            let (x, y) = (number(*x), number(*y));
            html! {
                text x=(x) y=(y) font-size=(number(*size)) font-weight=[bold.then_some("bold")] text-anchor=[anchor]
                    transform=[upwards.then(|| format!("rotate(-90 {x} {y})"))] { (words) }
            }
        }
    }
}

/// The name by which a page can colour it.
fn class(ink: Ink) -> String {
    match ink {
        Ink::Axis => "axis".to_owned(),
        Ink::Grid => "grid".to_owned(),
        Ink::Series(index) => format!("c{}", index % COLORS.len()),
        Ink::WorstCase => "worst".to_owned(),
    }
}

/// Points to a tenth of a pixel; those that do not move the pen further, or only go on along an axis, are left out.
fn path(points: &[Point]) -> String {
    let tenths = |(x, y): &Point| ((10.0 * x).round() as i32, (10.0 * y).round() as i32);
    let mut corners: Vec<(i32, i32)> = Vec::new();
    for point in points.iter().map(tenths) {
        if let [.., before, last] = corners.as_slice() {
            let goes_on = |a: i32, b: i32, c: i32| (a <= b && b <= c) || (a >= b && b >= c);
            let along_x = before.1 == last.1 && last.1 == point.1 && goes_on(before.0, last.0, point.0);
            let along_y = before.0 == last.0 && last.0 == point.0 && goes_on(before.1, last.1, point.1);
            if along_x || along_y {
                corners.pop();
            }
        }
        if corners.last() != Some(&point) {
            corners.push(point);
        }
    }
    let mut text = String::new();
    let mut pen = None;
    for (x, y) in corners {
        let number = |tenths: i32| number(tenths as f32 / 10.0);
        // Writing into a string cannot fail.
        let _ = match pen {
            None => write!(text, "M{} {}", number(x), number(y)),
            Some((_, before)) if before == y => write!(text, "H{}", number(x)),
            Some((before, _)) if before == x => write!(text, "V{}", number(y)),
            Some(_) => write!(text, "L{} {}", number(x), number(y)),
        };
        pen = Some((x, y));
    }
    text
}

/// A number with at most one decimal.
fn number(value: f32) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_no_idle_points() {
        let stairs = [(0.0, 0.0), (1.0, 0.0), (1.01, 0.0), (2.0, 0.0), (2.0, 3.0), (2.0, 3.04), (2.5, 4.0)];
        assert_eq!(path(&stairs), "M0 0H2V3L2.5 4");
        // Back and forth is not on and on.
        assert_eq!(path(&[(0.0, 0.0), (2.0, 0.0), (1.0, 0.0)]), "M0 0H2H1");
        assert_eq!(path(&[]), "");
    }

    #[test]
    fn words_are_escaped() {
        let mut scene = Scene { width: 10.0, height: 20.5, ..Scene::default() };
        scene.words((1.0, 2.0), "a < b & c", 9.0, Anchor::End);
        let text = file(&scene, "\"quoted\" <title>");
        assert!(
            text.contains("<text x=\"1\" y=\"2\" font-size=\"9\" text-anchor=\"end\">a &lt; b &amp; c</text>"),
            "{text}"
        );
        assert!(text.contains("height=\"20.5\" viewBox=\"0 0 10 20.5\"") && text.contains("&lt;title&gt;"), "{text}");
    }
}
