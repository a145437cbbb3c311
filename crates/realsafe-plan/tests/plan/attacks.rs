//! What surrounds an attack in a spec: searches, draws, surrogates, chains and norms.

use realsafe_plan::{
    Access, AttackChoice, AttackSpec, Cell, Cost, CurveAxis, Ensemble, Experiment, Norm, Number, Search, Success,
    expand,
};

use crate::fixture::{experiment, load};

/// Two networks, one without gradients that nothing runs on unless it is asked to, and what is given.
fn spec(attacks: &str) -> String {
    format!(
        r#"
        [experiment]
        id = "attacks"
        [data]
        use = "pictures"
        samples = 10
        [[model]]
        id = "victim"
        use = "cnn"
        weights = "builtin:tiny"
        [[model]]
        id = "source"
        use = "cnn"
        weights = "cnn.weights"
        [[model]]
        use = "oracle"
        [matrix]
        skip = [{{ model = ["source", "oracle"] }}]
        [[threat]]
        norm = "linf"
        eps = [0.2, "8/255", 0.1]
        [[threat]]
        id = "open"
        norm = "l2"
        {attacks}"#
    )
}

/// The attack of a spec that has only one, in the linf threat.
fn attack(attack: &str) -> Experiment {
    experiment(&spec(&format!("[[attack]]\nthreats = [\"linf\"]\n{attack}")), &[])
}

/// Specs of one attack each.
pub(crate) fn good_specs() -> impl Iterator<Item = String> {
    DIFFERENT.into_iter().chain([LISTED]).map(|attack| spec(&format!("[[attack]]\nthreats = \"linf\"\n{attack}")))
}

fn cells(experiment: &Experiment) -> Vec<Cell> {
    expand(experiment, "flex")
}

fn first(text: &str) -> Cell {
    cells(&attack(text)).swap_remove(0)
}

fn error(text: &str) -> String {
    load(&spec(text), &[]).unwrap_err().render(false)
}

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

#[test]
fn searches_are_completed_and_run_once_for_all_eps() {
    let searched = |search: &str| {
        let cells = cells(&attack(&format!("use = \"pgd\"\nsteps = 2\nsearch = {search}")));
        let [cell] = cells.as_slice() else { panic!("{} cells", cells.len()) };
        assert_eq!(cell.threat.eps, None);
        let search = cell.attack.search.clone().unwrap();
        assert_eq!(cell.cost, Cost::gradient(10 * 2 * search.runs()));
        search
    };
    // From the smallest up, whatever the order in the spec.
    let radii = ["8/255", "0.1", "0.2"].map(number);
    let list = searched("\"list\"");
    assert_eq!((list.runs(), list), (3, Search::List(radii.to_vec())));
    let exponential = searched("{ start = \"2/255\" }");
    assert_eq!(exponential.runs(), 16);
    assert_eq!(exponential, Search::Exponential { start: number("2/255"), doublings: 5, bisections: 10 });
    let linear = searched("{ largest = 0.5 }");
    assert_eq!((linear.runs(), linear), (42, Search::Linear { largest: number("0.5"), points: 32, bisections: 10 }));
    let start = number("0.25");
    assert_eq!(
        searched("{ start = 0.25, doublings = 0, bisections = 3 }"),
        Search::Exponential { start, doublings: 0, bisections: 3 }
    );
    let largest = number("1");
    assert_eq!(
        searched("{ largest = 1, points = 7, bisections = 0 }"),
        Search::Linear { largest, points: 7, bisections: 0 }
    );
}

#[test]
fn only_a_search_through_the_list_needs_eps() {
    let open = |search| format!("[[attack]]\nuse = \"pgd\"\nthreats = [\"open\"]\nsearch = {search}\n");
    assert_eq!(cells(&experiment(&spec(&open("{ start = 0.1 }")), &[])).len(), 1);
    let message = error(&open("\"list\""));
    assert!(message.contains("the threat `open` has no `eps`, but `pgd` needs one"), "{message}");
}

#[test]
fn a_search_must_come_to_every_eps() {
    let search = |search: &str| error(&format!("[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"\nsearch = {search}\n"));
    let message = search("{ start = \"1/255\" }");
    let expected =
        "the search of `pgd` ends at 0.12549019607843137 in linf and tries nothing at the eps 0.2 of the threat `linf`";
    assert!(message.contains(expected) && message.contains("write doublings = 6, or"), "{message}");
    assert!(search("{ largest = 0.1 }").contains("write largest = \"0.2\", or"));
    // As far as rounding goes, the end counts.
    assert_eq!(first("use = \"pgd\"\nsearch = { largest = 0.2 }").threat.eps, None);
    let tenth = "[[attack]]\nuse = \"pgd\"\nsearch = { largest = 0.3 }\nthreats = \"open\"\n";
    let rms = spec(tenth).replace("norm = \"l2\"", "norm = \"l2-rms\"\neps = 0.05");
    let message = load(&rms, &[]).unwrap_err().render(false);
    assert!(message.contains("ends at 0.3 in l2 and tries nothing at the eps 0.05 of the threat `open`"), "{message}");
    assert!(message.contains("write largest = \"0.4\", or"), "{message}");
}

#[test]
fn expectations_end_where_a_search_does() {
    let expect = |search: &str, eps: &str| {
        let attack = format!("[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"\nsearch = {search}\n");
        let about = format!("model = \"victim\"\nthreat = \"linf\"\neps = {eps}\nmetric = \"robust-accuracy\"");
        load(&spec(&format!("{attack}[[expect]]\n{about}\nvalue = 0.5\ntolerance = 0.1\n")), &[])
    };
    assert!(expect("\"list\"", "0.15").is_ok() && expect("{ start = 0.1 }", "3.2").is_ok());
    for (search, end) in [("\"list\"", "0.2"), ("{ largest = 0.25 }", "0.25")] {
        let message = expect(search, "0.3").unwrap_err().render(false);
        let expected = format!("the search ends at {end} in linf, and tries nothing at eps 0.3");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn radii_of_searches_make_sense_in_their_norms() {
    let search = |search: &str| error(&format!("[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"\nsearch = {search}\n"));
    for text in ["{ largest = 32 }", "{ start = 32 }"] {
        assert!(search(text).contains("write \"32/255\" if 8-bit steps are meant"), "{text}");
    }
    let open = "[[attack]]\nuse = \"pgd\"\nthreats = \"open\"\nsearch = { largest = 32 }\n";
    assert!(load(&spec(open), &[]).is_ok());
}

#[test]
fn steps_to_record_must_be_made() {
    let record = |attack: &str| load(&spec(&format!("[[attack]]\nthreats = \"linf\"\n{attack}")), &[]);
    let message = record("use = \"pgd\"\nsteps = 10\nrecord = [1, 1000]").unwrap_err().render(false);
    assert!(message.contains("`pgd` makes at most 10 steps, so there is no step 1000 to record"), "{message}");
    assert!(record("use = \"pgd\"\nsteps = 10\nrestarts = 3\neot = 9\nrecord = [30]").is_ok());
    assert!(record("use = \"pgd\"\nsteps = 10\nrestarts = 3\neot = 9\nrecord = [31]").is_err());
    assert!(record("use = \"pgd\"\nsteps = 10\nsurrogates = \"source\"\nrecord = [11]").is_err());
    let chain = "use = \"chain\"\nmembers = [{ use = \"pgd\", steps = 4 }, { use = \"square\", queries = 5 }]\n";
    assert!(record(&format!("{chain}record = [9]")).is_ok() && record(&format!("{chain}record = [10]")).is_err());
}

#[test]
fn an_attack_in_no_threat_is_a_mistake() {
    let message = error("[[attack]]\nuse = \"pgd\"\nthreats = []\n");
    assert!(message.contains("expected at least one threat, found an empty list"), "{message}");
}

#[test]
fn draws_and_restarts_multiply_the_cost() {
    assert_eq!(first("use = \"pgd\"\nsteps = 4\nrestarts = 3\neot = 5").cost, Cost::gradient(10 * 4 * 3 * 5));
    assert_eq!(first("use = \"square\"\nqueries = 50\neot = 2").cost, Cost::forward(10 * 50 * 2));
    let capped = first("use = \"pgd\"\neot = 100\nsearch = \"list\"\nbudget = { queries = 7 }");
    assert_eq!(capped.cost, Cost { queries: 70, forwards: 120_000, backwards: 120_000 });
}

#[test]
fn surrogates_that_stand_in_for_the_victim_make_a_transfer() {
    let AttackChoice { success, restarts, surrogates, .. } = first("use = \"pgd\"\nsurrogates = \"source\"").attack;
    assert_eq!((success, restarts, surrogates[0].id.as_str()), (Success::Last, 1, "source"));
    let transfer = first("use = \"pgd\"\nsurrogates = [\"source\", \"victim\"]\nensemble = \"loss\"");
    assert_eq!((transfer.attack.access(), transfer.cost), (Access::Nothing, Cost::default()));
    assert_eq!((transfer.attack.surrogates.len(), transfer.attack.ensemble), (2, Ensemble::Loss));
    let white_box = first("use = \"pgd\"");
    assert_eq!((white_box.attack.access(), white_box.attack.success), (Access::Gradients, Success::AnyIterate));
    // What asks the victim nothing runs on victims without gradients, too.
    let blind = spec("[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"\nsurrogates = \"source\"");
    let blind = blind.replace("[\"source\", \"oracle\"]", "\"source\"");
    assert_eq!(cells(&experiment(&blind, &[])).len(), 2 * 3);
}

/// A chain that lists what the bundle brings along in linf.
const LISTED: &str = r#"
use = "chain"
members = [
    { use = "pgd", restarts = 5 },
    { use = "square", queries = 50 },
    { id = "long", use = "pgd", steps = 100, eot = 2 },
]"#;

#[test]
fn chains_have_members_and_their_cost() {
    for text in ["use = \"bundle\"", LISTED] {
        let cells = cells(&attack(text));
        assert_eq!(cells.len(), 3);
        let Cell { attack, cost, .. } = &cells[0];
        let members: Vec<_> =
            attack.members.iter().map(|member| (member.chosen.id.as_str(), member.restarts, member.eot)).collect();
        assert_eq!(members, [("pgd", 5, 1), ("square", 1, 1), ("long", 1, 2)]);
        assert_eq!(attack.access(), Access::Gradients);
        // Of 40 steps five times, of 50 queries, and of 100 steps with two draws each.
        assert_eq!(*cost, Cost { queries: 4500, forwards: 4500, backwards: 4000 });
    }
}

#[test]
fn members_may_depend_on_the_norm() {
    let of = |experiment: &Experiment, norm| {
        let AttackSpec { members, .. } = &experiment.attacks[0];
        members.get(&norm).map(|chain| chain.iter().map(|member| member.chosen.id.clone()).collect::<Vec<_>>())
    };
    let bundle = attack("use = \"bundle\"");
    assert_eq!(of(&bundle, Norm::Linf).unwrap(), ["pgd", "square", "long"]);
    assert_eq!((of(&bundle, Norm::L2).unwrap(), of(&bundle, Norm::L1)), (vec!["pgd".to_owned()], None));
    let table = attack("use = \"chain\"\nmembers = { linf = [{ use = \"square\" }], l0 = [{ use = \"pgd\" }] }");
    assert_eq!((of(&table, Norm::Linf).unwrap(), of(&table, Norm::L2)), (vec!["square".to_owned()], None));
    assert_eq!(cells(&table)[0].attack.access(), Access::Scores);
    let queries = |experiment: &Experiment| experiment.figures.iter().any(|figure| figure.axis == CurveAxis::Queries);
    assert!(queries(&table) && !queries(&bundle));
    // A list stands for all norms.
    let list = attack("use = \"chain\"\nmembers = [{ use = \"pgd\" }]");
    assert!(Norm::ALL.into_iter().all(|norm| of(&list, norm).is_some()));
}

#[test]
fn chains_run_where_their_members_can() {
    let message = error("[[attack]]\nuse = \"bundle\"\nversion = \"quick\"\n");
    assert!(message.contains("`bundle` has no members for the norm `l2`"), "{message}");
    assert!(message.contains("restrict it with threats = [\"linf\"]"), "{message}");
    let message = error("[[attack]]\nuse = \"chain\"\nmembers = [{ use = \"pgd\" }, { use = \"square\" }]\n");
    let expected = "the member `square` of `chain` does not support the norm or the goal of the threat `open`";
    assert!(message.contains(expected) && message.contains("restrict it with threats = [\"linf\"]"), "{message}");
    // Gradients are needed in the norm alone in which a member takes them.
    let on_oracle = |members: &str| {
        let text = format!("[[attack]]\nuse = \"chain\"\nthreats = \"linf\"\nmembers = {members}\n");
        load(&spec(&text).replace("[\"source\", \"oracle\"]", "\"source\""), &[])
    };
    assert!(on_oracle("{ linf = [{ use = \"square\" }], l2 = [{ use = \"pgd\" }] }").is_ok());
    let message = on_oracle("[{ use = \"square\" }, { use = \"pgd\" }]").unwrap_err().render(false);
    assert!(message.contains("`chain` needs gradients, but the model `oracle` has none"), "{message}");
}

#[test]
fn all_norms_are_threats() {
    let threats = |text: &str| {
        let text = spec("[[attack]]\nuse = \"pgd\"").replace("id = \"open\"\n        norm = \"l2\"", text);
        load(&text, &[])
    };
    for (text, norm) in [("norm = \"l1\"\neps = [0.5, 12]", Norm::L1), ("norm = \"l0\"\neps = [1, 10]", Norm::L0)] {
        let Ok(realsafe_plan::Document::Experiment(experiment)) = threats(text) else { panic!("{text}") };
        let added: Vec<f64> = cells(&experiment).iter().filter(|cell| cell.threat.norm == norm).map(eps).collect();
        assert_eq!((experiment.threats[1].id.as_str(), added.len()), (norm.name(), 2));
    }
    for eps in ["0.5", "2.5", "[1, \"7/2\"]"] {
        let message = threats(&format!("norm = \"l0\"\neps = {eps}")).unwrap_err().render(false);
        assert!(message.contains("a whole number in l0"), "{message}");
    }
}

fn eps(cell: &Cell) -> f64 {
    cell.threat.eps.as_ref().unwrap().value()
}

/// Attacks that differ in one thing each.
const DIFFERENT: [&str; 29] = [
    "use = \"pgd\"",
    "use = \"pgd\"\neot = 2",
    "use = \"pgd\"\nsearch = \"list\"",
    "use = \"pgd\"\nsearch = { start = 0.1 }",
    "use = \"pgd\"\nsearch = { start = 0.2 }",
    "use = \"pgd\"\nsearch = { start = 0.1, doublings = 6 }",
    "use = \"pgd\"\nsearch = { start = 0.1, bisections = 6 }",
    "use = \"pgd\"\nsearch = { largest = 0.3 }",
    "use = \"pgd\"\nsearch = { largest = 0.2 }",
    "use = \"pgd\"\nsearch = { largest = 0.3, points = 6 }",
    "use = \"pgd\"\nsearch = { largest = 0.3, bisections = 6 }",
    "use = \"pgd\"\nsuccess = \"last\"",
    "use = \"pgd\"\nsurrogates = \"source\"",
    "use = \"pgd\"\nsurrogates = \"victim\"",
    "use = \"pgd\"\nsurrogates = [\"source\", \"victim\"]",
    "use = \"pgd\"\nsurrogates = [\"victim\", \"source\"]",
    "use = \"pgd\"\nsurrogates = [\"source\", \"victim\"]\nensemble = \"probabilities\"",
    "use = \"pgd\"\nsurrogates = [\"source\", \"victim\"]\nensemble = \"loss\"",
    "use = \"chain\"\nmembers = [{ use = \"pgd\" }]",
    "use = \"chain\"\nmembers = [{ use = \"pgd\", steps = 7 }]",
    "use = \"chain\"\nmembers = [{ use = \"pgd\", restarts = 2 }]",
    "use = \"chain\"\nmembers = [{ use = \"pgd\", eot = 2 }]",
    "use = \"chain\"\nmembers = [{ id = \"other\", use = \"pgd\" }]",
    "use = \"chain\"\nmembers = [{ use = \"pgd\" }, { use = \"square\" }]",
    "use = \"chain\"\nmembers = [{ use = \"square\" }, { use = \"pgd\" }]",
    "use = \"chain\"\nmembers = [{ use = \"pgd\" }]\nsuccess = \"last\"",
    "use = \"chain\"\nmembers = [{ use = \"pgd\" }]\nbudget = { queries = 9 }",
    "use = \"bundle\"",
    "use = \"bundle\"\nversion = \"quick\"",
];

#[test]
fn every_difference_is_in_the_key() {
    let attacks = DIFFERENT.map(first);
    for (index, one) in attacks.iter().enumerate() {
        for (other, text) in attacks[..index].iter().zip(DIFFERENT) {
            // The quick bundle is the plain chain under another name.
            let same = DIFFERENT[index].contains("quick") && text == DIFFERENT[18];
            assert_eq!(one.key == other.key, same, "{text}\n\n{}", DIFFERENT[index]);
        }
    }
}

#[test]
fn names_and_spellings_are_not_in_the_key() {
    for (one, other) in [
        ("use = \"bundle\"", LISTED),
        ("use = \"bundle\"\nid = \"another\"", "use = \"bundle\""),
        ("use = \"pgd\"\nsearch = { start = 0.1 }", "use = \"pgd\"\nsearch = { start = \"1/10\", doublings = 5 }"),
        ("use = \"pgd\"\nsearch = { largest = 1 }", "use = \"pgd\"\nsearch = { largest = \"1\", bisections = 10 }"),
        ("use = \"pgd\"\neot = 1", "use = \"pgd\""),
        (
            "use = \"pgd\"\nsurrogates = [\"source\", \"victim\"]\nensemble = \"logits\"",
            "use = \"pgd\"\nsurrogates = [\"source\", \"victim\"]",
        ),
    ] {
        assert_eq!(first(one).key, first(other).key, "{one}\n\n{other}");
    }
    let text = spec("[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"\nsurrogates = \"source\"");
    let renamed = text.replace("\"source\"", "\"other\"");
    assert_eq!(cells(&experiment(&text, &[]))[0].key, cells(&experiment(&renamed, &[]))[0].key);
}

#[test]
fn the_radii_of_a_threat_matter_to_a_search_through_them() {
    let key = |search: &str, radii: &str| {
        let text = spec(&format!("[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"\nsearch = {search}"));
        cells(&experiment(&text.replace("[0.2, \"8/255\", 0.1]", radii), &[]))[0].key.clone()
    };
    assert_ne!(key("\"list\"", "[0.1, 0.2]"), key("\"list\"", "[0.1, 0.3]"));
    assert_eq!(key("\"list\"", "[0.1, 0.2]"), key("\"list\"", "[0.2, \"1/10\"]"));
    assert_eq!(key("{ start = 0.1 }", "[0.1, 0.2]"), key("{ start = 0.1 }", "[0.1, 0.3]"));
}

#[test]
fn resolved_attacks_read_back_to_the_same_cells() {
    let listed = [LISTED];
    let members = ["use = \"chain\"\nmembers = { linf = [{ use = \"square\" }], l2 = [{ use = \"pgd\", eot = 3 }] }"];
    for text in DIFFERENT.iter().chain(&listed).chain(&members) {
        let original = attack(text);
        let resolved = original.resolved();
        let again = experiment(&resolved, &[]);
        // The name of what brought members along is not read back.
        let facts =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(facts(&again.resolved()), facts(&resolved));
        let keys = |experiment| cells(experiment).into_iter().map(|cell| cell.key).collect::<Vec<_>>();
        assert_eq!(keys(&again), keys(&original), "{resolved}");
    }
    insta::assert_snapshot!("resolved_bundle", attack("use = \"bundle\"").resolved());
}
