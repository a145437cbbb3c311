//! Images in `.safetensors`: the tensor `images`, 32-bit floats `[n, c, h, w]`, beside others.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use crate::{Adversarials, Error, Result};

/// The name of the tensor that holds the pixels.
pub(crate) const IMAGES: &str = "images";

/// The images alone, as a cell keeps them.
pub(crate) fn encode_images(images: &Adversarials) -> Result<Vec<u8>> {
    encode_with(images, &[], None)
}

/// Images with a tensor of whole numbers per further name, and one entry of metadata.
pub(crate) fn encode_with(
    images: &Adversarials,
    columns: &[(&str, &[u32])],
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>> {
    let count = images.count();
    let pixels: Vec<u8> = images.pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    let numbers = |column: &[u32]| -> Vec<u8> { column.iter().flat_map(|number| number.to_le_bytes()).collect() };
    let columns: Vec<(&str, Vec<u8>, usize)> =
        columns.iter().map(|(name, column)| (*name, numbers(column), column.len())).collect();
    let [channels, height, width] = images.shape;
    let encode = || -> std::result::Result<Vec<u8>, SafeTensorError> {
        let mut tensors = vec![(IMAGES, TensorView::new(Dtype::F32, vec![count, channels, height, width], &pixels)?)];
        for (name, bytes, length) in &columns {
            tensors.push((name, TensorView::new(Dtype::U32, vec![*length], bytes)?));
        }
        // A single entry, because the order of several in a hash map would change the bytes from run to run.
        let metadata = metadata.map(|(name, text)| HashMap::from([(name.to_owned(), text)]));
        safetensors::serialize(tensors, metadata)
    };
    encode().map_err(|error| Error::malformed("final images", format!("cannot be stored: {error}")))
}

/// The images; the error says what is wrong.
pub(crate) fn decode_images(bytes: &[u8]) -> std::result::Result<Adversarials, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = tensors.tensor(IMAGES).map_err(|error| error.to_string())?;
    let &[_, channels, height, width] = tensor.shape() else {
        return Err(format!("the tensor `{IMAGES}` has shape {:?}; expected [n, c, h, w]", tensor.shape()));
    };
    if tensor.dtype() != Dtype::F32 {
        return Err(format!("the tensor `{IMAGES}` holds {:?}; expected 32-bit floats", tensor.dtype()));
    }
    let pixels = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Adversarials { shape: [channels, height, width], pixels })
}

/// A tensor of whole numbers, unsigned of 32 or signed of 64 bits, if it is there; the error says what is wrong.
pub(crate) fn decode_column(bytes: &[u8], name: &str) -> std::result::Result<Option<Vec<u32>>, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let Ok(tensor) = tensors.tensor(name) else {
        return Ok(None);
    };
    match tensor.dtype() {
        Dtype::U32 => {
            Ok(Some(tensor.data().as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
        }
        Dtype::I64 => {
            let numbers = tensor.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            let whole = numbers.map(|number| {
                u32::try_from(number).map_err(|_| format!("the tensor `{name}` holds {number}; expected an index"))
            });
            whole.collect::<std::result::Result<_, _>>().map(Some)
        }
        other => Err(format!("the tensor `{name}` holds {other:?}; expected whole numbers of 32 or 64 bits")),
    }
}
