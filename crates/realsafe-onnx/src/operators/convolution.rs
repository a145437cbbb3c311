//! Convolutions, and the windows that they share with pooling.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use super::{Call, one};
use crate::dense::Dense;
use crate::file::Node;
use crate::value::Value;

/// How windows lie on an image, for height and width.
pub(super) struct Windows {
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilations: [usize; 2],
    pub(super) pads: [(usize, usize); 2],
}

/// Sizes for height and width from an attribute; sequences are images of height one.
fn pair(node: &Node, name: &str, default: usize) -> Result<[usize; 2], String> {
    let size = |size: i64| usize::try_from(size).ok().filter(|size| *size > 0);
    let wrong = || format!("`{name}` is no pair of sizes");
    match node.integers(name) {
        None => Ok([default; 2]),
        Some([width]) => Ok([1, size(*width).ok_or_else(wrong)?]),
        Some([height, width]) => Ok([size(*height).ok_or_else(wrong)?, size(*width).ok_or_else(wrong)?]),
        Some(_) => Err(format!("`{name}` has more than two sizes, but images have two")),
    }
}

impl Windows {
    /// Reads the attributes of a node for images of a size.
    pub(super) fn read(node: &Node, kernel: [usize; 2], image: [usize; 2]) -> Result<Self, String> {
        let (strides, dilations) = (pair(node, "strides", 1)?, pair(node, "dilations", 1)?);
        let same = |upper: bool| {
            let pads = |axis: usize| {
                let (size, stride): (usize, usize) = (image[axis], strides[axis]);
                let covered = (size.div_ceil(stride) - 1) * stride + (kernel[axis] - 1) * dilations[axis] + 1;
                let all = covered.saturating_sub(size);
                if upper { (all / 2, all.div_ceil(2)) } else { (all.div_ceil(2), all / 2) }
            };
            [pads(0), pads(1)]
        };
        let pads = match node.text("auto_pad").unwrap_or("NOTSET") {
            "VALID" => [(0, 0); 2],
            "SAME_UPPER" => same(true),
            "SAME_LOWER" => same(false),
            _ => {
                let pad = |pad: i64| usize::try_from(pad).map_err(|_| "negative pads are not supported");
                match node.integers("pads") {
                    None => [(0, 0); 2],
                    Some([left, right]) => [(0, 0), (pad(*left)?, pad(*right)?)],
                    Some([top, left, bottom, right]) => [(pad(*top)?, pad(*bottom)?), (pad(*left)?, pad(*right)?)],
                    Some(_) => return Err("it has pads for more than two axes".to_owned()),
                }
            }
        };
        for axis in 0..2 {
            let padded = image[axis] + pads[axis].0 + pads[axis].1;
            if (kernel[axis] - 1) * dilations[axis] >= padded {
                return Err(format!("windows of {kernel:?} are larger than images of {image:?}"));
            }
        }
        Ok(Self { kernel, strides, dilations, pads })
    }

    /// The windows of a pooling node.
    pub(super) fn pooling(node: &Node, image: [usize; 2]) -> Result<Self, String> {
        Self::read(node, pair(node, "kernel_shape", 1)?, image)
    }
}

/// Images `[n, channels, height, width]` of a tensor, whose sequences `[n, channels, length]` are images of height one.
pub(super) fn images(dense: &Dense) -> Result<[usize; 4], String> {
    match dense.shape()[..] {
        [n, channels, length] => Ok([n, channels, 1, length]),
        [n, channels, height, width] => Ok([n, channels, height, width]),
        ref shape => Err(format!("{shape:?} are no images")),
    }
}

pub(super) fn convolution(call: &Call<'_>) -> Result<Vec<Value>, String> {
    let (x, weight) = (call.dense(0)?, call.dense(1)?);
    let rank = x.rank;
    let (image, filter) = (images(&x)?, images(&weight)?);
    let groups = call.node.integer("group").and_then(|groups| usize::try_from(groups).ok()).unwrap_or(1).max(1);
    if filter[1] * groups != image[1] || filter[0] % groups != 0 {
        return Err(format!("filters {filter:?} in {groups} groups do not fit images {image:?}"));
    }
    let windows = Windows::read(call.node, [filter[2], filter[3]], [image[2], image[3]])?;
    let options = ConvOptions::new_with_padding(windows.strides, windows.pads, windows.dilations, groups);
    let bias = call.optional_dense(2).map(|bias| bias.into_static([filter[0]]));
    let result = conv2d(x.into_static(image), weight.into_static(filter), bias, options);
    one(restored(Dense::from_static(result), rank))
}

/// Images as sequences again, where they were.
pub(super) fn restored(images: Dense, rank: usize) -> Dense {
    let shape = images.shape();
    if rank == 3 { images.reshape(&[shape[0], shape[1], shape[3]]) } else { images }
}
