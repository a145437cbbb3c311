//! Attacks that vary the codes of a defense that projects: it must stand outermost, before the victim itself.

use crate::fixture::{experiment, load};

fn spec(stack: &str, attack: &str) -> String {
    format!(
        r#"
        [experiment]
        id = "projected"
        [data]
        use = "pictures"
        samples = 10
        [[model]]
        use = "cnn"
        weights = "builtin:tiny"
        [[defense]]
        use = "manifold"
        [[defense]]
        use = "jpeg"
        [threat]
        norm = "l2"
        eps = 0.1
        [matrix]
        stacks = [{stack}]
        [[attack]]
        {attack}"#
    )
}

#[test]
fn codes_are_those_of_the_outermost_defense() {
    let codes = "use = \"latent\"\nvariables = \"codes\"";
    experiment(&spec(r#"["manifold", "jpeg"]"#, codes), &[]);
    experiment(&spec(r#"["jpeg", "manifold"]"#, "use = \"latent\""), &[]);
    for (stack, name) in [(r#"["jpeg", "manifold"]"#, "jpeg+manifold"), ("[]", "none")] {
        let told = load(&spec(stack, codes), &[]).unwrap_err().render(false);
        assert!(told.contains(&format!("the stack `{name}` does not begin with one that projects")), "{told}");
        assert!(told.contains(&format!("skip = [{{ attack = \"latent\", stack = \"{name}\" }}]")), "{told}");
    }
    let chain = "use = \"chain\"\nmembers = [{ use = \"latent\", variables = \"codes\" }]";
    let told = load(&spec("[]", chain), &[]).unwrap_err().render(false);
    assert!(told.contains("does not begin with one that projects"), "{told}");
    let transferred = format!("{codes}\nsurrogates = [\"cnn\"]");
    let told = load(&spec(r#"["manifold"]"#, &transferred), &[]).unwrap_err().render(false);
    assert!(told.contains("codes of the victim's defense, which surrogates do not have"), "{told}");
}
