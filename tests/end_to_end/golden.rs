//! The committed report is what the program makes of the committed store.

use std::fs;
use std::path::Path;

use crate::program::{argument, root, succeed};

/// The class of the device that computed the committed store; it is part of every key.
const CLASS: &str = "flex/x86_64+fma+avx2+avx512f";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

#[test]
fn the_golden_report_renders_to_the_same_bytes() {
    let golden = root().join("reports/small");
    let folder = tempfile::tempdir().unwrap();
    copy(&golden, folder.path());
    let tables = [
        "samples.csv",
        "summary.csv",
        "curves.csv",
        "expectations.csv",
        "small.resolved.toml",
        "report.html",
        "figures/small.eps.linf.svg",
        "figures/small.eps.l2.svg",
    ];
    tables.iter().for_each(|file| fs::remove_file(folder.path().join(file)).unwrap());
    let output = succeed(&["report", "reports/small.toml", "--device-class", CLASS, "--out", argument(folder.path())]);
    for file in tables {
        assert!(fs::read(golden.join(file)).unwrap() == fs::read(folder.path().join(file)).unwrap(), "{file} differs");
    }
    assert_eq!(String::from_utf8(output.stdout).unwrap(), fs::read_to_string(golden.join("table.txt")).unwrap());
}
