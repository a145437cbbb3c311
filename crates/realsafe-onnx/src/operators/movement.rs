//! Operators that move, repeat, choose and make elements, and tell sizes.

use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor, TensorData};

use super::{Call, Run, axis, one};
use crate::dense::{Dense, RANK, aligned};
use crate::host::{Host, Kind, broadcast, indices, offset, strides};
use crate::value::Value;

type Results = Result<Vec<Value>, String>;

/// The function of an operator, where it is one of these.
pub(super) fn find(operator: &str) -> Option<Run> {
    let run: Run = match operator {
        "Constant" => constant_node,
        "Shape" => shape,
        "Size" => |call| {
            let size: usize = call.input(0)?.shape().iter().product();
            one(Host::new(Kind::Integer, vec![], vec![size as f64]))
        },
        "ConstantOfShape" => constant_of_shape,
        "Range" => range,
        "Reshape" => reshape,
        "Flatten" => flatten,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Transpose" => |call| {
            let value = call.input(0)?;
            let rank = value.shape().len();
            let order = match call.node.integers("perm") {
                Some(order) => order.iter().map(|from| axis(*from, rank)).collect::<Result<_, _>>()?,
                None => (0..rank).rev().collect::<Vec<_>>(),
            };
            Ok(vec![value.permute(&order)?])
        },
        "Expand" => |call| {
            let value = call.input(0)?;
            let shape = broadcast(&value.shape(), &sizes(&call.host(1)?.to_integers())?)?;
            Ok(vec![value.expand(&shape)?])
        },
        "Tile" => tile,
        "Concat" => |call| {
            let parts = (0..call.inputs.len()).map(|index| call.input(index)).collect::<Result<Vec<_>, _>>()?;
            let rank = parts.first().map_or(0, |part| part.shape().len());
            let along = axis(call.node.integer("axis").unwrap_or(0), rank)?;
            Ok(vec![Value::concatenate(parts, along, call.device)?])
        },
        "Split" => split,
        "Slice" => slice,
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "ScatterND" => scatter_nd,
        "Pad" => pad,
        "Trilu" => triangle,
        "CumSum" => cumulative_sum,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        _ => return None,
    };
    Some(run)
}

fn sizes(integers: &[i64]) -> Result<Vec<usize>, String> {
    let size = |size: &i64| usize::try_from(*size).map_err(|_| format!("{integers:?} is no shape"));
    integers.iter().map(size).collect()
}

fn constant_node(call: &Call<'_>) -> Results {
    if let Some(value) = call.node.value("value").or_else(|| call.node.value("value_floats")) {
        return Ok(vec![value.clone()]);
    }
    if let Some(value) = call.node.float("value_float") {
        return one(Host::new(Kind::Float, vec![], vec![value]));
    }
    if let Some(value) = call.node.integer("value_int") {
        return one(Host::new(Kind::Integer, vec![], vec![value as f64]));
    }
    if let Some(values) = call.node.integers("value_ints") {
        return one(Host::integers(values.iter().copied()));
    }
    Err("its value is neither a tensor nor numbers".to_owned())
}

fn shape(call: &Call<'_>) -> Results {
    let shape = call.input(0)?.shape();
    let bound = |name: &str, default: usize| {
        let bound = call.node.integer(name).unwrap_or(default as i64);
        let from_start = if bound < 0 { bound + shape.len() as i64 } else { bound };
        from_start.clamp(0, shape.len() as i64) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", shape.len()));
    one(Host::integers(shape[start..end.max(start)].iter().map(|size| *size as i64)))
}

fn constant_of_shape(call: &Call<'_>) -> Results {
    let shape = sizes(&call.host(0)?.to_integers())?;
    let value = call.node.value("value").cloned();
    let value = value.unwrap_or_else(|| Host::new(Kind::Float, vec![1], vec![0.0]).into());
    match value {
        Value::Host(host) if host.values.len() == 1 => {
            one(Host::new(host.kind, shape.clone(), vec![host.values[0]; shape.iter().product()]))
        }
        _ => Err("its value is no single element".to_owned()),
    }
}

fn range(call: &Call<'_>) -> Results {
    let single = |index| call.host(index)?.scalar().ok_or_else(|| format!("input {index} is no single number"));
    let (start, limit, step) = (single(0)?, single(1)?, single(2)?);
    let count = ((limit - start) / step).ceil().max(0.0);
    if !count.is_finite() {
        return Err("the range has no end".to_owned());
    }
    let values: Vec<f64> = (0..count as usize).map(|index| start + index as f64 * step).collect();
    one(Host::new(call.host(0)?.kind, vec![values.len()], values))
}

fn reshape(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let before = value.shape();
    let asked = call.settings("shape", 1)?.ok_or("the new shape is missing")?;
    let keeps_zeros = call.node.integer("allowzero") == Some(1);
    let mut shape = Vec::new();
    for (place, size) in asked.iter().enumerate() {
        shape.push(match size {
            0 if !keeps_zeros => *before.get(place).ok_or("it keeps an axis that is not there")?,
            -1 => 1,
            size => usize::try_from(*size).map_err(|_| format!("{asked:?} is no shape"))?,
        });
    }
    if let Some(open) = asked.iter().position(|size| *size == -1) {
        let others: usize = shape.iter().product();
        let all: usize = before.iter().product();
        shape[open] = all.checked_div(others).unwrap_or(0);
    }
    Ok(vec![value.reshape(&shape)?])
}

fn flatten(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let shape = value.shape();
    let from = call.node.integer("axis").unwrap_or(1);
    let from = if from == shape.len() as i64 { shape.len() } else { axis(from, shape.len())? };
    let (outer, inner) = (shape[..from].iter().product(), shape[from..].iter().product());
    Ok(vec![value.reshape(&[outer, inner])?])
}

fn squeeze(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let shape = value.shape();
    let axes = match call.settings("axes", 1)? {
        Some(axes) => axes.iter().map(|each| axis(*each, shape.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.len()).filter(|axis| shape[*axis] == 1).collect(),
    };
    let rest: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
    Ok(vec![value.reshape(&rest)?])
}

fn unsqueeze(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let axes = call.settings("axes", 1)?.ok_or("the axes are missing")?;
    let before = value.shape();
    let rank = before.len() + axes.len();
    let axes = axes.iter().map(|each| axis(*each, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut rest = before.into_iter();
    let shape: Vec<usize> =
        (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) }).collect();
    Ok(vec![value.reshape(&shape)?])
}

fn tile(call: &Call<'_>) -> Results {
    let times = sizes(&call.host(1)?.to_integers())?;
    let mut value = call.input(0)?;
    for (axis, times) in times.iter().enumerate().filter(|(_, times)| **times != 1) {
        value = Value::concatenate(vec![value; *times], axis, call.device)?;
    }
    Ok(vec![value])
}

fn split(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let shape = value.shape();
    let along = axis(call.node.integer("axis").unwrap_or(0), shape.len())?;
    let parts = match call.settings("split", 1)? {
        Some(parts) => sizes(&parts)?,
        None => {
            let count = call.node.outputs.len();
            let each = shape[along].div_ceil(count.max(1));
            (0..count).map(|part| each.min(shape[along].saturating_sub(part * each))).collect()
        }
    };
    let mut start = 0;
    let mut results = Vec::new();
    for part in parts {
        let places: Vec<usize> = (start..start + part).collect();
        results.push(value.clone().take(along, &places)?);
        start += part;
    }
    Ok(results)
}

fn slice(call: &Call<'_>) -> Results {
    let mut value = call.input(0)?;
    let starts = call.settings("starts", 1)?.ok_or("the starts are missing")?;
    let ends = call.settings("ends", 2)?.ok_or("the ends are missing")?;
    let axes = call.settings("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.settings("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if starts.len() != ends.len() || starts.len() != axes.len() || starts.len() != steps.len() {
        return Err("starts, ends, axes and steps are of different lengths".to_owned());
    }
    for (((start, end), along), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let shape = value.shape();
        let along = axis(*along, shape.len())?;
        let size = shape[along] as i64;
        let place =
            |place: i64, least, most| (if place < 0 { place.saturating_add(size) } else { place }).clamp(least, most);
        let places: Vec<usize> = match *step {
            0 => return Err("a step is zero".to_owned()),
            step if step > 0 => {
                let (start, end) = (place(*start, 0, size), place(*end, 0, size));
                (start..end).step_by(step as usize).map(|place| place as usize).collect()
            }
            step => {
                let (start, end) = (place(*start, 0, size - 1), place(*end, -1, size - 1));
                (end + 1..=start).rev().step_by(step.unsigned_abs() as usize).map(|place| place as usize).collect()
            }
        };
        if places.len() != shape[along] || *step < 0 {
            value = value.take(along, &places)?;
        }
    }
    Ok(vec![value])
}

/// Indices into an axis, counted from its end where they are negative.
fn places(indices: &Host, size: usize) -> Result<Vec<usize>, String> {
    indices.to_integers().into_iter().map(|index| axis(index, size).map_err(|_| outside(index, size))).collect()
}

fn outside(index: i64, size: usize) -> String {
    format!("there is no place {index} among {size}")
}

fn gather(call: &Call<'_>) -> Results {
    let (value, indices) = (call.input(0)?, call.host(1)?);
    let shape = value.shape();
    let along = axis(call.node.integer("axis").unwrap_or(0), shape.len())?;
    let taken = value.take(along, &places(&indices, shape[along])?)?;
    let result = [&shape[..along], &indices.shape, &shape[along + 1..]].concat();
    Ok(vec![taken.reshape(&result)?])
}

fn gather_elements(call: &Call<'_>) -> Results {
    let (value, indices) = (call.input(0)?, call.host(1)?);
    let shape = value.shape();
    let along = axis(call.node.integer("axis").unwrap_or(0), shape.len())?;
    let places = places(&indices, shape[along])?;
    if let Value::Host(host) = &value {
        let (from, here) = (host.strides(), indices.strides());
        return one(host.rearranged(indices.shape.clone(), |index| {
            let mut moved = index.to_vec();
            moved[along] = places[offset(index, &here)];
            offset(&moved, &from)
        }));
    }
    let numbers: Vec<i64> = places.iter().map(|place| *place as i64).collect();
    let indices = TensorData::new(numbers, aligned(&indices.shape));
    let indices = Tensor::<RANK, Int>::from_data(indices, call.device);
    let value = value.dense(call.device);
    let along = value.axis(along);
    one(value.map(|tensor| tensor.gather(along, indices)))
}

fn gather_nd(call: &Call<'_>) -> Results {
    let (value, indices) = (call.input(0)?, call.host(1)?);
    if call.node.integer("batch_dims").unwrap_or(0) != 0 {
        return Err("batch axes are not supported".to_owned());
    }
    let shape = value.shape();
    let depth = indices.shape.last().copied().filter(|depth| (1..=shape.len()).contains(depth));
    let depth = depth.ok_or("its indices have no or too many coordinates")?;
    let steps = strides(&shape[..depth]);
    let mut flat = Vec::new();
    for index in indices.to_integers().chunks_exact(depth) {
        let mut place = 0;
        for (coordinate, (size, step)) in index.iter().zip(shape.iter().zip(&steps)) {
            place += axis(*coordinate, *size).map_err(|_| outside(*coordinate, *size))? * step;
        }
        flat.push(place);
    }
    let rows = [&[shape[..depth].iter().product()], &shape[depth..]].concat();
    let taken = value.reshape(&rows)?.take(0, &flat)?;
    let result = [&indices.shape[..indices.shape.len() - 1], &shape[depth..]].concat();
    Ok(vec![taken.reshape(&result)?])
}

/// Writes updates over places of an array on the host; masks of windowed attention are made like that.
fn scatter_nd(call: &Call<'_>) -> Results {
    let (value, indices, updates) = (call.host(0)?, call.host(1)?, call.host(2)?);
    if !matches!(call.node.text("reduction"), None | Some("none")) {
        return Err("updates that are combined with what is there are not supported".to_owned());
    }
    let depth = indices.shape.last().copied().filter(|depth| *depth <= value.shape.len());
    let depth = depth.ok_or("its indices have too many coordinates")?;
    let steps = value.strides();
    let length: usize = value.shape[depth..].iter().product();
    let mut values = value.values.clone();
    let rows = indices.to_integers();
    for (index, update) in rows.chunks_exact(depth.max(1)).zip(updates.values.chunks_exact(length.max(1))) {
        let mut start = 0;
        for (coordinate, (size, step)) in index.iter().zip(value.shape.iter().zip(&steps)) {
            start += axis(*coordinate, *size).map_err(|_| outside(*coordinate, *size))? * step;
        }
        values[start..start + length].copy_from_slice(update);
    }
    one(Host::new(value.kind, value.shape.clone(), values))
}

fn pad(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let shape = value.shape();
    let pads = call.settings("pads", 1)?.ok_or("the pads are missing")?;
    let axes = match call.settings("axes", 3)? {
        Some(axes) => axes.iter().map(|each| axis(*each, shape.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("it has {} pads for {} axes", pads.len(), axes.len()));
    }
    let mut dense = value.dense(call.device);
    let mut pairs = [(0, 0); RANK];
    for (place, along) in axes.iter().enumerate() {
        let (before, after) = (pads[place], pads[place + axes.len()]);
        let cut = |pad: i64| usize::try_from(-pad).unwrap_or(0);
        if before < 0 || after < 0 {
            let places: Vec<usize> = (cut(before)..shape[*along].saturating_sub(cut(after))).collect();
            dense = Value::from(dense).take(*along, &places)?.dense(call.device);
        }
        pairs[dense.axis(*along)] = (before.max(0) as usize, after.max(0) as usize);
    }
    if pairs.iter().all(|pair| *pair == (0, 0)) {
        return one(dense);
    }
    let padded = |dense: &Dense, mode: PadMode| one(dense.clone().map(|tensor| tensor.pad(pairs, mode)));
    match call.node.text("mode").unwrap_or("constant") {
        "constant" => {
            let fill = match (call.node.float("value"), call.optional_host(2)?) {
                (Some(fill), _) => fill,
                (None, Some(host)) => host.scalar().ok_or("it is padded with more than one number")?,
                (None, None) => 0.0,
            };
            padded(&dense, PadMode::Constant(fill as f32))
        }
        "edge" => padded(&dense, PadMode::Edge),
        "reflect" => {
            let sizes = dense.tensor.dims();
            if pairs.iter().zip(sizes).any(|((before, after), size)| *before.max(after) >= size) {
                return Err("it reflects more pixels than there are".to_owned());
            }
            padded(&dense, PadMode::Reflect)
        }
        other => Err(format!("the mode `{other}` is not supported")),
    }
}

/// Keeps the triangle above or below a diagonal of the last two axes.
fn triangle(call: &Call<'_>) -> Results {
    let value = call.input(0)?;
    let diagonal = match call.optional_host(1)? {
        Some(host) => host.scalar().ok_or("its diagonal is no single number")? as i64,
        None => 0,
    };
    let upper = call.node.integer("upper").unwrap_or(1) == 1;
    let shape = value.shape();
    let [.., height, width] = shape[..] else { return Err("it has fewer than two axes".to_owned()) };
    let keeps = |index: &[usize]| {
        let distance = index[index.len() - 1] as i64 - index[index.len() - 2] as i64;
        f64::from(if upper { distance >= diagonal } else { distance <= diagonal })
    };
    if let Value::Host(host) = &value {
        let values =
            indices(&shape).zip(&host.values).map(|(index, value)| if keeps(&index) == 0.0 { 0.0 } else { *value });
        return one(Host::new(host.kind, shape.clone(), values.collect()));
    }
    let triangle = [height, width].to_vec();
    let values = indices(&triangle).map(|index| keeps(&index)).collect();
    let triangle = Host::new(Kind::Boolean, triangle, values).mask(call.device).expand(&shape).tensor;
    one(value.dense(call.device).map(|tensor| tensor.clone().zeros_like().mask_where(triangle, tensor)))
}

fn cumulative_sum(call: &Call<'_>) -> Results {
    if call.node.integer("exclusive") == Some(1) || call.node.integer("reverse") == Some(1) {
        return Err("sums that are exclusive or reversed are not supported".to_owned());
    }
    let value = call.input(0)?;
    let shape = value.shape();
    let along = axis(call.host(1)?.scalar().ok_or("its axis is no single number")? as i64, shape.len())?;
    if let Value::Host(host) = &value {
        let steps = host.strides();
        let values = indices(&shape).map(|index| {
            let at = offset(&index, &steps);
            (0..=index[along]).map(|back| host.values[at - back * steps[along]]).sum()
        });
        return one(Host::new(host.kind, shape.clone(), values.collect()));
    }
    let dense = value.dense(call.device);
    let along = dense.axis(along);
    one(dense.map(|tensor| tensor.cumsum(along)))
}

/// The four axes of images, and the width of a block.
fn blocks(call: &Call<'_>) -> Result<(Value, [usize; 4], usize), String> {
    let value = call.input(0)?;
    let shape = <[usize; 4]>::try_from(value.shape()).map_err(|shape| format!("{shape:?} are no images"))?;
    let block = call.node.integer("blocksize").and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    Ok((value, shape, block.ok_or("its block has no size")?))
}

fn depth_to_space(call: &Call<'_>) -> Results {
    let (value, [n, c, h, w], block) = blocks(call)?;
    let rest = c / (block * block);
    let split = if call.node.text("mode") == Some("CRD") {
        value.reshape(&[n, rest, block, block, h, w])?.permute(&[0, 1, 4, 2, 5, 3])?
    } else {
        value.reshape(&[n, block, block, rest, h, w])?.permute(&[0, 3, 4, 1, 5, 2])?
    };
    Ok(vec![split.reshape(&[n, rest, h * block, w * block])?])
}

fn space_to_depth(call: &Call<'_>) -> Results {
    let (value, [n, c, h, w], block) = blocks(call)?;
    let split = value.reshape(&[n, c, h / block, block, w / block, block])?.permute(&[0, 3, 5, 1, 2, 4])?;
    Ok(vec![split.reshape(&[n, c * block * block, h / block, w / block])?])
}
