//! What the oracle answers and remembers: means over draws and networks, and which image of a call was the first adversarial.

use std::sync::{Arc, Mutex};

use burn::tensor::{Tensor, TensorData};
use realsafe_core::{
    Attack, Batch, CrossEntropy, Gradients, Logits, Model, Role, Rows, Select, Stop, Verdict, read, state,
};
use realsafe_plan::{Cost, Ensemble, GradientMode, Norm, Success};

use crate::bench::{Linear, Setting, drive, from_zero, matrix, part};
use crate::problems::linear_problem;
use crate::randomised::Blink;

/// Asks in every step what a function asks.
struct Asking<F> {
    ask: F,
    steps: u32,
    /// The cost of a step.
    cost: Cost,
}

state! {
    struct Nothing {}
}

impl<F: Fn(&mut dyn Gradients, &Batch) -> Result<(), Stop> + Send + Sync + 'static> Attack for Asking<F> {
    type Door = dyn Gradients;
    type State = Nothing;

    fn steps(&self) -> u32 {
        self.steps
    }

    fn step_cost(&self) -> Cost {
        self.cost
    }

    fn start(&self, _: &mut Self::Door, _: &Batch) -> Result<Nothing, Stop> {
        Ok(Nothing {})
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, _: &mut Nothing) -> Result<(), Stop> {
        (self.ask)(victim, batch)
    }

    fn iterates(&self, batch: &Batch, _: &Nothing) -> Tensor<4> {
        batch.images.clone()
    }
}

/// What an attack is told about the clean images.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    logits: Vec<f32>,
    losses: Vec<f32>,
    gradient: Vec<f32>,
}

/// Which answer an attack asks for.
#[derive(Clone, Copy, Debug)]
enum Question {
    Losses,
    Gradient,
    /// The gradient of half the sum of squared logits, whose derivative is not that of a mean of networks.
    OfLogits,
}

fn answer(victim: &mut dyn Gradients, batch: &Batch, question: Question) -> Result<Told, Stop> {
    let (images, role) = (&batch.images, Role::Probe);
    let told = |logits: Logits, losses, gradient| Told { logits: logits.values().to_vec(), losses, gradient };
    Ok(match question {
        Question::Losses => {
            let (logits, losses) = victim.losses(batch, images, &CrossEntropy, role)?;
            told(logits, losses, Vec::new())
        }
        Question::Gradient => {
            let ascent = victim.gradient(batch, images, &CrossEntropy, role)?;
            told(ascent.logits, ascent.losses, read(ascent.gradient)?)
        }
        Question::OfLogits => {
            let mut derive = |_: usize, logits: &[f32], to: &mut [f32]| to.copy_from_slice(logits);
            let (logits, gradient) = victim.gradient_of_logits(batch, images, &mut derive, role)?;
            told(logits, Vec::new(), read(gradient)?)
        }
    })
}

/// What an attack is told that asks so many times.
fn told(question: Question, times: usize, setting: &Setting) -> Vec<Told> {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&answers);
    let ask = move |victim: &mut dyn Gradients, batch: &Batch| {
        for _ in 0..times {
            let told = answer(victim, batch, question)?;
            seen.lock().unwrap().push(told);
        }
        Ok(())
    };
    let problem = linear_problem();
    let asking = Asking { ask, steps: 1, cost: Cost::gradient(times as u64) };
    drive(&asking, &problem.model, &problem.samples, &from_zero(&problem.samples), setting).unwrap();
    let told = answers.lock().unwrap().clone();
    assert_eq!(told.len(), times);
    told
}

fn assert_mean(mean: &[f32], parts: &[&[f32]], what: &str) {
    for (at, mean) in mean.iter().enumerate() {
        let expected = parts.iter().map(|part| f64::from(part[at])).sum::<f64>() / parts.len() as f64;
        assert!((f64::from(*mean) - expected).abs() < 1e-5, "{what} {at}: {mean} instead of {expected}");
    }
}

fn assert_means(mean: &Told, parts: &[Told], what: &str) {
    let of = |part: fn(&Told) -> &[f32]| parts.iter().map(part).collect::<Vec<_>>();
    assert_mean(&mean.logits, &of(|told| &told.logits), &format!("{what}, logits"));
    assert_mean(&mean.losses, &of(|told| &told.losses), &format!("{what}, losses"));
    assert_mean(&mean.gradient, &of(|told| &told.gradient), &format!("{what}, gradient"));
}

fn last() -> Setting {
    Setting::untargeted(Norm::Linf, 0.1, Success::Last)
}

#[test]
fn answers_of_a_randomised_victim_are_means_of_what_its_draws_answer() {
    let blinking = Setting { stack: vec![(Arc::new(Blink), GradientMode::Exact)], ..last() };
    for question in [Question::Losses, Question::Gradient] {
        // A sample draws by the number of its passes, so that three answers and a mean of three see the same draws.
        let single = told(question, 3, &blinking);
        assert!(single[0] != single[1] && single[1] != single[2], "{question:?}: every pass draws anew");
        let mean = told(question, 1, &Setting { eot: 3, ..blinking.clone() });
        assert_means(&mean[0], &single, &format!("{question:?}"));
    }
}

fn surrogates() -> Vec<Arc<dyn Model>> {
    let surrogate = |from| Arc::new(Linear::new(&matrix(3, 12, 2.0, from), &[0.5, 0.0, -0.5])) as Arc<dyn Model>;
    [100, 200].map(surrogate).to_vec()
}

/// From networks that stand in for the victim.
fn from(surrogates: Vec<Arc<dyn Model>>, ensemble: Ensemble) -> Setting {
    Setting { surrogates, transfers: true, ensemble, ..last() }
}

#[test]
fn an_ensemble_in_the_loss_answers_with_the_mean_of_each_networks_loss() {
    for question in [Question::Losses, Question::Gradient] {
        let [first, second] =
            [0, 1].map(|at| told(question, 1, &from(vec![Arc::clone(&surrogates()[at])], Ensemble::Loss)).remove(0));
        let together = told(question, 1, &from(surrogates(), Ensemble::Loss)).remove(0);
        assert_means(&together, &[first, second], &format!("{question:?}"));
        let in_logits = told(question, 1, &from(surrogates(), Ensemble::Logits)).remove(0);
        let differ = together.losses.iter().zip(&in_logits.losses).any(|(a, b)| (a - b).abs() > 1e-2);
        assert!(differ, "{question:?}: that is not the loss of the mean logits");
    }
}

#[test]
fn functions_of_logits_are_of_what_an_ensemble_answers_together() {
    let told = |ensemble| told(Question::OfLogits, 1, &from(surrogates(), ensemble)).remove(0);
    assert_eq!(told(Ensemble::Loss), told(Ensemble::Logits));
    assert_ne!(told(Ensemble::Probabilities), told(Ensemble::Logits));
}

/// Asks in two steps about three images each of two samples, in turns: about the clean ones, and then in places 2 and 5
/// about two adversarials of the first sample, and in place 4 about one of the second.
fn two_steps(success: Success, eps: Option<f64>, role: Role) -> (Vec<realsafe_core::Judgement>, [Vec<f32>; 3]) {
    let problem = linear_problem();
    let two = part(&problem.samples, &[0, 1]);
    let within = |eps| {
        let setting = Setting::untargeted(Norm::Linf, eps, Success::Last);
        let judged = crate::bench::run(("bim", "steps = 40"), &problem.model, &two, &setting);
        assert!(judged.iter().all(|judged| judged.verdict == Verdict::Broken));
        judged.into_iter().map(|judged| judged.pixels).collect::<Vec<_>>()
    };
    let (far, near) = (within(0.45), within(0.4));
    let adversarials = [far[0].clone(), near[0].clone(), far[1].clone()];
    let [first, nearer, other] = adversarials.clone();
    let ask = move |victim: &mut dyn Gradients, batch: &Batch| {
        let turns = batch.choose(&Rows::new(vec![0, 1, 0, 1, 1, 0], &batch.device()));
        let mut images: Vec<Vec<f32>> = read(turns.images.clone())?.chunks(12).map(<[f32]>::to_vec).collect();
        if batch.step == 1 {
            for (place, image) in [(2, &first), (5, &nearer), (4, &other)] {
                images[place].clone_from(image);
            }
        }
        let images = TensorData::new(images.concat(), [6, 1, 1, 12]);
        victim.scores(&turns, &Tensor::from_data(images, &batch.device()), role).map(drop)
    };
    let asking = Asking { ask, steps: 2, cost: Cost::forward(3) };
    let setting = Setting::untargeted(Norm::Linf, eps, success);
    (drive(&asking, &problem.model, &two, &[0, 1], &setting).unwrap().judgements, adversarials)
}

#[test]
fn the_first_success_is_the_number_of_queries_until_that_very_image() {
    for (success, role) in [(Success::AnyQuery, Role::Probe), (Success::AnyIterate, Role::Iterate)] {
        for eps in [Some(0.5), None] {
            let (judged, _) = two_steps(success, eps, role);
            let successes = [&judged[0], &judged[1]].map(|judged| judged.first_success);
            assert_eq!(successes, [Some(5), Some(6)], "{success:?} {eps:?}");
            assert!(judged.iter().all(|judged| judged.spent == Cost::forward(6)));
        }
    }
}

#[test]
fn the_first_adversarial_of_a_call_is_kept_at_a_radius_and_the_nearest_where_distance_is_minimised() {
    let (judged, [first, nearer, other]) = two_steps(Success::AnyQuery, Some(0.5), Role::Probe);
    assert_eq!([&judged[0].pixels, &judged[1].pixels], [&first, &other]);
    let (judged, _) = two_steps(Success::AnyQuery, None, Role::Probe);
    assert_eq!([&judged[0].pixels, &judged[1].pixels], [&nearer, &other]);
}

#[test]
fn probes_count_only_where_any_query_does() {
    let (judged, _) = two_steps(Success::AnyIterate, Some(0.5), Role::Probe);
    assert!(judged.iter().all(|judged| judged.verdict == Verdict::Robust && judged.first_success.is_none()));
}
