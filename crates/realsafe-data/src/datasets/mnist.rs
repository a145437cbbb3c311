//! MNIST: handwritten digits of 28x28 pixels.
//!
//! 60,000 grey images `[1, 28, 28]` of ten classes to train, 10,000 to test, in the official order; pixels are divided
//! by 255. The files are the original ones in the idx format, plain or compressed with gzip, under `mnist/` in the
//! data directory. Their content is checked when they are read.
//!
//! ## Reference
//! LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
//! Proceedings of the IEEE 86(11), 1998.

use realsafe_core::{Dataset, DatasetEntry, Locations, inventory};
use realsafe_plan::{
    Component, DatasetTraits, Fallback, Origin, Parameter, ParameterKind, RequiredFile, Traits, Values,
};

use crate::bytes::Bytes;
use crate::files;

/// The files of a split: images, then labels.
fn required(values: &Values) -> Vec<RequiredFile> {
    let file = |name: &str, md5| RequiredFile {
        candidates: vec![format!("mnist/{name}"), format!("mnist/{name}.gz")],
        md5: Some(md5),
        origin: "the MNIST database, http://yann.lecun.com/exdb/mnist (torchvision fetches the same files)",
    };
    match values.text("split") {
        "train" => vec![
            file("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
            file("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
        ],
        _ => vec![
            file("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
            file("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
        ],
    }
}

fn build(values: &Values, locations: &Locations) -> Result<Box<dyn Dataset>, String> {
    let contents: Vec<Vec<u8>> = required(values)
        .iter()
        .map(|file| {
            let (content, name) = files::read(file, locations)?;
            idx(content).map_err(|problem| format!("`{name}` is damaged: {problem}"))
        })
        .collect::<Result<_, String>>()?;
    let [pixels, labels] = <[Vec<u8>; 2]>::try_from(contents).expect("a split has two files");
    Ok(Box::new(Bytes { shape: [1, 28, 28], white: 255, pixels, labels }))
}

/// The elements of an idx file of bytes: two zero bytes, the type 8, the rank, that many sizes, and the elements.
fn idx(mut content: Vec<u8>) -> Result<Vec<u8>, String> {
    let &[0, 0, 8, rank, ..] = content.as_slice() else {
        return Err("it does not begin like an idx file of bytes".to_owned());
    };
    let header = 4 + 4 * usize::from(rank);
    let Some(sizes) = content.get(4..header) else { return Err("its header is cut off".to_owned()) };
    let sizes = sizes.chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize);
    let expected = sizes.fold(1, usize::saturating_mul);
    let elements = content.split_off(header);
    if elements.len() != expected {
        return Err(format!("it has {} elements, but its header says {expected}", elements.len()));
    }
    Ok(elements)
}

inventory::submit! {
    DatasetEntry {
        component: Component {
            id: "mnist",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("mnist.rs"),
            parameters: &[Parameter {
                name: "split",
                kind: ParameterKind::Choice(&["train", "test"]),
                unit: "",
                fallback: Fallback::Value("test"),
                documentation: "Which samples: 60,000 to train, 10,000 to test",
            }],
            example: "split = \"test\"",
            traits: Traits::Dataset(DatasetTraits {
                shape: |_| [1, 28, 28],
                classes: |_| 10,
                samples: |values| Some(if values.text("split") == "train" { 60_000 } else { 10_000 }),
                files: required,
            }),
        },
        build,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idx_files_give_their_elements() {
        let file = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
        assert_eq!(idx(file.to_vec()), Ok(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn damaged_idx_files_are_refused() {
        let file = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5];
        assert_eq!(idx(file.to_vec()), Err("it has 5 elements, but its header says 6".to_owned()));
        assert_eq!(idx(file[..9].to_vec()), Err("its header is cut off".to_owned()));
        assert_eq!(idx(b"GIF89a".to_vec()), Err("it does not begin like an idx file of bytes".to_owned()));
    }
}
