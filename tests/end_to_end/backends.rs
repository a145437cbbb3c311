//! The same spec on every backend that is compiled in: decisions agree with those of `flex`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::batching::chunks_and_jobs_change_no_number;
use crate::program::{argument, data, rows, succeed};

/// The verdict on each sample, by attack and index.
fn decisions(spec: &str, device: &str, folder: &Path) -> BTreeMap<(String, String), String> {
    succeed(&["run", spec, "--device", device, "--out", argument(folder)]);
    let samples = rows(&folder.join("samples.csv"));
    samples.into_iter().map(|row| ((row["attack"].clone(), row["sample"].clone()), row["status"].clone())).collect()
}

fn agree(spec: &str) {
    let folder = tempfile::tempdir().unwrap();
    let flex = decisions(spec, "flex", &folder.path().join("flex"));
    for attack in ["fgsm", "bim", "pgd"] {
        let of_attack: Vec<_> = flex.iter().filter(|((name, _), _)| name == attack).collect();
        let robust = of_attack.iter().filter(|(_, status)| *status == "robust").count() as f64 / of_attack.len() as f64;
        assert!((0.2..=0.8).contains(&robust), "{spec}: {attack} leaves {robust}, which compares nothing");
    }
    for device in ["tch", "wgpu"].into_iter().filter(|device| compiled_in(device)) {
        let other = decisions(spec, device, &folder.path().join(device));
        for attack in ["fgsm", "bim", "pgd"] {
            let mine: Vec<_> = flex.iter().filter(|((name, _), _)| name == attack).collect();
            assert_eq!(mine.len(), 256);
            let same = mine.iter().filter(|(sample, status)| other[*sample] == **status).count();
            println!("{spec}: {attack} on {device} decides {same} of 256 as flex does");
            assert!(same as f64 >= 0.99 * 256.0, "{spec}: {attack} on {device} agrees on {same} of 256");
        }
    }
}

/// On LibTorch, whose kernels choose their ways by what they are given.
#[test]
fn chunks_and_jobs_change_no_number_with_libtorch() {
    if compiled_in("tch") {
        chunks_and_jobs_change_no_number("tests/specs/backends-digits.toml", "tch");
    }
}

fn compiled_in(device: &str) -> bool {
    let compiled = [cfg!(feature = "wgpu"), cfg!(feature = "tch")];
    compiled[usize::from(device == "tch")]
}

#[test]
fn backends_agree_on_digits() {
    agree("tests/specs/backends-digits.toml");
}

#[test]
fn backends_agree_on_mnist() {
    if data().is_some() {
        agree("tests/specs/backends-mnist.toml");
    }
}
