//! The examples of defenses: attacks that deal with a defense go further than those that do not.

use crate::program::{argument, root, succeed};

#[test]
fn every_example_is_fine_and_its_expectations_hold() {
    succeed(&["check", "specs/defenses"]);
    for spec in std::fs::read_dir(root().join("specs/defenses")).unwrap() {
        let name = spec.unwrap().file_name();
        let spec = format!("specs/defenses/{}", name.to_string_lossy());
        let folder = tempfile::tempdir().unwrap();
        // Quilting is slow.
        let limit = if spec.contains("quilting") { "12" } else { "24" };
        // The images of a generator are not that near.
        let eps = if spec.contains("defense-gan") { "threat.eps=2" } else { "threat.eps=0.2" };
        let output = succeed(&["run", &spec, "--limit", limit, "--set", eps, "--out", argument(folder.path())]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.contains("pass"), "{spec}:\n{table}");
        let rejections = std::fs::read_to_string(folder.path().join("rejections.csv"));
        assert_eq!(rejections.is_ok(), spec.contains("feature-squeezing"), "{spec}");
        if let Ok(rejections) = rejections {
            let samples = std::fs::read_to_string(folder.path().join("samples.csv")).unwrap();
            let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
            assert!(table.contains("clean rejected") && page.contains("Clean rejected"), "{table}");
            assert!(rejections.contains(",unaware,") && samples.contains(",rejected,"), "{rejections}");
        }
    }
}
