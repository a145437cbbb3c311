//! The report as a table for people.

use crate::grouping::grouped;
use crate::statistics::mean;
use crate::tables::group::WORST_CASE;
use crate::tables::members::{Chain, Stage, chains};
use crate::tables::row::{About, Row};
use crate::tables::summary::{DEVIATION, MEAN, Summary};
use crate::text::{percent, spell, table, words};
use crate::{Check, ExpectationRow, ExperimentReport, RejectionRow, Report, SummaryRow, Suspect, Suspicion, Verdict};

/// Renders a report as text, with verdicts in colour if `color` is set.
pub fn render(report: &Report, color: bool) -> String {
    let mut blocks: Vec<String> =
        report.experiments.iter().map(|experiment| render_experiment(experiment, color)).collect();
    blocks.extend(report.warnings.iter().map(|warning| format!("warning: {warning}\n")));
    if !report.is_complete() {
        let (cells, expected) = (report.cells, report.cells_expected);
        blocks.push(format!("incomplete: {cells} of {expected} cells are there; run again to compute the others\n"));
    }
    blocks.join("\n")
}

fn render_experiment(experiment: &ExperimentReport, color: bool) -> String {
    let title = if experiment.title.is_empty() { String::new() } else { format!(": {}", experiment.title) };
    let mut text = format!("{}{title}\n", experiment.id);
    let shown = shown(&experiment.summary);
    let minimises = shown.iter().any(|shown| shown.row.values.minimises_distance);
    let distance = ["median distance"].into_iter().filter(|_| minimises);
    let header = ["model", "defense", "attack", "threat", "clean", "robust accuracy"].into_iter().chain(distance);
    let header: Vec<&str> = header.chain(["queries", "errors"]).collect();
    text += &indented(&header, 4, shown.iter().map(|shown| summary(shown, minimises)));
    let chains = chains(&experiment.members);
    if !chains.is_empty() {
        let header = ["model", "defense", "chain", "threat", "robust accuracy after each member"];
        text.push('\n');
        text += &indented(&header, header.len(), chains.iter().map(chain));
    }
    let rejections = rejections(&experiment.rejections);
    if !rejections.is_empty() {
        text.push('\n');
        let header = ["model", "defense", "attack", "threat", "clean rejected", "rejected"];
        text += &indented(&header, 4, rejections.into_iter().map(Vec::from));
    }
    for warning in warnings(&experiment.summary) {
        text += &format!("warning: {warning}\n");
    }
    for suspect in sentences(&experiment.suspects) {
        text += &format!("suspect: {suspect}\n");
    }
    if let Some(unchecked) = unchecked(&experiment.unchecked) {
        text += &format!("not checked: {unchecked}\n");
    }
    if !experiment.expectations.is_empty() {
        let header =
            ["model", "defense", "attack", "threat", "metric", "expected", "measured", "difference", "verdict"];
        let rows = experiment.expectations.iter().map(expectation);
        text.push('\n');
        for line in indent(&table(&header, 6..8, rows)).lines() {
            text += &paint(line, color);
            text.push('\n');
        }
    }
    text
}

/// Rows below a header, the columns from `numbers` on aligned to the right.
fn indented(header: &[&str], numbers: usize, rows: impl Iterator<Item = Vec<String>>) -> String {
    indent(&table(header, numbers..header.len(), rows))
}

fn indent(table: &str) -> String {
    table.lines().map(|line| format!("  {line}\n")).collect()
}

/// A row worth showing, and the deviation over seeds of which it is the mean.
pub(crate) struct Shown<'a> {
    pub(crate) row: &'a SummaryRow,
    pub(crate) deviation: Option<f64>,
}

/// The rows worth showing, by defended model: means in place of single seeds, worst cases only of several attacks.
pub(crate) fn shown(rows: &[SummaryRow]) -> Vec<Shown<'_>> {
    let several_seeds = rows.iter().any(|row| row.values.seed == MEAN);
    let has_company = |row: &SummaryRow| {
        let others = rows.iter().filter(|other| row.about.same_row(&other.about) && !other.values.certified);
        let mut attacks = others.map(|other| other.about.attack.as_str()).filter(|attack| *attack != WORST_CASE);
        attacks.next().is_some_and(|first| attacks.any(|other| other != first))
    };
    let deviation = |row: &SummaryRow| {
        let of_row = |other: &&SummaryRow| other.values.seed == DEVIATION && other.about == row.about;
        rows.iter().find(of_row).and_then(|other| other.values.robust_accuracy)
    };
    let wanted = rows.iter().filter(|row| !several_seeds || row.values.seed == MEAN);
    let wanted = wanted.filter(|row| row.about.attack != WORST_CASE || has_company(row));
    // Worst cases follow the attacks on the same defended model.
    let victims = grouped(wanted, |row| (row.about.model.clone(), row.about.defense.clone()));
    let shown = victims.into_iter().flat_map(|(_, rows)| rows);
    shown.map(|row| Shown { row, deviation: deviation(row).filter(|_| several_seeds) }).collect()
}

fn summary(shown: &Shown<'_>, with_distance: bool) -> Vec<String> {
    let Row { about, values } = shown.row;
    let Accuracy { rate, deviation, interval, part } = robust_accuracy(shown);
    let bracketed = |text: String, [open, close]: [char; 2]| {
        if text.is_empty() { text } else { format!("{open}{text}{close}") }
    };
    let distance = median_distance(values).filter(|_| values.minimises_distance).unwrap_or_default();
    let mut cells = vec![
        about.model.clone(),
        about.defense.clone(),
        about.attack.clone(),
        threat(about),
        values.clean_accuracy.map(|rate| percent(rate, 1)).unwrap_or_default(),
        words([rate.as_str(), &deviation, &bracketed(interval, ['[', ']']), &bracketed(part, ['(', ')'])]),
    ];
    cells.extend(with_distance.then_some(distance));
    cells.push(values.mean_queries.map(|queries| format!("{queries:.0}")).unwrap_or_default());
    cells.push(values.errors.filter(|errors| *errors > 0).map(|errors| errors.to_string()).unwrap_or_default());
    cells
}

/// The median distance in words; none where errors leave it open or nothing is there.
pub(crate) fn median_distance(values: &Summary) -> Option<String> {
    values.median_distance.map(|distance| if distance.is_finite() { format!("{distance:.4}") } else { "∞".to_owned() })
}

fn chain(Chain { about, stages }: &Chain<'_>) -> Vec<String> {
    let stages: Vec<String> = stages.iter().map(|stage| format!("{} {}", stage.member(), left_after(stage))).collect();
    vec![about.model.clone(), about.defense.clone(), about.attack.clone(), threat(about), stages.join(", ")]
}

/// Model, defense, attack, threat, and the shares of clean and of final images that are rejected, as means over seeds.
pub(crate) fn rejections(rows: &[RejectionRow]) -> Vec<[String; 6]> {
    let cells = |(about, rows): (About, Vec<&RejectionRow>)| {
        let over_seeds = |of: fn(&RejectionRow) -> Option<f64>| {
            let shares = rows.iter().map(|row| of(row)).collect::<Option<Vec<f64>>>();
            shares.and_then(|shares| mean(&shares)).map(|share| percent(share, 1)).unwrap_or_default()
        };
        let shares = [over_seeds(|row| row.values.clean_rejected), over_seeds(|row| row.values.rejected)];
        let threat = threat(&about);
        let [clean, attacked] = shares;
        [about.model, about.defense, about.attack, threat, clean, attacked]
    };
    grouped(rows, |row| row.about.clone()).into_iter().map(cells).collect()
}

/// The robust accuracy after a member of a chain, or its bounds; means over the seeds.
pub(crate) fn left_after(stage: &Stage<'_>) -> String {
    let bounds =
        stage.mean(|row| row.robust_accuracy_low_errors).zip(stage.mean(|row| row.robust_accuracy_high_errors));
    match (stage.mean(|row| row.robust_accuracy), bounds) {
        (Some(rate), _) => percent(rate, 1),
        (None, Some(bounds)) => range(bounds),
        (None, None) => String::new(),
    }
}

/// What a rate lies between.
fn range((low, high): (f64, f64)) -> String {
    format!("{:.1} to {}", 100.0 * low, percent(high, 1))
}

/// A threat model in words: its norm, radius and goal, and its id where these do not give it.
pub(crate) fn threat(about: &About) -> String {
    let goal = if about.goal == "untargeted" { "" } else { &about.goal };
    words([about.norm.as_str(), &spell(&about.eps), goal, &threat_id(&about.threat, &about.norm, &about.goal)])
}

/// The id of a threat model in brackets, unless it is the one that threats of this norm and goal have by default.
pub(crate) fn threat_id(id: &str, norm: &str, goal: &str) -> String {
    if id == norm || id == format!("{norm}-{goal}") { String::new() } else { format!("({id})") }
}

/// A robust accuracy in words, what does not apply being empty.
pub(crate) struct Accuracy {
    /// The rate, or what it lies between.
    pub(crate) rate: String,
    /// The standard deviation over seeds.
    pub(crate) deviation: String,
    /// The ends of the 95 % interval.
    pub(crate) interval: String,
    /// What is not there yet: samples of the row, or of attacks of which it is the worst case.
    pub(crate) part: String,
}

/// Puts the robust accuracy of a row into words.
pub(crate) fn robust_accuracy(Shown { row, deviation }: &Shown<'_>) -> Accuracy {
    let Row { about, values } = row;
    let bounds = values.robust_accuracy_low_errors.zip(values.robust_accuracy_high_errors);
    let rate = match (values.robust_accuracy, bounds) {
        (Some(rate), _) => percent(rate, 1),
        (None, Some(bounds)) => range(bounds),
        (None, None) => "not run".to_owned(),
    };
    let part = match values.samples.zip(values.samples_expected) {
        // Without any, it says so already.
        Some((0, _)) | None => String::new(),
        Some((samples, expected)) if samples < expected => format!("{samples} of {expected}"),
        _ if about.attack == WORST_CASE && !values.complete => "incomplete".to_owned(),
        _ => String::new(),
    };
    let interval = values.robust_accuracy_low.zip(values.robust_accuracy_high);
    Accuracy {
        rate: if values.certified { format!("at least {rate}") } else { rate },
        deviation: deviation.map(|deviation| format!("± {:.1}", 100.0 * deviation)).unwrap_or_default(),
        interval: interval.map(|(low, high)| format!("{:.1}, {:.1}", 100.0 * low, 100.0 * high)).unwrap_or_default(),
        part,
    }
}

/// What looked wrong, once each.
pub(crate) fn warnings(rows: &[SummaryRow]) -> Vec<String> {
    let warned = rows.iter().filter(|row| !row.values.warnings.is_empty());
    let warning = |row: &SummaryRow| format!("{}, {}: {}", row.about.model, row.about.attack, row.values.warnings);
    grouped(warned.map(warning), String::clone).into_iter().map(|(warning, _)| warning).collect()
}

/// What is suspect and why: once for all seeds, with the evidence of the first.
pub(crate) fn sentences(suspects: &[Suspect]) -> Vec<String> {
    let result = |suspect: &&Suspect| {
        let Suspect { model, defense, attack, threat, eps, suspicion, .. } = *suspect;
        (words([model.as_str(), defense, attack, threat, &spell(eps)]), suspicion.check)
    };
    let sentence = |((result, check), suspects): ((String, Check), Vec<&Suspect>)| {
        let Suspicion { evidence, .. } = &suspects[0].suspicion;
        let seeds: Vec<String> = suspects.iter().map(|suspect| suspect.seed.to_string()).collect();
        let seeds = match seeds.as_slice() {
            [seed] => format!("seed {seed}"),
            several => format!("seeds {}; in the first", several.join(", ")),
        };
        format!("{result}, {seeds}: {evidence} [{}]", check.name())
    };
    grouped(suspects, result).into_iter().map(sentence).collect()
}

/// The checks of the gate for which there was no occasion, and what they need; none where all were made.
pub(crate) fn unchecked(checks: &[Check]) -> Option<String> {
    let needs = checks.iter().filter_map(|check| Some(format!("{} (needs {})", check.name(), check.needs()?)));
    let needs: Vec<String> = needs.collect();
    (!needs.is_empty()).then(|| needs.join("; "))
}

/// An expectation and its measurement in words.
pub(crate) struct Compared {
    pub(crate) expected: String,
    pub(crate) measured: String,
    pub(crate) difference: String,
}

/// Puts an expectation into words.
pub(crate) fn compare(row: &ExpectationRow) -> Compared {
    let is_rate = !["median-distance", "mean-queries", "mean-queries-of-successes"].contains(&row.metric.as_str());
    let number = |value: f64| if is_rate { percent(value, 1) } else { format!("{value:.4}") };
    let published = row.published.map(number).unwrap_or_default();
    let expected = match row.claim.as_str() {
        "value" => format!("{published} ± {}", number(row.tolerance)),
        relation => format!("{relation} {published} ({})", row.other),
    };
    let difference = row
        .difference
        .map(|difference| if is_rate { format!("{:+.1}", 100.0 * difference) } else { format!("{difference:+.4}") });
    // Of what was measured on fewer samples than there are, it is said how many are left out.
    let errors =
        row.errors.filter(|errors| *errors > 0).map(|errors| format!("(errors: {errors})")).unwrap_or_default();
    Compared {
        expected,
        measured: words([row.measured.map(number).unwrap_or_default().as_str(), &errors]),
        difference: difference.unwrap_or_default(),
    }
}

fn expectation(row: &ExpectationRow) -> Vec<String> {
    let Compared { expected, measured, difference } = compare(row);
    let verdict = row.verdict.map(Verdict::name).unwrap_or_default();
    vec![
        row.model.clone(),
        row.defense.clone(),
        row.attack.clone(),
        words([row.threat.as_str(), &spell(&row.eps)]),
        row.metric.clone(),
        expected,
        measured,
        difference,
        verdict.to_owned(),
    ]
}

/// Colours the verdict at the end of a line.
fn paint(line: &str, color: bool) -> String {
    let code = match line.rsplit(' ').next() {
        Some("pass") => "32",
        Some("within-error" | "unclear") => "33",
        Some("fail" | "undefined" | "missing") => "31",
        _ => return line.to_owned(),
    };
    if !color {
        return line.to_owned();
    }
    let (before, verdict) = line.rsplit_once(' ').unwrap_or(("", line));
    format!("{before} \u{1b}[{code}m{verdict}\u{1b}[0m")
}
