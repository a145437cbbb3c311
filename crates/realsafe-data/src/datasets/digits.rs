//! 1,797 handwritten digits of 8x8 pixels, carried by the program.
//!
//! The test set of "Optical Recognition of Handwritten Digits": grey images `[1, 8, 8]` of ten classes. A pixel counts
//! the black points of a 4x4 block of the scan, 0 to 16, and is divided by 16. `split = "train"` is the first 1,197
//! samples in the original order, `split = "test"` the last 600.
//!
//! ## Reference
//! Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998,
//! DOI 10.24432/C50P49, CC BY 4.0.

use std::io::Read;

use flate2::read::GzDecoder;
use realsafe_core::{Dataset, DatasetEntry, Locations, inventory};
use realsafe_plan::{Component, DatasetTraits, Fallback, Origin, Parameter, ParameterKind, Traits, Values};

use crate::bytes::Bytes;

const PACKED: &[u8] = include_bytes!("../../data/digits.bin.gz");
const SAMPLES: usize = 1797;
const TRAIN: usize = 1197;
const PIXELS: usize = 64;

fn build(values: &Values, _: &Locations) -> Result<Box<dyn Dataset>, String> {
    let mut records = Vec::with_capacity(SAMPLES * (PIXELS + 1));
    GzDecoder::new(PACKED).read_to_end(&mut records).map_err(|error| format!("the embedded digits: {error}"))?;
    let (train, test) = records.split_at(TRAIN * (PIXELS + 1));
    let records = if values.text("split") == "train" { train } else { test };
    let mut dataset = Bytes { shape: [1, 8, 8], white: 16, pixels: Vec::new(), labels: Vec::new() };
    for record in records.chunks_exact(PIXELS + 1) {
        dataset.pixels.extend_from_slice(&record[..PIXELS]);
        dataset.labels.push(record[PIXELS]);
    }
    Ok(Box::new(dataset))
}

inventory::submit! {
    DatasetEntry {
        component: Component {
            id: "digits",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("digits.rs"),
            parameters: &[Parameter {
                name: "split",
                kind: ParameterKind::Choice(&["train", "test"]),
                unit: "",
                fallback: Fallback::Value("test"),
                documentation: "Which samples: the first 1,197 to train, the last 600 to test",
            }],
            example: "split = \"test\"",
            traits: Traits::Dataset(DatasetTraits {
                shape: |_| [1, 8, 8],
                classes: |_| 10,
                samples: |values| Some(if values.text("split") == "train" { TRAIN } else { SAMPLES - TRAIN }),
                files: |_| Vec::new(),
            }),
        },
        build,
    }
}
