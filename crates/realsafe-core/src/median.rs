//! Medians of tensors, place by place.

use burn::tensor::Tensor;

/// The median of tensors of one shape at each place; of an even number of them, the larger of the two in the middle. The derivative is
/// that of the tensor whose value it is.
///
/// # Panics
/// Where there are none.
pub fn median<const D: usize>(mut parts: Vec<Tensor<D>>) -> Tensor<D> {
    // A selection sort, up to the value in the middle.
    let middle = parts.len() / 2;
    for first in 0..=middle {
        for other in first + 1..parts.len() {
            let (a, b) = (parts[first].clone(), parts[other].clone());
            parts[first] = a.clone().min_pair(b.clone());
            parts[other] = a.max_pair(b);
        }
    }
    parts.swap_remove(middle)
}
