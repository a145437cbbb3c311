//! What makes logits of the outputs of a network's last linear layer: nothing, or their distances to fixed centres.

use burn::tensor::{Tensor, TensorData};
use realsafe_core::fill_gaussian;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

const MAX_MAHALANOBIS: &str = "max-mahalanobis";

/// The largest product of squared classes and dimensions for which centres are spread: a minute's work.
const MOST_SPREAD: usize = 100_000_000;

/// Which head a network has.
pub(crate) const HEAD: Parameter = Parameter {
    name: "head",
    kind: ParameterKind::Choice(&["linear", MAX_MAHALANOBIS]),
    unit: "",
    fallback: Fallback::Unset,
    documentation: "What makes the logits: the last linear layer (`linear`, or unset), or minus the squared distances of its outputs to one fixed centre per class (`max-mahalanobis`), for the recipes `mmc` and `mmc-at`",
};

/// How many outputs the last linear layer has under a Max-Mahalanobis head.
pub(crate) const FEATURE_DIMENSION: Parameter = Parameter {
    name: "feature-dimension",
    kind: ParameterKind::Count { minimum: 2, maximum: 100_000 },
    unit: "outputs of the last linear layer",
    fallback: Fallback::Unset,
    documentation: "The dimension of the features whose distances to the centres are taken, for `head = \"max-mahalanobis\"`; unset, 256. Where it is less than the number of classes minus one, centres are spread numerically, which is refused for very many classes",
};

/// How long the centres of a Max-Mahalanobis head are.
pub(crate) const CENTRE_NORM: Parameter = Parameter {
    name: "centre-norm",
    kind: ParameterKind::Number { minimum: 1e-3, maximum: 1e6 },
    unit: "length in feature space",
    fallback: Fallback::Unset,
    documentation: "The Euclidean norm of every centre, for `head = \"max-mahalanobis\"`; unset, 10",
};

/// The last step of a network. It has no weights, so weights files do not hold it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Head {
    /// Logits are what the last linear layer gives.
    #[default]
    Linear,
    /// Logits are minus the squared distances of features to centres `[classes, features]`, row after row.
    MaxMahalanobis { centres: Vec<f64>, dimension: usize },
}

impl Head {
    /// The head that the parameters describe.
    pub(crate) fn of(values: &Values, classes: usize) -> Self {
        if !is_max_mahalanobis(values) {
            return Self::Linear;
        }
        let set = |name| values.is_set(name).then_some(name);
        let dimension = dimension(values);
        let norm = set(CENTRE_NORM.name).map_or(10.0, |name| values.number(name));
        let centres = centres(classes, dimension).into_iter().flatten().map(|value| value * norm).collect();
        Self::MaxMahalanobis { centres, dimension }
    }

    /// How many outputs the last linear layer has in front of this head, where there are so many classes.
    pub(crate) const fn width(&self, classes: usize) -> usize {
        match self {
            Self::Linear => classes,
            Self::MaxMahalanobis { dimension, .. } => *dimension,
        }
    }

    /// The logits `[n, classes]` of outputs `[n, width]` of the last linear layer.
    pub(crate) fn logits(&self, outputs: Tensor<2>) -> Tensor<2> {
        let Self::MaxMahalanobis { centres, dimension } = self else { return outputs };
        let data = TensorData::from(centres.as_slice());
        let centres =
            Tensor::<1>::from_data(data, &outputs.device()).reshape([1, centres.len() / dimension, *dimension]);
        // Differences, not products: the squares of features would cancel with a loss of digits.
        let away = outputs.unsqueeze_dim::<3>(1) - centres;
        -away.square().sum_dim(2).squeeze_dim(2)
    }
}

/// What is wrong with the parameters of the head of a network that knows so many classes, if anything.
///
/// # Errors
/// A message that names the parameter that has no meaning without the head, or says that its centres would take too long to
/// spread.
pub(crate) fn check(values: &Values, classes: usize) -> Result<(), String> {
    if is_max_mahalanobis(values) {
        let (dimension, enough) = (dimension(values), classes - 1);
        if dimension < enough && classes * classes * dimension > MOST_SPREAD {
            return Err(format!(
                "{classes} centres in {dimension} dimensions would take too long to spread; raise `{}` to {enough}, where \
                 their places are known",
                FEATURE_DIMENSION.name
            ));
        }
        return Ok(());
    }
    match [FEATURE_DIMENSION.name, CENTRE_NORM.name].into_iter().find(|name| values.is_set(name)) {
        Some(name) => Err(format!(
            "`{name}` belongs to `head = \"{MAX_MAHALANOBIS}\"`; name that head too, or leave `{name}` out"
        )),
        None => Ok(()),
    }
}

/// How many outputs the last linear layer has under a Max-Mahalanobis head.
fn dimension(values: &Values) -> usize {
    if values.is_set(FEATURE_DIMENSION.name) { values.count(FEATURE_DIMENSION.name) as usize } else { 256 }
}

fn is_max_mahalanobis(values: &Values) -> bool {
    values.is_set(HEAD.name) && values.text(HEAD.name) == MAX_MAHALANOBIS
}

/// Unit vectors, one per class, whose largest inner product is as small as possible.
pub(crate) fn centres(classes: usize, dimension: usize) -> Vec<Vec<f64>> {
    if classes <= dimension + 1 { simplex(classes, dimension) } else { spread(classes, dimension) }
}

/// The corners of a regular simplex: all inner products are -1 / (classes - 1), and no other arrangement has a smaller
/// largest one. Corner i lies in the first i coordinates; its inner products with earlier corners fix all but the last of them.
fn simplex(classes: usize, dimension: usize) -> Vec<Vec<f64>> {
    let cosine = -1.0 / (classes - 1) as f64;
    let mut corners: Vec<Vec<f64>> = Vec::with_capacity(classes);
    for number in 0..classes {
        let mut corner = vec![0.0; dimension];
        for (place, earlier) in corners.iter().enumerate() {
            corner[place] = (cosine - product(&corner, earlier)) / earlier[place];
        }
        // The last corner of a simplex with one class more than coordinates has none left, and needs none.
        if number < dimension {
            corner[number] = (1.0 - product(&corner, &corner)).max(0.0).sqrt();
        }
        corners.push(corner);
    }
    corners
}

/// More vectors than a simplex has corners: each in turn moves away from those nearest to it, which are weighted by a softmax
/// of inner products that becomes sharper and sharper.
fn spread(classes: usize, dimension: usize) -> Vec<Vec<f64>> {
    const STEPS: u32 = 600;
    const SHARPNESS: [f64; 2] = [4.0, 4000.0];
    let key = StreamKey { seed: 0, purpose: Purpose::Training, sample: 0, restart: 0, step: 0 };
    let mut random = stream(key);
    let mut drawn = vec![0.0; classes * dimension];
    fill_gaussian(&mut random, &mut drawn);
    let mut vectors: Vec<Vec<f64>> =
        drawn.chunks_exact(dimension).map(|drawn| unit(drawn.iter().copied().map(f64::from).collect())).collect();
    for step in 0..STEPS {
        let sharpness = SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]).powf(f64::from(step) / f64::from(STEPS));
        let moved = vectors.iter().enumerate().map(|(number, vector)| {
            let near: Vec<f64> = vectors.iter().map(|other| product(vector, other)).collect();
            let others = || (0..classes).filter(|&other| other != number);
            let nearest = others().map(|other| near[other]).fold(f64::NEG_INFINITY, f64::max);
            let mut pull = vec![0.0; dimension];
            let mut total = 0.0;
            for other in others() {
                let weight = (sharpness * (near[other] - nearest)).exp();
                total += weight;
                pull.iter_mut().zip(&vectors[other]).for_each(|(pull, value)| *pull += weight * value);
            }
            let along = product(&pull, vector);
            let rate = 2.8 / (sharpness + 4.0) / total;
            let step = pull.iter().zip(vector).map(|(pull, value)| value - rate * (pull - along * value));
            unit(step.collect())
        });
        vectors = moved.collect();
    }
    vectors
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    let length = product(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}
