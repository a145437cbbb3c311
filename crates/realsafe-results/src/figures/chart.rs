//! From curves to shapes: panels, legends and whole figures.

use super::font;
use super::scene::{Anchor, Ink, Point, Scene};
use super::{Course, Drawing, Key, Line, Panel, Sample};

const LEFT: f32 = 46.0;
const TOP: f32 = 24.0;
/// Of the area where the curves are.
const PLOT: (f32, f32) = (220.0, 150.0);
/// Of a panel.
const PANEL: (f32, f32) = (LEFT + PLOT.0 + 16.0, TOP + PLOT.1 + 38.0);

const BASE: f32 = TOP + PLOT.1;
const SMALL: f32 = 9.5;
const NORMAL: f32 = 10.5;
const LARGE: f32 = 13.0;
const MARK: f32 = 2.6;
/// Of a line of the legend.
const ROW: f32 = 17.0;
/// Of the sample of a line in the legend.
const KEY: (f32, f32) = (26.0, 12.0);
const MARGIN: f32 = 10.0;

/// A panel with its axes.
pub(super) fn panel(drawing: &Drawing, panel: &Panel) -> Scene {
    let mut scene = Scene { width: PANEL.0, height: PANEL.1, shapes: Vec::new() };
    for fifth in 0..=5_u8 {
        let y = BASE - PLOT.1 * f32::from(fifth) / 5.0;
        scene.line([(LEFT, y), (LEFT + PLOT.0, y)], Ink::Grid, 0.6);
        scene.words((LEFT - 5.0, y + 3.4), &(20 * fifth).to_string(), SMALL, Anchor::End);
    }
    for tick in &panel.scale.ticks {
        let x = LEFT + PLOT.0 * panel.scale.place(tick.value) as f32;
        scene.line([(x, TOP), (x, BASE)], Ink::Grid, 0.6);
        scene.line([(x, BASE), (x, BASE + 3.0)], Ink::Axis, 0.8);
        scene.words((x, BASE + 13.5), &tick.label, SMALL, Anchor::Middle);
    }
    // Bands first, so that no curve is under another one's.
    for line in &panel.lines {
        band(&mut scene, panel, line, drawing.keys[line.key].ink);
    }
    for line in &panel.lines {
        curve(&mut scene, panel, line, drawing.keys[line.key].ink);
    }
    scene.line([(LEFT, TOP), (LEFT, BASE), (LEFT + PLOT.0, BASE)], Ink::Axis, 0.8);
    scene.words((LEFT + PLOT.0 / 2.0, BASE + 30.0), &drawing.axis_title, NORMAL, Anchor::Middle);
    scene.upwards((12.0, TOP + PLOT.1 / 2.0), "robust accuracy (%)", NORMAL);
    scene.heading((LEFT + PLOT.0 / 2.0, 15.0), &panel.title, NORMAL, Anchor::Middle);
    scene
}

fn at(panel: &Panel, x: f64, rate: f64) -> Point {
    (LEFT + PLOT.0 * panel.scale.place(x) as f32, BASE - PLOT.1 * rate.clamp(0.0, 1.0) as f32)
}

/// The points of a line within the axis, at a height of each sample.
fn points(panel: &Panel, line: &Line, samples: &[Sample], height: impl Fn(&Sample) -> f64) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let placed = samples.iter().map(|sample| at(panel, sample.x, height(sample)));
    for (x, y) in placed {
        if line.course == Course::Steps
            && let Some(last) = points.last()
        {
            points.push((x, last.1));
        }
        points.push((x, y));
    }
    points
}

fn band(scene: &mut Scene, panel: &Panel, line: &Line, ink: Ink) {
    let samples = panel.visible(line);
    if line.course == Course::Points {
        for sample in &samples {
            scene.line([at(panel, sample.x, sample.low), at(panel, sample.x, sample.high)], ink, 0.8);
        }
        return;
    }
    let mut corners = points(panel, line, &samples, |sample| sample.low);
    corners.extend(points(panel, line, &samples, |sample| sample.high).into_iter().rev());
    scene.area(corners, ink, 0.14);
}

fn curve(scene: &mut Scene, panel: &Panel, line: &Line, ink: Ink) {
    let samples = panel.visible(line);
    // Errors leave gaps.
    for piece in samples.chunk_by(|a, b| a.rate.is_some() && b.rate.is_some()) {
        let piece: Vec<Sample> = piece.iter().filter(|sample| sample.rate.is_some()).copied().collect();
        let places = points(panel, line, &piece, |sample| sample.rate.unwrap_or_default());
        if line.course != Course::Steps {
            places.iter().for_each(|place| scene.mark(*place, ink, MARK));
        }
        if places.len() > 1 && line.course != Course::Points {
            scene.line(places, ink, 1.6);
        }
    }
}

/// How the lines of a key look.
pub(super) fn sample(key: &Key) -> Scene {
    let mut scene = Scene { width: KEY.0, height: KEY.1, shapes: Vec::new() };
    let middle = KEY.1 / 2.0;
    scene.line([(0.0, middle), (KEY.0, middle)], key.ink, 1.6);
    if key.marked {
        scene.mark((KEY.0 / 2.0, middle), key.ink, MARK + 0.4);
    }
    scene
}

/// Title, legend and all panels.
pub(super) fn figure(drawing: &Drawing) -> Scene {
    let count = drawing.panels.len().max(1);
    let columns = match count {
        1..=3 => count,
        4 => 2,
        5 | 6 | 9 => 3,
        _ => 4,
    };
    let heading = drawing.heading();
    let needed = 2.0 * MARGIN + font::width(&heading, LARGE, true);
    let width = (columns as f32).mul_add(PANEL.0, 2.0 * MARGIN).max(needed.ceil());
    let mut scene = Scene { width, height: 0.0, shapes: Vec::new() };
    scene.heading((MARGIN, 22.0), &heading, LARGE, Anchor::Start);
    let (mut x, mut y) = (MARGIN, 30.0);
    for key in &drawing.keys {
        let space = KEY.0 + 5.0 + font::width(&key.label, NORMAL, false);
        if x > MARGIN && x + space > width - MARGIN {
            (x, y) = (MARGIN, y + ROW);
        }
        scene.place(sample(key), (x, y + 2.0));
        scene.words((x + KEY.0 + 5.0, y + 12.0), &key.label, NORMAL, Anchor::Start);
        x += space + 16.0;
    }
    let top = y + ROW + 6.0;
    for (index, one) in drawing.panels.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        scene.place(panel(drawing, one), (MARGIN + column as f32 * PANEL.0, top + row as f32 * PANEL.1));
    }
    scene.height = top + count.div_ceil(columns) as f32 * PANEL.1 + 2.0;
    scene
}
