//! Defenses inside networks against what their papers say.

use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use realsafe_core::Draws;
use realsafe_core::random::Purpose;
use safetensors::SafeTensors;

use super::{assert_close, entry, floats, gradient, noise, untrained, values};
use crate::inner::{Denoising, Randomness, Stochastic};

/// Draws of some samples at one pass.
fn draws(samples: impl IntoIterator<Item = u32>, pass: u64) -> Draws {
    Draws::new(1, Purpose::Defense, samples.into_iter().map(|sample| (sample, pass)))
}

fn stochastic(table: &str) -> Stochastic {
    Stochastic::of(&values("digits-cnn", table))
}

/// Rows that all hold the same values.
fn rows(count: usize, row: &[f32]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(row.repeat(count), [count, 1, 1, row.len()]), &Device::flex())
}

#[test]
fn noise_has_its_deviation_and_is_drawn_afresh() {
    let defense = stochastic("image-noise = 0.2\ninner-noise = 0.1");
    let clean = rows(64, &[0.5; 100]);
    let noisy = |pass| {
        let draws = draws(0..64, pass);
        let mut randomness = Randomness::rows(&draws);
        [defense.noisy_images(clean.clone(), &mut randomness), defense.noisy(clean.clone(), &mut randomness)]
            .map(floats)
    };
    let [images, inner] = noisy(0);
    for (found, deviation) in [(&images, 0.2), (&inner, 0.1)] {
        let count = found.len() as f64;
        let mean = found.iter().map(|value| f64::from(*value) - 0.5).sum::<f64>() / count;
        let square = found.iter().map(|value| (f64::from(*value) - 0.5).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 4.0 * deviation / count.sqrt(), "{mean}");
        assert!((square.sqrt() / deviation - 1.0).abs() < 4.0 / (2.0 * count).sqrt(), "{}", square.sqrt());
    }
    let correlation: f32 = images.iter().zip(&inner).map(|(a, b)| (a - 0.5) * (b - 0.5)).sum::<f32>() / 0.02;
    assert!(correlation.abs() < 4.0 * (images.len() as f32).sqrt(), "two layers draw different numbers");
    assert_eq!(noisy(0), [images.clone(), inner]);
    assert_ne!(noisy(1)[0], images);
}

#[test]
fn pruning_keeps_with_the_probability_of_the_paper_and_is_unbiased() {
    let row = [4.0, -2.0, 1.0, 0.5, 0.0, 0.25, 0.125, 0.125];
    let count = 20_000;
    let defense = stochastic("activation-pruning = 0.5");
    let draws = draws(0..count as u32, 0);
    let found = floats(defense.pruned(rows(count, &row), &mut Randomness::rows(&draws)));
    let sum: f64 = row.iter().map(|value: &f32| f64::from(value.abs())).sum();
    for (place, value) in row.into_iter().enumerate() {
        // Half as many draws as activations.
        let stays = 1.0 - (1.0 - f64::from(value.abs()) / sum).powf(4.0);
        let kept: Vec<f32> = found.chunks_exact(8).map(|row| row[place]).filter(|value| *value != 0.0).collect();
        for kept in &kept {
            assert!((f64::from(*kept) * stays / f64::from(value) - 1.0).abs() < 1e-5, "{kept} of {value}");
        }
        let share = kept.len() as f64 / count as f64;
        let error = (stays * (1.0 - stays) / count as f64).sqrt();
        assert!((share - stays).abs() <= 4.0 * error, "{value} stays in {share}, expected {stays}");
    }
}

#[test]
fn pruning_has_finite_gradients_where_activations_vanish() {
    let defense = stochastic("activation-pruning = 1.0");
    for row in [[0.0; 4], [0.0, 3.0, 0.0, 0.0], [1e-30, 1.0, 0.0, -1.0]] {
        let leaf = rows(16, &row).autodiff().require_grad();
        let draws = draws(0..16, 0);
        let pruned = defense.pruned(leaf.clone(), &mut Randomness::rows(&draws));
        let mut gradients = pruned.clone().sum().backward();
        let slopes = floats(leaf.grad_remove(&mut gradients).unwrap());
        assert!(floats(pruned.inner()).iter().chain(&slopes).all(|value| value.is_finite()), "{row:?}: {slopes:?}");
    }
}

#[test]
fn random_networks_draw_from_the_streams_of_their_rows() {
    for (id, table) in [
        ("digits-cnn", "image-noise = 0.2\ninner-noise = 0.1"),
        ("digits-cnn", "activation-pruning = 1.0"),
        (
            "vgg",
            "depth = \"11\"\nhead = \"linear\"\nsize = 32\nclasses = 10\ninner-noise = 0.1\nactivation-pruning = 0.5",
        ),
    ] {
        let traits = entry(id).component.model().unwrap();
        assert!((traits.randomised)(&values(id, table)), "{id}");
        let plain = if id == "vgg" { "depth = \"11\"" } else { "" };
        assert!(!(traits.randomised)(&values(id, plain)), "{id}");
        let model = untrained(id, table).snapshot();
        let images = noise(id, table, 8);
        let logits = |images: Tensor<4>, draws: &Draws| floats(model.logits(images, draws).unwrap());
        let all = logits(images.clone(), &draws(0..8, 3));
        assert_eq!(logits(images.clone(), &draws(0..8, 3)), all, "{id}: the same draws");
        assert_ne!(logits(images.clone(), &draws(0..8, 4)), all, "{id}: another pass");
        let last = logits(images.clone().narrow(0, 5, 3), &draws(5..8, 3));
        assert_eq!(last, all[5 * all.len() / 8..], "{id}: fewer rows");
        let tape = model.forward(images, &draws(0..8, 3)).unwrap();
        assert_eq!(floats(tape.logits.clone()), all, "{id}: with the way back");
        let slopes = floats(tape.pull(Tensor::ones([8, all.len() / 8], &Device::flex())).unwrap());
        assert!(slopes.iter().all(|slope| slope.is_finite()) && slopes.iter().any(|slope| *slope != 0.0), "{id}");
    }
}

#[test]
fn noise_is_drawn_in_training_and_activations_are_not_pruned() {
    let images = noise("digits-cnn", "", 8);
    let noisy = untrained("digits-cnn", "image-noise = 0.2");
    let twice = [(); 2].map(|()| floats(noisy.forward(images.clone().autodiff()).inner()));
    assert_ne!(twice[0], twice[1]);
    let pruned = untrained("digits-cnn", "activation-pruning = 0.1");
    let plain = untrained("digits-cnn", "");
    let logits = [pruned, plain].map(|network| floats(network.forward(images.clone().autodiff()).inner()));
    assert_eq!(logits[0], logits[1]);
}

/// A block whose convolution and batch norm pass on what the filter gives.
fn filter(name: &str, channels: usize) -> Denoising {
    let device = Device::flex();
    let values = values("digits-cnn", &format!("feature-denoising = \"{name}\""));
    let mut block = Denoising::of(&values, channels, &device).unwrap();
    let identity: Tensor<2> = Tensor::eye(channels, &device);
    block.conv.weight = Param::from_tensor(identity.unsqueeze_dims(&[-1, -1]));
    block.bn = None;
    block
}

#[test]
fn filters_of_denoising_blocks_are_those_of_the_paper() {
    let (channels, height, width) = (4, 3, 5);
    let positions = height * width;
    let features = Tensor::<4>::random([2, channels, height, width], Distribution::Normal(0.0, 1.0), &Device::flex());
    let pixels = floats(features.clone());
    let at = |image: usize, channel: usize, position: usize| {
        f64::from(pixels[(image * channels + channel) * positions + position])
    };
    let neighbours = |image, channel, position: usize| -> Vec<f64> {
        let (row, column) = ((position / width) as isize, (position % width) as isize);
        let place = |step: isize| (row + step / 3 - 1, column + step % 3 - 1);
        let value = |(row, column): (isize, isize)| {
            let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
            if inside { at(image, channel, row as usize * width + column as usize) } else { 0.0 }
        };
        (0..9).map(|step| value(place(step))).collect()
    };
    // Embeddings that take the first two channels, and the last two.
    let mut gaussian = filter("gaussian", channels);
    let embedding = |offset: usize| {
        let mut weights = vec![0.0_f32; 2 * channels];
        weights[offset] = 1.0;
        weights[channels + offset + 1] = 1.0;
        Param::from_tensor(Tensor::<4>::from_data(TensorData::new(weights, [2, channels, 1, 1]), &Device::flex()))
    };
    gaussian.embedding_theta.as_mut().unwrap().weight = embedding(0);
    gaussian.embedding_phi.as_mut().unwrap().weight = embedding(2);
    for (name, block) in [
        ("gaussian", gaussian),
        ("dot-product", filter("dot-product", channels)),
        ("mean", filter("mean", channels)),
        ("median", filter("median", channels)),
    ] {
        let expected = |image: usize, channel: usize, position: usize| -> f64 {
            let alike = |other: usize| -> f64 {
                match name {
                    "gaussian" => {
                        (0..2).map(|c| at(image, c, position) * at(image, c + 2, other)).sum::<f64>() / 2f64.sqrt()
                    }
                    _ => (0..channels).map(|c| at(image, c, position) * at(image, c, other)).sum::<f64>(),
                }
            };
            let mut near = neighbours(image, channel, position);
            let filtered = match name {
                "gaussian" => {
                    let whole: f64 = (0..positions).map(|other| alike(other).exp()).sum();
                    (0..positions).map(|other| alike(other).exp() / whole * at(image, channel, other)).sum()
                }
                "dot-product" => {
                    (0..positions).map(|other| alike(other) * at(image, channel, other)).sum::<f64>() / positions as f64
                }
                "mean" => near.iter().sum::<f64>() / 9.0,
                _ => {
                    near.sort_by(f64::total_cmp);
                    near[4]
                }
            };
            at(image, channel, position) + filtered
        };
        let places = (0..2 * channels * positions)
            .map(|index| (index / channels / positions, index / positions % channels, index % positions));
        let expected: Vec<f32> =
            places.map(|(image, channel, position)| expected(image, channel, position) as f32).collect();
        assert_close(&floats(block.forward(features.clone())), &expected, 1e-6);
    }
}

#[test]
fn denoising_blocks_change_nothing_before_training_and_something_after() {
    for filter in ["gaussian", "dot-product", "mean", "median"] {
        let mut network = untrained("digits-cnn", &format!("feature-denoising = \"{filter}\""));
        let images = noise("digits-cnn", "", 8);
        let file = tempfile::tempdir().unwrap();
        let file = file.path().join("network.safetensors");
        let [before, after] = [0, 3].map(|updates| {
            for _ in 0..updates {
                let mut gradients = network.forward(images.clone().autodiff()).square().mean().backward();
                network.update(0.1, &mut gradients);
            }
            network.save(&file).unwrap();
            // The same weights without the block.
            let bytes = std::fs::read(&file).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let views: Vec<_> = tensors.iter().filter(|(name, _)| !name.starts_with("denoising.")).collect();
            let bare = file.with_file_name("bare.safetensors");
            safetensors::serialize_to_file(views, None, &bare).unwrap();
            let mut plain = untrained("digits-cnn", "");
            plain.load(&bare).unwrap();
            let (found, expected) =
                (gradient(&*network.snapshot(), images.clone()), gradient(&*plain.snapshot(), images.clone()));
            found == expected
        });
        assert!(before && !after, "{filter}");
    }
}

/// With the draws of a pass fixed, and after updates that make denoising blocks do something. Where an activation changes over, or whether
/// it is pruned does, slopes forward and backward differ: a little in most rows; those where they differ much are passed over.
#[test]
fn gradients_of_a_pass_are_those_of_finite_differences() {
    let denoising =
        ["gaussian", "dot-product", "mean", "median"].map(|filter| format!("feature-denoising = \"{filter}\""));
    let others = ["activation-pruning = 1.0", "image-noise = 0.2\ninner-noise = 0.1"].map(str::to_owned);
    for table in denoising.iter().chain(&others) {
        let mut network = untrained("digits-cnn", table);
        let images = noise("digits-cnn", table, 32);
        for _ in 0..5 {
            let mut gradients = (network.forward(images.clone().autodiff()) - 1.0).square().mean().backward();
            network.update(0.1, &mut gradients);
        }
        let (model, draws) = (network.snapshot(), draws(0..32, 2));
        let wave = |count: usize, step: f32| (0..count).map(move |at| (at as f32 * step).sin()).collect::<Vec<f32>>();
        let cotangents = Tensor::<2>::from_data(TensorData::new(wave(320, 1.3), [32, 10]), &Device::flex());
        let direction = Tensor::<4>::from_data(TensorData::new(wave(2048, 0.7), [32, 1, 8, 8]), &Device::flex());
        let products = |step: f64| {
            let logits = model.logits(images.clone() + direction.clone() * step, &draws).unwrap();
            floats((logits * cotangents.clone()).sum_dim(1))
        };
        let [behind, here, ahead] = [-1e-3, 0.0, 1e-3].map(products);
        let slopes = |from: &[f32], to: &[f32]| -> Vec<f64> {
            from.iter().zip(to).map(|(from, to)| f64::from(to - from) / 1e-3).collect()
        };
        let (backward, forward) = (slopes(&behind, &here), slopes(&here, &ahead));
        let tape = model.forward(images.clone(), &draws).unwrap();
        let found = floats((tape.pull(cotangents.clone()).unwrap() * direction.clone()).flatten::<2>(1, 3).sum_dim(1));
        let scale = found.iter().fold(0.0_f64, |largest, slope| largest.max(f64::from(slope.abs())));
        let mut compared = 0;
        for (found, (backward, forward)) in found.into_iter().zip(backward.into_iter().zip(forward)) {
            if (backward - forward).abs() < 0.02 * scale {
                let slope = f64::midpoint(backward, forward);
                assert!((f64::from(found) - slope).abs() < 0.02 * scale, "{table}: {found} {slope} of {scale}");
                compared += 1;
            }
        }
        assert!(compared >= 8 && scale > 1e-3, "{table}: {compared} of 32 rows are smooth");
    }
}
