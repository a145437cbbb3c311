//! What records tell beside the outcome of each sample: recorded steps, and answers that are not repeated.

use std::sync::atomic::{AtomicU32, Ordering};

use burn::tensor::Tensor;
use realsafe_core::{Draws, Model, ModelEntry, Stop, inventory};
use realsafe_plan::{Component, ModelTraits, Origin, Traits};
use realsafe_results::CellRecord;

use crate::{DIGITS, NETWORK, run};

/// A model that answers a little otherwise each time, and does not say so.
struct Moody(AtomicU32);

impl Model for Moody {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let rows = images.dims()[0];
        let mood = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(images.reshape([rows, 64]).narrow(1, 20, 10) + 1e-3 * f64::from(mood))
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "moody",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: "//! Answers otherwise each time.",
            parameters: &[],
            example: "",
            traits: Traits::Model(ModelTraits { input: &|_| Ok([1, 8, 8]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &|_, _, _| Ok(Box::new(Moody(AtomicU32::new(1)))),
    }
}

fn records(spec: &str) -> Vec<CellRecord> {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), spec).1.into_iter().map(Option::unwrap).collect()
}

#[test]
fn answers_that_are_not_repeated_are_noticed_whatever_decides() {
    let attacks = "[threat]\nnorm = \"linf\"\neps = 0.1\n[[attack]]\nuse = \"fgsm\"\nsuccess = \"last\"\n\
        [[attack]]\nid = \"transferred\"\nuse = \"fgsm\"\nsurrogates = \"digits-cnn\"\n\
        [matrix]\nonly = [{ model = \"moody\" }]\n";
    let moody = records(&format!("{DIGITS}{NETWORK}[[model]]\nuse = \"moody\"\n{attacks}"));
    // A sample of the images is asked about.
    assert_eq!(moody.iter().map(|record| record.random_answers).collect::<Vec<_>>(), [8, 8]);
    let steady = records(&format!("{DIGITS}{NETWORK}{attacks}").replace("\"moody\"", "\"digits-cnn\""));
    assert_eq!(steady.iter().map(|record| record.random_answers).collect::<Vec<_>>(), [0, 0]);
    // Who says so is judged by shares of draws instead.
    let randomised =
        format!("{DIGITS}{NETWORK}[[defense]]\nuse = \"rand-disc\"\n{}", attacks.replace("moody", "digits-cnn"));
    assert!(records(&randomised).iter().all(|record| record.random_answers == 0));
}

#[test]
fn recorded_steps_tell_of_the_nearest_adversarial_where_the_distance_is_minimised() {
    let record = [1, 5, 10, 20, 30];
    let attack = format!("[threat]\nnorm = \"l2\"\n[[attack]]\nuse = \"ddn\"\nsteps = 30\nrecord = {record:?}\n");
    let [record] = records(&format!("{DIGITS}{NETWORK}{attack}")).try_into().unwrap();
    for outcome in &record.outcomes {
        let points = || record.trace.iter().filter(|point| point.sample == outcome.sample);
        let distances: Vec<f64> = points().map(|point| point.distance).collect();
        assert_eq!(distances.len(), 5);
        assert!(distances.is_sorted_by(|a, b| a >= b), "it never goes away again: {distances:?}");
        assert!(points().all(|point| point.broken == point.distance.is_finite()));
        assert_eq!(distances[4], outcome.dist_l2, "the last step ends with the result");
    }
    // A step is better than the one before it in few attacks only.
    assert!(record.trace.iter().any(|point| point.distance.is_finite()));
}
