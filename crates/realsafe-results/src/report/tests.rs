//! Tests of the report: order, columns, rates, expectations.

use super::*;
use crate::Row;
use crate::fixture::{failure_of, outcome, plan, record, record_of, record_of_chain};
use crate::{Event, Journal, Status, TracePoint};

const SPEC: &str = r#"
    [experiment]
    id = "trial"
    title = "A trial"
    [data]
    use = "dots"
    samples = 8
    [run]
    chunk = 4
    [[model]]
    id = "plain"
    use = "net"
    [[model]]
    id = "trained"
    use = "other-net"
    [threat]
    norm = "linf"
    eps = ["1/4", "1/2"]
    [[attack]]
    use = "step"
    [[attack]]
    use = "walk"
    [[expect]]
    model = "plain"
    attack = "step"
    eps = "1/4"
    metric = "robust-accuracy"
    value = 0.5
    tolerance = 0.01
    source = "Table 1"
    [[expect]]
    model = "trained"
    attack = "walk"
    eps = "1/8"
    metric = "robust-accuracy"
    value = 0.3
    tolerance = 0.01
    [[expect]]
    model = "trained"
    attack = "worst-case"
    metric = "robust-accuracy"
    above = { model = "plain" }
"#;

/// Half of the samples of `plain` break under `step`, and a quarter more under `walk`; `trained` holds but for one.
fn fill(store: &Store, cells: &[&Cell]) {
    let mut journal = Journal::open(store, "worker", "host", "test").unwrap();
    for cell in cells {
        let first = cell.samples[0];
        let computed = match (cell.model.id.as_str(), cell.attack.chosen.id.as_str(), first) {
            ("plain", "step", _) => record_of(first, "bbrr"),
            ("plain", _, 0) => record(vec![
                outcome(0, Status::Robust, f64::INFINITY),
                outcome(1, Status::Broken, 0.3),
                outcome(2, Status::Broken, 0.3),
                outcome(3, Status::Broken, 0.7),
            ]),
            ("trained", "walk", 4) => record(
                (4..8).map(|sample| outcome(sample, Status::Broken, if sample == 7 { 0.2 } else { 0.9 })).collect(),
            ),
            (_, "walk", _) => record((first..first + 4).map(|sample| outcome(sample, Status::Broken, 0.9)).collect()),
            _ => record_of(first, "rrrr"),
        };
        store.put(cell, &computed).unwrap();
        journal.note(Event::Finished, &cell.key, 2.0).unwrap();
    }
}

fn filled(order: impl Fn(&mut Vec<&Cell>)) -> (tempfile::TempDir, Plan, Report) {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[SPEC]);
    let store = Store::open(directory.path().join("store")).unwrap();
    let mut cells = plan.cells.iter().collect();
    order(&mut cells);
    fill(&store, &cells);
    let facts = ManifestFacts { version: "1".to_owned(), device: "test".to_owned(), host: "host".to_owned() };
    let report = write_report(&plan, &store, directory.path(), &facts).unwrap();
    (directory, plan, report)
}

fn read(directory: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(name)).unwrap()
}

#[test]
fn the_order_of_computation_leaves_no_trace() {
    let (first, ..) = filled(|_| {});
    let (second, ..) = filled(|cells| cells.reverse());
    let figures = ["svg", "vl.json"].map(|ending| format!("figures/trial.eps.{ending}"));
    let tables = ["samples.csv", "summary.csv", "curves.csv", "expectations.csv", "trial.resolved.toml"];
    for name in tables.into_iter().chain(figures.iter().map(String::as_str)).chain(["report.html"]) {
        let text = read(&first, name);
        assert_eq!(text, read(&second, name), "{name}");
        let is_long = text.lines().count() > 3 || name.ends_with("svg") || name.ends_with("html");
        assert!(is_long && !text.contains('\r') && !text.contains("\"host\""), "{name}");
    }
    let image = |directory: &tempfile::TempDir| fs::read(directory.path().join("figures/trial.eps.png")).unwrap();
    assert_eq!(image(&first), image(&second));
    assert!(
        !fs::read_dir(first.path()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
    );
}

#[test]
fn the_columns_of_samples_are_frozen() {
    let (directory, plan, _) = filled(|_| {});
    let text = read(&directory, "samples.csv");
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "experiment,cell,model,defense,attack,norm,goal,eps,sample,label,target,clean_pred,adv_pred,status,\
             dist_linf,dist_l2,dist_l1,dist_l0,queries,forwards,backwards,surrogate_forwards,surrogate_backwards,\
             first_success,broken_by,failed_at,seed"
        )
    );
    let key = plan.cells[0].key.as_str();
    let first =
        format!("trial,{key},plain,none,step,linf,untargeted,1/4,0,1,,1,2,broken,0.25,0.5,0.75,4.0,10,10,5,0,0,1,,,0");
    assert_eq!(lines.next(), Some(first.as_str()));
    assert_eq!(text.lines().count(), 1 + plan.cells.iter().map(|cell| cell.samples.len()).sum::<usize>());
    assert!(text.contains(",walk,linf,untargeted,,0,1,,1,1,robust,inf,inf,inf,4.0,"), "{text}");
}

#[test]
fn summaries_count_attacks_and_their_worst_case() {
    let (_directory, _, report) = filled(|_| {});
    let rows = &report.experiments[0].summary;
    let found: Vec<_> = rows
        .iter()
        .map(|Row { about, values }| {
            (
                about.model.as_str(),
                about.attack.as_str(),
                about.eps.as_str(),
                values.robust_accuracy.unwrap(),
                values.mean_queries.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("plain", "step", "1/4", 0.5, 10.0),
            ("plain", "step", "1/2", 0.5, 10.0),
            ("plain", "walk", "1/4", 1.0, 10.0),
            ("plain", "walk", "1/2", 0.75, 10.0),
            ("trained", "step", "1/4", 1.0, 10.0),
            ("trained", "step", "1/2", 1.0, 10.0),
            ("trained", "walk", "1/4", 0.875, 10.0),
            ("trained", "walk", "1/2", 0.875, 10.0),
            ("plain", "worst-case", "1/4", 0.5, 20.0),
            ("plain", "worst-case", "1/2", 0.375, 20.0),
            ("trained", "worst-case", "1/4", 0.875, 20.0),
            ("trained", "worst-case", "1/2", 0.875, 20.0),
        ]
    );
    let walk = &rows[3].values;
    assert_eq!((walk.success, walk.accuracy, walk.samples), (Some(2), Some(0.75), Some(8)));
    assert_eq!((walk.median_distance, walk.errors, walk.complete), (Some(0.9), Some(0), true));
    assert!(walk.robust_accuracy_low.unwrap() < 0.75 && walk.robust_accuracy_high.unwrap() > 0.75);
    assert!(report.is_complete());
}

#[test]
fn curves_have_the_worst_case_of_several_attacks() {
    let (directory, ..) = filled(|_| {});
    let curves = read(&directory, "curves.csv");
    let mut lines = curves.lines();
    assert_eq!(
        lines.next(),
        Some(
            "experiment,model,defense,attack,threat,norm,goal,eps,seed,x_axis,x,rate,low,high,envelope,certified,steps"
        )
    );
    let points = |attack: &str| -> Vec<String> {
        let of_attack = curves.lines().filter(|line| line.starts_with(&format!("trial,plain,none,{attack},")));
        of_attack.map(|line| line.split(',').skip(9).take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    // Beside an attack that minimises the distance it is exact: `step` breaks half of the samples at a distance of 0.25.
    let exact = ["eps 0.0 1.0", "eps 0.25 0.5", "eps 0.3 0.375", "eps 0.5 0.375", "eps 0.7 0.25", "eps 0.9 0.0"];
    assert_eq!(points("worst-case"), exact);
    assert!(read(&directory, "figures/trial.eps.svg").contains(">worst-case<"));
    assert!(curves.lines().skip(1).all(|line| line.contains(",false,false,")));
    for (attack, steps) in [("step", false), ("walk", true), ("worst-case", true)] {
        let of_attack = |line: &&str| line.contains(&format!(",{attack},")) && line.contains(",eps,");
        assert!(curves.lines().filter(of_attack).all(|line| line.ends_with(&format!(",{steps}"))), "{attack}");
    }
    let (searched, _) = chained();
    let curves = read(&searched, "curves.csv");
    for line in curves.lines().skip(1) {
        assert_eq!(line.contains(",true,false,"), line.contains(",searched,"), "{line}");
    }
    assert!(curves.contains(",searched,") && curves.contains(",worst-case,"));
    // Nothing is said of what is not there.
    let (alone, ..) = filled(|cells| cells.clear());
    assert!(!read(&alone, "curves.csv").contains("worst-case"));
}

#[test]
fn expectations_reach_radii_beyond_the_list_and_all_of_it() {
    let (directory, _, report) = filled(|_| {});
    let rows = &report.experiments[0].expectations;
    let found: Vec<_> =
        rows.iter().map(|row| (row.eps.as_str(), row.measured, row.difference, row.verdict.unwrap())).collect();
    assert_eq!(
        found,
        [
            ("1/4", Some(0.5), Some(0.0), Verdict::Pass),
            ("1/8", Some(1.0), Some(1.0 - 0.3), Verdict::Fail),
            ("1/4", Some(0.875), Some(0.375), Verdict::Pass),
            ("1/2", Some(0.875), Some(0.5), Verdict::Pass),
        ]
    );
    assert_eq!(report.count(Verdict::Fail), 1);
    assert_eq!(read(&directory, "expectations.csv").lines().count(), 5);
}

#[test]
fn people_get_a_table() {
    let (_directory, _, report) = filled(|_| {});
    let text = crate::render(&report, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..8],
        [
            "trial: A trial",
            "  model    defense  attack      threat      clean        robust accuracy  median distance  queries  errors",
            "  plain    none     step        linf 1/4  100.0 %    50.0 % [21.5, 78.5]                        10",
            "  plain    none     step        linf 1/2  100.0 %    50.0 % [21.5, 78.5]                        10",
            "  plain    none     walk        linf 1/4  100.0 %  100.0 % [67.6, 100.0]           0.9000       10",
            "  plain    none     walk        linf 1/2  100.0 %    75.0 % [40.9, 92.9]           0.9000       10",
            "  plain    none     worst-case  linf 1/4  100.0 %    50.0 % [21.5, 78.5]                        20",
            "  plain    none     worst-case  linf 1/2  100.0 %    37.5 % [13.7, 69.4]                        20",
        ]
    );
    let unchecked = "not checked: black-box-wins (needs attacks with and without gradients); more-iterations-hurt (needs \
                     `record`); one-step-wins (needs attacks of one gradient and of several)";
    assert!(lines.contains(&unchecked), "{text}");
    let verdict = |text: &str, ending: &str| text.lines().filter(|line| line.ends_with(ending)).count();
    assert_eq!((verdict(&text, " pass"), verdict(&text, " fail")), (3, 1));
    let colored = crate::render(&report, true);
    assert_eq!((verdict(&colored, "\u{1b}[32mpass\u{1b}[0m"), verdict(&colored, "\u{1b}[31mfail\u{1b}[0m")), (3, 1));
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(json["experiments"][0]["expectations"][1]["verdict"], "fail");
    assert_eq!(json["experiments"][0]["summary"][0]["robust_accuracy"], 0.5);
}

#[test]
fn the_page_stands_alone_and_says_everything() {
    let (directory, plan, report) = filled(|_| {});
    let page = read(&directory, "report.html");
    for foreign in ["http", "src=", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let count = |part: &str| page.matches(part).count();
    assert_eq!((count("<h1>A trial</h1>"), count("<h3>Expectations</h3>"), count("<figure>")), (1, 1, 2));
    // One verdict per row, and how many there are of each.
    assert_eq!((count("badge pass"), count("badge fail")), (3 + 1, 1 + 1));
    assert_eq!((count("Median distance</th>"), count(">0.9000</td>"), count("Local optimality")), (1, 2, 1));
    assert!(page.contains("Not checked: black-box-wins (needs attacks with and without gradients);"));
    // Two attacks and their worst case on two models.
    assert_eq!(count("<th scope=\"row\">"), 2 * 3);
    assert!(page.contains("50.0 %<br><span class=\"small\">21.5 to 78.5</span>"), "{page}");
    assert_eq!(count("class=\"suspect\""), report.experiments[0].suspects.len());
    assert!(
        page.contains("plain none walk linf, seed 0: 12.5 % stay robust although any image may be chosen [unbounded]")
    );
    let manifest: serde_json::Value = serde_json::from_str(&read(&directory, "manifest.json")).unwrap();
    let said = |value: &serde_json::Value| page.contains(value.as_str().unwrap());
    assert!(said(&manifest["outputs"]["samples.csv"]) && said(&manifest["plan"]) && page.contains(&plan.device_class));
    assert_eq!(manifest["outputs"]["report.html"], digest(page.as_bytes()).as_str());
    let (directory, ..) = filled(|cells| cells.truncate(1));
    assert!(read(&directory, "report.html").contains("incomplete: 1 of 12 cells"));
}

#[test]
fn titles_are_words_and_not_markup() {
    let spec = r#"
        experiment = { id = "odd", title = "<b>x</b> & y" }
        data = { use = "dots", samples = 1 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ use = "step" }]
        figure = []
    "#;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    write_report(&plan(&[spec, &spec.replace("odd", "even")]), &store, directory.path(), &ManifestFacts::default())
        .unwrap();
    let page = read(&directory, "report.html");
    assert!(
        page.contains("<h1>2 experiments</h1>") && page.contains("<a href=\"#even\">&lt;b&gt;x&lt;/b&gt; &amp; y</a>"),
        "{page}"
    );
    assert!(!page.contains("<b>") && !page.contains("<figure>"));
}

#[test]
fn missing_cells_are_told_and_left_out() {
    let (directory, _, report) = filled(|cells| {
        cells.retain(|cell| cell.model.id == "plain" && cell.samples[0] == 0);
    });
    assert!(!report.is_complete());
    assert_eq!((report.cells, report.cells_expected), (3, 12));
    let experiment = &report.experiments[0];
    let [first, fifth] = [0, 4].map(|row: usize| &experiment.summary[row].values);
    assert_eq!((first.samples, first.samples_expected, first.complete), (Some(4), Some(8), false));
    assert_eq!((fifth.samples, fifth.robust_accuracy), (Some(0), None));
    assert_eq!(report.count(Verdict::Missing), experiment.expectations.len());
    let text = crate::render(&report, false);
    assert!(text.contains("not run") && text.contains("incomplete: 3 of 12 cells are there"), "{text}");
    let manifest: serde_json::Value = serde_json::from_str(&read(&directory, "manifest.json")).unwrap();
    assert_eq!((&manifest["cells"], &manifest["cells_present"]), (&12.into(), &3.into()));
    let digest_of_samples = digest(read(&directory, "samples.csv").as_bytes());
    assert_eq!(manifest["outputs"]["samples.csv"], digest_of_samples.as_str());
    assert_eq!(read(&directory, "timings.csv").lines().count(), 4);
}

#[test]
fn several_seeds_give_mean_and_deviation() {
    let spec = r#"
        experiment = { id = "seeds", seeds = [1, 2] }
        data = { use = "dots", samples = 4 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ id = "step", use = "climb", record = [5, 10] }]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[spec]);
    let store = Store::open(directory.path().join("store")).unwrap();
    let point = |sample, step, broken| TracePoint { sample, step, queries: 1, pred: 1, distance: 0.1, broken };
    let mut first = record_of(0, "bbrf");
    first.outcomes[3].status = Status::Robust;
    first.trace = vec![point(0, 5, false), point(0, 10, true), point(2, 5, false), point(2, 10, false)];
    store.put(&plan.cells[0], &first).unwrap();
    store.put(&plan.cells[1], &record_of(0, "rbrr")).unwrap();
    let report = write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    let rows = &report.experiments[0].summary;
    let seeds: Vec<_> = rows.iter().map(|row| (row.about.attack.as_str(), row.values.seed.as_str())).collect();
    let both = |attack| [(attack, "1"), (attack, "2")];
    assert_eq!(seeds[..4], [both("step"), both("worst-case")].concat());
    assert_eq!(seeds[4..6], [("step", "mean"), ("step", "deviation")]);
    let rates = [4, 5].map(|row: usize| rows[row].values.robust_accuracy);
    assert_eq!(rates, [Some(0.625), Some(0.125 * 2.0_f64.sqrt())]);
    // The images are the same for both seeds: the interval is as wide as theirs.
    let ends =
        |row: usize| [rows[row].values.robust_accuracy_low, rows[row].values.robust_accuracy_high].map(Option::unwrap);
    let [first, second, middle] = [0, 1, 4].map(ends);
    assert_eq!(middle, [0, 1].map(|end: usize| f64::midpoint(first[end], second[end])));
    assert_eq!((rows[4].values.errors, rows[4].values.samples, rows[5].values.samples), (Some(0), Some(8), None));
    let text = crate::render(&report, false);
    assert!(text.contains(&format!("62.5 % ± 17.7 [{:.1}, {:.1}]", 100.0 * middle[0], 100.0 * middle[1])), "{text}");

    let curves = read(&directory, "curves.csv");
    // One attack is its own worst case.
    assert!(!curves.contains("worst-case"), "{curves}");
    let points: Vec<&str> = curves.lines().filter(|line| line.contains(",1/4,1,")).collect();
    let tails: Vec<String> =
        points.iter().map(|line| line.split(',').skip(9).take(3).collect::<Vec<_>>().join(" ")).collect();
    // Samples 1 and 3 have no records: they left broken and robust.
    assert_eq!(
        tails,
        [
            "queries 0.0 1.0",
            "queries 1.0 0.75",
            "queries 2.0 0.5",
            "queries 10.0 0.5",
            "iterations 0.0 1.0",
            "iterations 5.0 0.75",
            "iterations 10.0 0.5"
        ]
    );
}

#[test]
fn errors_leave_rates_open() {
    let spec = r#"
        experiment = { id = "errors" }
        data = { use = "dots", samples = 4 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ use = "step" }]
        expect = [{ metric = "robust-accuracy", value = 0.5, tolerance = 0.01 }]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[spec]);
    let store = Store::open(directory.path().join("store")).unwrap();
    store.put(&plan.cells[0], &record_of(0, "brrf")).unwrap();
    let report = write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    let experiment = &report.experiments[0];
    let row = &experiment.summary[0].values;
    assert_eq!((row.robust_accuracy, row.accuracy, row.clean_accuracy), (None, None, Some(1.0)));
    assert_eq!((row.robust_accuracy_low_errors, row.robust_accuracy_high_errors), (Some(0.5), Some(0.75)));
    assert_eq!((row.success, row.success_rate, row.errors), (Some(1), None, Some(1)));
    assert_eq!(
        (experiment.expectations[0].measured, experiment.expectations[0].verdict),
        (None, Some(Verdict::WithinError))
    );
    assert!(crate::render(&report, false).contains("50.0 to 75.0 %"));
}

#[test]
fn a_model_that_fails_leaves_clean_accuracy_open() {
    let spec = r#"
        experiment = { id = "failures" }
        data = { use = "dots", samples = 4 }
        run = { chunk = 2 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ use = "step" }, { use = "walk" }]
        expect = [
            { metric = "clean-accuracy", attack = "clean", value = 0.5, tolerance = 0.01 },
            { metric = "success-rate", attack = "step", value = 1.0, tolerance = 0.01 },
        ]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[spec]);
    let store = Store::open(directory.path().join("store")).unwrap();
    let put = |attack, first, record| {
        let found = |cell: &&Cell| cell.attack.chosen.id == attack && cell.samples[0] == first;
        store.put(plan.cells.iter().find(found).unwrap(), &record).unwrap()
    };
    put("step", 0, record_of(0, "br"));
    put("step", 2, failure_of(2, Status::Crashed));
    put("walk", 0, record_of(0, "rr"));
    put("walk", 2, record_of(2, "br"));
    let report = || write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    let first = report();
    let experiment = &first.experiments[0];
    let row = &experiment.summary[0].values;
    assert_eq!((row.clean_accuracy, row.robust_accuracy, row.errors), (None, None, Some(2)));
    assert_eq!((row.robust_accuracy_low_errors, row.robust_accuracy_high_errors), (Some(0.25), Some(0.75)));
    // The other two may be correct as well: their share of broken ones is open.
    assert_eq!((row.initially_correct, row.success_initially_correct), (Some(2), Some(1)));
    assert_eq!(row.success_rate_initially_correct, None);
    // The other attack tells what the model says about the clean images, and breaks one of them.
    let worst = &experiment.summary.iter().find(|row| row.about.attack == "worst-case").unwrap().values;
    assert_eq!((worst.clean_accuracy, worst.initially_correct, worst.errors), (Some(1.0), Some(4), Some(1)));
    assert_eq!((worst.robust_accuracy_low_errors, worst.robust_accuracy_high_errors), (Some(0.25), Some(0.5)));
    let measured: Vec<_> = experiment.expectations.iter().map(|row| (row.measured, row.low < row.high)).collect();
    assert_eq!(measured, [(None, true), (None, true)]);
    let samples = read(&directory, "samples.csv");
    assert!(samples.contains(",step,linf,untargeted,1/4,2,1,,,,crashed,inf,inf,inf,4.0,"), "{samples}");

    put("step", 2, record_of(2, "bb"));
    let second = report();
    let row = &second.experiments[0].summary[0].values;
    assert_eq!((row.clean_accuracy, row.robust_accuracy, row.errors), (Some(1.0), Some(0.25), Some(0)));
    assert_eq!((row.initially_correct, row.success_rate_initially_correct), (Some(4), Some(0.75)));
}

#[test]
fn what_is_not_all_there_yet_says_so() {
    let (directory, _, report) = filled(|cells| {
        cells.retain(|cell| cell.model.id == "plain" && (cell.samples[0] == 0 || cell.attack.chosen.id == "walk"));
    });
    let text = crate::render(&report, false);
    let of_row = |attack: &str| {
        let row = text.lines().find(|line| line.starts_with(&format!("  plain    none     {attack} ")));
        row.unwrap_or_else(|| panic!("{attack}: {text}")).to_owned()
    };
    assert!(of_row("step").contains("] (4 of 8) "), "{text}");
    assert!(!of_row("walk").contains('('), "{text}");
    assert!(of_row("worst-case").contains("] (incomplete) "), "{text}");
    let page = read(&directory, "report.html");
    for part in ["4 of 8", "incomplete"] {
        assert!(page.contains(&format!("<span class=\"small fail\">{part}</span>")), "{part}: {page}");
    }
}

#[test]
fn errors_of_all_seeds_are_told_and_failed_cells_have_no_price() {
    let spec = r#"
        experiment = { id = "seeds", seeds = [1, 2] }
        data = { use = "dots", samples = 4 }
        run = { chunk = 2 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ use = "step" }]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[spec]);
    let store = Store::open(directory.path().join("store")).unwrap();
    for (cell, ends) in plan.cells.iter().zip(["br", "ff", "bb", "br"]) {
        store.put(cell, &record_of(cell.samples[0], ends)).unwrap();
    }
    let report = write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    let rows = &report.experiments[0].summary;
    let middle = &rows.iter().find(|row| row.values.seed == "mean").unwrap().values;
    assert_eq!((middle.errors, middle.failed, middle.samples), (Some(2), Some(2), Some(8)));
    assert_eq!((middle.robust_accuracy, middle.mean_queries), (None, Some(10.0)));
    assert!(middle.robust_accuracy_low < middle.robust_accuracy_low_errors);
    let text = crate::render(&report, false);
    assert!(text.lines().nth(2).unwrap().ends_with("10       2"), "{text}");
}

#[test]
fn threats_that_norm_and_goal_do_not_tell_apart_are_named() {
    let spec = r#"
        experiment = { id = "aims" }
        data = { use = "dots", samples = 2 }
        model = [{ use = "net" }]
        threat = [
            { norm = "linf", eps = "1/4" },
            { id = "next", norm = "linf", eps = "1/4", goal = "targeted", target = "next" },
            { id = "far", norm = "linf", eps = "1/4", goal = "targeted", target = "least-likely" },
        ]
        attack = [{ use = "step" }]
    "#;
    let told = |spec: &str| {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(&[spec]);
        let store = Store::open(directory.path().join("store")).unwrap();
        plan.cells.iter().for_each(|cell| drop(store.put(cell, &record_of(0, "br")).unwrap()));
        let report = write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
        (crate::render(&report, false), read(&directory, "report.html"), read(&directory, "samples.csv"))
    };
    let (table, page, samples) = told(spec);
    for words in [" linf 1/4  ", " linf 1/4 targeted (next)  ", " linf 1/4 targeted (far)  "] {
        assert!(table.contains(words), "{words}: {table}");
    }
    assert!(page.contains("<th>linf targeted (next)</th>") && page.contains("<th>linf untargeted</th>"), "{page}");
    let lines: Vec<&str> = samples.lines().collect();
    assert!(lines[0].ends_with(",failed_at,seed,threat") && lines[3].ends_with(",0,next"), "{samples}");
    let (.., samples) =
        told(&spec.replace("goal = \"targeted\", target = \"least-likely\"", "goal = \"targeted-misclassify\""));
    assert!(samples.lines().next().unwrap().ends_with(",failed_at,seed"), "{samples}");
}

#[test]
fn what_a_report_does_not_write_any_more_is_gone() {
    let (directory, _) = chained();
    let there = |name: &str| directory.path().join(name).exists();
    fs::write(directory.path().join("figures/mine.svg"), "mine").unwrap();
    let stale = ["members.csv", "figures/chained.eps.svg", "chained.resolved.toml"];
    assert!(stale.iter().all(|name| there(name)));
    let plan = plan(&[SPEC]);
    let store = Store::open(directory.path().join("store")).unwrap();
    write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    assert!(!stale.iter().any(|name| there(name)) && there("figures/mine.svg") && there("trial.resolved.toml"));
    // A manifest may say what it likes about files elsewhere.
    let outside = directory.path().parent().unwrap().join("kept-by-the-test.csv");
    fs::write(&outside, "kept").unwrap();
    fs::write(directory.path().join("manifest.json"), r#"{"outputs": {"../kept-by-the-test.csv": ""}}"#).unwrap();
    write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    assert!(outside.exists());
    fs::remove_file(outside).unwrap();
}

/// A chain and a search with two seeds: the search leaves half of the samples and errs on none, the chain a quarter.
fn chained() -> (tempfile::TempDir, Report) {
    let spec = r#"
        experiment = { id = "chained", seeds = [1, 2] }
        data = { use = "dots", samples = 4 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = ["1/4"] }
        attack = [
            { use = "chain", members = [{ use = "climb" }, { use = "step" }] },
            { id = "searched", use = "climb", search = "list" },
        ]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[spec]);
    let store = Store::open(directory.path().join("store")).unwrap();
    for cell in &plan.cells {
        let ends = if cell.attack.members.is_empty() { record_of(0, "bbrr") } else { record_of_chain(0, "bbsr") };
        store.put(cell, &ends).unwrap();
    }
    let report = write_report(&plan, &store, directory.path(), &ManifestFacts::default()).unwrap();
    (directory, report)
}

#[test]
fn chains_have_a_table_of_their_members() {
    let (directory, report) = chained();
    let text = read(&directory, "members.csv");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "experiment,model,defense,attack,threat,norm,goal,eps,seed,place,member,attacked,broken,broken_rate,\
         robust_accuracy,robust_accuracy_low,robust_accuracy_high,robust_accuracy_low_errors,\
         robust_accuracy_high_errors,queries,forwards,backwards,surrogate_forwards,surrogate_backwards"
    );
    assert_eq!(lines.len(), 1 + 2 * 2);
    assert!(lines[2].starts_with("chained,net,none,chain,linf,linf,untargeted,1/4,1,2,step,2,1,0.25,0.25,"), "{text}");
    assert!(lines[2].ends_with(",0.25,0.25,4,6,2,0,0"), "{text}");
    let table = crate::render(&report, false);
    assert!(table.contains("  net    none     chain  linf 1/4  climb 50.0 %, step 25.0 %\n"), "{table}");
    let page = read(&directory, "report.html");
    assert!(page.contains("<h3>Members of chains</h3>") && page.contains("<th scope=\"row\">step</th>"), "{page}");
    let manifest: serde_json::Value = serde_json::from_str(&read(&directory, "manifest.json")).unwrap();
    assert_eq!(manifest["outputs"]["members.csv"], digest(text.as_bytes()).as_str());
    let (other, ..) = filled(|_| {});
    assert!(!other.path().join("members.csv").exists());
    assert!(!read(&other, "report.html").contains("Members of chains"));
}

#[test]
fn what_is_suspect_for_several_seeds_is_said_once() {
    let (directory, report) = chained();
    assert_eq!(report.experiments[0].suspects.len(), 2);
    let expected = [
        "net none chain linf 1/4, seeds 1, 2; in the first: without gradients, step broke 1 of 4 samples (25.00 %) that the members \
         with gradients left [black-box-member-wins]",
    ];
    let table = crate::render(&report, false);
    let told: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("suspect: ")).collect();
    assert_eq!(told, expected);
    let page = read(&directory, "report.html");
    assert!(
        expected.iter().all(|sentence| page.matches(sentence).count() == 1) && page.contains("1 suspect"),
        "{page}"
    );
}

#[test]
fn searches_are_called_lower_envelopes() {
    let (directory, _) = chained();
    let page = read(&directory, "report.html");
    let row = "<th scope=\"row\">searched<br><span class=\"small\">lower envelope</span></th>";
    assert!(page.contains(row) && page.contains("searched (lower envelope)") && page.contains("Lower envelopes are"));
    let (other, ..) = filled(|_| {});
    assert!(!read(&other, "report.html").to_lowercase().contains("lower envelope"));
}
