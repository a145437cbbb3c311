//! Defenses that reject images: where they may stand, and behind what nothing is trained.

use realsafe_plan::{Goal, REJECTED, expand};

use crate::fixture::{experiment, load};

/// A network behind a stack.
fn spec(stack: &str) -> String {
    format!(
        r#"
        [experiment]
        id = "guarded"
        [data]
        use = "pictures"
        samples = 10
        [[model]]
        use = "cnn"
        weights = "builtin:tiny"
        [[defense]]
        use = "jpeg"
        [[defense]]
        use = "detector"
        [threat]
        norm = "linf"
        eps = 0.1
        [matrix]
        stacks = [{stack}]
        [[attack]]
        use = "pgd""#
    )
}

#[test]
fn what_rejects_comes_first_in_its_stack() {
    let cells = |stack: &str| expand(&experiment(&spec(stack), &[]), "flex");
    assert!(cells(r#"["detector", "jpeg"]"#).iter().all(|cell| cell.rejects()));
    assert!(cells(r#"["jpeg"]"#).iter().all(|cell| !cell.rejects()));
    let told = load(&spec(r#"["jpeg", "detector"]"#), &[]).unwrap_err().render(false);
    assert!(told.contains("`detector` may reject images, so nothing can stand before it in the stack"), "{told}");
    let all = spec("").replace("[matrix]\n        stacks = []", "");
    assert!(load(&all, &[]).unwrap_err().render(false).contains("let `detector` come first"));
}

#[test]
fn no_network_is_trained_behind_what_rejects() {
    let training = r#"
        [training]
        id = "guarded"
        use = "standard"
        [data]
        use = "pictures"
        [[model]]
        use = "cnn"
        [[defense]]
        use = "detector""#;
    let told = load(training, &[]).unwrap_err().render(false);
    assert!(told.contains("`detector` judges answers of a trained network"), "{told}");
}

#[test]
fn rejection_is_no_success_but_an_error_on_clean_images() {
    for goal in Goal::ALL {
        let target = goal.has_target().then_some(2);
        assert!(!goal.reached(REJECTED, 1, target));
        assert_eq!(goal.reached_by_clean(REJECTED, 1, target), goal != Goal::Targeted);
        assert!(goal.reached(2, 1, target) && !goal.reached_by_clean(1, 1, target));
    }
}
