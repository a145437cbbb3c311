//! Tests of figures: what is drawn where, and that files are what they should be.

use super::*;
use crate::fixture::plan;
use crate::tables::curves::CurvePoint;
use crate::tables::row::{About, Row};

const SPEC: &str = r#"
experiment = { id = "trial" }
data = { use = "dots", samples = 8 }
model = [{ id = "plain", use = "net" }, { id = "trained", use = "other-net" }]
attack = [{ use = "step" }, { use = "walk" }]
threat = { norm = "linf", eps = ["2/255", "6/255", "8/255"] }
"#;

fn experiment(figures: &str) -> Experiment {
    plan(&[&format!("{SPEC}\n{figures}")]).experiments.remove(0)
}

/// A row of a model and an attack with the rate as interval's middle.
fn row(model: &str, attack: &str, x_axis: &'static str, eps: &str, seed: u64, (x, rate): (f64, f64)) -> CurveRow {
    let about = About {
        experiment: "trial".to_owned(),
        model: model.to_owned(),
        defense: "none".to_owned(),
        attack: attack.to_owned(),
        threat: "linf".to_owned(),
        norm: "linf".to_owned(),
        goal: "untargeted".to_owned(),
        eps: eps.to_owned(),
    };
    let steps = x_axis == "queries" || attack == "walk";
    let interval = (Some(rate - 0.1), Some(rate + 0.1));
    let values = CurvePoint {
        seed,
        x_axis,
        x,
        rate: Some(rate),
        low: interval.0,
        high: interval.1,
        steps,
        ..CurvePoint::default()
    };
    Row { about, values }
}

fn rows() -> Vec<CurveRow> {
    let mut rows = Vec::new();
    for model in ["plain", "trained"] {
        for (level, rate) in [(0.0, 0.9), (2.0, 0.7), (6.0, 0.5), (8.0, 0.2)] {
            rows.push(row(model, "step", "eps", "", 0, (level / 255.0, rate)));
        }
        for (x, rate) in [(0.0, 0.9), (0.01, 0.6), (0.02, 0.3), (0.5, 0.1)] {
            rows.push(row(model, "walk", "eps", "", 0, (x, rate)));
        }
        for eps in ["2/255", "2/85"] {
            for (x, rate) in [(0.0, 0.9), (5.0, 0.5), (100.0, 0.4)] {
                rows.push(row(model, "step", "queries", eps, 0, (x, rate)));
            }
        }
    }
    rows
}

#[test]
fn panels_and_lines_are_what_the_spec_says() {
    let spec = experiment("figure = [{ x-axis = \"eps\", title = \"Curves\" }]");
    let [drawing] = drawings(&spec, &rows()).try_into().unwrap();
    assert_eq!((drawing.name.as_str(), drawing.heading().as_str()), ("trial.eps", "Curves · linf"));
    assert_eq!(drawing.axis_title, "eps (linf)");
    let titles: Vec<&str> = drawing.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["plain", "trained"]);
    let keys: Vec<(&str, bool)> = drawing.keys.iter().map(|key| (key.label.as_str(), key.marked)).collect();
    assert_eq!(keys, [("step", true), ("walk", false)]);
    let panel = &drawing.panels[0];
    assert_eq!(panel.scale, Scale::levels(8.0 / 255.0));
    assert_eq!(panel.lines.iter().map(|line| line.course).collect::<Vec<_>>(), [Course::Joined, Course::Steps]);
    // The distances go beyond the radii of the spec, and the curve up to them.
    let seen: Vec<f64> = panel.visible(&panel.lines[1]).iter().map(|sample| sample.x).collect();
    assert_eq!(seen, [0.0, 0.01, 0.02, 8.0 / 255.0]);
}

#[test]
fn what_is_left_has_images_of_its_own() {
    let spec = experiment("figure = [{ x-axis = \"queries\", scale = \"log\", panels = [], series = \"model\" }]");
    let images = drawings(&spec, &rows());
    let names: Vec<(&str, String)> = images.iter().map(|image| (image.name.as_str(), image.heading())).collect();
    assert_eq!(
        names,
        [
            ("trial.queries.2-255", "step, linf, eps 2/255".to_owned()),
            ("trial.queries.6-255", "step, linf, eps 6/255".to_owned())
        ]
    );
    let panel = &images[0].panels[0];
    assert_eq!((panel.scale.start, panel.scale.end, panel.lines.len()), (5.0, 100.0, 2));
    let seen: Vec<_> = panel.visible(&panel.lines[0]).iter().map(|sample| (sample.x, sample.rate)).collect();
    assert_eq!(seen, [(5.0, Some(0.5)), (100.0, Some(0.4))]);

    let filtered = "figure = [{ x-axis = \"queries\", panels = \"attack\", series = \"eps\", model = \"plain\", eps = \"6/255\" }]";
    let [one] = drawings(&experiment(filtered), &rows()).try_into().unwrap();
    assert_eq!((one.name.as_str(), one.keys[0].label.as_str(), one.keys.len()), ("trial.queries", "eps 6/255", 1));
    assert!(drawings(&experiment("figure = [{ x-axis = \"iterations\" }]"), &rows()).is_empty());
}

#[test]
fn what_a_search_gives_is_called_a_lower_envelope() {
    let searched = SPEC
        .replace("{ use = \"step\" }", "{ use = \"step\", search = \"list\" }")
        .replace("{ use = \"walk\" }", "{ use = \"climb\" }");
    let words = |figure: &str| {
        let spec = plan(&[&format!("{searched}\n{figure}")]).experiments.remove(0);
        let [drawing] = drawings(&spec, &rows()).try_into().unwrap();
        let keys: Vec<String> = drawing.keys.iter().map(|key| key.label.clone()).collect();
        (drawing.heading(), keys, drawing.svg().contains("step (lower envelope)"))
    };
    let all = words("figure = [{ x-axis = \"eps\", series = \"attack\" }]");
    assert_eq!(all, ("linf".to_owned(), vec!["step (lower envelope)".to_owned(), "walk".to_owned()], true));
    let one = words("figure = [{ x-axis = \"eps\", series = \"model\", panels = [], attack = \"step\" }]");
    assert_eq!(one.0, "step (lower envelope), linf");
    // Only against eps.
    let queries = words("figure = [{ x-axis = \"queries\", series = \"attack\", eps = \"6/255\" }]");
    assert_eq!((queries.1, queries.2), (vec!["step".to_owned()], false));
}

#[test]
fn worst_cases_are_dashed_and_grey_beside_attacks() {
    let mut rows = rows();
    rows.push(row("plain", "worst-case", "eps", "", 0, (0.0, 0.9)));
    rows.push(row("plain", "worst-case", "eps", "", 0, (8.0 / 255.0, 0.1)));
    let draw = |figure: &str| -> Drawing {
        let [drawing] = drawings(&experiment(figure), &rows).try_into().unwrap();
        drawing
    };
    let drawing = draw("figure = [{ x-axis = \"eps\" }]");
    let inks: Vec<(&str, Ink)> = drawing.keys.iter().map(|key| (key.label.as_str(), key.ink)).collect();
    assert_eq!(inks, [("step", Ink::Series(0)), ("walk", Ink::Series(1)), ("worst-case", Ink::WorstCase)]);
    let svg = drawing.svg();
    // The curve and its key.
    assert_eq!(svg.matches("class=\"line worst\"").count(), 2, "{svg}");
    assert!(svg.contains("stroke=\"#666666\" stroke-width=\"1.6\" stroke-dasharray=\"4 3\""), "{svg}");
    let vega: serde_json::Value = serde_json::from_slice(&drawing.vega_lite().unwrap()).unwrap();
    assert_eq!(vega["concat"][0]["encoding"]["color"]["scale"]["range"][2], "#666666");
    // An attack's curve lies over it.
    let panel = &drawing.panels[0];
    assert_eq!(panel.lines.iter().map(|line| line.key).collect::<Vec<_>>(), [2, 0, 1]);
    // Beside models, colours tell these apart.
    let keys = draw("figure = [{ x-axis = \"eps\", series = \"model\", panels = \"attack\" }]").keys;
    assert!(keys.iter().all(|key| key.ink != Ink::WorstCase));
}

#[test]
fn axes_are_in_steps_of_8_bit_images_wherever_specs_are() {
    let labels = |spec: &str, figure: &str| {
        let spec = plan(&[&format!("{spec}\n{figure}")]).experiments.remove(0);
        let [drawing] = drawings(&spec, &rows()).try_into().unwrap();
        let vega: serde_json::Value = serde_json::from_slice(&drawing.vega_lite().unwrap()).unwrap();
        let expression = vega["concat"][0]["encoding"]["x"]["axis"]["labelExpr"].is_string();
        let ticks = drawing.panels[0].scale.ticks.iter().map(|tick| tick.label.clone());
        (ticks.collect::<Vec<_>>(), expression)
    };
    let logarithmic = "figure = [{ x-axis = \"eps\", scale = \"log\" }]";
    let (ticks, in_vega) = labels(SPEC, logarithmic);
    assert!(ticks.last().unwrap() == "8/255" && in_vega, "{ticks:?}");
    // The radii of a search, where the threat model has none.
    let searched = SPEC
        .replace("{ use = \"step\" }", "{ use = \"step\", search = { start = \"1/255\", doublings = 6 } }")
        .replace(", eps = [\"2/255\", \"6/255\", \"8/255\"]", "");
    let (ticks, in_vega) = labels(&searched, "figure = [{ x-axis = \"eps\", attack = \"step\" }]");
    assert_eq!((ticks, in_vega), (["0", "2/255", "4/255", "6/255", "8/255"].map(str::to_owned).to_vec(), true));
    let decimal = searched.replace("start = \"1/255\"", "start = 0.01");
    assert!(!labels(&decimal, "figure = [{ x-axis = \"eps\", attack = \"step\" }]").1);
    // A list of radii decides by itself.
    let listed = SPEC.replace("{ use = \"step\" }", "{ use = \"step\", search = { start = 0.01, doublings = 6 } }");
    assert!(labels(&listed, "figure = [{ x-axis = \"eps\" }]").1);
}

#[test]
fn panels_of_other_norms_keep_axes_of_their_own_in_vega_lite() {
    let spec = SPEC
        .replace("threat = { ", "threat = [{ norm = \"l2\", eps = [1, 2] }, { ")
        .replace("\"8/255\"] }", "\"8/255\"] }]");
    let spec = plan(&[&format!(
        "{spec}\nfigure = [{{ x-axis = \"eps\", panels = \"threat\", series = \"attack\", model = \"plain\" }}]"
    )]);
    let mut rows = rows();
    let mut other = row("plain", "step", "eps", "", 0, (2.0, 0.5));
    (other.about.threat, other.about.norm) = ("l2".to_owned(), "l2".to_owned());
    rows.push(other);
    let [drawing] = drawings(&spec.experiments[0], &rows).try_into().unwrap();
    let vega: serde_json::Value = serde_json::from_slice(&drawing.vega_lite().unwrap()).unwrap();
    let axis = |view: usize| &vega["concat"][view]["encoding"]["x"];
    assert!(axis(0)["axis"]["labelExpr"].is_string() && axis(1)["axis"]["labelExpr"].is_null());
    assert_eq!((&axis(1)["scale"]["domain"][1], &vega["concat"][1]["title"]), (&2.0.into(), &"l2".into()));
}

#[test]
fn nothing_is_drawn_between_points_against_queries() {
    let mut rows = rows();
    rows.iter_mut().for_each(|row| row.values.steps = false);
    let spec = experiment("figure = [{ x-axis = \"queries\", model = \"plain\", eps = \"6/255\" }]");
    let [drawing] = drawings(&spec, &rows).try_into().unwrap();
    assert_eq!(drawing.panels[0].lines[0].course, Course::Points);
    // A sample of the key and an interval for each of three points, and marks.
    let svg = drawing.svg();
    assert_eq!((svg.matches("class=\"line c").count(), svg.matches("class=\"area").count()), (1 + 3, 1 + 3), "{svg}");
    let vega: serde_json::Value = serde_json::from_slice(&drawing.vega_lite().unwrap()).unwrap();
    assert!(vega["data"]["values"].as_array().unwrap().iter().all(|value| value["course"] == "points"));
}

#[test]
fn seeds_are_averaged_where_all_are_known() {
    let sample = |x, rate| Sample { x, rate: Some(rate), low: rate - 0.1, high: rate + 0.1 };
    let curves = [vec![sample(0.0, 1.0), sample(2.0, 0.5)], vec![sample(0.0, 0.5), sample(1.0, 0.25)]];
    let found =
        |steps| mean_curve(&curves, steps).iter().map(|sample| (sample.x, sample.rate.unwrap())).collect::<Vec<_>>();
    assert_eq!(found(true), [(0.0, 0.75), (1.0, 0.625), (2.0, 0.375)]);
    assert_eq!(found(false), [(0.0, 0.75)]);
    let mut open = curves.clone();
    open[0][0].rate = None;
    let mean = mean_curve(&open, true);
    assert_eq!((mean[0].rate, mean[0].low), (None, f64::midpoint(0.9, 0.4)));
}

#[test]
fn steps_too_close_to_see_are_one() {
    let samples = (0..10_000).map(|index| Sample {
        x: f64::from(index) / 10_000.0,
        rate: Some(1.0 - f64::from(index) / 10_000.0),
        low: 0.0,
        high: 1.0,
    });
    let line = Line { key: 0, course: Course::Steps, samples: samples.collect() };
    let panel = Panel { title: String::new(), scale: Scale::linear(1.0), lines: vec![line] };
    let visible = panel.visible(&panel.lines[0]);
    assert!((900..1100).contains(&visible.len()), "{}", visible.len());
    for sample in visible {
        // No step is moved by more than its own width.
        assert!((1.0 - sample.rate.unwrap() - sample.x).abs() < 2.0 * CLOSE, "{sample:?}");
    }
}

#[test]
fn files_are_readable_and_the_same_each_time() {
    let spec = experiment("figure = [{ x-axis = \"eps\", title = \"a < b\" }]");
    let [drawing] = drawings(&spec, &rows()).try_into().unwrap();
    let svg = drawing.svg();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && svg.ends_with("</svg>\n"));
    for words in ["a &lt; b · linf", ">trained<", ">walk<", ">4/255<", ">eps (linf)<", "robust accuracy (%)"] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    // Two panels of two bands and two curves each, one of them with four marks, and two keys.
    assert_eq!(svg.matches("class=\"area").count(), 2 * (2 + 4) + 1);
    assert_eq!(svg.matches("class=\"line c").count(), 2 * 2 + 2);
    let png = drawing.png().unwrap();
    assert!(png.starts_with(b"\x89PNG") && png == drawing.png().unwrap());
    let scene = chart::figure(&drawing);
    let size = [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()));
    assert_eq!(size.map(|length| length as f32), [2.0 * scene.width, 2.0 * scene.height]);
    let vega: serde_json::Value = serde_json::from_slice(&drawing.vega_lite().unwrap()).unwrap();
    let values = vega["data"]["values"].as_array().unwrap();
    // Four points, and of the steps the start, two distances and the end of the axis.
    assert_eq!(values.len(), 2 * (4 + 4));
    assert_eq!(values[1]["rate"], 0.7);
    assert_eq!(vega["concat"][0]["encoding"]["color"]["scale"]["domain"], serde_json::json!(["step", "walk"]));
    let page = drawing.html().into_string();
    assert_eq!(page.matches("<svg ").count(), 2 + 2);
    assert!(page.contains("fill=\"currentColor\"") && !page.contains("<rect"));
}
