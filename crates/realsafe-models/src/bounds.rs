//! Interval bounds: what the logits of a sequence of layers can be at most and at least over a cube of images.
//!
//! A cube is sent through layer after layer as its centre and half its widths: linear layers multiply the widths by the absolute
//! values of their weights, relus and max-pooling are monotone and applied to both ends. The last linear layer is
//! taken together with the differences of its outputs, which loses less than differences of bounds would. Bounds are
//! computed in single precision, and hold up to its rounding.
//!
//! Gowal, Dvijotham, Stanforth, Bunel, Qin, Uesato, Arandjelovic, Mann, Kohli: On the Effectiveness of Interval Bound Propagation
//! for Training Verifiably Robust Models, 2018 (arXiv:1810.12715).

use burn::nn::conv::Conv2d;
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor, TensorData};
use realsafe_core::{Stop, read};

use crate::layers::{max_pool, product_by_rows};

/// How often the interval of a radius is halved.
pub(crate) const HALVINGS: u64 = 24;

/// A layer through which bounds go.
pub(crate) enum Layer<'a> {
    /// A convolution that pads all sides alike.
    Convolution(&'a Conv2d),
    /// Takes all channels and positions, and gives channels of one position.
    Linear(&'a Linear),
    Relu,
    /// Halves width and height.
    MaxPool,
}

/// Lower bounds `[n, classes]` of the differences between the logit of each row's label and every logit, over all images of
/// the box `[0, 1]` that differ from the row's by at most `eps` in every pixel; zero for the label itself. None where the last
/// layer is not linear.
pub(crate) fn interval_margins(layers: &[Layer<'_>], images: Tensor<4>, labels: &[u32], eps: f64) -> Option<Tensor<2>> {
    margins_between(layers, [(images.clone() - eps).clamp(0.0, 1.0), (images + eps).clamp(0.0, 1.0)], labels)
}

/// Enlarges the radius of the cube around each row's image for which margins between the ends of a cube are known to be above
/// zero, as far as they are, to within `2^-halvings`: what is proven of a cube is proven of all smaller ones. Zero stays where
/// nothing is proven.
pub(crate) fn enlarge(
    proven: &mut [f64],
    halvings: u64,
    images: &Tensor<4>,
    labels: &[u32],
    go_on: &dyn Fn() -> Result<(), Stop>,
    margins: impl Fn([Tensor<4>; 2], &[u32]) -> Option<Tensor<2>>,
) -> Result<(), Stop> {
    let (mut tried, mut open) = (proven.to_vec(), vec![1.0; labels.len()]);
    for _ in 0..=halvings {
        go_on()?;
        let radii: Vec<f32> = tried.iter().map(|radius| *radius as f32).collect();
        let radii: Tensor<4> = Tensor::from_data(TensorData::new(radii, [labels.len(), 1, 1, 1]), &images.device());
        let ends = [(images.clone() - radii.clone()).clamp(0.0, 1.0), (images.clone() + radii).clamp(0.0, 1.0)];
        let margins = read(margins(ends, labels).expect("what has no bounds was not asked"))?;
        let rows = margins.chunks_exact(margins.len() / labels.len()).zip(labels);
        for (row, (margins, label)) in rows.enumerate() {
            let beats = |(class, margin): (usize, &f32)| class == *label as usize || *margin > 0.0;
            if margins.iter().enumerate().all(beats) {
                proven[row] = tried[row];
            } else {
                open[row] = tried[row];
            }
            tried[row] = f64::midpoint(proven[row], open[row]);
        }
    }
    Ok(())
}

/// Whether bounds go through the layers.
pub(crate) fn is_bounded(layers: Option<&[Layer<'_>]>) -> bool {
    layers.is_some_and(|layers| matches!(layers.last(), Some(Layer::Linear(_))))
}

/// [`interval_margins`] over all images between the lower and the upper ends.
pub(crate) fn margins_between(layers: &[Layer<'_>], ends: [Tensor<4>; 2], labels: &[u32]) -> Option<Tensor<2>> {
    let (Layer::Linear(last), hidden) = layers.split_last()? else { return None };
    let ends = hidden.iter().fold(ends, |ends, layer| layer.bounds(ends));
    let [centre, radius] = middle(ends).map(|half| half.flatten::<2>(1, 3).unsqueeze_dim::<3>(1));
    let (weight, rows) = (last.weight.val(), labels.len());
    let [inputs, classes] = weight.dims();
    let indices: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::from(indices.as_slice()), &weight.device());
    // Per row, what the label's output has more weight than each output: [n, inputs, classes].
    let own = weight.clone().select(1, indices.clone()).transpose().reshape([rows, inputs, 1]);
    let more = own - weight.unsqueeze::<3>();
    let margins = centre.matmul(more.clone()) - radius.matmul(more.abs());
    let margins = margins.reshape([rows, classes]);
    Some(match &last.bias {
        Some(bias) => margins + (bias.val().select(0, indices).reshape([rows, 1]) - bias.val().unsqueeze::<2>()),
        None => margins,
    })
}

impl Layer<'_> {
    /// The lower and the upper end of the outputs for those of the inputs.
    pub(crate) fn bounds(&self, ends: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        match self {
            Self::Relu => ends.map(relu),
            Self::MaxPool => ends.map(max_pool),
            Self::Convolution(layer) => {
                let [centre, radius] = middle(ends);
                let options = ConvOptions::new(layer.stride, [padding(layer); 2], layer.dilation, layer.groups);
                around(layer.forward(centre), conv2d(radius, layer.weight.val().abs(), None, options))
            }
            Self::Linear(layer) => {
                let [centre, radius] = middle(ends).map(|half| half.flatten::<2>(1, 3));
                let weight = layer.weight.val();
                let centre = product_by_rows(centre, weight.clone(), layer.bias.as_ref().map(|bias| bias.val()));
                let radius = product_by_rows(radius, weight.abs(), None);
                around(centre.unsqueeze_dims(&[-1, -1]), radius.unsqueeze_dims(&[-1, -1]))
            }
        }
    }
}

/// The padding of a convolution that pads all sides alike.
pub(crate) fn padding(layer: &Conv2d) -> usize {
    match layer.padding {
        PaddingConfig2d::Explicit(padding, ..) => padding,
        PaddingConfig2d::Same | PaddingConfig2d::Valid => 0,
    }
}

/// Centre and half the width of intervals.
pub(crate) fn middle([lower, upper]: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
    [(lower.clone() + upper.clone()) * 0.5, (upper - lower) * 0.5]
}

/// The ends of intervals.
fn around(centre: Tensor<4>, radius: Tensor<4>) -> [Tensor<4>; 2] {
    [centre.clone() - radius.clone(), centre + radius]
}
