//! The specs that the documentation shows are right.

use crate::program::{argument, data, root, succeed};

#[test]
fn specs_in_the_documentation_pass_check() {
    if data().is_none() {
        return;
    }
    for page in ["README.md", "specs/README.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let specs: Vec<&str> = blocks.filter(|block| block.contains("[experiment]")).collect();
        assert!(!specs.is_empty(), "{page} shows no spec");
        for spec in specs {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("shown.toml");
            std::fs::write(&file, spec).unwrap();
            succeed(&["check", argument(&file)]);
        }
    }
}
