//! Tests of the report: order, columns, rates, expectations.

use super::*;
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
    value = 0.9
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
        .map(|row| {
            (
                row.model.as_str(),
                row.attack.as_str(),
                row.eps.as_str(),
                row.robust_accuracy.unwrap(),
                row.mean_queries.unwrap(),
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
    let walk = &rows[3];
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
        Some("experiment,model,defense,attack,threat,norm,goal,eps,seed,x_axis,x,rate,low,high,envelope,certified")
    );
    let points = |attack: &str| -> Vec<String> {
        let of_attack = curves.lines().filter(|line| line.starts_with(&format!("trial,plain,none,{attack},")));
        of_attack.map(|line| line.split(',').skip(9).take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(points("worst-case"), ["eps 0.0 1.0", "eps 0.25 0.5", "eps 0.5 0.375"]);
    assert!(read(&directory, "figures/trial.eps.svg").contains(">worst-case<"));
    assert!(curves.lines().skip(1).all(|line| line.ends_with(",false,false")));
    let (searched, _) = chained();
    let curves = read(&searched, "curves.csv");
    for line in curves.lines().skip(1) {
        assert_eq!(line.ends_with(",true,false"), line.contains(",searched,"), "{line}");
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
            ("1/8", Some(1.0), Some(1.0 - 0.9), Verdict::Fail),
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
            "  model    defense  attack      threat      clean        robust accuracy  queries  errors",
            "  plain    none     step        linf 1/4  100.0 %    50.0 % [21.5, 78.5]       10",
            "  plain    none     step        linf 1/2  100.0 %    50.0 % [21.5, 78.5]       10",
            "  plain    none     walk        linf 1/4  100.0 %  100.0 % [67.6, 100.0]       10",
            "  plain    none     walk        linf 1/2  100.0 %    75.0 % [40.9, 92.9]       10",
            "  plain    none     worst-case  linf 1/4  100.0 %    50.0 % [21.5, 78.5]       20",
            "  plain    none     worst-case  linf 1/2  100.0 %    37.5 % [13.7, 69.4]       20",
        ]
    );
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
    // Two attacks and their worst case on two models.
    assert_eq!(count("<th scope=\"row\">"), 2 * 3);
    assert!(page.contains("50.0 % <br><span class=\"small\">21.5 to 78.5</span>"), "{page}");
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
    assert_eq!((experiment.summary[0].samples, experiment.summary[0].complete), (Some(4), false));
    assert_eq!((experiment.summary[4].samples, experiment.summary[4].robust_accuracy), (Some(0), None));
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
    let seeds: Vec<_> = rows.iter().map(|row| (row.attack.as_str(), row.seed.as_str())).collect();
    let both = |attack| [(attack, "1"), (attack, "2")];
    assert_eq!(seeds[..4], [both("step"), both("worst-case")].concat());
    assert_eq!(seeds[4..6], [("step", "mean"), ("step", "deviation")]);
    assert_eq!((rows[4].robust_accuracy, rows[5].robust_accuracy), (Some(0.625), Some(0.125 * 2.0_f64.sqrt())));
    assert!(crate::render(&report, false).contains("62.5 % ± 17.7"), "{}", crate::render(&report, false));

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
    let row = &experiment.summary[0];
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
    let row = &experiment.summary[0];
    assert_eq!((row.clean_accuracy, row.robust_accuracy, row.errors), (None, None, Some(2)));
    assert_eq!((row.robust_accuracy_low_errors, row.robust_accuracy_high_errors), (Some(0.25), Some(0.75)));
    // The other two may be correct as well: their share of broken ones is open.
    assert_eq!((row.initially_correct, row.success_initially_correct), (Some(2), Some(1)));
    assert_eq!(row.success_rate_initially_correct, None);
    // The other attack tells what the model says about the clean images, and breaks one of them.
    let worst = experiment.summary.iter().find(|row| row.attack == "worst-case").unwrap();
    assert_eq!((worst.clean_accuracy, worst.initially_correct, worst.errors), (Some(1.0), Some(4), Some(1)));
    assert_eq!((worst.robust_accuracy_low_errors, worst.robust_accuracy_high_errors), (Some(0.25), Some(0.5)));
    let measured: Vec<_> = experiment.expectations.iter().map(|row| (row.measured, row.low < row.high)).collect();
    assert_eq!(measured, [(None, true), (None, true)]);
    let samples = read(&directory, "samples.csv");
    assert!(samples.contains(",step,linf,untargeted,1/4,2,1,,,,crashed,inf,inf,inf,4.0,"), "{samples}");

    put("step", 2, record_of(2, "bb"));
    let second = report();
    let row = &second.experiments[0].summary[0];
    assert_eq!((row.clean_accuracy, row.robust_accuracy, row.errors), (Some(1.0), Some(0.25), Some(0)));
    assert_eq!((row.initially_correct, row.success_rate_initially_correct), (Some(4), Some(0.75)));
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
