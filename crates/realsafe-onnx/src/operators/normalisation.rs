//! Normalisations. Those of batches are in evaluation state, and become part of the convolution before them.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::convolution::images;
use super::{Call, axis, one};
use crate::dense::Dense;
use crate::file::Node;
use crate::value::Value;

type Results = Result<Vec<Value>, String>;

/// What a batch norm multiplies each channel by, and adds to it: from scale, shift, mean and variance `[channels]`.
fn scale_and_shift(parameters: [Dense; 4], epsilon: f64) -> (Dense, Dense) {
    let [scale, shift, mean, variance] = parameters.map(|parameter| parameter.tensor);
    let scale = scale / (variance + epsilon).sqrt();
    let shift = shift - mean * scale.clone();
    (Dense::new(scale, 1), Dense::new(shift, 1))
}

/// A value per channel, as it is broadcast over images of a rank.
fn per_channel(values: Dense, rank: usize) -> Dense {
    let mut shape = vec![1; rank - 1];
    shape[0] = values.shape().iter().product();
    values.reshape(&shape)
}

pub(super) fn batch(call: &Call<'_>) -> Results {
    if call.node.integer("training_mode") == Some(1) {
        return Err(
            "it is in training state, in which images influence each other; export in evaluation state".to_owned()
        );
    }
    let x = call.dense(0)?;
    let parameters = [call.dense(1)?, call.dense(2)?, call.dense(3)?, call.dense(4)?];
    let (scale, shift) = scale_and_shift(parameters, call.node.float("epsilon").unwrap_or(1e-5));
    let rank = x.rank.max(2);
    one(x.map(|x| x * per_channel(scale, rank).tensor + per_channel(shift, rank).tensor))
}

/// Makes batch norms part of the convolutions that only they read, and others a product and a sum.
pub(crate) fn fold_batch_norms(
    nodes: Vec<Node>,
    output: &str,
    constants: &mut BTreeMap<String, Value>,
    device: &Device,
) -> Vec<Node> {
    let mut readers: BTreeMap<String, usize> = BTreeMap::from([(output.to_owned(), 1)]);
    for name in nodes.iter().flat_map(|node| &node.inputs) {
        *readers.entry(name.clone()).or_default() += 1;
    }
    let mut kept: Vec<Node> = Vec::new();
    for node in nodes {
        let folded = (node.operator == "BatchNormalization" && node.integer("training_mode") != Some(1))
            .then(|| kept.iter().position(|other| other.operator == "Conv" && other.outputs[0] == node.inputs[0]))
            .flatten()
            .filter(|_| readers.get(&node.inputs[0]) == Some(&1))
            .and_then(|place| Some((place, folded(&kept[place], &node, constants, device)?)));
        match folded {
            None => kept.push(node),
            Some((place, [weight, bias])) => {
                let convolution = &mut kept[place];
                let name = node.outputs[0].clone();
                let names = [format!("{name} weight"), format!("{name} bias")];
                constants.insert(names[0].clone(), weight.into());
                constants.insert(names[1].clone(), bias.into());
                convolution.inputs.truncate(1);
                convolution.inputs.extend(names);
                convolution.outputs = vec![name];
            }
        }
    }
    kept
}

/// Filters and bias of a convolution with a batch norm behind it; none where they are no constants.
fn folded(convolution: &Node, norm: &Node, constants: &BTreeMap<String, Value>, device: &Device) -> Option<[Dense; 2]> {
    let constant = |name: &String| Some(constants.get(name)?.clone().dense(device));
    let parameters = [
        constant(&norm.inputs[1])?,
        constant(&norm.inputs[2])?,
        constant(&norm.inputs[3])?,
        constant(&norm.inputs[4])?,
    ];
    let (scale, shift) = scale_and_shift(parameters, norm.float("epsilon").unwrap_or(1e-5));
    let weight = constant(&convolution.inputs[1])?;
    let bias = match convolution.inputs.get(2).filter(|name| !name.is_empty()) {
        Some(name) => constant(name)?.tensor * scale.tensor.clone() + shift.tensor,
        None => shift.tensor,
    };
    let mut shape = vec![1; weight.rank];
    shape[0] = scale.shape()[0];
    let weight = weight.map(|weight| weight * scale.reshape(&shape).tensor);
    Some([weight, Dense::new(bias, 1)])
}

/// Gives the last axis of `[outer, inner]` values mean 0 and variance 1.
fn standardised(x: Dense, epsilon: f64) -> Dense {
    let along = x.axis(1);
    x.map(|x| {
        let centred = x.clone() - x.mean_dim(along);
        let variance = (centred.clone() * centred.clone()).mean_dim(along);
        centred / (variance + epsilon).sqrt()
    })
}

pub(super) fn layer(call: &Call<'_>) -> Results {
    let x = call.dense(0)?;
    let shape = x.shape();
    let from = axis(call.node.integer("axis").unwrap_or(-1), shape.len())?;
    let flat = x.reshape(&[shape[..from].iter().product(), shape[from..].iter().product()]);
    let mut result = standardised(flat, call.node.float("epsilon").unwrap_or(1e-5)).reshape(&shape);
    let scale = call.dense(1)?.tensor;
    result = result.map(|x| x * scale);
    if let Some(shift) = call.optional_dense(2) {
        result = result.map(|x| x + shift.tensor);
    }
    one(result)
}

/// Standardises groups of channels, and scales and shifts each channel.
fn grouped(call: &Call<'_>, groups: usize) -> Results {
    let x = call.dense(0)?;
    let shape = x.shape();
    let [rows, channels, ..] = shape[..] else { return Err(format!("{shape:?} are no images")) };
    if groups == 0 || channels % groups != 0 {
        return Err(format!("{channels} channels do not divide into {groups} groups"));
    }
    let inner = shape[1..].iter().product::<usize>() / groups;
    let flat = x.reshape(&[rows * groups, inner]);
    let result = standardised(flat, call.node.float("epsilon").unwrap_or(1e-5)).reshape(&shape);
    // Group norms had a scale per group at first.
    let each = |parameter: Dense| match parameter.shape()[..] {
        [count] if count == groups && count != channels => {
            let every = parameter.reshape(&[count, 1]).expand(&[count, channels / count]);
            per_channel(every, shape.len())
        }
        _ => per_channel(parameter, shape.len()),
    };
    let (scale, shift) = (each(call.dense(1)?), each(call.dense(2)?));
    one(result.map(|x| x * scale.tensor + shift.tensor))
}

pub(super) fn group(call: &Call<'_>) -> Results {
    let groups = call.node.integer("num_groups").and_then(|groups| usize::try_from(groups).ok());
    grouped(call, groups.ok_or("the number of groups is missing")?)
}

pub(super) fn instance(call: &Call<'_>) -> Results {
    let channels = call.input(0)?.shape().get(1).copied();
    grouped(call, channels.ok_or("its input has no channels")?)
}

/// Divides each channel by a power of the mean square of its neighbours.
pub(super) fn local_response(call: &Call<'_>) -> Results {
    let x = call.dense(0)?;
    let [_, channels, _, _] = images(&x)?;
    let size = call.node.integer("size").and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    let size = size.ok_or("the number of neighbours is missing")?;
    let setting = |name: &str, default: f64| call.node.float(name).unwrap_or(default);
    let (alpha, beta, bias) = (setting("alpha", 1e-4), setting("beta", 0.75), setting("bias", 1.0));
    let along = x.axis(1);
    one(x.map(|x| {
        let (before, after) = ((size - 1) / 2, size / 2);
        let mut pads = [(0, 0); crate::dense::RANK];
        pads[along] = (before, after);
        let squares = (x.clone() * x.clone()).pad(pads, 0.0);
        let sum = (1..size).fold(squares.clone().narrow(along, 0, channels), |sum, place| {
            sum + squares.clone().narrow(along, place, channels)
        });
        x / (sum * (alpha / size as f64) + bias).powf_scalar(beta)
    }))
}
