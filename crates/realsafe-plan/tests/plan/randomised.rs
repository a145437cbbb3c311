//! Victims that draw random numbers: which images decide, on how many draws, and what is refused.

use realsafe_plan::{Cell, Experiment, Success, expand};

use crate::fixture::{experiment, load};

/// A network, bare and behind noise, and what is given.
fn spec(header: &str, attacks: &str) -> String {
    format!(
        r#"
        [experiment]
        id = "noisy"
        {header}
        [data]
        use = "pictures"
        samples = 10
        [[model]]
        id = "net"
        use = "cnn"
        weights = "builtin:tiny"
        [[defense]]
        use = "noise"
        [[threat]]
        norm = "linf"
        eps = 0.1
        [[threat]]
        id = "far"
        norm = "l2"
        eps = 1
        [matrix]
        stacks = [[], ["noise"]]
        [[attack]]
        threats = "linf"
        {attacks}"#
    )
}

/// The cells of the bare network, and those of the one behind noise.
fn cells(experiment: &Experiment) -> (Vec<Cell>, Vec<Cell>) {
    expand(experiment, "flex").into_iter().partition(|cell| cell.stack.is_empty())
}

fn error(header: &str, attacks: &str) -> String {
    load(&spec(header, attacks), &[]).unwrap_err().render(false)
}

#[test]
fn final_images_decide_on_many_draws_where_the_victim_is_randomised_only() {
    let (bare, noisy) = cells(&experiment(&spec("", "use = \"pgd\""), &[]));
    assert!(bare.iter().all(|cell| (cell.attack.success, cell.draws) == (Success::AnyIterate, None)));
    assert!(noisy.iter().all(|cell| (cell.attack.success, cell.draws) == (Success::Last, Some(20))));
    let (same, more) = cells(&experiment(&spec("draws = 50", "use = \"pgd\""), &[]));
    assert!(bare.iter().zip(&same).all(|(a, b)| a.key == b.key), "the bare network draws nothing");
    assert!(noisy.iter().zip(&more).all(|(a, b)| a.key != b.key && b.draws == Some(50)));
}

#[test]
fn a_resolved_spec_gives_the_same_cells() {
    for attack in ["use = \"pgd\"", "use = \"pgd\"\nsuccess = \"last\""] {
        let first = experiment(&spec("draws = 30", attack), &[]);
        let again = experiment(&first.resolved(), &[]);
        let keys =
            |experiment: &Experiment| expand(experiment, "flex").into_iter().map(|cell| cell.key).collect::<Vec<_>>();
        assert_eq!(keys(&first), keys(&again));
        assert_eq!(first.resolved(), again.resolved());
    }
}

#[test]
fn what_chance_would_decide_is_refused_with_a_way_out() {
    for success in ["any-iterate", "any-query"] {
        let told = error("", &format!("use = \"pgd\"\nsuccess = \"{success}\""));
        assert!(told.contains("`net` behind `noise` is randomised"), "{told}");
        assert!(told.contains("success = \"last\""), "{told}");
        assert!(told.contains(r#"skip = [{ attack = "pgd", model = "net", stack = "noise" }]"#), "{told}");
    }
    let told = error("", "use = \"pgd\"\nsearch = \"list\"");
    assert!(told.contains("looks for the smallest distance") && told.contains("at fixed eps"), "{told}");
    let told = error("", "use = \"pgd\"\n[[attack]]\nuse = \"boundary\"\nthreats = \"far\"");
    assert!(told.contains("`boundary` looks for the smallest distance"), "{told}");
    let skipped = "use = \"boundary\"\nthreats = \"far\"";
    let left_out = spec("", skipped)
        .replace("threats = \"linf\"\n", "")
        .replace("stacks =", "skip = [{ attack = \"boundary\", stack = \"noise\" }]\n        stacks =");
    assert!(cells(&experiment(&left_out, &[])).1.is_empty());
    assert!(error("draws = 5", "use = \"pgd\"").contains("20"), "too few draws");
}

#[test]
fn certificates_run_once_on_any_victim_and_take_no_keys_of_attacks() {
    let both = experiment(&spec("", "use = \"proof\""), &[]);
    let (bare, noisy) = cells(&both);
    assert!(bare.iter().chain(&noisy).all(|cell| cell.threat.eps.is_none()));
    assert_eq!((bare.len(), noisy.len()), (1, 1));
    let again = experiment(&both.resolved(), &[]);
    assert_eq!(both.resolved(), again.resolved());
    for key in ["success = \"last\"", "restarts = 3", "eot = 2", "record = [1]", "budget = { queries = 3 }"] {
        let told = error("", &format!("use = \"proof\"\n{key}"));
        assert!(told.contains("`proof` asks for proofs and has no") && told.contains("remove the key"), "{told}");
    }
    let told = error("", "use = \"chain\"\nmembers = [{ use = \"pgd\" }, { use = \"proof\" }]");
    assert!(told.contains("`proof` attacks nothing and cannot be a member of a chain"), "{told}");
    let expected = |metric: &str, attack: &str| {
        let expect =
            format!("[[expect]]\nstack = \"none\"\nattack = \"{attack}\"\nmetric = \"{metric}\"\nthreat = \"linf\"");
        let attacks = "use = \"proof\"\n[[attack]]\nuse = \"pgd\"\nthreats = \"linf\"";
        load(&spec("", &format!("{attacks}\n{expect}\nvalue = 0.5\ntolerance = 0.1")), &[])
            .map_err(|mistakes| mistakes.render(false))
    };
    expected("certified-accuracy", "proof").unwrap();
    assert!(expected("robust-accuracy", "proof").unwrap_err().contains("write metric = \"certified-accuracy\""));
    assert!(expected("certified-accuracy", "pgd").unwrap_err().contains("write metric = \"robust-accuracy\""));
}
