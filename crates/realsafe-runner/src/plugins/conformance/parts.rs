//! Checks of defenses, models and losses.

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{DefenseEntry, Draws, Locations, Logits, LossEntry, ModelEntry, Stop, read};
use realsafe_plan::{Chosen, GradientMode};

use super::victim::{CLASSES, numbers};
use super::{Bench, ensure, told};

/// How many images there are.
const ROWS: usize = 5;
/// The step of finite differences.
const STEP: f32 = 1e-3;
/// How far a derivative may be from the finite difference, as a share of the lengths of both vectors.
const TOLERANCE: f64 = 0.02;

/// A function of images, row by row.
type Function<'a> = &'a dyn Fn(Tensor<4>) -> Result<Vec<f32>, Stop>;
/// Its vector-Jacobian product at images.
type Pull<'a> = &'a dyn Fn(Tensor<4>, Vec<f32>) -> Result<Vec<f32>, Stop>;

pub(super) fn defense(bench: &mut Bench<'_>, entry: &'static DefenseEntry, chosen: &Chosen, locations: &Locations) {
    let built = (entry.build)(&chosen.values, locations);
    let Some(defense) = bench.require("it can be created", built) else { return };
    let shape = [3, 12, 10];
    let forward = |images: Tensor<4>| {
        let none = Draws::none(images.dims()[0]);
        read(defense.forward(images, &none)?)
    };
    let boxed = forward(images(shape, 0)).map_err(|stop| told(&stop)).and_then(|seen| {
        let outside = seen.iter().find(|pixel| !(0.0..=1.0).contains(*pixel));
        outside.map_or(Ok(()), |pixel| Err(format!("it gives a pixel of {pixel}")))
    });
    if !bench.note("images stay in the box", boxed) {
        return;
    }
    rows(bench, shape, &forward);
    let exact = entry.component.defense().is_some_and(|traits| traits.gradients.contains(&GradientMode::Exact));
    if exact {
        let pull = |images: Tensor<4>, cotangents: Vec<f32>| {
            let cotangents = Tensor::from_data(TensorData::new(cotangents, images.dims()), &Device::flex());
            let none = Draws::none(images.dims()[0]);
            read(defense.backward(images, cotangents, &none)?)
        };
        bench.note("its gradient agrees with finite differences", derivative(shape, &forward, &pull));
    }
}

pub(super) fn model(bench: &mut Bench<'_>, entry: &'static ModelEntry, chosen: &Chosen, locations: &Locations) {
    let Some(traits) = entry.component.model() else { return };
    let shapes = (traits.input)(&chosen.values).and_then(|input| Ok((input, (traits.classes)(&chosen.values)?)));
    let built = shapes.and_then(|shapes| Ok((shapes, (entry.build)(&chosen.values, locations, &Device::flex())?)));
    let Some(((shape, classes), model)) = bench.require("it can be created", built) else { return };
    let forward = |images: Tensor<4>| {
        let none = Draws::none(images.dims()[0]);
        read(model.logits(images, &none)?)
    };
    let finite = forward(images(shape, 0)).map_err(|stop| told(&stop)).and_then(|logits| {
        ensure(logits.iter().all(|logit| logit.is_finite()), || "it gives logits that are not finite".to_owned())
    });
    if !bench.note("logits are finite", finite) {
        return;
    }
    rows(bench, shape, &forward);
    if traits.differentiable {
        let pull = |images: Tensor<4>, cotangents: Vec<f32>| {
            let cotangents =
                Tensor::from_data(TensorData::new(cotangents, [images.dims()[0], classes]), &Device::flex());
            let none = Draws::none(images.dims()[0]);
            read(model.forward(images, &none)?.pull(cotangents)?)
        };
        bench.note("its gradient agrees with finite differences", derivative(shape, &forward, &pull));
    }
}

pub(super) fn loss(bench: &mut Bench<'_>, entry: &'static LossEntry, chosen: &Chosen, locations: &Locations) {
    let built = (entry.build)(&chosen.values, locations);
    let Some(loss) = bench.require("it can be created", built) else { return };
    let logits: Vec<f32> = numbers(5, ROWS * CLASSES).into_iter().map(|value| 4.0 * (value - 0.5)).collect();
    let labels: Vec<u32> = (0..ROWS as u32).collect();
    let targets: Vec<Option<u32>> = labels.iter().map(|label| (label % 2 == 1).then_some(label + 3)).collect();
    let evaluate = |logits: &[f32], rows: std::ops::Range<usize>| {
        let mut derivatives = vec![0.0; logits.len()];
        let logits = Logits::from_values(CLASSES, logits.to_vec());
        let values = loss.evaluate(&logits, &labels[rows.clone()], &targets[rows], &mut derivatives);
        values.map(|values| (values, derivatives)).map_err(|stop| told(&stop))
    };
    let checked = evaluate(&logits, 0..ROWS).and_then(|(values, derivatives)| {
        let finite = values.iter().chain(&derivatives).all(|value| value.is_finite());
        ensure(finite, || "it gives values that are not finite".to_owned())?;
        Ok(derivatives)
    });
    let Some(derivatives) = bench.require("values are finite", checked) else { return };
    let alone = (0..ROWS).try_for_each(|row| {
        let own = row * CLASSES..(row + 1) * CLASSES;
        let (_, found) = evaluate(&logits[own.clone()], row..row + 1)?;
        ensure(found == derivatives[own], || format!("row {row} got another derivative alone"))
    });
    bench.note("a row's value does not depend on its neighbours", alone);
    let slopes = (0..logits.len()).try_for_each(|at| {
        let moved = |by: f32| {
            let mut moved = logits.clone();
            moved[at] += by;
            Ok::<f32, String>(evaluate(&moved, 0..ROWS)?.0[at / CLASSES])
        };
        let slope = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
        let (row, class, found) = (at / CLASSES, at % CLASSES, derivatives[at]);
        ensure((slope - found).abs() < 0.01, || {
            format!("row {row}, class {class}: the derivative is {found}, the finite difference {slope}")
        })
    });
    bench.note("its derivative agrees with finite differences", slopes);
}

/// Images of random pixels.
fn images([channels, height, width]: [usize; 3], purpose: u64) -> Tensor<4> {
    let pixels = numbers(10 + purpose, ROWS * channels * height * width);
    Tensor::from_data(TensorData::new(pixels, [ROWS, channels, height, width]), &Device::flex())
}

fn rows(bench: &mut Bench<'_>, shape: [usize; 3], function: Function<'_>) {
    let call = |images: Tensor<4>| function(images).map_err(|stop| told(&stop));
    let again = call(images(shape, 0)).and_then(|first| Ok((call(images(shape, 0))?, first)));
    let differs = || "the second time it gave something else".to_owned();
    let again = again.and_then(|(second, first)| ensure(first == second, differs).map(|()| first));
    let Some(together) = bench.require("two calls give the same", again) else { return };
    let alone = call(images(shape, 0).narrow(0, 2, 1)).and_then(|alone| {
        let among = together.get(2 * alone.len()..3 * alone.len());
        ensure(among == Some(&alone), || "a row got something else alone than among others".to_owned())
    });
    bench.note("a row's result does not depend on its neighbours", alone);
}

/// Compares a vector-Jacobian product with finite differences along random directions.
fn derivative(shape: [usize; 3], function: Function<'_>, pull: Pull<'_>) -> Result<(), String> {
    let compare = || -> Result<Result<(), String>, Stop> {
        // Away from the box, so that both neighbours are images.
        let at = images(shape, 0) * 0.8 + 0.1;
        for direction in 1..=4 {
            let along = images(shape, direction) - 0.5;
            let ahead = function(at.clone() + along.clone() * STEP)?;
            let behind = function(at.clone() - along.clone() * STEP)?;
            let cotangents: Vec<f32> = numbers(50 + direction, ahead.len()).iter().map(|value| value - 0.5).collect();
            let change = ahead.iter().zip(&behind).map(|(a, b)| f64::from(a - b) / f64::from(2.0 * STEP));
            let expected: f64 =
                change.clone().zip(&cotangents).map(|(change, weight)| change * f64::from(*weight)).sum();
            let gradient = pull(at.clone(), cotangents.clone())?;
            let found: f64 =
                gradient.iter().zip(read(along)?).map(|(slope, step)| f64::from(*slope) * f64::from(step)).sum();
            let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
            let scale = length(&mut change.clone()) * length(&mut cotangents.iter().copied().map(f64::from));
            if (found - expected).abs() > TOLERANCE * scale {
                return Ok(Err(format!("along a random direction it is {found}, the finite difference {expected}")));
            }
        }
        Ok(Ok(()))
    };
    compare().map_err(|stop| told(&stop))?
}
