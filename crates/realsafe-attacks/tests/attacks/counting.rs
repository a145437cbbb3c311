//! Who pays for what, and when a sample is done.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::{Attack, Batch, Labels, Model, Role, Rows, Select, Stop, Verdict, state};
use realsafe_plan::{Budget, Cost, Norm, Success};

use crate::bench::{Setting, Threefold, drive, part, run, run_on};
use crate::problems::{Problem, linear_problem};

#[test]
fn the_last_iterate_costs_all_steps_and_any_iterate_stops_early() {
    let Problem { model, samples, .. } = linear_problem();
    let last = run(("bim", "steps = 20"), &model, &samples, &Setting::untargeted(Norm::Linf, 0.4, Success::Last));
    let any = run(("bim", "steps = 20"), &model, &samples, &Setting::untargeted(Norm::Linf, 0.4, Success::AnyIterate));
    for (last, any) in last.iter().zip(&any) {
        assert_eq!((last.verdict, any.verdict), (Verdict::Broken, Verdict::Broken));
        assert_eq!(last.spent, Cost::gradient(20));
        assert!(any.spent.queries < 20 && any.first_success == Some(any.spent.queries));
    }
}

#[test]
fn clean_errors_cost_nothing_where_any_image_decides() {
    let Problem { model, mut samples, .. } = linear_problem();
    samples.labels.iter_mut().for_each(|label| *label = (*label + 1) % 3);
    for judged in run(("pgd", ""), &model, &samples, &Setting::untargeted(Norm::Linf, 0.1, Success::AnyIterate)) {
        assert_eq!((judged.verdict, judged.spent, judged.first_success), (Verdict::Broken, Cost::default(), Some(0)));
        assert_eq!(judged.distances.linf, 0.0);
    }
}

#[test]
fn restarts_go_on_with_what_is_not_broken() {
    let Problem { model, samples, .. } = linear_problem();
    let eps = 0.02;
    let setting = Setting { restarts: 3, ..Setting::untargeted(Norm::Linf, eps, Success::Last) };
    for judged in run(("pgd", "steps = 5"), &model, &samples, &setting) {
        let rounds = judged.spent.queries / 5;
        assert!(if judged.verdict == Verdict::Broken { rounds <= 3 } else { rounds == 3 });
    }
}

#[test]
fn recorded_steps_hold_the_iterate_after_each() {
    let Problem { model, samples, .. } = linear_problem();
    let indices: Vec<u32> = (0..20).collect();
    let setting = Setting { record: vec![1, 4], ..Setting::untargeted(Norm::Linf, 0.1, Success::Last) };
    let attack = ("bim", "steps = 4\nstep-size = 0.02");
    let recorded = run_on(attack, &model, &samples, &indices, &setting).unwrap().recorded;
    assert_eq!(recorded.len(), 40);
    for pair in recorded.chunks(2) {
        assert_eq!((pair[0].step, pair[1].step, pair[0].queries, pair[1].queries), (1, 4, 1, 4));
        assert!((pair[0].distance - 0.02).abs() < 1e-6 && (pair[1].distance - 0.08).abs() < 1e-6);
    }
}

#[test]
fn an_answer_costs_one_query_and_all_the_passes_that_it_takes() {
    let Problem { model, samples, .. } = linear_problem();
    let model: Arc<dyn Model> = Arc::new(Threefold(model));
    let setting = Setting::untargeted(Norm::Linf, 0.4, Success::Last);
    for judged in run(("bim", "steps = 20"), &model, &samples, &setting) {
        assert_eq!(judged.spent, Cost { queries: 20, forwards: 60, backwards: 60 });
    }
    // Ten forward passes pay for three answers.
    let setting = Setting { budget: Budget { forwards: Some(10), ..Budget::default() }, ..setting };
    for judged in run(("bim", "steps = 20"), &model, &samples, &setting) {
        assert_eq!(judged.spent, Cost { queries: 3, forwards: 9, backwards: 9 });
    }
}

/// Asks for the label of each image three times in one question.
struct Thrice {
    /// What it says that a step costs.
    declared: u64,
}

state! {
    struct Nothing {}
}

impl Attack for Thrice {
    type Door = dyn Labels;
    type State = Nothing;

    fn steps(&self) -> u32 {
        2
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(self.declared)
    }

    fn start(&self, _: &mut Self::Door, _: &Batch) -> Result<Nothing, Stop> {
        Ok(Nothing {})
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, _: &mut Nothing) -> Result<(), Stop> {
        let thrice = batch.choose(&Rows::new([0, 1, 0, 1, 1, 0].to_vec(), &batch.device()));
        victim.labels(&thrice, &thrice.images, Role::Probe).map(drop)
    }

    fn iterates(&self, batch: &Batch, _: &Nothing) -> Tensor<4> {
        batch.images.clone()
    }
}

#[test]
fn a_row_that_occurs_several_times_pays_several_times() {
    let Problem { model, samples, .. } = linear_problem();
    let two = part(&samples, &[0, 1]);
    let setting = Setting::untargeted(Norm::Linf, 1e-6, Success::Last);
    let judged = drive(&Thrice { declared: 3 }, &model, &two, &[0, 1], &setting).unwrap().judgements;
    assert!(judged.iter().all(|judged| judged.spent == Cost::forward(6)));
    // The second step is not covered, and so not begun.
    let budget = Budget { queries: Some(5), ..Budget::default() };
    let setting = Setting { budget, ..setting };
    let judged = drive(&Thrice { declared: 3 }, &model, &two, &[0, 1], &setting).unwrap().judgements;
    assert!(judged.iter().all(|judged| judged.spent == Cost::forward(3)));
}

#[test]
fn nobody_gets_more_than_was_declared() {
    let Problem { model, samples, .. } = linear_problem();
    let setting = Setting::untargeted(Norm::Linf, 1e-6, Success::Last);
    let two = part(&samples, &[0, 1]);
    let stop = drive(&Thrice { declared: 2 }, &model, &two, &[4, 5], &setting).unwrap_err();
    assert!(matches!(stop, Stop::Budget { sample: 5 }), "{stop}");
}
