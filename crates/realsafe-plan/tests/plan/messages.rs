//! The exact words about every wrong spec under `wrong/`.

use std::path::Path;

use proptest::prelude::*;
use realsafe_plan::{Document, expand, load_spec};

use crate::attacks::good_specs;
use crate::fixture::{FULL, catalogue, environment, load};

fn message(name: &str, overrides: &[&str]) -> String {
    let path = Path::new("tests/plan/wrong").join(format!("{name}.toml"));
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    match load_spec(&path, &overrides, &catalogue(), &environment()) {
        Ok(_) => panic!("{name} is fine"),
        Err(diagnostics) => diagnostics.render(false),
    }
}

macro_rules! wrong {
    ($($test:ident: $name:literal $([$($override:literal),*])?;)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(stringify!($test), message($name, &[$($($override),*)?]));
        }
    )*};
}

wrong! {
    unknown_key: "unknown-key";
    unknown_attack: "unknown-attack";
    wrong_type: "wrong-type";
    eps_out_of_range: "eps-out-of-range";
    norm_not_supported: "norm-not-supported";
    missing_weights: "missing-weights";
    wrong_digest: "wrong-digest";
    missing_dataset: "missing-dataset";
    cyclic_extends: "cyclic-extends";
    defense_as_attack: "defense-as-attack";
    ten_mistakes: "ten-mistakes";
    syntax_errors: "syntax-errors";
    mistake_in_base: "mistake-in-base";
    shape_mismatch: "shape-mismatch";
    wrong_expectations: "wrong-expectations";
    wrong_figures: "wrong-figures";
    wrong_matrix: "wrong-matrix";
    wrong_searches: "wrong-searches";
    wrong_transfers: "wrong-transfers";
    wrong_chains: "wrong-chains";
    empty_file: "empty-file";
    wrong_training: "wrong-training";
    wrong_training_defenses: "wrong-training-defenses";
    wrong_shapes: "wrong-shapes";
    no_such_file: "no-such-file";
    wrong_plugins: "wrong-plugins";
    wrong_overrides: "fine" [
        "data.samples=ten",
        "attack.pdg.steps=5",
        "attack.pgd.step=5",
        "attack.pgd=5",
        "oops",
        "experiment.id.x=1",
        "a..b=1"
    ];
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is cut out of a spec or put into it, there is a cell or a message, and never a panic.
    #[test]
    fn no_text_breaks_the_reader(
        text in prop::sample::select([FULL.to_owned()].into_iter().chain(good_specs()).collect::<Vec<_>>()),
        start in any::<prop::sample::Index>(),
        length in 0_usize..60,
        piece in prop_oneof![
            "[\\[\\]{}=.,\"'#\n ä€0-9a-z-]{0,12}",
            Just("[data]\nsamples = 0\n".to_owned()),
            Just("-1".to_owned()),
        ],
    ) {
        let start = start.index(text.len());
        let text = format!("{}{piece}{}", &text[..start], &text[(start + length).min(text.len())..]);
        match load(&text, &[&piece]) {
            Ok(Document::Experiment(experiment)) => prop_assert!(!expand(&experiment, "flex").is_empty()),
            Ok(Document::Training(_)) => prop_assert!(false, "a training spec"),
            Err(diagnostics) => prop_assert!(diagnostics.render(true).contains("error")),
        }
    }
}
