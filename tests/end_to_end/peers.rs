//! Sample by sample against what torchattacks predicts on the same networks and images.

use std::path::PathBuf;

use crate::program::{argument, data, rows, succeed};

/// Files of predictions beside the data directory; without them there is nothing to compare with.
fn predictions(network: &str) -> Option<PathBuf> {
    let file = data()?.parent()?.join(format!("expected/predictions-{network}.csv"));
    file.is_file().then_some(file)
}

fn agrees(network: &str) {
    let Some(expected) = predictions(network) else { return println!("skipped: no predictions of {network}") };
    let folder = tempfile::tempdir().unwrap();
    let spec = format!("specs/peers/{network}.toml");
    succeed(&["run", &spec, "--out", argument(folder.path())]);
    let expected = rows(&expected);
    let samples = rows(&folder.path().join("samples.csv"));
    for attack in ["fgsm", "bim", "mim"] {
        let ours: Vec<_> = samples.iter().filter(|row| row["attack"] == attack).collect();
        assert_eq!(ours.len(), expected.len());
        let same = |(ours, theirs): &(
            &&std::collections::BTreeMap<String, String>,
            &std::collections::BTreeMap<String, String>,
        )| {
            assert_eq!(ours["sample"], theirs["sample"]);
            ours["adv_pred"] == theirs[attack]
        };
        let agreement = ours.iter().zip(&expected).filter(same).count() as f64 / expected.len() as f64;
        println!("{network} {attack}: {agreement}");
        assert!(agreement >= 0.995, "{network} {attack}: the same prediction on {agreement} of the samples");
    }
}

#[test]
fn lenet_after_adversarial_training() {
    agrees("mnist-lenet5-pgd-at");
}

#[test]
fn lenet_after_standard_training() {
    agrees("mnist-lenet5-standard");
}

#[test]
fn resnet20_after_adversarial_training() {
    agrees("cifar10-resnet20-pgd-at");
}

#[test]
fn resnet20_after_standard_training() {
    agrees("cifar10-resnet20-standard");
}

#[test]
fn small_resnet_after_adversarial_training() {
    agrees("cifar10-resnet4b-adv");
}
