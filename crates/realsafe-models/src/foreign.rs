//! What models share whose networks are written elsewhere, and read from a file when the program runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::panic_message;
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

use crate::layers::Normalisation;

/// What is subtracted from each channel.
pub const MEAN: Parameter = Parameter {
    name: "mean",
    kind: ParameterKind::Numbers { minimum: -1e6, maximum: 1e6 },
    unit: "pixels",
    fallback: Fallback::Unset,
    documentation: "What is subtracted from each channel before the network; nothing where it is unset",
};

/// What each channel is divided by.
pub const STANDARD_DEVIATION: Parameter = Parameter {
    name: "standard-deviation",
    kind: ParameterKind::Numbers { minimum: 1e-6, maximum: 1e6 },
    unit: "pixels",
    fallback: Fallback::Unset,
    documentation: "What each channel is divided by after that; 1 where it is unset",
};

/// The normalisation that [`MEAN`] and [`STANDARD_DEVIATION`] say.
///
/// # Errors
/// What is wrong when they are not for so many channels.
pub fn normalisation(values: &Values, channels: usize) -> Result<Normalisation, String> {
    let (mean, deviation) = (values.numbers(MEAN.name), values.numbers(STANDARD_DEVIATION.name));
    let fits = |numbers: &[f64]| numbers.is_empty() || numbers.len() == channels;
    if !fits(&mean) || !fits(&deviation) {
        return Err(format!("`mean` and `standard-deviation` need a number for each of the {channels} channels"));
    }
    if mean.is_empty() && deviation.is_empty() {
        return Ok(Normalisation::default());
    }
    let or = |numbers: Vec<f64>, default: f64| if numbers.is_empty() { vec![default; channels] } else { numbers };
    Ok(Normalisation::new(or(mean, 0.0), or(deviation, 1.0)))
}

/// Tries a network on noise: the images of a batch must not influence each other.
///
/// # Errors
/// What is wrong with the network.
pub fn try_out(
    network: impl Fn(Tensor<4>) -> Result<Tensor<2>, String>,
    [channels, height, width]: [usize; 3],
    device: &Device,
) -> Result<(), String> {
    let pixels = channels * height * width;
    let noise = |rows: [usize; 2]| {
        let pixel = |row: usize| (0..pixels).map(move |index| ((index + row * pixels) * 7919 % 1009) as f32 / 1008.0);
        let values = rows.into_iter().flat_map(pixel).collect();
        Tensor::<4>::from_data(TensorData::new(values, [2, channels, height, width]), device)
    };
    let second = |rows: [usize; 2]| -> Result<Vec<f32>, String> {
        let logits = catch_unwind(AssertUnwindSafe(|| network(noise(rows))));
        let logits = logits.unwrap_or_else(|panic| Err(panic_message(&*panic)))?;
        logits
            .narrow(0, 1, 1)
            .try_into_data()
            .map_err(|error| error.to_string())?
            .try_to_vec::<f32>()
            .map_err(|error| format!("{error:?}"))
    };
    let (with_one, with_another) = (second([0, 1])?, second([2, 1])?);
    let largest = with_one.iter().fold(1e-3_f32, |largest, logit| largest.max(logit.abs()));
    let same = with_one.iter().zip(&with_another).all(|(a, b)| (a - b).abs() <= 1e-3 * largest);
    // Logits that are no numbers are told where they are judged.
    if same || with_one.iter().any(|logit| !logit.is_finite()) {
        return Ok(());
    }
    Err("the images of a batch influence each other; export the network in evaluation state".to_owned())
}
