//! Operators that summarise axes, and softmax.

use burn::tensor::{Tensor, activation};

use super::{Call, Run, axis, one};
use crate::dense::RANK;
use crate::host::{Host, indices, offset};
use crate::value::Value;

type Plain = Tensor<RANK>;
type Results = Result<Vec<Value>, String>;

/// The function of an operator, where it is one of these.
pub(super) fn find(operator: &str) -> Option<Run> {
    let run: Run = match operator {
        "ReduceMean" => {
            |call| reduce(call, |parts| parts.iter().sum::<f64>() / parts.len() as f64, |x, axes| x.mean_dims(axes))
        }
        "ReduceSum" => |call| reduce(call, |parts| parts.iter().sum(), |x, axes| x.sum_dims(axes)),
        "ReduceMax" => |call| {
            reduce(call, |parts| parts.iter().copied().fold(f64::NEG_INFINITY, f64::max), |x, axes| x.max_dims(axes))
        },
        "ReduceMin" => {
            |call| reduce(call, |parts| parts.iter().copied().fold(f64::INFINITY, f64::min), |x, axes| x.min_dims(axes))
        }
        "ReduceProd" => |call| reduce(call, |parts| parts.iter().product(), products),
        "ReduceL1" => {
            |call| reduce(call, |parts| parts.iter().map(|x| x.abs()).sum(), |x, axes| x.abs().sum_dims(axes))
        }
        "ReduceL2" => |call| {
            reduce(
                call,
                |parts| parts.iter().map(|x| x * x).sum::<f64>().sqrt(),
                |x, axes| (x.clone() * x).sum_dims(axes).sqrt(),
            )
        },
        "ReduceSumSquare" => {
            |call| reduce(call, |parts| parts.iter().map(|x| x * x).sum(), |x, axes| (x.clone() * x).sum_dims(axes))
        }
        "ReduceLogSum" => |call| reduce(call, |parts| parts.iter().sum::<f64>().ln(), |x, axes| x.sum_dims(axes).log()),
        "ReduceLogSumExp" => |call| {
            reduce(
                call,
                |parts| parts.iter().map(|x| x.exp()).sum::<f64>().ln(),
                |x, axes| {
                    let largest = x.clone().detach().max_dims(axes);
                    (x - largest.clone()).exp().sum_dims(axes).log() + largest
                },
            )
        },
        "Softmax" => |call| softmax(call, activation::softmax),
        "LogSoftmax" => |call| softmax(call, activation::log_softmax),
        _ => return None,
    };
    Some(run)
}

/// The product along axes. Its derivative is made of products of the others, which hold where an element is zero.
fn products(x: Plain, axes: &[usize]) -> Plain {
    axes.iter().fold(x, |x, axis| {
        let size = x.dims()[*axis];
        (1..size).fold(x.clone().narrow(*axis, 0, 1), |product, place| product * x.clone().narrow(*axis, place, 1))
    })
}

fn reduce(call: &Call<'_>, on_host: fn(&[f64]) -> f64, on_device: fn(Plain, &[usize]) -> Plain) -> Results {
    let value = call.input(0)?;
    let shape = value.shape();
    let axes = call.settings("axes", 1)?.filter(|axes| !axes.is_empty());
    let axes = match axes {
        Some(axes) => axes.iter().map(|each| axis(*each, shape.len())).collect::<Result<Vec<_>, _>>()?,
        None if call.node.integer("noop_with_empty_axes") == Some(1) => return Ok(vec![value]),
        None => (0..shape.len()).collect(),
    };
    let keeps = call.node.integer("keepdims").unwrap_or(1) == 1;
    let whole: Vec<usize> = (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
    let rest: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
    let result = match value {
        Value::Host(host) => {
            let within: Vec<usize> =
                (0..shape.len()).map(|axis| if axes.contains(&axis) { shape[axis] } else { 1 }).collect();
            let steps = host.strides();
            let inner: Vec<usize> = indices(&within).map(|index| offset(&index, &steps)).collect();
            let values = indices(&whole).map(|index| {
                let start = offset(&index, &steps);
                on_host(&inner.iter().map(|step| host.values[start + step]).collect::<Vec<_>>())
            });
            Host::new(host.kind, whole.clone(), values.collect()).into()
        }
        value => {
            let dense = value.dense(call.device);
            let axes: Vec<usize> = axes.iter().map(|axis| dense.axis(*axis)).collect();
            Value::from(dense.map(|x| on_device(x, &axes)))
        }
    };
    Ok(vec![if keeps { result } else { result.reshape(&rest)? }])
}

fn softmax(call: &Call<'_>, function: fn(Plain, usize) -> Plain) -> Results {
    let x = call.dense(0)?;
    let shape = x.shape();
    if call.version >= 13 {
        let along = x.axis(axis(call.node.integer("axis").unwrap_or(-1), shape.len())?);
        return one(x.map(|x| function(x, along)));
    }
    // Before, all axes from one on were taken together.
    let from = axis(call.node.integer("axis").unwrap_or(1), shape.len())?;
    let flat = x.reshape(&[shape[..from].iter().product(), shape[from..].iter().product()]);
    one(flat.map(|x| function(x, RANK - 1)).reshape(&shape))
}
