//! Matrix products.
//!
//! The way in which a matrix product is cut into blocks, and with it the last bit, depends on its number of rows. So products
//! with a matrix are made in blocks of a fixed number of rows, as `realsafe-models` does for its linear layers: no image's
//! result depends on how many others there are. Products of batches of matrices are alike for every image as they are.

use burn::tensor::Tensor;

use super::{Call, one};
use crate::dense::{Dense, check_rank};
use crate::host::broadcast;
use crate::value::Value;

type Results = Result<Vec<Value>, String>;

/// The numbers of rows in a block. The more rows an image has, the larger are its blocks.
const BLOCKS: [usize; 4] = [64, 32, 16, 8];

/// The product of rows `[count, features]` of `images` images with a matrix `[features, outputs]`.
fn by_rows(rows: Tensor<2>, matrix: Tensor<2>, images: usize) -> Tensor<2> {
    let ([count, features], [_, outputs]) = (rows.dims(), matrix.dims());
    let each = if count % images == 0 { count / images } else { 1 };
    let block = BLOCKS.into_iter().find(|block| *block <= each).unwrap_or(BLOCKS[BLOCKS.len() - 1]);
    let filled = count.next_multiple_of(block);
    let rows = if filled == count { rows } else { rows.pad([(0, filled - count), (0, 0)], 0.0) };
    let products = realsafe_core::product(rows.reshape([filled / block, block, features]), matrix.unsqueeze());
    let products = products.reshape([filled, outputs]);
    if filled == count { products } else { products.narrow(0, 0, count) }
}

/// The product of the last axis of a tensor with a matrix.
fn with_matrix(a: Dense, matrix: Dense, images: usize) -> Dense {
    let (shape, weights) = (a.shape(), matrix.shape());
    let features = weights[0];
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let product = by_rows(a.into_static([rows, features]), matrix.into_static([features, weights[1]]), images);
    Dense::from_static(product).reshape(&[&shape[..shape.len() - 1], &weights[1..]].concat())
}

/// The product of two tensors of at least two axes: of matrices, of batches of them, or of one and the other.
fn product(a: Dense, b: Dense, images: usize) -> Result<Dense, String> {
    let (left, right) = (a.shape(), b.shape());
    let ([.., height, inner], [.., depth, width]) = (&left[..], &right[..]) else {
        return Err(format!("{left:?} and {right:?} cannot be multiplied"));
    };
    if inner != depth {
        return Err(format!("{left:?} and {right:?} cannot be multiplied"));
    }
    let mut shape = broadcast(&left[..left.len() - 2], &right[..right.len() - 2])?;
    if right[..right.len() - 2].iter().all(|size| *size == 1) && right.len() <= left.len() {
        let matrix = b.reshape(&[*depth, *width]);
        return Ok(with_matrix(a, matrix, images));
    }
    shape.extend([*height, *width]);
    check_rank(&shape)?;
    Ok(Dense::new(realsafe_core::product(a.tensor, b.tensor), shape.len()))
}

pub(super) fn matmul(call: &Call<'_>) -> Results {
    let (mut a, mut b) = (call.dense(0)?, call.dense(1)?);
    let (left, right) = (a.shape(), b.shape());
    if left.is_empty() || right.is_empty() {
        return Err("a single number is no matrix".to_owned());
    }
    if left.len() == 1 {
        a = a.reshape(&[1, left[0]]);
    }
    if right.len() == 1 {
        b = b.reshape(&[right[0], 1]);
    }
    let product = product(a, b, call.rows)?;
    let mut shape = product.shape();
    if right.len() == 1 {
        shape.pop();
    }
    if left.len() == 1 {
        shape.remove(shape.len() - 1 - usize::from(right.len() > 1));
    }
    one(product.reshape(&shape))
}

pub(super) fn gemm(call: &Call<'_>) -> Results {
    let transposed = |dense: Dense, name: &str| {
        if call.node.integer(name) == Some(1) { dense.permute(&[1, 0]) } else { dense }
    };
    let (a, b) = (call.dense(0)?, call.dense(1)?);
    if a.rank != 2 || b.rank != 2 {
        return Err(format!("{:?} and {:?} are no matrices", a.shape(), b.shape()));
    }
    let mut result = product(transposed(a, "transA"), transposed(b, "transB"), call.rows)?;
    if let Some(alpha) = call.node.float("alpha").filter(|alpha| *alpha != 1.0) {
        result = result.map(|product| product * alpha);
    }
    if let Some(c) = call.optional_dense(2) {
        broadcast(&result.shape(), &c.shape())?;
        let beta = call.node.float("beta").unwrap_or(1.0);
        let c = if beta == 1.0 { c.tensor } else { c.tensor * beta };
        result = result.map(|product| product + c);
    }
    one(result)
}

/// Sums of products by the names of the axes, of one tensor or two.
pub(super) fn einsum(call: &Call<'_>) -> Results {
    let equation: String =
        call.node.text("equation").unwrap_or_default().chars().filter(|letter| !letter.is_whitespace()).collect();
    let (inputs, output) = equation.split_once("->").ok_or("its equation says no result")?;
    let names: Vec<Vec<char>> = inputs.split(',').map(|names| names.chars().collect()).collect();
    let output: Vec<char> = output.chars().collect();
    if names.len() > 2 || equation.contains('.') {
        return Err(format!("the equation `{equation}` is not supported"));
    }
    let mut operands = Vec::new();
    for (index, names) in names.into_iter().enumerate() {
        let tensor = call.dense(index)?;
        let repeated = names.iter().enumerate().any(|(place, name)| names[..place].contains(name));
        if tensor.rank != names.len() || repeated {
            return Err(format!("the equation `{equation}` does not fit the shape {:?}", tensor.shape()));
        }
        operands.push(Named { tensor, names });
    }
    let second = operands.pop().ok_or("it has no input")?;
    let result = match operands.pop() {
        None => second.keep(|name| output.contains(&name)),
        Some(first) => {
            let first = first.clone().keep(|name| output.contains(&name) || second.names.contains(&name));
            let second = second.keep(|name| output.contains(&name) || first.names.contains(&name));
            first.times(second, &output, call.rows)?
        }
    };
    let places = output.iter().map(|name| result.names.iter().position(|other| other == name));
    let order = places.collect::<Option<Vec<_>>>().ok_or_else(|| format!("the equation `{equation}` is wrong"))?;
    Ok(vec![Value::from(result.tensor).permute(&order)?])
}

/// A tensor with a name for each axis.
#[derive(Clone)]
struct Named {
    tensor: Dense,
    names: Vec<char>,
}

impl Named {
    fn size(&self, name: char) -> usize {
        self.names.iter().position(|other| *other == name).map_or(1, |axis| self.tensor.shape()[axis])
    }

    /// Sums over the axes that are not kept.
    fn keep(mut self, kept: impl Fn(char) -> bool) -> Self {
        let shape = self.tensor.shape();
        for axis in (0..self.names.len()).filter(|axis| !kept(self.names[*axis])) {
            let along = self.tensor.axis(axis);
            self.tensor = self.tensor.map(|tensor| tensor.sum_dim(along));
        }
        let axes: Vec<usize> = (0..self.names.len()).filter(|axis| kept(self.names[*axis])).collect();
        let shape: Vec<usize> = axes.iter().map(|axis| shape[*axis]).collect();
        self.tensor = self.tensor.reshape(&shape);
        self.names.retain(|name| kept(*name));
        self
    }

    /// The tensor as a batch of matrices, from the names of its axes in three groups.
    fn matrices(self, groups: [&[char]; 3]) -> Dense {
        let names = groups.concat();
        let order: Vec<usize> =
            names.iter().filter_map(|name| self.names.iter().position(|other| other == name)).collect();
        let sizes = groups.map(|group| group.iter().map(|name| self.size(*name)).product());
        self.tensor.permute(&order).reshape(&sizes)
    }

    /// The product with another tensor, summed over the axes that the result does not name.
    fn times(self, other: Self, output: &[char], images: usize) -> Result<Self, String> {
        let shared = |kept: bool| -> Vec<char> {
            let both = self.names.iter().filter(|name| other.names.contains(name));
            both.filter(|name| output.contains(name) == kept).copied().collect()
        };
        let (batch, summed) = (shared(true), shared(false));
        let own = |one: &Self, two: &Self| -> Vec<char> {
            one.names.iter().filter(|name| !two.names.contains(name)).copied().collect()
        };
        let (left, right) = (own(&self, &other), own(&other, &self));
        let names = [&batch[..], &left, &right].concat();
        if batch.iter().chain(&summed).any(|name| self.size(*name) != other.size(*name)) {
            return Err("axes of the same name have different sizes".to_owned());
        }
        let size = |name: &char| self.size(*name).max(other.size(*name));
        let shape: Vec<usize> = names.iter().map(size).collect();
        check_rank(&shape)?;
        let (a, b) = (self.matrices([&batch, &left, &summed]), other.matrices([&batch, &summed, &right]));
        let tensor = product(a, b, images)?.reshape(&shape);
        Ok(Self { tensor, names })
    }
}
