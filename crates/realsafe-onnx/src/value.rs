//! What flows along the edges of a graph, and the operations that only move elements around.

use std::sync::Arc;

use burn::tensor::{Bool, Device};

use crate::dense::{Dense, check_rank};
use crate::host::{Host, offset};

/// What flows along an edge of a graph.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// What does not depend on the pixels of the images.
    Host(Arc<Host>),
    /// Numbers.
    Dense(Dense),
    /// Truth values.
    Mask(Dense<Bool>),
}

impl From<Host> for Value {
    fn from(host: Host) -> Self {
        Self::Host(Arc::new(host))
    }
}

impl From<Dense> for Value {
    fn from(dense: Dense) -> Self {
        Self::Dense(dense)
    }
}

impl From<Dense<Bool>> for Value {
    fn from(mask: Dense<Bool>) -> Self {
        Self::Mask(mask)
    }
}

/// The same function of whatever lies on the device, and another one of what lies on the host.
macro_rules! either {
    ($value:expr, $host:ident => $on_host:expr, $dense:ident => $on_device:expr) => {
        match $value {
            Value::Host($host) => Value::from($on_host),
            Value::Dense($dense) => Value::from($on_device),
            Value::Mask($dense) => Value::from($on_device),
        }
    };
}

impl Value {
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Host(host) => host.shape.clone(),
            Self::Dense(dense) => dense.shape(),
            Self::Mask(mask) => mask.shape(),
        }
    }

    /// The numbers on the device.
    pub(crate) fn dense(self, device: &Device) -> Dense {
        match self {
            Self::Host(host) => host.dense(device),
            Self::Dense(dense) => dense,
            Self::Mask(mask) => mask.map(|mask| mask.float()),
        }
    }

    /// The truth values on the device: where numbers are not zero.
    pub(crate) fn mask(self, device: &Device) -> Dense<Bool> {
        match self {
            Self::Host(host) => host.mask(device),
            Self::Dense(dense) => dense.map(|numbers| numbers.not_equal_scalar(0.0)),
            Self::Mask(mask) => mask,
        }
    }

    /// The same elements in the same order under another shape of as many elements.
    pub(crate) fn reshape(self, shape: &[usize]) -> Result<Self, String> {
        check_rank(shape)?;
        let before = self.shape();
        if before.iter().product::<usize>() != shape.iter().product::<usize>() {
            return Err(format!("a tensor {before:?} has another number of elements than {shape:?}"));
        }
        Ok(
            either!(self, host => Host::new(host.kind, shape.to_vec(), host.values.clone()), dense => dense.reshape(shape)),
        )
    }

    /// Axis `i` of the result is axis `order[i]` of the value.
    pub(crate) fn permute(self, order: &[usize]) -> Result<Self, String> {
        let shape = self.shape();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.len()) {
            return Err(format!("{order:?} is no order of the axes of {shape:?}"));
        }
        let permuted = order.iter().map(|axis| shape[*axis]).collect();
        Ok(either!(self, host => {
            let strides = host.strides();
            let strides: Vec<usize> = order.iter().map(|axis| strides[*axis]).collect();
            host.rearranged(permuted, |index| offset(index, &strides))
        }, dense => dense.permute(order)))
    }

    /// The value repeated along axes of size one.
    pub(crate) fn expand(self, shape: &[usize]) -> Result<Self, String> {
        check_rank(shape)?;
        let missing = shape.len() - self.shape().len();
        Ok(either!(self, host => {
            let mut strides = vec![0; missing];
            strides.extend(host.strides().iter().zip(&host.shape).map(|(stride, size)| if *size == 1 { 0 } else { *stride }));
            host.rearranged(shape.to_vec(), |index| offset(index, &strides))
        }, dense => dense.expand(shape)))
    }

    /// The places `indices` along an axis.
    pub(crate) fn take(self, axis: usize, indices: &[usize]) -> Result<Self, String> {
        let mut shape = self.shape();
        if let Some(outside) = indices.iter().find(|index| **index >= shape[axis]) {
            return Err(format!("there is no place {outside} along axis {axis} of {shape:?}"));
        }
        if indices.is_empty() && !matches!(self, Self::Host(_)) {
            return Err(format!("nothing of axis {axis} of {shape:?} is left"));
        }
        shape[axis] = indices.len();
        Ok(either!(self, host => {
            let strides = host.strides();
            host.rearranged(shape, |index| {
                let moved = indices[index[axis]] * strides[axis];
                offset(index, &strides) - index[axis] * strides[axis] + moved
            })
        }, dense => dense.take(axis, indices)))
    }

    /// Values of the same kind and rank one after the other along an axis.
    pub(crate) fn concatenate(parts: Vec<Self>, axis: usize, device: &Device) -> Result<Self, String> {
        let shapes: Vec<Vec<usize>> = parts.iter().map(Self::shape).collect();
        let mut whole = shapes.first().cloned().ok_or("there is nothing to concatenate")?;
        for shape in &shapes {
            let fits = shape.len() == whole.len()
                && shape.iter().zip(&whole).enumerate().all(|(other, (a, b))| other == axis || a == b);
            if !fits {
                return Err(format!("{shapes:?} cannot be concatenated along axis {axis}"));
            }
        }
        whole[axis] = shapes.iter().map(|shape| shape[axis]).sum();
        let hosts = parts.iter().map(|part| if let Self::Host(host) = part { Some(host) } else { None });
        if let Some(hosts) = hosts.collect::<Option<Vec<_>>>() {
            let outer: usize = whole[..axis].iter().product();
            let values = (0..outer).flat_map(|row| {
                hosts.iter().flat_map(move |host| {
                    let length = host.values.len() / outer.max(1);
                    &host.values[row * length..][..length]
                })
            });
            return Ok(Host::new(hosts[0].kind, whole, values.copied().collect()).into());
        }
        let parts: Vec<Dense> =
            parts.into_iter().filter(|part| !part.shape().contains(&0)).map(|part| part.dense(device)).collect();
        Dense::concatenate(parts, axis).map(Self::from).ok_or_else(|| "there is nothing to concatenate".to_owned())
    }
}
