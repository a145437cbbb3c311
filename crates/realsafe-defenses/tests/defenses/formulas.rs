//! What defenses compute, against their formulas.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use realsafe_core::{DatasetEntry, Draws, Locations, fill_gaussian};
use realsafe_plan::GradientMode;

use super::{built, data, draws, example, gradient, images, matrix, mean, named, pattern, traits, values};

#[test]
fn standardised_images_are_what_the_formulas_say() {
    let images = pattern(2, [3, 4, 5]);
    let rows: Vec<Vec<f64>> =
        values(images.clone()).chunks_exact(60).map(|row| row.iter().copied().map(f64::from).collect()).collect();
    let check = |id: &str, keys: &str, formula: &dyn Fn(&[f64]) -> Vec<f64>| {
        let (_, defense) = built(named(id), keys).unwrap();
        let found = values(defense.forward(images.clone(), &draws(0..2, 0)).unwrap());
        let expected: Vec<f64> = rows.iter().flat_map(|row| formula(row)).collect();
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{id}: {found} {expected}");
        }
    };
    let scaled = |row: &[f64], white: f64| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let centred: Vec<f64> = row.iter().map(|value| white * (value - mean)).collect();
        let energy: f64 = centred.iter().map(|value| value * value).sum();
        (centred, energy)
    };
    check("per-image-standardisation", "white = 255", &|row| {
        let (centred, energy) = scaled(row, 255.0);
        let deviation = (energy / 60.0).sqrt().max(60.0_f64.sqrt().recip());
        centred.iter().map(|value| value / deviation).collect()
    });
    for (keys, floor, count) in [
        ("white = 255\nscale = 53.0992\nfloor = 40", 40.0, 59.0),
        ("white = 255\nscale = 53.0992\nfloor = 100", 100.0, 59.0),
        ("white = 255\nscale = 53.0992\ncontrast = \"length\"", 1e-4, 1.0),
    ] {
        check("global-contrast-normalisation", keys, &|row| {
            let (centred, energy) = scaled(row, 255.0);
            let contrast = (energy / count).sqrt().max(floor);
            centred.iter().map(|value| 53.0992 * value / contrast).collect()
        });
    }
    // Images without contrast have a gradient, too.
    for id in ["per-image-standardisation", "global-contrast-normalisation"] {
        let flat = images.zeros_like() + 0.5;
        let gradient = gradient(vec![(example(named(id)), GradientMode::Exact)], flat, &draws(0..2, 0));
        assert!(values(gradient).iter().all(|value| value.is_finite()), "{id}");
    }
}

#[test]
fn whitening_is_a_product_with_the_matrix_of_the_file() {
    let found = values(example(named("zca-whitening")).forward(pattern(1, [1, 8, 8]), &draws([0], 0)).unwrap());
    let pixels = values(pattern(1, [1, 8, 8]));
    for (row, found) in found.iter().enumerate() {
        let products = (0..64).map(|at| f64::from(matrix(row, at)) * f64::from(pixels[at] - mean(at)));
        assert!((f64::from(*found) - products.sum::<f64>()).abs() < 1e-4);
    }
    let wrong = example(named("zca-whitening")).forward(images(1), &draws([0], 0)).unwrap_err();
    assert!(wrong.to_string().contains("for images of 64 values, not for 3x16x16"), "{wrong}");
}

/// With the covariance C of the images, `W C W + ε W²` is the identity; the covariance of what comes out is `W C W`.
#[test]
fn whitening_takes_out_what_the_images_of_a_dataset_have_in_common() {
    let normalised = "white = 255\nscale = 5\nfloor = 40";
    for (keys, front) in [("", None), (normalised, Some("global-contrast-normalisation"))] {
        let (chosen, whitening) =
            built(named("zca-whitening"), &format!("images = {{ use = \"digits\", split = \"train\" }}\n{keys}"))
                .unwrap();
        let dataset = DatasetEntry::open(chosen.component("images"), &Locations { data: data().into() }).unwrap();
        let count = dataset.len();
        let pixels = dataset.read(&(0..).take(count).collect::<Vec<u32>>()).unwrap().pixels;
        let mut images = Tensor::<4>::from_data(TensorData::new(pixels, [count, 1, 8, 8]), &Device::flex());
        if let Some(front) = front {
            images = built(named(front), keys).unwrap().1.forward(images, &Draws::none(count)).unwrap();
        }
        let white = values(whitening.forward(images, &Draws::none(count)).unwrap());
        // What an image of zeros gives, and images of a single pixel.
        let basis: Vec<f32> = (0..65 * 64).map(|at| f64::from(u8::from(at % 64 + 1 == at / 64)) as f32).collect();
        let basis = Tensor::<4>::from_data(TensorData::new(basis, [65, 1, 8, 8]), &Device::flex());
        let columns = values(whitening.forward(basis, &Draws::none(65)).unwrap());
        let matrix = |row: usize, column: usize| f64::from(columns[64 * (column + 1) + row] - columns[row]);
        for a in 0..64 {
            let mean: f64 = white.chunks_exact(64).map(|row| f64::from(row[a])).sum::<f64>() / count as f64;
            assert!(mean.abs() < 1e-3, "{mean}");
            for b in 0..64 {
                let products = white.chunks_exact(64).map(|row| f64::from(row[a]) * f64::from(row[b]));
                let squares: f64 = (0..64).map(|at| matrix(a, at) * matrix(at, b)).sum();
                let found = products.sum::<f64>() / count as f64 + 0.1 * squares;
                assert!((found - f64::from(u8::from(a == b))).abs() < 1e-3, "{keys}: {a} {b} {found}");
            }
        }
    }
    let complaint = |keys: &str, shape| {
        let (values, _) = built(named("zca-whitening"), keys).unwrap();
        (traits(named("zca-whitening")).output)(&values, shape).unwrap_err()
    };
    let digits = "images = { use = \"digits\" }";
    assert!(complaint(digits, [3, 8, 8]).contains("are of 1x8x8"));
    assert!(complaint(&format!("{digits}\nfile = \"zca.safetensors\""), [1, 8, 8]).contains("set one of them"));
}

/// Against the formula in double precision, with the numbers in the order in which they are drawn.
#[test]
fn pixels_become_mixtures_of_colours_or_the_nearest_one() {
    let (channels, pixels, centres, sharpness) = (3, 256, 5, 40.0);
    let noise = 16.0_f32 / 255.0;
    let image = values(images(1));
    let mut random = draws([5], 2).stream(0);
    let mut noisy = || {
        let mut noise_of: Vec<f32> = vec![0.0; channels * pixels];
        fill_gaussian(&mut random, &mut noise_of);
        image.iter().zip(noise_of).map(|(pixel, value)| f64::from(pixel + noise * value)).collect::<Vec<f64>>()
    };
    let (first, second) = (noisy(), noisy());
    let colours: Vec<usize> = (0..centres).map(|_| random.random_range(0..pixels)).collect();
    let distance = |pixel: usize, colour: usize| {
        let squares = (0..channels).map(|c| (second[c * pixels + pixel] - first[c * pixels + colour]).powi(2));
        squares.sum::<f64>()
    };
    let mixed = values(example(named("rand-mix")).forward(images(1), &draws([5], 2)).unwrap());
    let nearest = values(example(named("rand-disc")).forward(images(1), &draws([5], 2)).unwrap());
    for at in 0..channels * pixels {
        let (channel, pixel) = (at / pixels, at % pixels);
        let weights: Vec<f64> = colours.iter().map(|colour| (-sharpness * distance(pixel, *colour)).exp()).collect();
        let colour = |colour: usize| first[channel * pixels + colour];
        let total: f64 = weights.iter().sum();
        let mixture = colours.iter().zip(&weights).map(|(at, weight)| colour(*at) * weight).sum::<f64>() / total;
        assert!((f64::from(mixed[at]) - mixture).abs() < 1e-4, "{} {mixture}", mixed[at]);
        let closest = colours.iter().min_by(|a, b| distance(pixel, **a).total_cmp(&distance(pixel, **b))).unwrap();
        assert!((f64::from(nearest[at]) - colour(*closest)).abs() < 1e-5);
    }
}

/// Half of an image is black and half of it white: of two centres drawn with k-means++, one is of each.
#[test]
fn distant_centres_are_drawn_by_their_distance() {
    let halves: Vec<f32> = (0..64).map(|at| if at < 32 { 0.0 } else { 1.0 }).collect();
    let halves = Tensor::<4>::from_data(TensorData::new(halves, [1, 1, 8, 8]), &Device::flex());
    let colours = |seeding: &str| {
        let keys = format!("noise = 0\ncentres = 2\nseeding = \"{seeding}\"");
        let (_, defense) = built(named("rand-disc"), &keys).unwrap();
        let seen = (0..40).map(|pass| values(defense.forward(halves.clone(), &draws([0], pass)).unwrap()));
        seen.filter(|pixels| *pixels == values(halves.clone())).count()
    };
    assert_eq!(colours("k-means++"), 40);
    let uniform = colours("uniform");
    assert!((8..33).contains(&uniform), "{uniform}");
}
