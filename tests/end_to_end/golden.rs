//! The committed report is what the program makes of the committed store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{argument, root, succeed};

/// The class of the device that computed the committed store; it is part of every key.
const CLASS: &str = "flex/x86_64+fma+avx2+avx512f/rows [8, 16, 32]";

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

/// The files of a report, by their path in it: all that lies there but the store and the table, which is no file of it.
fn files(report: &Path, folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let inside = entries.flat_map(|entry| {
        let path = entry.path();
        match entry.file_type().unwrap().is_dir() {
            true if path == report.join("store") => BTreeSet::new(),
            true => files(report, &path),
            false => BTreeSet::from([path.strip_prefix(report).unwrap().to_owned()]),
        }
    });
    // These differ from run to run.
    inside
        .filter(|path| !["table.txt", "timings.csv", "manifest.json"].iter().any(|name| path == Path::new(name)))
        .collect()
}

#[test]
fn the_golden_report_renders_to_the_same_bytes() {
    let golden = root().join("reports/small");
    let folder = tempfile::tempdir().unwrap();
    copy(&golden, folder.path());
    let committed = files(&golden, &golden);
    committed.iter().for_each(|file| fs::remove_file(folder.path().join(file)).unwrap());
    let output = succeed(&["report", "reports/small.toml", "--device-class", CLASS, "--out", argument(folder.path())]);
    assert_eq!(files(folder.path(), folder.path()), committed);
    for ending in ["csv", "toml", "html", "svg", "png", "json"] {
        assert!(committed.iter().any(|file| file.extension().is_some_and(|other| other == ending)), "no {ending}");
    }
    for file in &committed {
        let same = fs::read(golden.join(file)).unwrap() == fs::read(folder.path().join(file)).unwrap();
        assert!(same, "{} differs", file.display());
    }
    assert_eq!(String::from_utf8(output.stdout).unwrap(), fs::read_to_string(golden.join("table.txt")).unwrap());
}
