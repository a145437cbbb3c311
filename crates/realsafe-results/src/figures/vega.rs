//! A figure as Vega-Lite, with its data inline, for those who want it another way.

use serde_json::{Value, json};

use super::{Drawing, Panel, Sample};

/// The specification.
pub(super) fn specification(drawing: &Drawing) -> Value {
    let panels: Vec<&str> = drawing.panels.iter().map(|panel| panel.title.as_str()).collect();
    let labels: Vec<&str> = drawing.keys.iter().map(|key| key.label.as_str()).collect();
    let colors: Vec<String> = drawing.keys.iter().map(|key| key.ink.hexadecimal()).collect();
    let same_axis = drawing.panels.windows(2).all(|pair| pair[0].scale == pair[1].scale);
    let values: Vec<Value> = drawing.panels.iter().flat_map(|panel| data(drawing, panel)).collect();
    let tooltip = ["series", "x", "rate", "low", "high"].map(|field| json!({ "field": field }));
    json!({
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": drawing.heading(),
        "data": { "values": values },
        "facet": { "field": "panel", "type": "nominal", "sort": panels, "title": null },
        "columns": 3,
        "resolve": { "scale": { "x": if same_axis { "shared" } else { "independent" } } },
        "spec": {
            "width": 220,
            "height": 150,
            "encoding": {
                "x": x_axis(drawing, same_axis),
                "color": {
                    "field": "series", "type": "nominal", "title": null,
                    "scale": { "domain": labels, "range": colors },
                },
            },
            "layer": [
                band("datum.steps", "step-after"),
                band("!datum.steps", "linear"),
                line("datum.steps", "step-after", false, &tooltip),
                line("!datum.steps", "linear", true, &tooltip),
            ],
        },
    })
}

fn x_axis(drawing: &Drawing, same_axis: bool) -> Value {
    let scale = drawing.panels.first().map(|panel| &panel.scale);
    let kind = if scale.is_some_and(|scale| scale.logarithmic) { "log" } else { "linear" };
    let mut axis =
        json!({ "field": "x", "type": "quantitative", "title": drawing.axis_title, "scale": { "type": kind } });
    if let Some(scale) = scale.filter(|_| same_axis) {
        axis["scale"]["domain"] = json!([scale.start, scale.end]);
        axis["axis"] = json!({ "values": scale.ticks.iter().map(|tick| tick.value).collect::<Vec<_>>() });
        if scale.ticks.iter().any(|tick| tick.label.contains('/')) {
            axis["axis"]["labelExpr"] = json!("datum.value == 0 ? '0' : round(255 * datum.value) + '/255'");
        }
    }
    axis
}

fn band(filter: &str, interpolate: &str) -> Value {
    json!({
        "transform": [{ "filter": filter }],
        "mark": { "type": "area", "opacity": 0.15, "interpolate": interpolate, "clip": true },
        "encoding": { "y": y_axis("low"), "y2": { "field": "high" } },
    })
}

fn line(filter: &str, interpolate: &str, point: bool, tooltip: &[Value]) -> Value {
    json!({
        "transform": [{ "filter": filter }],
        "mark": { "type": "line", "interpolate": interpolate, "point": point, "clip": true },
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
    let row = |key: usize, steps: bool, sample: &Sample| {
        json!({
            "panel": panel.title, "series": drawing.keys[key].label, "steps": steps, "x": sample.x, "rate": sample.rate,
            "low": sample.low, "high": sample.high,
        })
    };
    let lines = panel.lines.iter();
    lines
        .flat_map(|line| panel.visible(line).into_iter().map(move |sample| row(line.key, line.steps, &sample)))
        .collect()
}
