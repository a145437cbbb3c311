//! Pooling.

use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use super::convolution::{Windows, images, restored};
use super::{Call, one};
use crate::dense::Dense;
use crate::value::Value;

type Results = Result<Vec<Value>, String>;

pub(super) fn maximum(call: &Call<'_>) -> Results {
    let x = call.dense(0)?;
    let (rank, image) = (x.rank, images(&x)?);
    let windows = Windows::pooling(call.node, [image[2], image[3]])?;
    let options = MaxPoolOptions::new(windows.kernel)
        .with_stride(windows.strides)
        .with_padding_pairs(windows.pads)
        .with_dilation(windows.dilations)
        .with_ceil_mode(call.node.integer("ceil_mode") == Some(1));
    one(restored(Dense::from_static(max_pool2d(x.into_static(image), options)), rank))
}

pub(super) fn average(call: &Call<'_>) -> Results {
    let x = call.dense(0)?;
    let (rank, image) = (x.rank, images(&x)?);
    let windows = Windows::pooling(call.node, [image[2], image[3]])?;
    if windows.dilations != [1, 1] {
        return Err("averages over dilated windows are not supported".to_owned());
    }
    let options = AvgPoolOptions::new(windows.kernel)
        .with_stride(windows.strides)
        .with_padding_pairs(windows.pads)
        .with_count_include_pad(call.node.integer("count_include_pad") == Some(1))
        .with_ceil_mode(call.node.integer("ceil_mode") == Some(1));
    one(restored(Dense::from_static(avg_pool2d(x.into_static(image), options)), rank))
}

pub(super) fn global_maximum(call: &Call<'_>) -> Results {
    let x = call.dense(0)?;
    let axes = 2..x.rank;
    one(axes.fold(x, |x, axis| {
        let along = x.axis(axis);
        x.map(|x| x.max_dim(along))
    }))
}

pub(super) fn global_average(call: &Call<'_>) -> Results {
    let x = call.dense(0)?;
    let axes = 2..x.rank;
    one(axes.fold(x, |x, axis| {
        let along = x.axis(axis);
        x.map(|x| x.mean_dim(along))
    }))
}
