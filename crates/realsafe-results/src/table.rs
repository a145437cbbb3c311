//! The report as a table for people.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::tables::entry::WORST_CASE;
use crate::tables::members::{Chain, MemberRow, Stage, chains};
use crate::{ExpectationRow, ExperimentReport, RejectionRow, Report, SummaryRow, Suspect, Suspicion, Verdict};

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
    text += &table(
        &["model", "defense", "attack", "threat", "clean", "robust accuracy", "queries", "errors"],
        4,
        shown(&experiment.summary).iter().map(summary).collect(),
    );
    let chains = chains(&experiment.members);
    if !chains.is_empty() {
        let header = ["model", "defense", "chain", "threat", "robust accuracy after each member"];
        text.push('\n');
        text += &table(&header, header.len(), chains.iter().map(chain).collect());
    }
    let rejections = rejections(&experiment.rejections);
    if !rejections.is_empty() {
        text.push('\n');
        let header = ["model", "defense", "attack", "threat", "clean rejected", "rejected"];
        text += &table(&header, 4, rejections.into_iter().map(Vec::from).collect());
    }
    for warning in warnings(&experiment.summary) {
        text += &format!("warning: {warning}\n");
    }
    for suspect in sentences(&experiment.suspects) {
        text += &format!("suspect: {suspect}\n");
    }
    if !experiment.expectations.is_empty() {
        let header =
            ["model", "defense", "attack", "threat", "metric", "expected", "measured", "difference", "verdict"];
        let rows = experiment.expectations.iter().map(expectation).collect();
        text.push('\n');
        for line in table(&header, 6, rows).lines() {
            text += &paint(line, color);
            text.push('\n');
        }
    }
    text
}

/// Rows below a header, the columns from `numbers` on aligned to the right, but not a last one of words.
fn table(header: &[&str], numbers: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.into_iter().map(Cell::new));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        let is_number = index >= numbers && header[index] != "verdict";
        column.set_cell_alignment(if is_number { CellAlignment::Right } else { CellAlignment::Left });
    }
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

/// A row worth showing, and the deviation over seeds of which it is the mean.
pub(crate) struct Shown<'a> {
    pub(crate) row: &'a SummaryRow,
    pub(crate) deviation: Option<f64>,
}

/// The rows worth showing, by defended model: means in place of single seeds, worst cases only of several attacks.
pub(crate) fn shown(rows: &[SummaryRow]) -> Vec<Shown<'_>> {
    let several_seeds = rows.iter().any(|row| row.seed == "mean");
    let has_company = |row: &SummaryRow| {
        let mut attacks: Vec<&str> = rows
            .iter()
            .filter(|other| same_victim(row, other) && !other.certified)
            .map(|other| other.attack.as_str())
            .collect();
        attacks.sort_unstable();
        attacks.dedup();
        attacks.len() > 2
    };
    // Worst cases follow the attacks on the same defended model.
    let victim =
        |row: &SummaryRow| rows.iter().position(|other| (&row.model, &row.defense) == (&other.model, &other.defense));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| victim(&rows[*index]));
    let mut shown = Vec::new();
    for index in order {
        let row = &rows[index];
        let wanted = if several_seeds { row.seed == "mean" } else { true };
        if !wanted || (row.attack == WORST_CASE && !has_company(row)) {
            continue;
        }
        let deviation = rows.get(index + 1).filter(|_| several_seeds).and_then(|next| next.robust_accuracy);
        shown.push(Shown { row, deviation });
    }
    shown
}

fn summary(Shown { row, deviation }: &Shown<'_>) -> Vec<String> {
    vec![
        row.model.clone(),
        row.defense.clone(),
        row.attack.clone(),
        threat(&row.norm, &row.eps, &row.goal),
        row.clean_accuracy.map(percent).unwrap_or_default(),
        robust_accuracy(row, *deviation),
        row.mean_queries.map(|queries| format!("{queries:.0}")).unwrap_or_default(),
        row.errors.filter(|errors| *errors > 0).map(|errors| errors.to_string()).unwrap_or_default(),
    ]
}

fn same_victim(a: &SummaryRow, b: &SummaryRow) -> bool {
    (&a.model, &a.defense, &a.threat, &a.eps) == (&b.model, &b.defense, &b.threat, &b.eps)
}

fn chain(chain: &Chain<'_>) -> Vec<String> {
    let MemberRow { model, defense, attack, norm, eps, goal, .. } = chain.first();
    let stages: Vec<String> =
        chain.stages.iter().map(|stage| format!("{} {}", stage.member(), left_after(stage))).collect();
    vec![model.clone(), defense.clone(), attack.clone(), threat(norm, eps, goal), stages.join(", ")]
}

/// Model, defense, attack, threat, and the shares of clean and of final images that are rejected, as means over seeds.
pub(crate) fn rejections(rows: &[RejectionRow]) -> Vec<[String; 6]> {
    fn group(row: &RejectionRow) -> (&str, &str, &str, &str, &str) {
        (&row.model, &row.defense, &row.attack, &row.threat, &row.eps)
    }
    let mut first: Vec<&RejectionRow> = Vec::new();
    for row in rows {
        if !first.iter().any(|other| group(other) == group(row)) {
            first.push(row);
        }
    }
    let mean = |of: &RejectionRow, share: fn(&RejectionRow) -> Option<f64>| {
        let shares = rows.iter().filter(|row| group(row) == group(of)).map(share);
        let shares: Option<Vec<f64>> = shares.collect();
        shares.map(|shares| percent(shares.iter().sum::<f64>() / shares.len() as f64)).unwrap_or_default()
    };
    let cells = |row: &&RejectionRow| {
        let threat = threat(row.norm, &row.eps, row.goal);
        let clean = mean(row, |row| row.clean_rejected);
        [row.model.clone(), row.defense.clone(), row.attack.clone(), threat, clean, mean(row, |row| row.rejected)]
    };
    first.iter().map(cells).collect()
}

/// The robust accuracy after a member of a chain, or its bounds; means over the seeds.
pub(crate) fn left_after(stage: &Stage<'_>) -> String {
    let bounds =
        stage.mean(|row| row.robust_accuracy_low_errors).zip(stage.mean(|row| row.robust_accuracy_high_errors));
    match (stage.mean(|row| row.robust_accuracy), bounds) {
        (Some(rate), _) => percent(rate),
        (None, Some((low, high))) => format!("{:.1} to {}", 100.0 * low, percent(high)),
        (None, None) => String::new(),
    }
}

pub(crate) fn threat(norm: &str, eps: &str, goal: &str) -> String {
    let goal = if goal == "untargeted" { "" } else { goal };
    [norm, &spell(eps), goal].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A radius as people write it: steps of 8-bit images stay such, although their fraction can be reduced.
pub(crate) fn spell(eps: &str) -> String {
    let fraction =
        eps.split_once('/').and_then(|(above, below)| Some((above.parse::<u64>().ok()?, below.parse().ok()?)));
    match fraction {
        Some((above, below @ (17 | 51 | 85))) => format!("{}/255", above * (255 / below)),
        Some((above, below @ (34 | 102 | 170 | 510))) => format!("{:.1}/255", (above * (510 / below)) as f64 / 2.0),
        _ => eps.to_owned(),
    }
}

/// The rate, or its bounds, and how certain it is.
pub(crate) fn robust_accuracy(row: &SummaryRow, deviation: Option<f64>) -> String {
    let bounds = row.robust_accuracy_low_errors.zip(row.robust_accuracy_high_errors);
    let interval = row.robust_accuracy_low.zip(row.robust_accuracy_high);
    let rate = match (row.robust_accuracy, bounds) {
        (Some(rate), _) => percent(rate),
        (None, Some((low, high))) => format!("{:.1} to {}", 100.0 * low, percent(high)),
        (None, None) => return "not run".to_owned(),
    };
    let rate = if row.certified { format!("at least {rate}") } else { rate };
    match (interval, deviation) {
        (Some((low, high)), _) => format!("{rate} [{:.1}, {:.1}]", 100.0 * low, 100.0 * high),
        (None, Some(deviation)) => format!("{rate} ± {:.1}", 100.0 * deviation),
        (None, None) => rate,
    }
}

/// What looked wrong, once each.
pub(crate) fn warnings(rows: &[SummaryRow]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for row in rows.iter().filter(|row| !row.warnings.is_empty()) {
        let warning = format!("{}, {}: {}", row.model, row.attack, row.warnings);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// What is suspect and why: once for all seeds, with the evidence of the first.
pub(crate) fn sentences(suspects: &[Suspect]) -> Vec<String> {
    let mut seeds: Vec<(&Suspect, Vec<u64>)> = Vec::new();
    let result = |suspect: &Suspect| {
        let Suspect { model, defense, attack, threat, eps, .. } = suspect;
        let parts = [model, defense, attack, threat, &spell(eps)].map(String::clone);
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    for suspect in suspects {
        let same =
            |other: &Suspect| (result(other), other.suspicion.check) == (result(suspect), suspect.suspicion.check);
        match seeds.iter_mut().find(|(first, _)| same(first)) {
            Some((_, seeds)) => seeds.push(suspect.seed),
            None => seeds.push((suspect, vec![suspect.seed])),
        }
    }
    let sentence = |(suspect, seeds): (&Suspect, Vec<u64>)| {
        let Suspicion { check, evidence } = &suspect.suspicion;
        let seeds = match seeds.as_slice() {
            [seed] => format!("seed {seed}"),
            several => {
                let several: Vec<String> = several.iter().map(u64::to_string).collect();
                format!("seeds {}; in the first", several.join(", "))
            }
        };
        format!("{}, {seeds}: {evidence} [{}]", result(suspect), check.name())
    };
    seeds.into_iter().map(sentence).collect()
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
    let number = |value: f64| if is_rate { percent(value) } else { format!("{value:.4}") };
    let published = row.published.map(number).unwrap_or_default();
    let expected = match row.claim.as_str() {
        "value" => format!("{published} ± {}", number(row.tolerance)),
        relation => format!("{relation} {published} ({})", row.other),
    };
    let difference = row
        .difference
        .map(|difference| if is_rate { format!("{:+.1}", 100.0 * difference) } else { format!("{difference:+.4}") });
    Compared {
        expected,
        measured: row.measured.map(number).unwrap_or_default(),
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
        [row.threat.as_str(), &row.eps].join(" ").trim().to_owned(),
        row.metric.clone(),
        expected,
        measured,
        difference,
        verdict.to_owned(),
    ]
}

pub(crate) fn percent(rate: f64) -> String {
    format!("{:.1} %", 100.0 * rate)
}

/// Colours the verdict at the end of a line.
fn paint(line: &str, color: bool) -> String {
    let code = match line.rsplit(' ').next() {
        Some("pass") => "32",
        Some("within-error" | "unclear") => "33",
        Some("fail" | "missing") => "31",
        _ => return line.to_owned(),
    };
    if !color {
        return line.to_owned();
    }
    let (before, verdict) = line.rsplit_once(' ').unwrap_or(("", line));
    format!("{before} \u{1b}[{code}m{verdict}\u{1b}[0m")
}
