//! One file per attack, and every file registered.

use std::collections::BTreeSet;

use realsafe_core::{AttackEntry, CertificateEntry, ChainEntry, inventory};
use realsafe_plan::{Norm, Success, check_component};

use crate::bench::Setting;
use crate::problems::linear_problem;

extern crate realsafe_attacks as _;

#[test]
fn every_file_is_an_attack_and_every_attack_is_sound() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let files: BTreeSet<String> =
        names.map(|path| path.file_stem().unwrap().to_string_lossy().replace('_', "-")).collect();
    let attacks = inventory::iter::<AttackEntry>().map(|entry| &entry.component);
    let chains = inventory::iter::<ChainEntry>().map(|entry| &entry.component);
    let certificates = inventory::iter::<CertificateEntry>().map(|entry| &entry.component);
    let components = || attacks.clone().chain(chains.clone()).chain(certificates.clone());
    let registered: BTreeSet<String> = components().map(|component| component.id.to_owned()).collect();
    assert_eq!(&files - &BTreeSet::from(["lib".to_owned()]), registered);
    for component in components() {
        check_component(component).unwrap();
        for heading in ["## What it does", "## Threat model", "## Cost", "## References"] {
            assert!(component.manual().contains(heading), "{} has no {heading}", component.id);
        }
    }
}

#[test]
fn every_example_parses_builds_and_runs() {
    let problem = linear_problem();
    for entry in inventory::iter::<AttackEntry>() {
        let component = &entry.component;
        let traits = component.attack().expect("attacks have attack traits");
        for norm in traits.norms {
            let eps = (!traits.minimises_distance).then_some(if *norm == Norm::L0 { 1.0 } else { 0.1 });
            let setting = Setting::untargeted(*norm, eps, Success::Last);
            let judged = problem.run((component.id, component.example), &setting);
            assert_eq!(judged.len(), problem.rows(), "{}", component.id);
        }
    }
}
