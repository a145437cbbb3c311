//! Small arrays on the host: constants, and what graphs compute from the sizes of tensors.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::dense::{Dense, RANK, aligned};

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Integer,
    Boolean,
}

/// An array of any rank. Doubles hold every float, truth value, and size; the largest integers, which graphs write for "to
/// the end", are rounded and convert back to themselves.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
    /// The same on the device, made when it is first needed there.
    uploaded: Arc<OnceLock<Tensor<RANK>>>,
}

impl Host {
    /// An array whose values lie row-major; floats are rounded to single precision, as the graph means them.
    pub(crate) fn new(kind: Kind, shape: Vec<usize>, mut values: Vec<f64>) -> Self {
        if kind == Kind::Float {
            values.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        }
        Self { kind, shape, values, uploaded: Arc::default() }
    }

    /// A list of integers.
    pub(crate) fn integers(values: impl IntoIterator<Item = i64>) -> Self {
        let values: Vec<f64> = values.into_iter().map(|value| value as f64).collect();
        Self::new(Kind::Integer, vec![values.len()], values)
    }

    /// All elements as integers.
    pub(crate) fn to_integers(&self) -> Vec<i64> {
        self.values.iter().map(|value| *value as i64).collect()
    }

    /// The only element.
    pub(crate) fn scalar(&self) -> Option<f64> {
        match self.values.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The array as floats on the device.
    pub(crate) fn dense(&self, device: &Device) -> Dense {
        let upload = || {
            let values: Vec<f32> = self.values.iter().map(|value| *value as f32).collect();
            Tensor::from_data(TensorData::new(values, aligned(&self.shape)), device)
        };
        Dense::new(self.uploaded.get_or_init(upload).clone(), self.shape.len())
    }

    /// The array as truth values on the device.
    pub(crate) fn mask(&self, device: &Device) -> Dense<Bool> {
        let values: Vec<bool> = self.values.iter().map(|value| *value != 0.0).collect();
        Dense::new(Tensor::from_data(TensorData::new(values, aligned(&self.shape)), device), self.shape.len())
    }

    /// An array of another shape whose element at an index is the one that lies at `source` of that index.
    pub(crate) fn rearranged(&self, shape: Vec<usize>, source: impl Fn(&[usize]) -> usize) -> Self {
        let values = indices(&shape).map(|index| self.values[source(&index)]).collect();
        Self::new(self.kind, shape, values)
    }

    /// The distances between neighbours along each axis.
    pub(crate) fn strides(&self) -> Vec<usize> {
        strides(&self.shape)
    }
}

/// The distances between neighbours along each axis of a row-major array.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Where an index lies.
pub(crate) fn offset(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(index, stride)| index * stride).sum()
}

/// All indices of a shape in row-major order.
pub(crate) fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let (shape, strides) = (shape.to_vec(), strides(shape));
    (0..shape.iter().product())
        .map(move |flat: usize| shape.iter().zip(&strides).map(|(size, stride)| flat / stride % size).collect())
}

/// The shape that two shapes are broadcast to.
///
/// # Errors
/// Names the shapes that cannot be.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err(format!("shapes {a:?} and {b:?} do not fit together")),
        })
        .collect()
}
