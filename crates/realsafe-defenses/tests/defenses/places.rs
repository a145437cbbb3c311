//! How often random defenses draw each size and place, among all that they may.

use burn::tensor::{Device, Tensor, TensorData};

use super::{built, draws, named, values};

/// Whether counts are what as many even draws give, within four standard errors each.
fn assert_even(counts: &[usize], what: &str) {
    let (draws, share) = (counts.iter().sum::<usize>() as f64, 1.0 / counts.len() as f64);
    let error = (draws * share * (1.0 - share)).sqrt();
    assert!(counts.iter().all(|count| (*count as f64 - draws * share).abs() < 4.0 * error), "{what}: {counts:?}");
}

/// White images of ten pixels become seven to nine on black, anywhere: where they begin and end is seen.
#[test]
fn random_resize_pad_draws_all_sizes_and_places_alike() {
    let (_, defense) = built(named("random-resize-pad"), "smallest = 0.7\nfill = 0").unwrap();
    let rows = 6000_u32;
    let white = Tensor::<4>::ones([rows as usize, 1, 10, 10], &Device::flex());
    let seen = values(defense.forward(white, &draws(0..rows, 0)).unwrap());
    let mut sizes = [0; 3];
    let mut places = [vec![0; 4 * 4], vec![0; 3 * 3], vec![0; 2 * 2]];
    for image in seen.chunks_exact(100) {
        let is_white = |at: &usize| image[*at] > 0.5;
        let (first, last) = ((0..100).find(is_white).unwrap(), (0..100).rfind(is_white).unwrap());
        let ([top, left], [bottom, right]) = ([first / 10, first % 10], [last / 10, last % 10]);
        let size = bottom + 1 - top;
        assert_eq!(size, right + 1 - left, "squares stay squares");
        sizes[size - 7] += 1;
        places[size - 7][top * (11 - size) + left] += 1;
    }
    assert_even(&sizes, "sizes");
    places.iter().for_each(|places| assert_even(places, "places"));
}

/// Pixels tell where they come from: the first one of a window of five of eight pixels is where it begins.
#[test]
fn crop_rescale_draws_all_places_alike() {
    let (_, defense) = built(named("crop-rescale"), "crop = \"5/8\"\ninterpolation = \"nearest\"").unwrap();
    let rows = 4800_u32;
    let ramp: Vec<f32> = (0..64).map(|at| at as f32 / 64.0).collect();
    let ramps = TensorData::new(ramp.repeat(rows as usize), [rows as usize, 1, 8, 8]);
    let seen = values(defense.forward(Tensor::from_data(ramps, &Device::flex()), &draws(0..rows, 0)).unwrap());
    let mut places = vec![0; 16];
    for image in seen.chunks_exact(64) {
        let (first, last) = ((64.0 * image[0]).round() as usize, (64.0 * image[63]).round() as usize);
        assert_eq!(last - first, 4 * 8 + 4, "a window of five by five");
        places[first / 8 * 4 + first % 8] += 1;
    }
    assert_even(&places, "places");
}
