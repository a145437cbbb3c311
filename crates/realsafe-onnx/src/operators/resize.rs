//! Resizing, as a product with a matrix of weights along each axis.

use burn::tensor::{Tensor, TensorData};
use realsafe_core::product;

use super::{Call, axis};
use crate::dense::RANK;
use crate::value::Value;

/// What a pixel of the result is made of.
enum Mode<'a> {
    Nearest(&'a str),
    Linear,
    Cubic(f64),
}

pub(super) fn resize(call: &Call<'_>) -> Result<Vec<Value>, String> {
    let node = call.node;
    let mut value = call.input(0)?;
    let shape = value.shape();
    let axes: Vec<usize> = match node.integers("axes") {
        Some(axes) => axes.iter().map(|each| axis(*each, shape.len())).collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    // The first version had no region of interest.
    let (scales, sizes) = if call.version < 11 { (1, usize::MAX) } else { (2, 3) };
    let scales = call.optional_host(scales)?.filter(|scales| !scales.values.is_empty());
    let sizes = call.optional_host(sizes)?.filter(|sizes| !sizes.values.is_empty());
    let (factors, sizes): (Vec<f64>, Vec<usize>) = match (&scales, &sizes) {
        (_, Some(sizes)) if sizes.values.len() == axes.len() => {
            let pairs = axes.iter().zip(&sizes.values);
            pairs.map(|(axis, size)| (size / shape[*axis] as f64, *size as usize)).unzip()
        }
        (Some(scales), None) if scales.values.len() == axes.len() => {
            let pairs = axes.iter().zip(&scales.values);
            pairs.map(|(axis, scale)| (*scale, (shape[*axis] as f64 * scale).floor() as usize)).unzip()
        }
        _ => return Err("it needs a size or a scale for each axis".to_owned()),
    };
    if !matches!(node.text("keep_aspect_ratio_policy"), None | Some("stretch")) {
        return Err("only the aspect ratio policy `stretch` is supported".to_owned());
    }
    if node.integer("antialias") == Some(1) || node.integer("exclude_outside") == Some(1) {
        return Err("weights that leave out or smooth over pixels are not supported".to_owned());
    }
    let mode = match node.text("mode").unwrap_or("nearest") {
        "nearest" => Mode::Nearest(node.text("nearest_mode").unwrap_or("round_prefer_floor")),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic(node.float("cubic_coeff_a").unwrap_or(-0.75)),
        other => return Err(format!("the mode `{other}` is not supported")),
    };
    let coordinates = match call.version {
        ..11 => "asymmetric",
        _ => node.text("coordinate_transformation_mode").unwrap_or("half_pixel"),
    };
    for ((along, factor), size) in axes.into_iter().zip(factors).zip(sizes) {
        if factor == 1.0 && size == shape[along] {
            continue;
        }
        let weights = weights(&mode, coordinates, shape[along], size, factor)?;
        let matrix = Tensor::<2>::from_data(TensorData::new(weights, [shape[along], size]), call.device).unsqueeze();
        let dense = value.dense(call.device);
        let (along, last) = (dense.axis(along), RANK - 1);
        value = dense.map(|x| product(x.swap_dims(along, last), matrix).swap_dims(along, last)).into();
    }
    Ok(vec![value])
}

/// The matrix `[pixels, size]` that makes `size` pixels out of `pixels`.
fn weights(mode: &Mode<'_>, coordinates: &str, pixels: usize, size: usize, factor: f64) -> Result<Vec<f32>, String> {
    let mut matrix = vec![0.0; pixels * size];
    for target in 0..size {
        let place = target as f64;
        let source = match coordinates {
            "half_pixel" => (place + 0.5) / factor - 0.5,
            "pytorch_half_pixel" if size == 1 => 0.0,
            "pytorch_half_pixel" => (place + 0.5) / factor - 0.5,
            "align_corners" if size == 1 => 0.0,
            "align_corners" => place * (pixels as f64 - 1.0) / (size as f64 - 1.0),
            "asymmetric" => place / factor,
            other => return Err(format!("the coordinates `{other}` are not supported")),
        };
        let floor = source.floor();
        let part = source - floor;
        let taps = match mode {
            Mode::Nearest(rounding) => {
                let nearest = match *rounding {
                    "round_prefer_floor" => (source - 0.5).ceil(),
                    "round_prefer_ceil" => (source + 0.5).floor(),
                    "floor" => floor,
                    "ceil" => source.ceil(),
                    other => return Err(format!("the rounding `{other}` is not supported")),
                };
                vec![(nearest, 1.0)]
            }
            Mode::Linear => vec![(floor, 1.0 - part), (floor + 1.0, part)],
            Mode::Cubic(a) => (-1..3).map(|tap| (floor + f64::from(tap), cubic(f64::from(tap) - part, *a))).collect(),
        };
        for (tap, weight) in taps {
            // Beyond the border lie the pixels of the border.
            let pixel = tap.clamp(0.0, pixels as f64 - 1.0) as usize;
            matrix[pixel * size + target] += weight as f32;
        }
    }
    Ok(matrix)
}

/// Keys' kernel of cubic convolution.
fn cubic(distance: f64, a: f64) -> f64 {
    let d = distance.abs();
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}
