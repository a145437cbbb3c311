//! Figures: robust accuracy against eps, queries and iterations, in panels side by side.
//!
//! A figure of a spec selects curves of `curves.csv`, and says which of model, stack, attack, threat model and radius
//! have a panel each, and which a line each. What is left has an image of its own: `EXPERIMENT.FIGURE.svg`, or, where
//! several are left, `EXPERIMENT.FIGURE.WHICH.svg`, and the same as `.png` and as Vega-Lite (`.vl.json`). Curves of
//! several seeds are shown as the mean of their rates and of the ends of their intervals: the images are the same for
//! all, so that seeds do not narrow what is known. All is a function of plan and store, byte for byte.

mod axis;
mod chart;
mod font;
mod png;
mod scene;
mod svg;
mod vega;

use std::io;

use maud::{Markup, html};
use realsafe_plan::{CurveAxis, Experiment, Facet, Figure, Norm, Number, ThreatSpec};

use crate::grouping::grouped;
use crate::tables::curves::{CurveRow, is_certificate, is_envelope};
use crate::tables::group::WORST_CASE;
use crate::text::spell;
use axis::Scale;
use scene::Ink;

/// An image: curves, where they are drawn, and what is written beside them.
#[derive(Debug)]
pub(crate) struct Drawing {
    /// The name of its files, without the ending.
    pub(crate) name: String,
    title: String,
    /// What all of it is about, and other images of the figure are not.
    about: String,
    axis_title: String,
    keys: Vec<Key>,
    panels: Vec<Panel>,
}

/// What the lines of one colour have in common.
#[derive(Debug)]
struct Key {
    label: String,
    ink: Ink,
    /// Whether some of them are points rather than steps.
    marked: bool,
}

#[derive(Debug)]
struct Panel {
    title: String,
    scale: Scale,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// The number of its key.
    key: usize,
    course: Course,
    samples: Vec<Sample>,
}

/// What is known between the samples of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// The rate stays what it is up to the next one.
    Steps,
    /// It changes from one to the next, somehow: they are joined.
    Joined,
    /// Nothing.
    Points,
}

impl Course {
    /// The word in Vega-Lite.
    const fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Joined => "joined",
            Self::Points => "points",
        }
    }
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    x: f64,
    /// None where errors leave it open.
    rate: Option<f64>,
    low: f64,
    high: f64,
}

/// Of the length of an axis: a quarter of a pixel.
const CLOSE: f64 = 0.001;

impl Panel {
    /// What there is to see of a line: from the start of the axis to its end, if it goes on in steps. Steps that are so
    /// close that nobody could tell them apart are one.
    fn visible(&self, line: &Line) -> Vec<Sample> {
        let Scale { start, end, .. } = self.scale;
        let before = line.samples.iter().rfind(|sample| sample.x <= start).filter(|_| line.course == Course::Steps);
        let first = before.map(|sample| Sample { x: start, ..*sample });
        let is_within = |sample: &&Sample| (start..=end).contains(&sample.x) && (before.is_none() || sample.x > start);
        let within = line.samples.iter().filter(is_within).copied();
        let mut visible: Vec<Sample> = Vec::new();
        for sample in first.into_iter().chain(within) {
            let is_near = |last: &Sample| self.scale.place(sample.x) - self.scale.place(last.x) < CLOSE;
            // The first one says where the curve starts.
            let in_steps = line.course == Course::Steps && visible.len() > 1;
            if in_steps && visible.last().is_some_and(is_near) {
                let x = visible.pop().map_or(sample.x, |last| last.x);
                visible.push(Sample { x, ..sample });
            } else {
                visible.push(sample);
            }
        }
        if let Some(last) = visible.last().filter(|last| line.course == Course::Steps && last.x < end) {
            visible.push(Sample { x: end, ..*last });
        }
        visible
    }
}

impl Drawing {
    /// What stands above it.
    fn heading(&self) -> String {
        [self.title.as_str(), &self.about].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    }

    /// A file for papers and editors.
    pub(crate) fn svg(&self) -> String {
        svg::file(&chart::figure(self), &self.heading())
    }

    /// A file for everything else.
    pub(crate) fn png(&self) -> io::Result<Vec<u8>> {
        png::paint(&chart::figure(self))
    }

    /// A Vega-Lite specification.
    pub(crate) fn vega_lite(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&vega::specification(self))?;
        text.push(b'\n');
        Ok(text)
    }

    /// A part of a page whose panels flow into as many columns as there is room for.
    pub(crate) fn html(&self) -> Markup {
        html! {
            figure {
                figcaption { (self.heading()) }
                ul.legend {
                    @for key in &self.keys {
                        li { (svg::part(&chart::sample(key), "")) (key.label) }
                    }
                }
                div.panels {
                    @for panel in &self.panels { (svg::part(&chart::panel(self, panel), &panel.title)) }
                }
            }
        }
    }
}

/// The images of an experiment's figures.
pub(crate) fn drawings(experiment: &Experiment, rows: &[CurveRow]) -> Vec<Drawing> {
    experiment.figures.iter().flat_map(|figure| draw(experiment, figure, rows)).collect()
}

/// A curve over all seeds, and what tells it apart.
struct Curve<'a> {
    facets: Vec<&'a str>,
    norm: &'a str,
    threat: &'a str,
    course: Course,
    samples: Vec<Sample>,
}

fn draw(experiment: &Experiment, figure: &Figure, rows: &[CurveRow]) -> Vec<Drawing> {
    let curves = curves(figure, rows);
    let all = figure.facets();
    let rest: Vec<Facet> =
        all.iter().filter(|facet| !figure.panels.contains(facet) && !figure.series.contains(facet)).copied().collect();
    let images = grouped(&curves, |curve| values(figure, curve, &rest));
    // The name says no more than it must.
    let several = |place: &usize| images.iter().any(|(values, _)| values[*place] != images[0].0[*place]);
    let named: Vec<usize> = (0..rest.len()).filter(several).collect();
    let drawing = |(values, curves): &(Vec<&str>, Vec<&Curve<'_>>)| {
        let which: String = named.iter().map(|place| format!(".{}", spell(values[*place]).replace('/', "-"))).collect();
        Drawing {
            name: format!("{}.{}{which}", experiment.id, figure.id),
            title: figure.title.clone(),
            about: label(experiment, figure, &rest, values),
            ..compose(experiment, figure, curves)
        }
    };
    images.iter().map(drawing).collect()
}

/// The panels and keys of an image.
fn compose(experiment: &Experiment, figure: &Figure, curves: &[&Curve<'_>]) -> Drawing {
    let series = grouped(curves.iter().copied(), |curve| values(figure, curve, &figure.series));
    let is_worst = |values: &[&str]| figure.series == [Facet::Attack] && values == [WORST_CASE];
    let keys = series.iter().enumerate().map(|(index, (values, curves))| Key {
        ink: if is_worst(values) { Ink::WorstCase } else { Ink::Series(index) },
        label: label(experiment, figure, &figure.series, values),
        marked: curves.iter().any(|curve| curve.course != Course::Steps),
    });
    let keys: Vec<Key> = keys.collect();
    let panels = grouped(curves.iter().copied(), |curve| values(figure, curve, &figure.panels));
    let panels = panels.iter().map(|(titles, inside)| {
        let line = |curve: &&Curve<'_>| {
            let own = values(figure, curve, &figure.series);
            let key = series.iter().position(|(values, _)| *values == own).unwrap_or_default();
            Line { key, course: curve.course, samples: curve.samples.clone() }
        };
        let mut lines: Vec<Line> = inside.iter().map(line).collect();
        // The worst case often lies on the curve of an attack, which it must not hide.
        lines.sort_by_key(|line| keys[line.key].ink != Ink::WorstCase);
        Panel {
            title: label(experiment, figure, &figure.panels, titles),
            scale: scale(experiment, figure, inside, curves),
            lines,
        }
    });
    let panels = panels.collect();
    let mut norms: Vec<&str> = curves.iter().map(|curve| curve.norm).collect();
    norms.dedup();
    let axis_title = match (figure.axis, norms.as_slice()) {
        (CurveAxis::Eps, [norm]) => format!("eps ({norm})"),
        (CurveAxis::Eps, _) => "eps".to_owned(),
        (CurveAxis::Queries, _) => "queries per sample".to_owned(),
        (CurveAxis::Iterations, _) => "iterations".to_owned(),
    };
    let (name, title, about) = Default::default();
    Drawing { name, title, about, axis_title, keys, panels }
}

/// The values of some facets of a curve.
fn values<'a>(figure: &Figure, curve: &Curve<'a>, facets: &[Facet]) -> Vec<&'a str> {
    let of = figure.facets().iter().zip(&curve.facets);
    facets.iter().filter_map(|facet| of.clone().find(|(other, _)| *other == facet)).map(|(_, value)| *value).collect()
}

/// The values of some facets in words. Whatever has a name for an attack says whether its curves are lower envelopes.
fn label(experiment: &Experiment, figure: &Figure, facets: &[Facet], values: &[&str]) -> String {
    let word = |(facet, value): (&Facet, &&str)| match facet {
        Facet::Eps => Some(format!("eps {}", spell(value))),
        Facet::Stack if *value == "none" => (facets.len() == 1).then(|| "no defense".to_owned()),
        Facet::Attack if figure.axis == CurveAxis::Eps && is_envelope(experiment, value) => {
            Some(format!("{value} (lower envelope)"))
        }
        Facet::Attack if figure.axis == CurveAxis::Eps && is_certificate(experiment, value) => {
            Some(format!("{value} (certified)"))
        }
        _ => Some((*value).to_owned()),
    };
    facets.iter().zip(values).filter_map(word).collect::<Vec<_>>().join(", ")
}

/// The curves that a figure is about, in the order of the rows.
fn curves<'a>(figure: &Figure, rows: &'a [CurveRow]) -> Vec<Curve<'a>> {
    let wanted = |CurveRow { about, values }: &&CurveRow| {
        values.x_axis == figure.axis.name()
            && figure.covers(&about.model, &about.defense, &about.attack, &about.threat)
            && (figure.eps.is_empty() || figure.eps.iter().any(|eps| eps.text() == about.eps))
    };
    let facets = |row: &&'a CurveRow| -> Vec<&'a str> {
        let about = &row.about;
        let values = [&about.model, &about.defense, &about.attack, &about.threat, &about.eps];
        values.into_iter().take(figure.facets().len()).map(String::as_str).collect()
    };
    let of_attack = grouped(rows.iter().filter(wanted), facets);
    let curve = |(facets, rows): (Vec<&'a str>, Vec<&'a CurveRow>)| {
        let CurveRow { about, values } = rows[0];
        let samples = |(_, rows): (u64, Vec<&CurveRow>)| -> Vec<Sample> {
            let values = rows.into_iter().map(|row| &row.values);
            let sample = values.filter_map(|values| {
                Some(Sample { x: values.x, rate: values.rate, low: values.low?, high: values.high? })
            });
            sample.collect()
        };
        let seeds = grouped(rows.iter().copied(), |row| row.values.seed);
        let seeds: Vec<Vec<Sample>> = seeds.into_iter().map(samples).collect();
        let samples = mean_curve(&seeds, values.steps);
        let course = match (values.steps, figure.axis) {
            (true, _) => Course::Steps,
            // Of what is judged in the end only.
            (false, CurveAxis::Queries) => Course::Points,
            (false, _) => Course::Joined,
        };
        Curve { facets, norm: &about.norm, threat: &about.threat, course, samples }
    };
    of_attack.into_iter().map(curve).filter(|curve| !curve.samples.is_empty()).collect()
}

/// The mean of several curves, wherever all of them are known.
fn mean_curve(curves: &[Vec<Sample>], steps: bool) -> Vec<Sample> {
    let mut positions: Vec<f64> = curves.iter().flatten().map(|sample| sample.x).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    let mean_at = |x: f64| {
        let at = |curve: &Vec<Sample>| {
            let before = curve.partition_point(|sample| sample.x <= x);
            before.checked_sub(1).map(|index| curve[index]).filter(|sample| steps || sample.x == x)
        };
        let samples = curves.iter().map(at).collect::<Option<Vec<Sample>>>()?;
        let mean = |of: &dyn Fn(&Sample) -> Option<f64>| {
            let values = samples.iter().map(of).collect::<Option<Vec<f64>>>()?;
            crate::statistics::mean(&values)
        };
        let (low, high) = (mean(&|sample| Some(sample.low))?, mean(&|sample| Some(sample.high))?);
        Some(Sample { x, rate: mean(&|sample| sample.rate), low, high })
    };
    positions.into_iter().filter_map(mean_at).collect()
}

/// The axis of a panel: the same for all panels of an image that measure in the same norm.
fn scale(experiment: &Experiment, figure: &Figure, inside: &[&Curve<'_>], all: &[&Curve<'_>]) -> Scale {
    let comparable =
        |curve: &&&Curve<'_>| figure.axis != CurveAxis::Eps || inside.iter().any(|other| other.norm == curve.norm);
    let curves: Vec<&&Curve<'_>> = all.iter().filter(comparable).collect();
    let is_shown = |threat: &&ThreatSpec| curves.iter().any(|curve| curve.threat == threat.id);
    let threats: Vec<&ThreatSpec> = experiment.threats.iter().filter(is_shown).collect();
    let xs = || curves.iter().flat_map(|curve| &curve.samples).map(|sample| sample.x);
    let furthest = xs().fold(0.0, f64::max);
    let listed = threats.iter().flat_map(|threat| &threat.eps);
    // A list of radii says how far it matters; distances may go far beyond.
    let end = match figure.axis {
        CurveAxis::Eps if listed.clone().count() > 1 => listed.map(Number::written).fold(0.0, f64::max),
        _ => furthest,
    };
    let end = if end > 0.0 { end } else { 1.0 };
    let nearest = xs().filter(|x| *x > 0.0 && *x < end).fold(end, f64::min);
    let in_levels = figure.axis == CurveAxis::Eps && threats.iter().all(|threat| in_levels(experiment, threat));
    match (figure.logarithmic && nearest < end, in_levels) {
        (true, true) => Scale::logarithmic_levels(nearest, end),
        (true, false) => Scale::logarithmic(nearest, end),
        (false, true) => Scale::levels(end),
        (false, false) => Scale::linear(end),
    }
}

/// Whether the radii that a spec names for a threat model, or for searches where it names none, are steps of 8-bit images,
/// and written so.
fn in_levels(experiment: &Experiment, threat: &ThreatSpec) -> bool {
    let searches = experiment.attacks.iter().filter(|attack| attack.threats.contains(&threat.id));
    let of_searches = searches.filter_map(|attack| attack.search.as_ref()?.named_radius());
    let named: Vec<&Number> = if threat.eps.is_empty() { of_searches.collect() } else { threat.eps.iter().collect() };
    // Halves of steps are usual for weak models.
    let whole = |eps: &&Number| ((510.0 * eps.value()).round() - 510.0 * eps.value()).abs() < 1e-9;
    threat.norm == Norm::Linf && named.iter().all(whole) && named.iter().any(|eps| eps.text().contains('/'))
}

#[cfg(test)]
mod tests;
