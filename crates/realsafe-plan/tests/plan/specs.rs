//! What specs mean.

use realsafe_plan::{
    Aim, Budget, Claim, Cost, CurveAxis, Document, Experiment, Facet, GradientMode, Norm, Number, Plan, Relation,
    Success, expand, load_spec, plugins_of_spec,
};

use crate::fixture::{FULL, catalogue, environment, experiment, load, training};

const SMALL: &str = r#"
[experiment]
id = "small"
[data]
use = "pictures"
samples = 300
[[model]]
use = "cnn"
weights = "builtin:tiny"
[threat]
norm = "linf"
eps = ["8/255"]
[[attack]]
use = "pgd"
"#;

#[test]
fn everything_is_read() {
    let experiment = experiment(FULL, &[]);
    assert_eq!(
        (experiment.id.as_str(), experiment.seeds.as_slice(), experiment.chunk),
        ("full", [0, 7].as_slice(), 100)
    );
    assert_eq!((experiment.shape, experiment.classes, experiment.samples.len()), ([1, 8, 8], 10, 400));
    let stacks: Vec<String> = experiment.stacks.iter().map(realsafe_plan::Stack::name).collect();
    assert_eq!(stacks, ["none", "jpeg-75", "bits-3+jpeg-75"]);
    let rms = &experiment.threats[1];
    assert_eq!((rms.id.as_str(), rms.norm), ("l2-rms", Norm::L2));
    assert_eq!((rms.unit.name, rms.unit.size), ("l2-rms", 8.0));
    // A quarter in l2-rms is two in l2.
    let radii: Vec<_> = rms.eps.iter().map(|eps| (eps.text(), eps.written(), eps.value())).collect();
    assert_eq!(radii, [("0.25", 0.25, 2.0), ("0.5", 0.5, 4.0)]);
    let choice = &experiment.attacks[0].choice;
    assert_eq!((choice.success, choice.restarts, choice.record.as_slice()), (Success::Last, 3, [1, 5].as_slice()));
    assert_eq!(choice.budget, Budget { queries: Some(25), forwards: None, backwards: Some(100) });
    assert_eq!(choice.chosen.values.text("start"), "cube");
    assert_eq!(experiment.models[1].values.numbers("mean"), [0.1, 1.0 / 3.0]);
    assert_eq!(experiment.models[0].values.numbers("mean"), [0.5, 0.25]);
}

#[test]
fn expectations_are_completed() {
    let expectations = experiment(FULL, &[]).expectations;
    let [value, order, clean, distance] = expectations.as_slice() else { panic!("{expectations:?}") };
    assert_eq!(value.selector.eps.as_ref().unwrap().text(), "8/255");
    assert_eq!(value.claim, Claim::Value { value: 0.5, tolerance: 0.02, samples: Some(10_000) });
    let Claim::Order { relation: Relation::Above, other, from_eps, factor, margin } = &order.claim else {
        panic!("{order:?}")
    };
    assert_eq!((other.model.as_str(), &other.attack, *factor, *margin), ("other", &Aim::WorstCase, 1.0, 0.01));
    assert_eq!(from_eps.as_ref().unwrap().value(), 0.1);
    assert_eq!((&clean.selector.attack, &clean.selector.threat), (&Aim::Clean, &None));
    let Claim::Order { relation: Relation::Below, other, factor: 0.8, .. } = &distance.claim else {
        panic!("{distance:?}")
    };
    assert_eq!((other.stack.as_str(), distance.selector.stack.as_str(), &other.eps), ("jpeg-75", "none", &None));
}

#[test]
fn figures_are_read_or_made_up() {
    let [curves, progress] = experiment(FULL, &[]).figures.try_into().unwrap();
    assert_eq!((curves.id.as_str(), curves.axis, curves.logarithmic), ("eps", CurveAxis::Eps, false));
    assert_eq!(
        (curves.panels.as_slice(), curves.series.as_slice()),
        (&[Facet::Stack][..], &[Facet::Model, Facet::Attack][..])
    );
    assert!(curves.covers("standard", "none", "pgd", "linf") && !curves.covers("other", "none", "pgd", "linf"));
    assert_eq!((progress.id.as_str(), progress.logarithmic), ("progress", true));
    assert_eq!(progress.panels, [Facet::Model, Facet::Stack]);
    assert_eq!(progress.eps.iter().map(Number::text).collect::<Vec<_>>(), ["8/255", "0.25"]);

    let axes = |text: &str| experiment(text, &[]).figures.into_iter().map(|figure| figure.axis).collect::<Vec<_>>();
    assert_eq!(axes(SMALL), []);
    assert_eq!(axes(&SMALL.replace("[\"8/255\"]", "[0.1, 0.2, 0.3]")), [CurveAxis::Eps]);
    let all = SMALL.replace("use = \"pgd\"", "use = \"pgd\"\nrecord = [1]\n[[attack]]\nuse = \"square\"");
    let all = all.replace("[\"8/255\"]", "[0.1, 0.2, 0.3]");
    assert_eq!(axes(&all), CurveAxis::ALL);
    let minimal = |record: &str| SMALL.replace("use = \"pgd\"", &format!("use = \"boundary\"{record}"));
    let [in_linf, in_l2] = ["norm = \"linf\"", "norm = \"l2\""];
    assert_eq!(axes(&minimal("").replace(in_linf, in_l2)), [CurveAxis::Eps]);
    assert_eq!(axes(&minimal("\nrecord = [1]").replace(in_linf, in_l2)), CurveAxis::ALL);
    assert_eq!(experiment(&all, &[]).figures[1].eps, ["0.2".parse().unwrap()]);
    let none = experiment(&format!("figure = []\n{all}"), &[]);
    assert!(none.figures.is_empty() && experiment(&none.resolved(), &[]).figures.is_empty());
    let keys = |one| expand(one, "flex").into_iter().map(|cell| cell.key).collect::<Vec<_>>();
    assert_eq!(keys(&none), keys(&experiment(&all, &[])));
}

#[test]
fn cells_come_in_order_and_with_their_cost() {
    let cells = expand(&experiment(FULL, &[]), "flex");
    // Per model and stack: pgd on 2 + 2 + 1 eps, square on 2, boundary on 1; 2 seeds; 4 chunks; 3 + 1 stacks.
    assert_eq!(cells.len(), (5 + 2 + 1) * 2 * 4 * 4);
    let first = &cells[0];
    assert_eq!(first.samples, (200..300).collect::<Vec<u32>>());
    // 10 steps, 3 restarts, at most 25 queries, on 100 samples.
    assert_eq!(first.cost, Cost { queries: 2500, forwards: 3000, backwards: 3000 });
    let boundary = cells.iter().find(|cell| cell.attack.chosen.id == "boundary").unwrap();
    assert_eq!(boundary.threat.eps, None);
    let stacked = cells.iter().find(|cell| cell.stack_name() == "bits-3+jpeg-75").unwrap();
    let gradients: Vec<GradientMode> = stacked.stack.iter().map(|layer| layer.gradient).collect();
    assert_eq!(gradients, [GradientMode::Identity, GradientMode::Identity]);
    let square = cells.iter().find(|cell| cell.stack_name() == "bits-3+jpeg-75" && cell.attack.chosen.id == "square");
    assert_eq!(square.unwrap().stack[0].gradient, GradientMode::Exact);
}

#[test]
fn the_resolved_spec_gives_the_same_cells() {
    for text in [FULL, SMALL] {
        let original = experiment(text, &[]);
        let resolved = original.resolved();
        let again = experiment(&resolved, &[]);
        assert_eq!(again.resolved(), resolved);
        assert_eq!(again.expectations, original.expectations);
        assert_eq!(again.figures, original.figures);
        let keys = |experiment| {
            expand(experiment, "flex").into_iter().map(|cell| (cell.key, cell.samples)).collect::<Vec<_>>()
        };
        assert_eq!(keys(&again), keys(&original));
    }
    insta::assert_snapshot!("resolved", experiment(FULL, &[]).resolved());
}

#[test]
fn more_samples_keep_the_cells_there_are() {
    let cells = |samples: &str| expand(&experiment(SMALL, &[&format!("data.samples={samples}")]), "flex");
    let (few, many) = (cells("512"), cells("700"));
    assert_eq!((few.len(), many.len()), (2, 3));
    assert_eq!(few[0].key, many[0].key);
    assert_eq!(few[1].key, many[1].key);
    let shifted = expand(&experiment(SMALL, &["data.range=[256, 512]"]), "flex");
    assert_eq!(shifted.iter().map(|cell| &cell.key).collect::<Vec<_>>(), [&many[1].key]);
}

#[test]
fn overrides_reach_tables_and_elements() {
    let overridden = experiment(
        FULL,
        &[
            "data.samples=5",
            "attack.pgd.steps=7",
            "attack.pgd.budget.queries=3",
            "threat.aimed.eps=0.2",
            "run.device=tch:cuda:0",
            "experiment.seed=3",
        ],
    );
    assert_eq!(overridden.samples, [0, 1, 2, 3, 4]);
    let choice = &overridden.attacks[0].choice;
    assert_eq!((choice.chosen.values.count("steps"), choice.budget.queries), (7, Some(3)));
    assert_eq!(choice.budget.backwards, Some(100));
    assert_eq!(overridden.threats[2].eps[0].text(), "0.2");
    assert_eq!((overridden.device.as_deref(), overridden.seeds.as_slice()), (Some("tch:cuda:0"), [3].as_slice()));
}

#[test]
fn indices_come_from_a_file_beside_the_spec() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base");
    std::fs::create_dir(&base).unwrap();
    std::fs::write(base.join("hard.txt"), "# the hard ones\n900\n\n3\n17\n").unwrap();
    std::fs::write(base.join("base.toml"), SMALL.replace("samples = 300", "indices = \"hard.txt\"")).unwrap();
    let path = directory.path().join("spec.toml");
    std::fs::write(&path, "extends = \"base/base.toml\"\nexperiment.title = \"hard\"\n").unwrap();
    let Ok(Document::Experiment(experiment)) = load_spec(&path, &[], &catalogue(), &environment()) else { panic!() };
    assert_eq!((experiment.samples.as_slice(), experiment.title.as_str()), ([3, 17, 900].as_slice(), "hard"));
    assert_eq!(expand(&experiment, "flex").len(), 2);
    std::fs::write(base.join("hard.txt"), "3\n1000\n").unwrap();
    let message = load_spec(&path, &[], &catalogue(), &environment()).unwrap_err().render(false);
    assert!(message.contains("hard.txt:2: `1000` is not an index below 1000"), "{message}");
}

#[test]
fn threats_that_share_a_norm_are_told_apart_by_their_goal() {
    let threats =
        "[[threat]]\nnorm = \"linf\"\neps = 0.1\n[[threat]]\nnorm = \"linf\"\neps = 0.1\ngoal = \"targeted\"\n";
    let text = SMALL.replace("[threat]\nnorm = \"linf\"\neps = [\"8/255\"]\n", threats);
    let ids: Vec<String> = experiment(&text, &[]).threats.into_iter().map(|threat| threat.id).collect();
    assert_eq!(ids, ["linf-untargeted", "linf-targeted"]);
}

#[test]
fn two_experiments_cannot_share_an_id() {
    let one = experiment(SMALL, &[]);
    let other = experiment(SMALL, &["experiment.id=other"]);
    let plan = Plan::new(vec![one.clone(), other], "flex").unwrap();
    assert_eq!((plan.cells.len(), plan.cost()), (4, Cost::gradient(2 * 300 * 40)));
    // The experiment's name is not in the keys.
    assert_eq!(plan.cells[0].key, plan.cells[2].key);
    let message = Plan::new(vec![one.clone(), one], "flex").unwrap_err().render(false);
    assert!(message.contains("two experiments are named `small`"), "{message}");
}

#[test]
fn a_training_spec_is_read_and_resolved() {
    let text = r#"
[training]
id = "cnn-standard"
use = "standard"
epochs = 3
seed = 5
[data]
use = "pictures"
[[model]]
use = "cnn"
"#;
    let spec = training(text);
    assert_eq!((spec.id.as_str(), spec.seed, spec.samples.len()), ("cnn-standard", 5, 1000));
    assert_eq!(spec.recipe.values.count("epochs"), 3);
    assert!(!spec.model.values.is_set("weights"));
    assert_eq!(training(&spec.resolved()).resolved(), spec.resolved());
}

/// A transfer attack from one model to another.
const TRANSFER: &str = r#"
[experiment]
id = "transfer"
[data]
use = "pictures"
samples = 3
[[model]]
id = "source"
use = "cnn"
weights = "builtin:tiny"
[[model]]
use = "oracle"
[threat]
norm = "linf"
eps = 0.1
[[attack]]
use = "transfer"
surrogates = ["source"]
loss = { use = "sharpened", temperature = "1/2" }
[matrix]
only = [{ model = "oracle" }]
"#;

#[test]
fn losses_and_surrogates_are_read_and_count() {
    let one = experiment(TRANSFER, &[]);
    let cells = expand(&one, "flex");
    let attack = &cells[0].attack;
    assert_eq!((attack.success, attack.surrogates[0].id.as_str()), (Success::Last, "source"));
    let loss = attack.chosen.values.component("loss");
    assert_eq!((loss.component.id, loss.values.number("temperature")), ("sharpened", 0.5));
    let again = experiment(&one.resolved(), &[]);
    assert_eq!(expand(&again, "flex")[0].key, cells[0].key);
    let key = |from: &str, to: &str| {
        assert!(TRANSFER.contains(from));
        expand(&experiment(&TRANSFER.replace(from, to), &[]), "flex")[0].key.clone()
    };
    assert_eq!(key("\"1/2\"", "0.5"), cells[0].key);
    assert_ne!(key("\"1/2\"", "0.25"), cells[0].key);
    assert_ne!(key("loss = { use = \"sharpened\", temperature = \"1/2\" }", "loss = \"cross-entropy\""), cells[0].key);
    assert_eq!(
        key("loss = { use = \"sharpened\", temperature = \"1/2\" }", ""),
        key("{ use = \"sharpened\", temperature = \"1/2\" }", "\"cross-entropy\"")
    );
    assert_ne!(key("builtin:tiny", "cnn.weights"), cells[0].key);
}

#[test]
fn a_loss_that_needs_more_classes_than_a_model_has_is_an_error() {
    let text = TRANSFER.replace("{ use = \"sharpened\", temperature = \"1/2\" }", "\"crowded\"");
    let message = load(&text, &[]).unwrap_err().to_string();
    assert!(
        message.contains("the loss `crowded` of `transfer` needs 11 classes, but the model `oracle` knows 10"),
        "{message}"
    );
}

#[test]
fn plugins_are_found_relative_to_the_file_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("base");
    std::fs::create_dir(&folder).unwrap();
    let digest = "ab".repeat(32);
    let base =
        format!("[plugins]\nfirst = \"first.so\"\nsecond = {{ path = \"../second.so\", blake3 = \"{digest}\" }}\n");
    std::fs::write(folder.join("base.toml"), base).unwrap();
    let path = directory.path().join("spec.toml");
    std::fs::write(&path, format!("extends = \"base/base.toml\"\n{TRANSFER}\n[plugins]\nthird = \"third.so\"\n"))
        .unwrap();
    let found = plugins_of_spec(&path);
    let found: Vec<_> =
        found.iter().map(|file| (file.name.as_str(), file.path.as_path(), file.blake3.as_deref())).collect();
    let at = |name: &str| directory.path().join(name);
    let expected = [
        ("first", at("base/first.so"), None),
        ("second", at("second.so"), Some(digest.as_str())),
        ("third", at("third.so"), None),
    ];
    assert_eq!(found, expected.each_ref().map(|(name, path, digest)| (*name, path.as_path(), *digest)));
    assert!(load_spec(&path, &[], &catalogue(), &environment()).is_ok());
}

#[test]
fn files_can_be_left_alone() {
    let text = SMALL.replace("builtin:tiny", "weights/nowhere.pt");
    assert!(load(&text, &[]).is_err());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spec.toml");
    std::fs::write(&path, text).unwrap();
    let environment = realsafe_plan::Environment { read_files: false, ..environment() };
    assert!(load_spec(&path, &["data.split=train".to_owned()], &catalogue(), &environment).is_ok());
}

#[test]
fn files_count_by_their_content() {
    let data = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(data.path().join(name), content).unwrap();
    write("pictures.bin.gz", "packed");
    write("one.weights", "the same");
    write("two.weights", "the same");
    write("three.weights", "not the same");
    let environment = realsafe_plan::Environment { data: data.path().to_owned(), ..environment() };
    let path = data.path().join("spec.toml");
    let load = |weights: &str| {
        std::fs::write(&path, SMALL.replace("builtin:tiny", weights)).unwrap();
        match load_spec(&path, &[], &catalogue(), &environment) {
            Ok(Document::Experiment(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    };
    let key = |weights: &str| expand(&load(weights), "flex")[0].key.clone();
    assert_eq!(key("one.weights"), key("two.weights"));
    assert_ne!(key("one.weights"), key("three.weights"));
    assert_eq!(load("one.weights").data.files.keys().collect::<Vec<_>>(), ["pictures.bin.gz"]);
    let before = key("one.weights");
    write("pictures.bin", "plain");
    assert_eq!(load("one.weights").data.files.keys().collect::<Vec<_>>(), ["pictures.bin"]);
    assert_ne!(key("one.weights"), before);
}

/// An experiment with these defenses.
fn behind(defenses: &str) -> Experiment {
    let text = format!(
        "experiment.id = \"behind\"\ndata = {{ use = \"pictures\", samples = 5 }}\n\
         model = [{{ use = \"cnn\", weights = \"cnn.weights\" }}]\nthreat = {{ norm = \"linf\", eps = 0.1 }}\n\
         attack = [{{ use = \"pgd\" }}]\ndefense = [{defenses}]\n"
    );
    experiment(&text, &[])
}

#[test]
fn a_dataset_can_be_a_parameter_and_its_files_count() {
    let spec = behind("{ use = \"collage\", images = { use = \"pictures\", split = \"test\" } }");
    let images = spec.defenses[0].defense.values.component("images");
    assert_eq!((images.component.id, images.values.text("split")), ("pictures", "test"));
    assert_eq!(images.files.keys().collect::<Vec<_>>(), ["pictures.bin"]);
    let key = |spec: &Experiment| expand(spec, "flex")[0].key.clone();
    assert_eq!(key(&spec), key(&behind("{ use = \"collage\", images = \"pictures\" }")));
    assert_eq!(key(&spec), key(&experiment(&spec.resolved(), &[])));
}

#[test]
fn shapes_are_followed_through_defenses() {
    let spec = behind("{ use = \"levels\", levels = 1 }");
    assert_eq!(spec.defenses[0].gradient, GradientMode::Smooth);
    let spec = training(
        "training = { id = \"behind\", use = \"standard\" }\ndata.use = \"pictures\"\nmodel = [{ use = \"cnn\" }]\n\
         defense = [{ use = \"levels\", levels = 1, gradient = \"blocked\" }]\n",
    );
    assert_eq!(spec.defenses[0].gradient, GradientMode::Blocked);
    assert_eq!(training(&spec.resolved()).resolved(), spec.resolved());
}

/// A spec of two networks and what is appended.
fn committee(more: &str) -> String {
    let second = "[[model]]\nid = \"second\"\nuse = \"cnn\"\nweights = \"builtin:tiny\"\nfolded = false\n";
    format!("{SMALL}\n{second}\n{more}")
}

#[test]
fn members_of_models_are_found_wherever_they_stand_and_go_into_the_key() {
    let outer = "[[model]]\nid = \"outer\"\nuse = \"committee\"\nmembers = [\"inner\", \"cnn\"]\n";
    let inner = "[[model]]\nid = \"inner\"\nuse = \"committee\"\nmembers = [\"cnn\", \"second\"]\n";
    let experiment = experiment(&committee(&format!("{outer}{inner}")), &[]);
    let ids: Vec<&str> = experiment.models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["cnn", "second", "outer", "inner"], "in the order of the spec");
    let parts: Vec<&str> = experiment.models[2].values.components().map(|part| part.id.as_str()).collect();
    assert_eq!(parts, ["inner", "cnn", "second", "cnn"]);
    let keys = |text: &str| -> Vec<String> {
        let experiment = crate::fixture::experiment(text, &[]);
        let outer = expand(&experiment, "cpu").into_iter().filter(|cell| cell.model.id == "outer");
        outer.map(|cell| cell.key.to_string()).collect()
    };
    let text = committee(&format!("{outer}{inner}"));
    assert_eq!(keys(&text), keys(&experiment.resolved()), "{}", experiment.resolved());
    assert_eq!(keys(&text), keys(&text.replace("\"second\"", "\"another\"")), "what members are called");
    assert_ne!(keys(&text), keys(&text.replace("folded = false", "folded = true")), "what members are");
    assert_ne!(keys(&text), keys(&text.replace("[\"inner\", \"cnn\"]", "[\"cnn\", \"inner\"]")), "their order");
}

#[test]
fn wrong_members_are_told() {
    for (members, message) in [
        ("[\"cnn\", \"secnd\"]", "this spec has no model `secnd`"),
        ("[\"cnn\", \"outer\"]", "the model `outer` is a member of itself"),
        (
            "[\"cnn\", { use = \"committee\", members = [\"cnn\", \"outer\"] }]",
            "the model `outer` is a member of itself",
        ),
        ("[\"cnn\"]", "`members` are at least two models"),
        ("[\"cnn\", 3]", "the id of a model of this spec"),
    ] {
        let outer = format!("[[model]]\nid = \"outer\"\nuse = \"committee\"\nmembers = {members}\n");
        let told = load(&committee(&outer), &[]).unwrap_err().render(false);
        assert!(told.contains(message), "{told}");
    }
    let ring = "[[model]]\nid = \"a\"\nuse = \"committee\"\nmembers = [\"cnn\", \"b\"]\n\
                [[model]]\nid = \"b\"\nuse = \"committee\"\nmembers = [\"cnn\", \"a\"]\n\
                [[model]]\nid = \"c\"\nuse = \"committee\"\nmembers = [\"cnn\", \"a\"]\n";
    let told = load(&committee(ring), &[]).unwrap_err().render(false);
    assert_eq!(told.matches("is a member of itself").count(), 2, "{told}");
}
