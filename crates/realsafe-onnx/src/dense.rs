//! Tensors on the device whose rank is known at run time only.
//!
//! burn's tensors have static ranks. Every tensor of a graph is held at the largest one, with ones in front: broadcasting,
//! which aligns axes at the end, is then burn's own, and an operation on an axis is one on another axis.

use burn::tensor::kind::{Basic, Float};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The largest rank. Window partitions of transformers need six.
pub(crate) const RANK: usize = 6;

/// A tensor of some rank up to [`RANK`].
#[derive(Clone, Debug)]
pub(crate) struct Dense<K: Basic = Float> {
    pub(crate) tensor: Tensor<RANK, K>,
    pub(crate) rank: usize,
}

/// A shape with ones in front; checked by [`check_rank`] before.
pub(crate) fn aligned(shape: &[usize]) -> [usize; RANK] {
    let mut dims = [1; RANK];
    dims[RANK - shape.len()..].copy_from_slice(shape);
    dims
}

/// # Errors
/// Says that a shape has too many axes.
pub(crate) fn check_rank(shape: &[usize]) -> Result<(), String> {
    if shape.len() <= RANK { Ok(()) } else { Err(format!("tensors have at most {RANK} axes, but one is {shape:?}")) }
}

impl<K: Basic> Dense<K> {
    pub(crate) fn new(tensor: Tensor<RANK, K>, rank: usize) -> Self {
        Self { tensor, rank }
    }

    /// A tensor of a static rank.
    pub(crate) fn from_static<const D: usize>(tensor: Tensor<D, K>) -> Self {
        let dims = aligned(&tensor.dims());
        Self::new(tensor.reshape(dims), D)
    }

    /// The same values, seen with a static rank.
    pub(crate) fn into_static<const D: usize>(self, dims: [usize; D]) -> Tensor<D, K> {
        self.tensor.reshape(dims)
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        self.tensor.dims()[RANK - self.rank..].to_vec()
    }

    /// The axis of the tensor behind an axis.
    pub(crate) fn axis(&self, axis: usize) -> usize {
        RANK - self.rank + axis
    }

    /// The tensor with another function of it; the rank stays.
    pub(crate) fn map<L: Basic>(self, change: impl FnOnce(Tensor<RANK, K>) -> Tensor<RANK, L>) -> Dense<L> {
        Dense::new(change(self.tensor), self.rank)
    }

    pub(crate) fn reshape(self, shape: &[usize]) -> Self {
        Self::new(self.tensor.reshape(aligned(shape)), shape.len())
    }

    pub(crate) fn permute(self, order: &[usize]) -> Self {
        let first = self.axis(0);
        let mut axes: [usize; RANK] = std::array::from_fn(|axis| axis);
        for (axis, from) in order.iter().enumerate() {
            axes[first + axis] = first + from;
        }
        self.map(|tensor| tensor.permute(axes))
    }

    pub(crate) fn expand(self, shape: &[usize]) -> Self {
        Self::new(self.tensor.expand(aligned(shape)), shape.len())
    }

    /// The places `indices` along an axis. Neighbours are cut out; steps and jumps are looked up, since LibTorch cannot
    /// differentiate slices with steps on all of its tensors.
    pub(crate) fn take(self, axis: usize, indices: &[usize]) -> Self {
        let axis = self.axis(axis);
        let neighbours = indices.windows(2).all(|pair| pair[1] == pair[0] + 1);
        self.map(|tensor| match indices {
            [first, ..] if neighbours => tensor.narrow(axis, *first, indices.len()),
            _ => {
                let indices: Vec<i64> = indices.iter().map(|index| *index as i64).collect();
                let indices = TensorData::from(indices.as_slice());
                let device = tensor.device();
                tensor.select(axis, Tensor::<1, Int>::from_data(indices, &device))
            }
        })
    }

    pub(crate) fn concatenate(parts: Vec<Self>, axis: usize) -> Option<Self> {
        let (axis, rank) = parts.first().map(|part| (part.axis(axis), part.rank))?;
        let parts = parts.into_iter().map(|part| part.tensor).collect();
        Some(Self::new(Tensor::cat(parts, axis), rank))
    }

    pub(crate) fn device(&self) -> Device {
        self.tensor.device()
    }
}
