//! Certificates against closed forms, and answers against the formulas.

use burn::tensor::Device;
use realsafe_core::random::Purpose;
use realsafe_core::{DefendedModel, read};
use statrs::distribution::ContinuousCDF;

use super::*;

/// Logits `[s, 0]`, `s` being a weighted sum of four pixels: the boundary is a plane.
struct Plane;

const WEIGHTS: [f32; 4] = [3.0, -1.0, 2.0, 0.5];
const OFFSET: f32 = -2.0;

impl Model for Plane {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let weights = Tensor::<1>::from_floats(WEIGHTS, &images.device()).reshape([1, 1, 2, 2]);
        let sums: Tensor<2> = (images * weights).flatten::<2>(1, 3).sum_dim(1) + f64::from(OFFSET);
        Ok(Tensor::cat(vec![sums.clone(), sums.zeros_like()], 1))
    }

    fn passes(&self) -> u64 {
        3
    }
}

/// Eight images, their distances from the plane, and the labels on their sides of it.
fn problem() -> (Tensor<4>, Vec<f64>, Vec<u32>) {
    let pixels: Vec<f32> = (0..32_u16).map(|place| f32::from(place * 29 % 37) / 37.0).collect();
    let length = WEIGHTS.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
    let signed = pixels.chunks_exact(4).map(|image| {
        let sum: f32 = image.iter().zip(WEIGHTS).map(|(pixel, weight)| pixel * weight).sum();
        f64::from((sum + OFFSET) / length)
    });
    let signed: Vec<f64> = signed.collect();
    let labels = signed.iter().map(|distance| u32::from(*distance < 0.0)).collect();
    let images = Tensor::from_data(TensorData::new(pixels, [8, 1, 2, 2]), &Device::flex());
    (images, signed.iter().map(|distance| distance.abs()).collect(), labels)
}

fn draws(samples: impl IntoIterator<Item = u32>) -> Draws {
    Draws::new(5, Purpose::Certificate, samples.into_iter().map(|sample| (sample, 0)))
}

fn smoothed(votes: Votes, samples: u64) -> Arc<dyn Model> {
    GaussianSmoothing { sigma: 0.25, samples, votes }
        .around(&(Arc::new(Plane) as Arc<dyn Model>), GradientMode::Smooth)
        .unwrap()
}

fn certified(votes: Votes, images: &Tensor<4>, labels: &[u32], samples: u64, draws: &Draws) -> Certificates {
    let options = ProofOptions { selection: 50, samples, alpha: 0.001, duality: false, go_on: &|| Ok(()) };
    let model = smoothed(votes, 1);
    model.certifier(Norm::L2).unwrap().certify(images.clone(), labels, &options, draws).unwrap()
}

/// Against `scipy.stats.beta.ppf(alpha, votes, samples - votes + 1)` and `scipy.stats.norm.ppf` of SciPy 1.16.
#[test]
fn bounds_and_quantiles_are_those_of_scipy() {
    for (votes, samples, alpha, bound, expected) in [
        (1, 10, 0.05, 0.005_116_196_891_823_701, -2.567_875_368_592_571_5),
        (9, 10, 0.05, 0.605_836_697_563_495_2, 0.268_484_239_332_925_76),
        (10, 10, 0.001, 0.501_187_233_627_272_3, 0.002_975_957_771_382_191_6),
        (100, 100, 0.001, 0.933_254_300_796_991, 1.500_475_024_120_636_4),
        (999, 1000, 0.001, 0.990_804_502_364_612_4, 2.357_650_570_595_154_7),
        (990, 1000, 0.001, 0.976_036_187_155_311_4, 1.978_009_582_141_199_4),
        (520, 1000, 0.001, 0.470_674_467_353_451_3, -0.073_574_534_530_364_8),
        (550, 1000, 0.001, 0.500_675_960_092_557_8, 0.001_694_381_491_268_537),
        (99_990, 100_000, 0.001, 0.999_758_677_343_591_1, 3.490_207_680_146_623_3),
        (100_000, 100_000, 0.001, 0.999_930_924_833_009_4, 3.811_456_563_389_914_5),
        (60_000, 100_000, 1e-9, 0.590_679_748_642_430_1, 0.229_293_889_165_346_24),
        (1, 100_000, 0.001, 1.000_500_328_578_529e-8, -5.611_914_708_307_136),
    ] {
        let found = lower_bound(votes, samples, alpha);
        assert!((found - bound).abs() < 1e-9 * bound, "{votes} of {samples}: {found}, not {bound}");
        let found = quantile(bound);
        assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{bound}: {found}, not {expected}");
    }
    assert_eq!(lower_bound(0, 10, 0.001), 0.0);
}

/// Noise moves an image beyond a plane with the probability of the distance's normal tail, so that the radius of a perfect
/// estimate is the distance itself.
#[test]
fn radii_approach_the_distance_from_a_plane_from_below() {
    let (images, distances, labels) = problem();
    let few = certified(Votes::Labels, &images, &labels, 500, &draws(0..8));
    let many = certified(Votes::Labels, &images, &labels, 8000, &draws(0..8));
    assert_eq!((few.passes, many.passes), (3 * 550, 3 * 8050));
    let mut close = 0;
    for (row, distance) in distances.into_iter().enumerate() {
        let (few, many) = (few.radii[row], many.radii[row]);
        assert!(few <= distance && many <= distance, "{few} {many} {distance}");
        // The estimate of 8000 draws errs by a few standard errors, where the probability is not too near to one.
        if (0.1..0.6).contains(&distance) {
            assert!(few < many && many > distance - 0.05, "{few} {many} {distance}");
            close += 1;
        }
    }
    assert!(close >= 4, "{close}");
}

#[test]
fn probabilities_are_certified_by_their_mean() {
    let (images, distances, labels) = problem();
    let radii = certified(Votes::Probabilities, &images, &labels, 4000, &draws(0..8)).radii;
    let length = f64::from(WEIGHTS.iter().map(|weight| weight * weight).sum::<f32>().sqrt());
    let normal = Normal::standard();
    for (radius, distance) in radii.into_iter().zip(distances) {
        // The mean of the logistic function of what noise makes of the logit, as a sum over quantiles.
        let quantiles = (0..2000).map(|at| normal.inverse_cdf((f64::from(at) + 0.5) / 2000.0));
        let mean =
            quantiles.map(|noise| 1.0 / (1.0 + (-length * (distance + 0.25 * noise)).exp())).sum::<f64>() / 2000.0;
        let exact = 0.25 * normal.inverse_cdf(mean);
        assert!(radius <= exact && exact < distance, "{radius} {exact} {distance}");
        if exact > 0.05 {
            assert!(radius > exact - 0.03, "{radius} {exact}");
        }
    }
}

#[test]
fn nothing_is_certified_of_other_labels_nor_where_votes_are_even() {
    let (images, _, labels) = problem();
    let others: Vec<u32> = labels.iter().map(|label| 1 - label).collect();
    assert_eq!(certified(Votes::Labels, &images, &others, 200, &draws(0..8)).radii, [0.0; 8]);
    let even = Tensor::<1>::from_floats([0.5, 0.0, 0.25, 0.0], &Device::flex()).reshape([1, 1, 2, 2]);
    for label in [0, 1] {
        assert_eq!(certified(Votes::Labels, &even, &[label], 1000, &draws([3])).radii, [0.0]);
    }
    let options =
        ProofOptions { selection: 1, samples: 1, alpha: 0.001, duality: false, go_on: &|| Err(Stop::Cancelled) };
    let model = smoothed(Votes::Labels, 1);
    let stopped = model.certifier(Norm::L2).unwrap().certify(images, &labels, &options, &draws(0..8));
    assert!(matches!(stopped, Err(Stop::Cancelled)));
    assert!(model.certifier(Norm::Linf).is_none());
}

#[test]
fn certificates_and_answers_do_not_depend_on_the_batch() {
    let (images, _, labels) = problem();
    for votes in [Votes::Labels, Votes::Probabilities] {
        let together = certified(votes, &images, &labels, 300, &draws(20..28)).radii;
        let answers = read(smoothed(votes, 7).logits(images.clone(), &draws(20..28)).unwrap()).unwrap();
        for row in 0..8 {
            let (image, own) = (images.clone().narrow(0, row, 1), draws([20 + row as u32]));
            assert_eq!(certified(votes, &image, &labels[row..=row], 300, &own).radii, together[row..=row]);
            let answer = read(smoothed(votes, 7).logits(image, &own).unwrap()).unwrap();
            assert_eq!(answer, answers[2 * row..2 * row + 2]);
        }
    }
}

#[test]
fn votes_are_fresh_in_every_pass_and_each_sample_has_its_own() {
    let (images, distances, labels) = problem();
    let pass = |pass| Draws::new(5, Purpose::Certificate, (20..28).map(|sample| (sample, pass)));
    let radii =
        |images: &Tensor<4>, labels: &[u32], number| certified(Votes::Labels, images, labels, 200, &pass(number)).radii;
    assert_eq!(radii(&images, &labels, 0), radii(&images, &labels, 0));
    assert_ne!(radii(&images, &labels, 0), radii(&images, &labels, 1));
    // One image as eight samples: the votes of each are others.
    let row = distances.iter().position(|distance| (0.1..0.4).contains(distance)).unwrap();
    let alike = radii(&images.clone().narrow(0, row, 1).repeat_dim(0, 8), &[labels[row]; 8], 0);
    assert!(alike.iter().any(|radius| *radius != alike[0]), "{alike:?}");
    let answers = |number| read(smoothed(Votes::Labels, 50).logits(images.clone(), &pass(number)).unwrap()).unwrap();
    assert_eq!(answers(0), answers(0));
    assert_ne!(answers(0), answers(1));
}

#[test]
fn answers_are_logarithms_of_the_shares_of_votes() {
    let (images, distances, labels) = problem();
    let model = smoothed(Votes::Labels, 400);
    assert_eq!(model.passes(), 1200);
    let logits = read(model.logits(images, &draws(0..8)).unwrap()).unwrap();
    for ((row, distance), label) in logits.chunks_exact(2).zip(distances).zip(labels) {
        let share = f64::from(row[label as usize]).exp();
        let expected = Normal::standard().cdf(distance / 0.25);
        let error = (expected * (1.0 - expected) / 400.0).sqrt();
        assert!((share - expected).abs() < 4.0 * error + 1e-3, "{share} {expected}");
        let other = f64::from(row[1 - label as usize]).exp();
        assert!((share + other - 1.0).abs() < 2e-3 && other > 1.2e-3, "{share} {other}");
    }
}

/// The gradient is that of the mean probabilities, whatever copies vote with.
#[test]
fn gradients_are_those_of_finite_differences_of_the_mean() {
    let (images, _, _) = problem();
    let cotangents: Vec<f32> = (0..16_u8).map(|place| f32::from(place % 5) - 1.5).collect();
    let mean = smoothed(Votes::Probabilities, 6);
    let value = |images: Tensor<4>| -> f64 {
        let logits = read(mean.logits(images, &draws(0..8)).unwrap()).unwrap();
        logits.iter().zip(&cotangents).map(|(logit, weight)| f64::from(logit * weight)).sum()
    };
    for votes in [Votes::Labels, Votes::Probabilities] {
        let tape = smoothed(votes, 6).forward(images.clone(), &draws(0..8)).unwrap();
        assert_eq!(
            read(tape.logits.clone()).unwrap(),
            read(mean.logits(images.clone(), &draws(0..8)).unwrap()).unwrap()
        );
        let weights = Tensor::from_data(TensorData::new(cotangents.clone(), [8, 2]), &Device::flex());
        let gradient = read(tape.pull(weights).unwrap()).unwrap();
        for (place, found) in gradient.into_iter().enumerate() {
            let moved = |by: f32| {
                let mut step = vec![0.0; 32];
                step[place] = by;
                images.clone() + Tensor::from_data(TensorData::new(step, [8, 1, 2, 2]), &Device::flex())
            };
            let slope = (value(moved(5e-3)) - value(moved(-5e-3))) / 1e-2;
            assert!((slope - f64::from(found)).abs() < 2e-3 * (1.0 + slope.abs()), "{place}: {slope} {found}");
        }
    }
}

/// Changes nothing.
struct Still;

impl Defense for Still {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images)
    }
}

#[test]
fn only_what_is_outermost_is_certified() {
    let smoothing: Arc<dyn Defense> = Arc::new(GaussianSmoothing { sigma: 0.25, samples: 2, votes: Votes::Labels });
    let of = |layers: Vec<&Arc<dyn Defense>>| {
        let stack = layers.into_iter().map(|layer| (Arc::clone(layer), GradientMode::Smooth)).collect();
        DefendedModel::new(Arc::new(Plane), stack)
    };
    let still: Arc<dyn Defense> = Arc::new(Still);
    assert!(of(vec![&smoothing, &still]).certifier(Norm::L2).is_some());
    assert!(of(vec![&still, &smoothing]).certifier(Norm::L2).is_none());
    assert!(of(vec![]).certifier(Norm::L2).is_none());
    assert_eq!(of(vec![&still, &smoothing]).passes(), 6);
}
