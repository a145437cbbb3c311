//! CIFAR-10: photographs of 32x32 pixels in ten classes.
//!
//! 50,000 colour images `[3, 32, 32]` to train, 10,000 to test, in the official order; pixels are divided by 255.
//! The classes are airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck. The files are those of the
//! binary version, under `cifar-10-batches-bin/` in the data directory: per image the label and the planes red, green
//! and blue, a byte each. Where their checksum is known, it is compared when they are read.
//!
//! ## Reference
//! Krizhevsky, "Learning multiple layers of features from tiny images", technical report, University of Toronto, 2009.

use realsafe_core::{Dataset, DatasetEntry, Locations, inventory};
use realsafe_plan::{
    Component, DatasetTraits, Fallback, Origin, Parameter, ParameterKind, RequiredFile, Traits, Values,
};

use crate::bytes::Bytes;
use crate::files;

const PIXELS: usize = 3 * 32 * 32;
const PER_FILE: usize = 10_000;

/// The files of a split, in order.
fn required(values: &Values) -> Vec<RequiredFile> {
    let file = |name: String, md5| RequiredFile {
        candidates: vec![format!("cifar-10-batches-bin/{name}")],
        md5,
        origin: "the binary version of CIFAR-10, https://www.cs.toronto.edu/~kriz/cifar.html",
    };
    if values.text("split") == "test" {
        return vec![file("test_batch.bin".to_owned(), Some("803d5f7f4d78ea53de84dbe85f74fb6d"))];
    }
    let checksum = |batch| (batch == 1).then_some("5dd7e06a14cb22eb9f671a540d1b7c25");
    (1..=values.count("train-files")).map(|batch| file(format!("data_batch_{batch}.bin"), checksum(batch))).collect()
}

fn build(values: &Values, locations: &Locations) -> Result<Box<dyn Dataset>, String> {
    let mut dataset = Bytes { shape: [3, 32, 32], white: 255, pixels: Vec::new(), labels: Vec::new() };
    for file in required(values) {
        let (content, name) = files::read(&file, locations)?;
        append(&mut dataset, &content).map_err(|problem| format!("`{name}` is damaged: {problem}"))?;
    }
    Ok(Box::new(dataset))
}

/// Appends the records of a file.
fn append(dataset: &mut Bytes, content: &[u8]) -> Result<(), String> {
    let expected = PER_FILE * (PIXELS + 1);
    if content.len() != expected {
        return Err(format!("it has {} bytes, expected {expected}", content.len()));
    }
    for (index, record) in content.chunks_exact(PIXELS + 1).enumerate() {
        if record[0] > 9 {
            return Err(format!("the label of image {index} is {}, which is no class of CIFAR-10", record[0]));
        }
        dataset.labels.push(record[0]);
        dataset.pixels.extend_from_slice(&record[1..]);
    }
    Ok(())
}

inventory::submit! {
    DatasetEntry {
        component: Component {
            id: "cifar10",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("cifar10.rs"),
            parameters: &[
                Parameter {
                    name: "split",
                    kind: ParameterKind::Choice(&["train", "test"]),
                    unit: "",
                    fallback: Fallback::Value("test"),
                    documentation: "Which samples: 50,000 to train, 10,000 to test",
                },
                Parameter {
                    name: "train-files",
                    kind: ParameterKind::Count { minimum: 1, maximum: 5 },
                    unit: "files",
                    fallback: Fallback::Value("5"),
                    documentation: "How many of the five files to train on, of 10,000 samples each, are read",
                },
            ],
            example: "split = \"test\"",
            traits: Traits::Dataset(DatasetTraits {
                shape: |_| [3, 32, 32],
                classes: |_| 10,
                samples: |values| Some(PER_FILE * required(values).len()),
                files: required,
            }),
        },
        build,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Bytes {
        Bytes { shape: [3, 32, 32], white: 255, pixels: Vec::new(), labels: Vec::new() }
    }

    #[test]
    fn records_are_a_label_and_three_planes() {
        let mut content = vec![0; PER_FILE * (PIXELS + 1)];
        content[PIXELS + 1] = 9; // the second record: its label, and the first pixel of green
        content[PIXELS + 2 + 1024] = 255;
        let mut dataset = empty();
        append(&mut dataset, &content).unwrap();
        let samples = dataset.read(&[1, 0]).unwrap();
        assert_eq!(samples.labels, [9, 0]);
        let white: Vec<usize> = (0..2 * PIXELS).filter(|pixel| samples.pixels[*pixel] == 1.0).collect();
        assert_eq!(white, [1024]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let mut content = vec![0; PER_FILE * (PIXELS + 1)];
        assert_eq!(append(&mut empty(), &content[1..]), Err("it has 30729999 bytes, expected 30730000".to_owned()));
        content[2 * (PIXELS + 1)] = 10;
        let error = append(&mut empty(), &content).unwrap_err();
        assert_eq!(error, "the label of image 2 is 10, which is no class of CIFAR-10");
    }
}
