//! Matrix products whose bits depend on the factors alone, and not on where in memory these lie.

use burn::tensor::Tensor;

use crate::device;

/// How many numbers fill the widest registers and a line of the cache: 64 bytes.
const LINE: usize = 16;

/// The product of matrices, or of batches of them: `[..., n, k]` and `[..., k, m]` give `[..., n, m]`.
///
/// LibTorch's kernels on processors treat a row that begins in the middle of a line of the cache otherwise than one that begins
/// with it, to the last bit. There rows are filled up with zeros such that all begin with a line: no image's bits depend on
/// its place in the batch.
///
/// # Panics
/// Where the shapes do not fit.
pub fn product<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    let dims = right.dims();
    let (inner, outer) = (dims[D - 2], dims[D - 1]);
    let [more_inner, more_outer] = [inner, outer].map(|size| size.next_multiple_of(LINE) - size);
    if more_inner + more_outer == 0 || !device::is_libtorch_on_processors(&right.device()) {
        return left.matmul(right);
    }
    let left = if more_inner == 0 { left } else { left.pad([(0, more_inner)], 0.0) };
    let product = left.matmul(right.pad([(0, more_inner), (0, more_outer)], 0.0));
    if more_outer == 0 { product } else { product.narrow(D - 1, 0, outer) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    #[test]
    fn equal_rows_have_equal_products_wherever_they_stand() {
        for name in ["flex", "tch"] {
            let Ok(device) = device::open(name) else { continue };
            for [inner, outer] in [[64, 10], [43, 10], [10, 43], [30, 3], [16, 32]] {
                let row = Tensor::<3>::random([1, 1, inner], Distribution::Default, &device);
                let right = Tensor::<3>::random([1, inner, outer], Distribution::Default, &device);
                let rows = row.clone().repeat(&[3, 8, 1]);
                let products = product(rows.clone(), right.clone());
                let plain = rows.matmul(right).into_data();
                products.to_data().assert_approx_eq::<f32>(&plain, Tolerance::rel_abs(1e-5, 1e-5));
                let values: Vec<f32> = products.into_data().try_to_vec().unwrap();
                for other in values.chunks_exact(outer) {
                    assert_eq!(other, &values[..outer], "{name}: {inner} to {outer}");
                }
            }
        }
    }
}
