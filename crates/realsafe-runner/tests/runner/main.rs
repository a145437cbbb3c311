//! What the runner does when attacks misbehave, and how targets are chosen.

mod ledger;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use realsafe_core::{
    Attack, AttackEntry, Batch, Defense, DefenseEntry, Draws, Labels, Locations, Model, ModelEntry, Registry, Role,
    Stop, inventory, state,
};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, DefenseTraits, Document, Environment, Goal, GradientMode, ModelTraits, Norm,
    Origin, Plan, Surrogates, Traits, load_spec,
};
use realsafe_results::{CellRecord, Spent, Status, Store};
use realsafe_runner::{Event, Options, RunError, Totals, Workshop};

extern crate realsafe_attacks as _;
extern crate realsafe_data as _;
extern crate realsafe_defenses as _;
extern crate realsafe_models as _;

/// An attack that breaks the rules in one way.
struct Rude(&'static str);

state! {
    struct Images {
        images: Tensor<4>,
    }
}

impl Attack for Rude {
    type Door = dyn Labels;
    type State = Images;

    fn steps(&self) -> u32 {
        2
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Images, Stop> {
        Ok(Images { images: batch.images.clone() })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Images) -> Result<(), Stop> {
        match self.0 {
            "panic" => panic!("out of order"),
            "greedy" => (0..5).try_for_each(|_| victim.labels(batch, &batch.images, Role::Probe).map(drop))?,
            "escape" => state.images = batch.images.clone() + 0.5,
            _ => state.images = batch.images.clone() * f32::NAN,
        }
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Images) -> Tensor<4> {
        state.images.clone()
    }
}

macro_rules! rude {
    ($($id:literal),*) => {$(
        inventory::submit! {
            AttackEntry {
                component: Component {
                    id: concat!("rude-", $id),
                    revision: 1,
                    origin: Origin::Crate(env!("CARGO_PKG_NAME")),
                    source: "//! Misbehaves.",
                    parameters: &[],
                    example: "",
                    traits: Traits::Attack(AttackTraits {
                        access: Access::Labels,
                        surrogates: Surrogates::Unused,
                        norms: &Norm::ALL,
                        goals: &Goal::ALL,
                        minimises_distance: false,
                        cost: &|_| Ok(Cost::forward(2)),
                    }),
                },
                build: &|_, _| Ok(Box::new(Rude($id))),
            }
        }
    )*};
}

rude!("panic", "greedy", "escape", "nan");

/// A model that knows nothing.
struct Void;

impl Model for Void {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let rows = images.dims()[0];
        Ok(images.reshape([rows, 64]).narrow(1, 0, 10) * f32::NAN)
    }
}

/// A model that gives probabilities.
struct Softened;

impl Model for Softened {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let rows = images.dims()[0];
        Ok(softmax(images.reshape([rows, 64]).narrow(1, 20, 10) * 9.0, 1))
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "softened",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: "//! Gives probabilities.",
            parameters: &[],
            example: "",
            traits: Traits::Model(ModelTraits { input: &|_| Ok([1, 8, 8]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &|_, _, _| Ok(Box::new(Softened)),
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "void",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: "//! Gives NaN.",
            parameters: &[],
            example: "",
            traits: Traits::Model(ModelTraits { input: &|_| Ok([1, 8, 8]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &|_, _, _| Ok(Box::new(Void)),
    }
}

const DIGITS: &str = "[experiment]\nid = \"test\"\n[data]\nuse = \"digits\"\nsamples = 12\n";
const NETWORK: &str = "[[model]]\nuse = \"digits-cnn\"\nweights = \"builtin:digits-standard\"\n";

/// Runs a spec in a store of its own; the records are in the order of the plan.
fn run(folder: &Path, spec: &str) -> (Totals, Vec<Option<CellRecord>>, Vec<String>) {
    let failures = Mutex::new(Vec::new());
    let observe = |event: Event<'_>| {
        if let Event::Failed { reason, .. } = event {
            failures.lock().unwrap().push(reason.to_owned());
        }
    };
    let (totals, records) = run_watched(folder, spec, &observe).unwrap();
    (totals, records, failures.into_inner().unwrap())
}

fn run_watched(
    folder: &Path,
    spec: &str,
    observe: &(dyn Fn(Event<'_>) + Send + Sync),
) -> Result<(Totals, Vec<Option<CellRecord>>), RunError> {
    let file = folder.join("spec.toml");
    std::fs::write(&file, spec).unwrap();
    let builtin = |name: &str| realsafe_models::builtin_weights(name).map(<[u8]>::to_vec);
    let environment = Environment {
        data: folder.to_owned(),
        data_origin: "the test".to_owned(),
        builtin: &builtin,
        read_files: true,
    };
    let document = load_spec(&file, &[], &Registry::linked().catalogue().unwrap(), &environment)
        .map_err(|mistakes| mistakes.render(false));
    let Document::Experiment(experiment) = document.unwrap() else { panic!("an experiment") };
    let plan = Plan::new(vec![experiment], "test").unwrap();
    let store = Store::open(folder.join("store")).unwrap();
    let options = Options { jobs: 2, save_adversarials: false, partition: None };
    let registry = Arc::new(Registry::linked());
    let workshop = Workshop::new(&Device::flex(), &registry, &Locations { data: folder.to_owned() });
    let totals = realsafe_runner::run(&plan, &store, "flex", &workshop, &options, &Default::default(), observe);
    let records = plan.cells.iter().map(|cell| store.get(&cell.key).unwrap()).collect();
    Ok((totals?, records))
}

#[test]
fn a_misbehaving_attack_costs_its_own_cells_only() {
    let folder = tempfile::tempdir().unwrap();
    let attacks = ["panic", "greedy", "escape", "nan"]
        .map(|id| format!("[[attack]]\nuse = \"rude-{id}\"\nsuccess = \"last\"\nbudget = {{ queries = 3 }}\n"));
    let spec = format!(
        "{DIGITS}{NETWORK}[threat]\nnorm = \"linf\"\neps = 0.1\n{}[[attack]]\nuse = \"fgsm\"\n[run]\nchunk = 6\n",
        attacks.concat()
    );
    let (totals, records, _) = run(folder.path(), &spec);
    assert_eq!((totals.computed, totals.failed), (10, 0));
    let statuses = |at: usize| -> BTreeSet<Status> {
        let record = records[at].as_ref().unwrap();
        record.outcomes.iter().map(|outcome| outcome.status).collect()
    };
    let only = |status| BTreeSet::from([status]);
    for chunk in [0, 1] {
        assert_eq!(statuses(chunk), only(Status::Failed), "panic");
        assert!(records[chunk].as_ref().unwrap().warnings[0].contains("out of order"));
        assert_eq!(statuses(2 + chunk), only(Status::OverBudget), "greedy");
        assert_eq!(statuses(4 + chunk), only(Status::Invalid), "escape");
        assert_eq!(statuses(6 + chunk), only(Status::Invalid), "nan");
        assert!(statuses(8 + chunk).iter().all(|status| !status.is_error()), "fgsm goes on");
    }
}

#[test]
fn a_model_that_gives_nan_fails_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let spec = format!(
        "{DIGITS}[[model]]\nuse = \"void\"\n[threat]\nnorm = \"linf\"\neps = 0.1\n[[attack]]\nuse = \"fgsm\"\n"
    );
    let (totals, records, _) = run(folder.path(), &spec);
    assert_eq!((totals.computed, totals.failed), (1, 0));
    let record = records[0].as_ref().unwrap();
    assert!(record.outcomes.iter().all(|outcome| outcome.status == Status::Failed && outcome.clean_pred.is_none()));
    assert!(record.warnings[0].contains("NaN for the clean image of sample 0"), "{:?}", record.warnings);
}

#[test]
fn gradients_of_residual_branches_are_asked_of_residual_networks_only() {
    let folder = tempfile::tempdir().unwrap();
    let spec = format!(
        "{DIGITS}{NETWORK}[threat]\nnorm = \"linf\"\neps = 0.1\n[[attack]]\nuse = \"sgm\"\n\
         [[attack]]\nid = \"transferred\"\nuse = \"sgm\"\nsurrogates = [\"digits-cnn\"]\n"
    );
    let (_, records, _) = run(folder.path(), &spec);
    for record in records.into_iter().flatten() {
        assert!(record.outcomes.iter().all(|outcome| outcome.status == Status::Failed));
        let warning = &record.warnings[0];
        assert!(warning.contains("the model `digits-cnn` (`digits-cnn`) has no residual branches"), "{warning}");
    }
}

#[test]
fn a_transfer_is_made_once_and_judged_on_every_victim() {
    const ROBUST: &str = "[[model]]\nid = \"robust\"\nuse = \"digits-cnn\"\nweights = \"builtin:digits-pgd-at\"\n";
    let attacks = |surrogate: &str| {
        format!(
            "{DIGITS}{NETWORK}{ROBUST}[threat]\nnorm = \"linf\"\neps = 0.15\n[[attack]]\nuse = \"dim\"\nsteps = 3\n\
             surrogates = [\"{surrogate}\"]\n[run]\nchunk = 6\n"
        )
    };
    let steps = |spec: &str| {
        let folder = tempfile::tempdir().unwrap();
        let rows = AtomicUsize::new(0);
        let observe = |event: Event<'_>| {
            if let Event::Stepped { rows: stepped } = event {
                rows.fetch_add(stepped, Ordering::Relaxed);
            }
        };
        let (_, records) = run_watched(folder.path(), spec, &observe).unwrap();
        let records: Vec<CellRecord> = records.into_iter().map(Option::unwrap).collect();
        (rows.into_inner(), records)
    };
    for surrogate in ["digits-cnn", "robust"] {
        let spec = attacks(surrogate);
        let (together, matrix) = steps(&spec);
        assert_eq!((together, matrix.len()), (12 * 3, 4), "twelve samples and three steps, for two victims");
        let mut alone = Vec::new();
        for victim in ["digits-cnn", "robust"] {
            let (rows, records) = steps(&format!("{spec}[matrix]\nonly = [{{ model = \"{victim}\" }}]\n"));
            assert_eq!(rows, 12 * 3);
            alone.extend(records);
        }
        assert_eq!(matrix, alone);
        assert!(matrix.iter().flat_map(|record| &record.outcomes).all(|outcome| {
            outcome.spent == Spent { surrogate_forwards: 3, surrogate_backwards: 3, ..Spent::default() }
        }));
        assert_ne!(matrix[..2], matrix[2..], "victims differ");
    }
}

#[test]
fn targets_are_chosen_as_the_threat_says() {
    let folder = tempfile::tempdir().unwrap();
    let threats = ["random", "least-likely", "next"].map(|rule| {
        format!("[[threat]]\nid = \"{rule}\"\nnorm = \"linf\"\neps = 0.1\ngoal = \"targeted\"\ntarget = \"{rule}\"\n")
    });
    let spec = format!("{DIGITS}{NETWORK}{}[[attack]]\nuse = \"fgsm\"\n", threats.concat());
    let (_, records, _) = run(folder.path(), &spec);
    let targets = |at: usize| -> Vec<(u32, u32)> {
        let outcomes = &records[at].as_ref().unwrap().outcomes;
        outcomes.iter().map(|outcome| (outcome.label, outcome.target.unwrap())).collect()
    };
    for at in 0..3 {
        assert!(targets(at).iter().all(|(label, target)| label != target && *target < 10));
    }
    assert!(targets(2).iter().all(|(label, target)| *target == (label + 1) % 10));
    assert!(targets(0).iter().map(|(label, target)| (target + 10 - label) % 10).collect::<BTreeSet<_>>().len() > 3);
}

#[test]
fn a_model_that_gives_probabilities_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let rest = "[threat]\nnorm = \"linf\"\neps = 0.1\n[[attack]]\nuse = \"fgsm\"\n";
    for (model, expected) in [("[[model]]\nuse = \"softened\"\n", true), (NETWORK, false)] {
        let (_, records, _) = run(folder.path(), &format!("{DIGITS}{model}{rest}"));
        let warned =
            records[0].as_ref().unwrap().warnings.iter().any(|warning| warning.contains("gives probabilities"));
        assert_eq!(warned, expected, "{model}");
    }
}

/// A defense that says that it solves a problem for every image.
struct Solver;

impl Defense for Solver {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images)
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "solver",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: "//! Solves problems.",
            parameters: &[],
            example: "",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact],
                optimises: true,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|_, _| Ok(Box::new(Solver)),
    }
}

#[test]
fn a_chain_against_a_defense_that_optimises_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let attacks = "[[attack]]\nuse = \"chain\"\nmembers = [{ use = \"fgsm\" }]\n[[attack]]\nuse = \"fgsm\"\n";
    let rest = format!("[threat]\nnorm = \"linf\"\neps = 0.1\n{attacks}");
    for (defense, expected) in [("", [false, false]), ("[[defense]]\nuse = \"solver\"\n", [true, false])] {
        let (_, records, _) = run(folder.path(), &format!("{DIGITS}{NETWORK}{defense}{rest}"));
        let warned = |record: &CellRecord| {
            record.warnings.iter().any(|warning| warning.contains("`solver` solves an optimisation problem"))
        };
        assert_eq!(records.iter().flatten().map(warned).collect::<Vec<_>>(), expected, "{defense}");
    }
}

#[test]
fn chains_and_searches_run_as_specs_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let rest = "[threat]\nnorm = \"linf\"\neps = [\"0.05\", \"0.1\", \"0.2\"]\n\
        [[attack]]\nuse = \"chain\"\nmembers = [{ use = \"fgsm\" }, { use = \"pgd\", steps = 5, restarts = 2 }, \
        { use = \"fab-t\", steps = 5 }, { use = \"square\", queries = 60 }]\n\
        [[attack]]\nid = \"searched\"\nuse = \"pgd\"\nsteps = 10\nsearch = \"list\"\n";
    let (totals, records, failures) = run(folder.path(), &format!("{DIGITS}{NETWORK}{rest}"));
    assert_eq!((totals.failed, failures), (0, Vec::new()));
    let [chains @ .., searched] = records.as_slice() else { panic!("no cells") };
    for record in chains.iter().flatten() {
        let ids: Vec<&str> = record.members.iter().map(|member| member.id.as_str()).collect();
        assert_eq!(ids, ["fgsm", "pgd", "fab-t", "square"]);
        for pair in record.members.windows(2) {
            assert_eq!(pair[1].attacked, pair[0].attacked - pair[0].broken);
        }
        for member in &record.members {
            let by = |outcome: &&realsafe_results::Outcome| outcome.broken_by.as_deref() == Some(&member.id);
            assert_eq!(record.outcomes.iter().filter(by).count() as u64, member.broken);
        }
        let together = record.members.iter().map(|member| member.spent.queries).sum::<u64>();
        assert_eq!(record.outcomes.iter().map(|outcome| outcome.spent.queries).sum::<u64>(), together);
    }
    assert!(chains.iter().flatten().any(|record| record.members[0].broken > 0 && record.members[3].attacked > 0));
    let searched = searched.as_ref().unwrap();
    for outcome in &searched.outcomes {
        let failed = outcome.failed_at.unwrap();
        assert!([0.0, 0.05, 0.1, 0.2].contains(&failed) && failed <= outcome.dist_linf, "{outcome:?}");
    }
    assert!(searched.outcomes.iter().any(|outcome| outcome.status == Status::Broken));
}

#[test]
fn a_chain_cannot_damp_the_network_of_all_its_members() {
    let folder = tempfile::tempdir().unwrap();
    let chain = "[[attack]]\nuse = \"chain\"\nmembers = [{ use = \"fgsm\" }, { use = \"sgm\" }]\n";
    let spec = format!("{DIGITS}{NETWORK}[threat]\nnorm = \"linf\"\neps = 0.1\n{chain}");
    let (_, records, _) = run(folder.path(), &spec);
    let record = records[0].as_ref().unwrap();
    assert!(record.outcomes.iter().all(|outcome| outcome.status == Status::Failed));
    assert!(record.warnings[0].contains("run that one alone"), "{:?}", record.warnings);
}

const SMOOTHED: &str = "[[defense]]\nuse = \"gaussian-smoothing\"\nsamples = 4\n[threat]\nnorm = \"l2\"\n\
    [[attack]]\nuse = \"certificate\"\nsamples = 60\nselection-samples = 20\n";

#[test]
fn proofs_are_charged_and_do_not_depend_on_how_samples_are_cut() {
    let run = |chunk: u32| {
        let folder = tempfile::tempdir().unwrap();
        let (totals, records, _) = run(folder.path(), &format!("{DIGITS}{NETWORK}{SMOOTHED}[run]\nchunk = {chunk}\n"));
        assert_eq!(totals.computed, records.len());
        records.into_iter().flat_map(|record| record.unwrap().outcomes).collect::<Vec<_>>()
    };
    let whole = run(100);
    assert_eq!(whole, run(5));
    let certified = whole.iter().filter(|outcome| outcome.status == Status::Certified).count();
    assert!(certified > 3, "{certified}");
    for outcome in whole {
        assert_eq!(outcome.spent, Spent { forwards: 80, ..Spent::default() });
        assert_eq!(outcome.status == Status::Certified, outcome.dist_l2 > 0.0);
        // All votes for the label prove no more than this.
        assert!(outcome.dist_l2 < 0.25 * 1.3 && outcome.dist_linf.is_infinite());
        assert!(outcome.shares.is_some() && outcome.adv_pred.is_none());
    }
}

#[test]
fn victims_without_proofs_are_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let intervals = format!("{DIGITS}{NETWORK}[threat]\nnorm = \"linf\"\n[[attack]]\nuse = \"certificate\"\n");
    let (_, records, _) = run(folder.path(), &intervals);
    assert!(records[0].as_ref().unwrap().outcomes.iter().all(|outcome| outcome.dist_linf < 0.2));
    let smoothed = format!("{DIGITS}{NETWORK}{SMOOTHED}");
    let behind = smoothed.replace("[[defense]]", "[[defense]]\nuse = \"bit-depth\"\n[[defense]]");
    let cubes = smoothed.replace("\"l2\"", "\"linf\"");
    for (spec, victim) in [
        (behind, "`digits-cnn` behind `bit-depth+gaussian-smoothing` has no proofs in l2"),
        (cubes, "`digits-cnn` behind `gaussian-smoothing` has no proofs in linf"),
        (intervals.replace("\"linf\"", "\"l2\""), "`digits-cnn` has no proofs in l2"),
    ] {
        let refused = run_watched(folder.path(), &spec, &|_| ()).unwrap_err().to_string();
        assert!(refused.contains("the attack `certificate` cannot be built") && refused.contains(victim), "{refused}");
    }
}
