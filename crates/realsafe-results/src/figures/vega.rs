//! A figure as Vega-Lite, with its data inline, for those who want it another way.

use serde_json::{Value, json};

use super::axis::Scale;
use super::{Course, Drawing, Line, Panel, Sample};

/// The specification: a view per panel, because axes may differ.
pub(super) fn specification(drawing: &Drawing) -> Value {
    let labels: Vec<&str> = drawing.keys.iter().map(|key| key.label.as_str()).collect();
    let colors: Vec<String> = drawing.keys.iter().map(|key| key.ink.hexadecimal()).collect();
    let color = json!({
        "field": "series", "type": "nominal", "title": null, "scale": { "domain": labels, "range": colors },
    });
    let values: Vec<Value> = drawing.panels.iter().flat_map(|panel| data(drawing, panel)).collect();
    let views: Vec<Value> = drawing.panels.iter().map(|panel| view(drawing, panel, &color)).collect();
    json!({
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": drawing.heading(),
        "data": { "values": values },
        "columns": 3,
        "concat": views,
        "resolve": { "scale": { "color": "shared" } },
    })
}

fn view(drawing: &Drawing, panel: &Panel, color: &Value) -> Value {
    let tooltip = ["series", "x", "rate", "low", "high"].map(|field| json!({ "field": field }));
    json!({
        "title": panel.title,
        "width": 220,
        "height": 150,
        "transform": [{ "filter": { "field": "panel", "equal": panel.title } }],
        "encoding": { "x": x_axis(drawing, &panel.scale), "color": color },
        "layer": [
            band(Course::Steps, "step-after"),
            band(Course::Joined, "linear"),
            whiskers(),
            line(Course::Steps, json!({ "type": "line", "interpolate": "step-after", "clip": true }), &tooltip),
            line(Course::Joined, json!({ "type": "line", "point": true, "clip": true }), &tooltip),
            line(Course::Points, json!({ "type": "point", "filled": true, "clip": true }), &tooltip),
        ],
    })
}

fn x_axis(drawing: &Drawing, scale: &Scale) -> Value {
    let kind = if scale.logarithmic { "log" } else { "linear" };
    let ticks: Vec<f64> = scale.ticks.iter().map(|tick| tick.value).collect();
    let mut axis = json!({
        "field": "x", "type": "quantitative", "title": drawing.axis_title,
        "scale": { "type": kind, "domain": [scale.start, scale.end] },
        "axis": { "values": ticks },
    });
    if scale.ticks.iter().any(|tick| tick.label.contains('/')) {
        // Halves and smaller parts of a step are exact with few decimals.
        let expression = "datum.value == 0 ? '0' : round(1e4 * 255 * datum.value) / 1e4 + '/255'";
        axis["axis"]["labelExpr"] = json!(expression);
    }
    axis
}

/// Chooses the curves of a course.
fn of(course: Course) -> Value {
    json!([{ "filter": { "field": "course", "equal": course.name() } }])
}

fn band(course: Course, interpolate: &str) -> Value {
    json!({
        "transform": of(course),
        "mark": { "type": "area", "opacity": 0.15, "interpolate": interpolate, "clip": true },
        "encoding": { "y": y_axis("low"), "y2": { "field": "high" } },
    })
}

/// The intervals of points that nothing joins.
fn whiskers() -> Value {
    json!({
        "transform": of(Course::Points),
        "mark": { "type": "rule", "clip": true },
        "encoding": { "y": y_axis("low"), "y2": { "field": "high" } },
    })
}

fn line(course: Course, mark: Value, tooltip: &[Value]) -> Value {
    json!({
        "transform": of(course),
        "mark": mark,
        "encoding": { "y": y_axis("rate"), "tooltip": tooltip },
    })
}

fn y_axis(field: &str) -> Value {
    json!({
        "field": field, "type": "quantitative", "title": "robust accuracy", "axis": { "format": "%" },
        "scale": { "domain": [0, 1] },
    })
}

/// A row per point; steps go on to the end of the axis.
fn data(drawing: &Drawing, panel: &Panel) -> Vec<Value> {
    let row = |line: &Line, sample: &Sample| {
        json!({
            "panel": panel.title, "series": drawing.keys[line.key].label, "course": line.course.name(), "x": sample.x,
            "rate": sample.rate, "low": sample.low, "high": sample.high,
        })
    };
    let lines = panel.lines.iter();
    lines.flat_map(|line| panel.visible(line).into_iter().map(move |sample| row(line, &sample))).collect()
}
