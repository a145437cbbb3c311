//! Adaptive diversity promoting (ADP): an ensemble whose members are wrong in different ways.
//!
//! ## What it does
//! The update lowers `Σ CE(z_k(x), y) - alpha · H(p̄) - beta · log det(G + 10⁻⁶ I)`, meaned over the batch. The sum is over the
//! members of an ensemble, H is the entropy of the mean `p̄` of their probabilities, and G is the matrix of the products of what
//! they predict beside the label: the probabilities of all other classes as a vector of length one. Its determinant is the
//! squared volume that these vectors span: at most 1, where they are orthogonal, and 0 where two members agree. Images are shown as they
//! are, unless `augmentation` says otherwise; the training accuracy is that of the mean probability on them.
//!
//! The model is an `ensemble` whose members are written in place; each is saved to a file of its own. There must be fewer
//! members than classes: more vectors than other classes are never independent.
//!
//! The authors average probabilities in evaluation: `combine = "probabilities"`.
//!
//! ## What an attacker sees
//! The ordinary gradients of all members. Attack the ensemble as a whole; and, to see whether adversarials of one
//! member work on another, one by one with `surrogates`. In later evaluations by stronger attacks little is left of the robustness (Tramèr, Carlini,
//! Brendel, Madry 2020, arXiv:2002.08347).
//!
//! ## Cost
//! That of standard training, times the number of members.
//!
//! ## Reference
//! Pang, Xu, Du, Chen, Zhu: Improving Adversarial Robustness via Promoting Ensemble Diversity, ICML 2019 (arXiv:1901.08846).

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Bool, Tensor, TensorData};
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits, Values};

use crate::losses::cross_entropy;
use crate::parameters::{recipe_parameters, weight};

/// What is added to the diagonal, so that the logarithm stays finite.
const RIDGE: f64 = 1e-6;

struct AdaptiveDiversity {
    alpha: f64,
    beta: f64,
}

impl AdaptiveDiversity {
    fn from(values: &Values) -> Self {
        Self { alpha: values.number("alpha"), beta: values.number("beta") }
    }
}

/// What members with these logits predict beside the label: vectors `[n, classes]` of length one that are zero at the label.
fn beside(logits: Tensor<2>, labels: &[u32]) -> Tensor<2> {
    let [rows, classes] = logits.dims();
    let own = (0..rows * classes).map(|place| labels[place / classes] as usize == place % classes);
    let own =
        Tensor::<2, Bool>::from_data(TensorData::new(own.collect::<Vec<bool>>(), [rows, classes]), &logits.device());
    // The softmax of the others is their probabilities up to a factor, however small these are.
    let others = softmax(logits.mask_fill(own, -1e9), 1);
    others.clone() / others.square().sum_dim(1).sqrt()
}

/// The logarithm of the determinant of positive definite matrices, given by row and column, with one number per image.
fn log_determinant(mut matrix: Vec<Vec<Tensor<1>>>) -> Tensor<1> {
    let order = matrix.len();
    for pivot in 0..order {
        // No pivot of such a matrix is below what was added to its diagonal, but for rounding.
        matrix[pivot][pivot] = matrix[pivot][pivot].clone().clamp_min(RIDGE);
        for row in pivot + 1..order {
            let factor = matrix[row][pivot].clone() / matrix[pivot][pivot].clone();
            let (above, below) = matrix.split_at_mut(row);
            for (entry, pivotal) in below[0].iter_mut().zip(&above[pivot]).skip(pivot + 1) {
                *entry = entry.clone() - factor.clone() * pivotal.clone();
            }
        }
    }
    let pivots = matrix.into_iter().enumerate().map(|(place, mut row)| row.swap_remove(place).log());
    pivots.reduce(|sum, pivot| sum + pivot).expect("an ensemble has members")
}

impl Recipe for AdaptiveDiversity {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        if network.has_members() {
            return Ok(());
        }
        Err("it is one network; take an `ensemble` of several".to_owned())
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let labels = &batch.labels;
        let members = network
            .member_logits(batch.images.clone().autodiff())
            .expect("a network without members was refused before anything was trained");
        let count = members.len() as f64;
        let sum = |parts: Vec<Tensor<2>>| parts.into_iter().reduce(|sum, part| sum + part);
        let mean = sum(members.iter().map(|logits| log_softmax(logits.clone(), 1).exp()).collect());
        let mean = mean.expect("an ensemble has members") / count;
        let logits = mean.clone().clamp_min(1e-20).log();
        let entropy = -(mean * logits.clone()).sum_dim(1).mean();
        let vectors: Vec<Tensor<2>> = members.iter().map(|logits| beside(logits.clone(), labels)).collect();
        let product = |row: usize, column: usize| {
            let product = (vectors[row].clone() * vectors[column].clone()).sum_dim(1).squeeze_dim::<1>(1);
            if row == column { product + RIDGE } else { product }
        };
        let order = 0..vectors.len();
        let gram = order.clone().map(|row| order.clone().map(|column| product(row, column)).collect()).collect();
        let diversity = log_determinant(gram).mean();
        let errors = members.into_iter().map(|logits| cross_entropy(logits, labels, 0.0));
        let errors = errors.reduce(|sum, error| sum + error).expect("an ensemble has members");
        Ok(Objective { loss: errors - entropy * self.alpha - diversity * self.beta, logits })
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "adp",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("adp.rs"),
            parameters: recipe_parameters![
                weight("alpha", "", "2", "The weight of the entropy of the mean prediction."),
                weight("beta", "", "0.5", "The weight of the logarithm of the determinant."),
            ],
            example: "alpha = 2\nbeta = \"0.5\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(AdaptiveDiversity::from(values)),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use realsafe_core::read;

    use super::*;

    #[test]
    fn determinants_of_singular_matrices_stay_finite() {
        let logits = Tensor::<2>::from_floats([[30.0, -80.0, 2.0, 1.0], [0.0, 1.0, 0.0, 1.0]], &Device::flex());
        let vectors = beside(logits, &[0, 3]);
        let lengths = read(vectors.clone().square().sum_dim(1)).unwrap();
        assert!(lengths.iter().all(|length| (length - 1.0).abs() < 1e-6), "{lengths:?}");
        let product = vectors.square().sum_dim(1).squeeze_dim::<1>(1);
        let equal = || vec![product.clone() + RIDGE, product.clone()];
        let mut matrix = vec![equal(), equal()];
        matrix[1].swap(0, 1);
        let found = read(log_determinant(matrix)).unwrap();
        // (1 + r)² - 1 is about 2 r.
        assert!(found.iter().all(|found| (found - 2e-6_f32.ln()).abs() < 0.3), "{found:?}");
    }
}
