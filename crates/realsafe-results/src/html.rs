//! `report.html`: everything that a report says on one page, which needs no network.
//!
//! Like the tables it is a function of plan and store, byte for byte: of the program it names the version, of the
//! device the class for which the plan is. When and where it ran is in `manifest.json`.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use realsafe_plan::{Experiment, Plan, ThreatSpec};

use crate::figures::Drawing;
use crate::grouping::grouped;
use crate::manifest::{inputs, plan_digest};
use crate::table::{
    Accuracy, Shown, compare, left_after, median_distance, rejections, robust_accuracy, sentences, shown, threat,
    threat_id, unchecked, warnings,
};
use crate::tables::curves::is_envelope;
use crate::tables::members::{Chain, MemberShare, chains};
use crate::text::{percent, spell, words};
use crate::{ExpectationRow, ExperimentReport, RejectionRow, Report, Verdict};

/// What the numbers in the tables are.
const CAPTION: &str = "With 95 % intervals, and the standard deviation over seeds. Queries are means over all samples, at the \
    radius that needs most.";

/// What searches for the smallest radius measure.
const ENVELOPE: &str = "Lower envelopes are of attacks that search for the smallest radius: a sample counts as broken from the \
    smallest success on, although the attack might fail at a larger radius.";

const STYLE: &str = include_str!("html.css");

/// The page; `figures` are those of each experiment, `digests` the BLAKE3 of the tables.
pub(crate) fn page(
    plan: &Plan,
    report: &Report,
    figures: &[Vec<Drawing>],
    digests: &BTreeMap<String, String>,
) -> String {
    let title = match plan.experiments.as_slice() {
        [only] if only.title.is_empty() => only.id.clone(),
        [only] => only.title.clone(),
        several => format!("{} experiments", several.len()),
    };
    let experiments = plan.experiments.iter().zip(&report.experiments).zip(figures);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (title) } (verdicts(report)) }
                main {
                    @if plan.experiments.len() > 1 { (contents(&plan.experiments)) }
                    @for ((spec, experiment), figures) in experiments {
                        (section(spec, experiment, figures, plan.experiments.len() > 1))
                    }
                    (provenance(plan, report, digests))
                }
            }
        }
    };
    format!("{}\n", page.into_string())
}

/// How it went, in a line.
fn verdicts(report: &Report) -> Markup {
    let suspects: usize = report.experiments.iter().map(|experiment| sentences(&experiment.suspects).len()).sum();
    let counts = Verdict::ALL.map(|verdict| (verdict, report.count(verdict)));
    html! {
        p.verdicts {
            @for (verdict, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                span class=(format!("badge {}", verdict.name())) { (count) " " (verdict.name()) }
            }
            @if suspects > 0 { span.badge.suspect { (suspects) " suspect" } }
            @if !report.is_complete() {
                span.badge.fail { "incomplete: " (report.cells) " of " (report.cells_expected) " cells" }
            }
        }
        @for warning in &report.warnings { p.notice { (warning) } }
    }
}

fn contents(experiments: &[Experiment]) -> Markup {
    html! {
        nav { ul { @for one in experiments { li { a href=(format!("#{}", one.id)) { (name(one)) } } } } }
    }
}

fn name(experiment: &Experiment) -> &str {
    if experiment.title.is_empty() { &experiment.id } else { &experiment.title }
}

fn section(spec: &Experiment, experiment: &ExperimentReport, figures: &[Drawing], titled: bool) -> Markup {
    html! {
        section id=(spec.id) {
            @if titled { h2 { (name(spec)) } }
            (subject(spec))
            @if !experiment.expectations.is_empty() {
                h3 { "Expectations" }
                (expectations(&experiment.expectations))
            }
            h3 { "Robust accuracy" }
            @let shown = shown(&experiment.summary);
            @for threat in &spec.threats {
                @let rows: Vec<&Shown<'_>> = shown.iter().filter(|shown| shown.row.about.threat == threat.id).collect();
                @if !rows.is_empty() { (results(spec, threat, &rows)) }
            }
            p.small {
                (CAPTION)
                @if spec.attacks.iter().any(|attack| is_envelope(spec, &attack.choice.chosen.id)) { " " (ENVELOPE) }
            }
            @let chains = chains(&experiment.members);
            @if !chains.is_empty() {
                h3 { "Members of chains" }
                @for chain in &chains { (members(chain)) }
                p.small { "Each attacks what the ones before it left. Costs are means per attacked sample; all are means over seeds." }
            }
            @if !experiment.rejections.is_empty() {
                h3 { "Rejections" }
                (rejected(&experiment.rejections))
                p.small { "Shares of the clean images and of the attack's. A rejected clean image is an error, a rejected image of an attack no success." }
            }
            @if !experiment.suspects.is_empty() {
                h3 { "Suspect results" }
                p { "These say more about the attack than about the model, and may overstate its robustness." }
                ul.notes { @for suspect in sentences(&experiment.suspects) { li.suspect { (suspect) } } }
            }
            @if let Some(unchecked) = unchecked(&experiment.unchecked) { p.small { "Not checked: " (unchecked.replace('`', "")) "." } }
            @let warnings = warnings(&experiment.summary);
            @if !warnings.is_empty() {
                h3 { "Warnings" }
                ul.notes { @for warning in &warnings { li { (warning) } } }
            }
            @if !figures.is_empty() {
                h3 { "Figures" }
                @for figure in figures { (figure.html()) }
                p.small { "Bands are 95 % intervals." }
            }
            details { summary { "The experiment in full" } pre { (spec.resolved()) } }
        }
    }
}

/// What was run, in a few words.
fn subject(spec: &Experiment) -> Markup {
    let join = |words: Vec<String>| words.join(", ");
    let threats = spec.threats.iter().map(|threat| {
        let eps: Vec<String> = threat.eps.iter().map(|eps| spell(eps.text())).collect();
        let eps = if eps.is_empty() { String::new() } else { format!(", eps {}", eps.join(", ")) };
        words([&format!("{} {}{eps}", threat.unit.name, threat.goal.name()), id_of(threat).as_str()])
    });
    let stacks: Vec<String> = spec.stacks.iter().map(realsafe_plan::Stack::name).collect();
    let rows = [
        ("Experiment", spec.id.clone()),
        ("Paper", spec.paper.clone().unwrap_or_default()),
        ("Data", format!("{} samples of {}", spec.samples.len(), spec.data.id)),
        ("Models", join(spec.models.iter().map(|model| model.id.clone()).collect())),
        ("Defenses", if stacks == ["none"] { String::new() } else { join(stacks) }),
        ("Attacks", join(spec.attacks.iter().map(|attack| attack.choice.chosen.id.clone()).collect())),
        ("Threats", threats.collect::<Vec<_>>().join("; ")),
        ("Seeds", join(spec.seeds.iter().map(u64::to_string).collect())),
    ];
    html! {
        dl { @for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) { dt { (name) } dd { (text) } } }
    }
}

fn expectations(rows: &[ExpectationRow]) -> Markup {
    html! {
        div.table { table {
            thead { tr { th { "What" } th { "Expected" } th { "Measured" } th { "Verdict" } } }
            tbody { @for row in rows {
                @let compared = compare(row);
                @let verdict = row.verdict.map(Verdict::name).unwrap_or_default();
                tr {
                    td {
                        (row.metric) br;
                        span.small { (words([&row.model, stack(&row.defense), &row.attack, &row.threat, &spell(&row.eps)])) }
                        @if !row.source.is_empty() { br; span.small { (row.source) } }
                    }
                    td { (compared.expected) }
                    td.number { (compared.measured) br; span.small { (compared.difference) } }
                    td { span class=(format!("badge {verdict}")) { (verdict) } }
                }
            } }
        } }
    }
}

/// The id of a threat model in brackets, where it says more than norm and goal.
fn id_of(threat: &ThreatSpec) -> String {
    threat_id(&threat.id, threat.unit.name, threat.goal.name())
}

fn stack(name: &str) -> &str {
    if name == "none" { "" } else { name }
}

/// The results in one threat model: a block of rows per defended model, a column per radius.
fn results(spec: &Experiment, threat: &ThreatSpec, rows: &[&Shown<'_>]) -> Markup {
    let radii = grouped(rows, |shown| shown.row.about.eps.as_str());
    let minimises = rows.iter().any(|shown| shown.row.values.minimises_distance);
    let compared = rows.iter().any(|shown| shown.row.values.local_optimality.is_some());
    let columns = radii.len() + 2 + usize::from(minimises) + usize::from(compared);
    html! {
        div.table { table {
            thead { tr {
                th { (words([threat.unit.name, threat.goal.name(), id_of(threat).as_str()])) }
                @for (eps, _) in &radii { th.number { @if eps.is_empty() { "any eps" } @else { "eps " (spell(eps)) } } }
                th.number { "Queries" }
                @if minimises { th.number { "Median distance" } }
                @if compared { th.number { "Local optimality" } }
            } }
            @for block in rows.chunk_by(|a, b| a.row.about.same_victim(&b.row.about)) {
                @let first = block[0].row;
                tbody {
                    tr.victim { th colspan=(columns) scope="rowgroup" {
                        (words([first.about.model.as_str(), stack(&first.about.defense)]))
                        @if let Some(clean) = first.values.clean_accuracy {
                            span.small { " clean accuracy " (percent(clean, 1)) }
                        }
                    } }
                    @for attack in block.chunk_by(|a, b| a.row.about.attack == b.row.about.attack) {
                        tr {
                            @let attack_id = &attack[0].row.about.attack;
                            th scope="row" {
                                (attack_id)
                                @if is_envelope(spec, attack_id) { br; span.small { "lower envelope" } }
                            }
                            @for (eps, _) in &radii {
                                td.number { @if let Some(shown) = attack.iter().find(|shown| shown.row.about.eps == *eps) { (rate(shown)) } }
                            }
                            @let queries = attack.iter().filter_map(|shown| shown.row.values.mean_queries).fold(0.0, f64::max);
                            td.number { (format!("{queries:.0}")) }
                            // What does not depend on the radius.
                            @let values = &attack[0].row.values;
                            @if minimises {
                                td.number { @if values.minimises_distance { (median_distance(values).unwrap_or_default()) } }
                            }
                            @if compared {
                                td.number { @if let Some(share) = values.local_optimality { (format!("{share:.3}")) } }
                            }
                        }
                    }
                }
            }
        } }
    }
}

/// What each member of a chain did.
fn members(Chain { about, stages }: &Chain<'_>) -> Markup {
    html! {
        div.table { table {
            thead { tr {
                th { (words([about.attack.as_str(), &threat(about)])) }
                th.number { "Attacked" } th.number { "Broken" } th.number { "Robust accuracy left" }
                th.number { "Queries" } th.number { "Forwards" } th.number { "Backwards" }
            } }
            tbody {
                tr.victim { th colspan="7" scope="rowgroup" { (words([about.model.as_str(), stack(&about.defense)])) } }
                @for stage in stages {
                    @let number = |of: fn(&MemberShare) -> u64| stage.mean(|row| Some(of(row) as f64));
                    @let attacked = number(|row| row.attacked);
                    tr {
                        th scope="row" { (stage.member()) }
                        td.number { (count(attacked)) }
                        td.number { (count(number(|row| row.broken))) }
                        td.number { (left_after(stage)) }
                        @for spent in [number(|row| row.queries), number(|row| row.forwards), number(|row| row.backwards)] {
                            td.number { (count(spent.zip(attacked).map(|(spent, attacked)| spent / attacked.max(1.0)))) }
                        }
                    }
                }
            }
        } }
    }
}

/// How many images are rejected.
fn rejected(rows: &[RejectionRow]) -> Markup {
    html! {
        div.table { table {
            thead { tr {
                @for name in ["Model", "Defense", "Attack", "Threat"] { th { (name) } }
                th.number { "Clean rejected" } th.number { "Rejected" }
            } }
            tbody { @for row in rejections(rows) {
                @let (words, shares) = row.split_at(4);
                tr { @for text in words { td { (text) } } @for share in shares { td.number { (share) } } }
            } }
        } }
    }
}

/// A count, or a mean of counts.
fn count(mean: Option<f64>) -> String {
    mean.map(|mean| format!("{mean:.1}").trim_end_matches(".0").to_owned()).unwrap_or_default()
}

/// A robust accuracy, how certain it is, and whether it can be trusted.
fn rate(shown: &Shown<'_>) -> Markup {
    let values = &shown.row.values;
    let Accuracy { rate, deviation, interval, part } = robust_accuracy(shown);
    html! {
        (rate)
        @if !deviation.is_empty() { br; span.small { (deviation) } }
        @if !interval.is_empty() { br; span.small { (interval.replace(", ", " to ")) } }
        @if !part.is_empty() { br; span.small.fail { (part) } }
        @if let Some(errors) = values.errors.filter(|errors| *errors > 0) { br; span.small.fail { (errors) " errors" } }
        @if !values.suspect.is_empty() { br; span.badge.suspect title=(values.suspect) { "suspect" } }
        @if let Some(rate) = values.robust_accuracy { div.bar { div style=(format!("width:{:.1}%", 100.0 * rate)) {} } }
    }
}

fn provenance(plan: &Plan, report: &Report, digests: &BTreeMap<String, String>) -> Markup {
    html! {
        section id="provenance" {
            h2 { "Provenance" }
            dl {
                dt { "Program" } dd { "realsafe-spec " (env!("CARGO_PKG_VERSION")) }
                dt { "Device class" } dd { (plan.device_class) }
                dt { "Cells" } dd { (report.cells) " of " (report.cells_expected) }
                dt { "Plan" } dd { code { (plan_digest(plan)) } }
            }
            details {
                summary { "BLAKE3 of what was read and written" }
                div.table { table {
                    @for (input, files) in inputs(plan) {
                        tbody {
                            tr.victim { th colspan="2" scope="rowgroup" { (input) } }
                            @for (name, digest) in files { tr { td { (name) } td { code { (digest) } } } }
                        }
                    }
                    tbody {
                        tr.victim { th colspan="2" scope="rowgroup" { "results" } }
                        @for (name, digest) in digests { tr { td { (name) } td { code { (digest) } } } }
                    }
                } }
            }
            p.small { "When and where it was computed: manifest.json and timings.csv, beside this page." }
        }
    }
}
