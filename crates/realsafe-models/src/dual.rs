//! Dual bounds: what the logits of a sequence of layers can be at least over a cube of images, tighter than by intervals.
//!
//! A linear function of what a layer gives is bounded from below by a linear function of what the layer takes, and so on
//! back to the image, where its smallest value over the cube is at a corner. A relu whose input z lies between l < 0 and u > 0 lies
//! between d z and d (z - l) with d = u / (u - l); this is the feasible solution of the dual problem that Wong and Kolter choose.
//! A max-pooling is at least the element with the largest lower end, and at most its largest upper end, or equal to that element where
//! no other can be larger. The ends l and u of each layer come from the same bounds, or from intervals where
//! these are tighter, or where a layer is too large: with n outputs behind layers that take m numbers, there are
//! n times m numbers for each image. Convolutions are matrices; functions stop before those that are too large, at their intervals. Bounds are computed in single precision, and hold up to its rounding.
//!
//! Wong, Kolter: Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope, ICML 2018
//! (arXiv:1711.00851); they do not use that pixels end at 0 and 1.

use burn::nn::Linear;
use burn::tensor::module::{avg_pool2d, conv2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions};
use burn::tensor::{Int, Tensor, TensorData};

use crate::bounds::{Layer, middle, padding};
use crate::layers::max_pool;

/// How often the interval of a radius is halved, where duality enlarges it.
pub(crate) const DUAL_HALVINGS: u64 = 10;

/// Numbers per image beyond which the bounds of a hidden layer come from intervals alone, and beyond which functions go back no
/// further.
const AFFORDABLE: usize = 1 << 24;

/// Lower bounds `[n, classes]` of the differences between the logit of each row's label and every logit, over all images of
/// the box `[0, 1]` that differ from the row's by at most `eps` in every pixel; zero for the label itself. Nowhere looser than
/// those by intervals. None where the last layer is not linear.
pub(crate) fn dual_margins(layers: &[Layer<'_>], images: Tensor<4>, labels: &[u32], eps: f64) -> Option<Tensor<2>> {
    dual_margins_between(layers, [(images.clone() - eps).clamp(0.0, 1.0), (images + eps).clamp(0.0, 1.0)], labels)
}

/// The same between the ends of a cube.
pub(crate) fn dual_margins_between(layers: &[Layer<'_>], ends: [Tensor<4>; 2], labels: &[u32]) -> Option<Tensor<2>> {
    let (Layer::Linear(last), hidden) = layers.split_last()? else { return None };
    let mut inputs = vec![ends];
    for (place, layer) in hidden.iter().enumerate() {
        let ends = layer.bounds(inputs[place].clone());
        inputs.push(tightened(hidden, ends, &inputs));
    }
    let differences = differences(last, labels);
    let intervals = differences.least(inputs.last().expect("the images are the first"));
    Some(intervals.max_pair(back(hidden, differences, &inputs)))
}

/// How many linear functions go back through the layers for the bounds of an image `[1, channels, height, width]`.
pub(crate) fn functions(layers: &[Layer<'_>], image: Tensor<4>) -> u64 {
    let mut inputs = vec![[image.clone(), image]];
    let mut count = 0;
    for (place, layer) in layers.iter().enumerate() {
        let ends = layer.bounds(inputs[place].clone());
        // The last layer's functions are the differences of the classes.
        if place + 1 == layers.len() || is_tightened(layer, &ends, &inputs) {
            // For the lower ends and for the upper ones.
            count += features(&ends) * if place + 1 == layers.len() { 1 } else { 2 };
        }
        inputs.push(ends);
    }
    count as u64
}

/// What the label's logit has more than each logit, as functions of what the last layer takes.
fn differences(last: &Linear, labels: &[u32]) -> Functions {
    let (weight, rows) = (last.weight.val(), labels.len());
    let [inputs, classes] = weight.dims();
    let indices: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::from(indices.as_slice()), &weight.device());
    let weight = weight.transpose();
    let own = weight.clone().select(0, indices.clone()).reshape([rows, 1, inputs]);
    let slopes = own - weight.unsqueeze::<3>();
    let offsets = match &last.bias {
        Some(bias) => bias.val().select(0, indices).reshape([rows, 1]) - bias.val().unsqueeze::<2>(),
        None => Tensor::zeros([rows, classes], &slopes.device()),
    };
    Functions { slopes, offsets }
}

/// The ends of a layer's outputs by duality where these are tighter than the intervals; `inputs` are the ends of what
/// the layers up to this one take.
fn tightened(hidden: &[Layer<'_>], ends: [Tensor<4>; 2], inputs: &[[Tensor<4>; 2]]) -> [Tensor<4>; 2] {
    let dims = ends[0].dims();
    let layer = &hidden[inputs.len() - 1];
    if !is_tightened(layer, &ends, inputs) {
        return ends;
    }
    let functions = Functions::of(Affine::of(layer, &inputs[inputs.len() - 1]));
    let (least, most) = (functions.clone(), functions.negated());
    let [lower, upper] = ends;
    let least = back(hidden, least, inputs).reshape(dims);
    let most = back(hidden, most, inputs).neg().reshape(dims);
    [lower.max_pair(least), upper.min_pair(most)]
}

/// Whether duality is tried for the ends of a layer: intervals are exact behind the first layer, and nothing is gained at relus and
/// max-pooling.
fn is_tightened(layer: &Layer<'_>, ends: &[Tensor<4>; 2], inputs: &[[Tensor<4>; 2]]) -> bool {
    let widest = inputs.iter().map(features).max().unwrap_or(0);
    inputs.len() > 1 && is_affine(layer) && features(ends).saturating_mul(widest) <= AFFORDABLE
}

/// Lower bounds `[n, m]` of functions of what the last of some layers takes; `inputs` are the ends of what they take.
fn back(hidden: &[Layer<'_>], mut functions: Functions, inputs: &[[Tensor<4>; 2]]) -> Tensor<2> {
    for (place, ends) in inputs.windows(2).enumerate().rev() {
        let [taken, given] = [0, 1].map(|end| features(&ends[end]));
        if is_affine(&hidden[place]) && taken.saturating_mul(given) > AFFORDABLE {
            return functions.least(&ends[1]);
        }
        functions = functions.back(&hidden[place], &ends[0]);
    }
    functions.least(&inputs[0])
}

fn is_affine(layer: &Layer<'_>) -> bool {
    matches!(layer, Layer::Convolution(_) | Layer::Linear(_))
}

/// How many numbers an image has in a layer.
fn features([lower, _]: &[Tensor<4>; 2]) -> usize {
    lower.dims()[1..].iter().product()
}

/// A layer as the product with a matrix `[inputs, outputs]` and a bias `[outputs]`.
struct Affine {
    matrix: Tensor<2>,
    bias: Tensor<1>,
}

impl Affine {
    /// That of a convolution or a linear layer; `ends` are of what it takes.
    fn of(layer: &Layer<'_>, ends: &[Tensor<4>; 2]) -> Self {
        let [_, channels, height, width] = ends[0].dims();
        let (matrix, bias, positions) = match layer {
            Layer::Linear(layer) => (layer.weight.val(), layer.bias.as_ref(), 1),
            Layer::Convolution(layer) => {
                let inputs = channels * height * width;
                let pixels = Tensor::<2>::eye(inputs, &ends[0].device()).reshape([inputs, channels, height, width]);
                let options = ConvOptions::new(layer.stride, [padding(layer); 2], layer.dilation, layer.groups);
                let given = conv2d(pixels, layer.weight.val(), None, options);
                let [_, _, height, width] = given.dims();
                (given.flatten(1, 3), layer.bias.as_ref(), height * width)
            }
            Layer::Relu | Layer::MaxPool => unreachable!("they are no products"),
        };
        let [_, outputs] = matrix.dims();
        let bias = match bias {
            Some(bias) => bias.val().reshape([outputs / positions, 1]).repeat_dim(1, positions).reshape([outputs]),
            None => Tensor::zeros([outputs], &matrix.device()),
        };
        Self { matrix, bias }
    }
}

/// Linear functions, for each image or for all alike.
#[derive(Clone)]
struct Functions {
    /// `[n, m, inputs]`, or `[1, m, inputs]`.
    slopes: Tensor<3>,
    /// `[n, m]`, or `[1, m]`.
    offsets: Tensor<2>,
}

impl Functions {
    /// Each output of a layer.
    fn of(Affine { matrix, bias }: Affine) -> Self {
        Self { slopes: matrix.transpose().unsqueeze(), offsets: bias.unsqueeze() }
    }

    fn negated(self) -> Self {
        Self { slopes: self.slopes.neg(), offsets: self.offsets.neg() }
    }

    /// The smallest values `[n, m]` over intervals.
    fn least(&self, ends: &[Tensor<4>; 2]) -> Tensor<2> {
        let [centre, radius] = middle(ends.clone()).map(|half| half.flatten::<2>(1, 3).unsqueeze_dim::<3>(2));
        let least = self.slopes.clone().matmul(centre) - self.slopes.clone().abs().matmul(radius);
        self.offsets.clone() + least.squeeze_dim::<2>(2)
    }

    /// Functions of what a layer takes, within these ends, that are nowhere above these functions of what it gives.
    fn back(self, layer: &Layer<'_>, ends: &[Tensor<4>; 2]) -> Self {
        let Self { slopes, offsets } = self;
        let [_, channels, height, width] = ends[0].dims();
        let [images, count, outputs] = slopes.dims();
        match layer {
            Layer::Linear(_) | Layer::Convolution(_) => {
                let Affine { matrix, bias } = Affine::of(layer, ends);
                let slopes_before = slopes.clone().reshape([images * count, outputs]).matmul(matrix.transpose());
                let offsets = offsets + along(slopes, bias.reshape([1, 1, outputs]));
                Self { slopes: slopes_before.reshape([images, count, channels * height * width]), offsets }
            }
            Layer::Relu => {
                let [lower, upper] = ends.clone().map(|end| end.flatten::<2>(1, 3).unsqueeze_dim::<3>(1));
                let (lower, upper) = (lower.clamp_max(0.0), upper.clamp_min(0.0));
                // One where the relu is the identity, zero where it is zero.
                let slope = upper.clone() / (upper - lower.clone()).clamp_min(1e-12);
                let above = slope.clone() * lower.neg();
                Self { offsets: offsets + along(slopes.clone().clamp_max(0.0), above), slopes: slopes * slope }
            }
            Layer::MaxPool => {
                let Pooled { share, exact, most } = Pooled::of(ends);
                let all = ends[0].dims()[0];
                let row = |pooled: Tensor<4>| pooled.flatten::<2>(1, 3).unsqueeze_dim::<3>(1);
                let (positive, negative) = (slopes.clone().clamp_min(0.0), slopes.clamp_max(0.0));
                let offsets = offsets + along(negative.clone(), row(most * (exact.clone().neg() + 1.0)));
                let kept = positive + negative * row(exact);
                let kept = doubled(kept.reshape([all * count, channels, height / 2, width / 2]));
                Self { slopes: kept.reshape([all, count, channels * height * width]) * row(share), offsets }
            }
        }
    }
}

/// The sums `[n, m]` of the products of the last axes of `[n, m, inputs]` and `[n, 1, inputs]`.
fn along(slopes: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
    slopes.matmul(values.transpose()).squeeze_dim::<2>(2)
}

/// Linear bounds of max-pooling.
struct Pooled {
    /// For each input, how much of its window's lower bound it is.
    share: Tensor<4>,
    /// One for each window that is its first bound everywhere.
    exact: Tensor<4>,
    /// The largest value of each window.
    most: Tensor<4>,
}

impl Pooled {
    fn of([lower, upper]: &[Tensor<4>; 2]) -> Self {
        let least = max_pool(lower.clone());
        let most = max_pool(upper.clone());
        let highest = lower.clone().equal(doubled(least.clone()));
        let chosen = highest.clone().float();
        let counts = avg_pool2d(chosen.clone(), AvgPoolOptions::new([2, 2]).with_stride([2, 2])) * 4.0;
        let rivals = max_pool(upper.clone().mask_fill(highest, -1e30));
        let exact = counts.clone().equal_elem(1.0).float() * rivals.lower_equal(least).float();
        Self { share: chosen / doubled(counts), exact, most }
    }
}

/// Every position four times, side by side.
fn doubled(pooled: Tensor<4>) -> Tensor<4> {
    let [rows, channels, height, width] = pooled.dims();
    let wide = pooled.reshape([rows * channels, height, 1, width, 1]).expand([rows * channels, height, 2, width, 2]);
    wide.reshape([rows, channels, 2 * height, 2 * width])
}
