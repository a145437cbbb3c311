//! Attacks one after the other: each gets what the ones before left, and is credited with what it breaks.

use burn::tensor::Tensor;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, Batch, Gradients, Judged, Member, Role, Stop, Verdict, fill_uniform, state};
use realsafe_plan::{Cost, Norm, Success};

use crate::bench::{Setting, drive_chain, from_zero};
use crate::problems::linear_problem;

/// Adds noise of its own stream to every pixel.
struct Shift {
    amount: f32,
    stream: u32,
}

state! {
    struct Moved {
        images: Tensor<4>,
    }
}

impl Attack for Shift {
    type Door = dyn Gradients;
    type State = Moved;

    fn steps(&self) -> u32 {
        1
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Moved, Stop> {
        let noise = batch.draw(Purpose::Own(self.stream), |_, random, pixels| {
            fill_uniform(random, pixels);
            pixels.iter_mut().for_each(|pixel| *pixel *= self.amount);
        });
        Ok(Moved { images: (batch.images.clone() + noise).clamp(0.0, 1.0) })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Moved) -> Result<(), Stop> {
        victim.scores(batch, &state.images, Role::Iterate).map(drop)
    }

    fn iterates(&self, _: &Batch, state: &Moved) -> Tensor<4> {
        state.images.clone()
    }
}

fn chain(members: &[Member<'_>], eps: f64) -> Judged {
    let problem = linear_problem();
    let setting = Setting::untargeted(Norm::Linf, eps, Success::AnyIterate);
    drive_chain(members, &problem.model, &problem.samples, &from_zero(&problem.samples), &setting).unwrap()
}

const fn member(attack: &Shift, minimises_distance: bool) -> Member<'_> {
    Member { attack, restarts: 1, eot: 1, minimises_distance }
}

#[test]
fn members_pass_on_what_they_leave() {
    let shifts = [0, 1].map(|stream| Shift { amount: 0.5, stream });
    let alone = shifts.each_ref().map(|shift| chain(&[member(shift, false)], 0.5));
    let together = chain(&[member(&shifts[0], false), member(&shifts[1], false)], 0.5);
    let broken = |judged: &Judged, slot: usize| judged.judgements[slot].verdict == Verdict::Broken;
    let count = together.judgements.len();
    for slot in 0..count {
        let by = together.judgements[slot].broken_by;
        let expected = (0..2).find(|&place| broken(&alone[place], slot));
        assert_eq!(by, expected, "slot {slot}");
        assert_eq!(broken(&together, slot), expected.is_some());
        let asked = if expected == Some(0) { 1 } else { 2 };
        assert_eq!(together.judgements[slot].spent, Cost::forward(asked));
    }
    let [first, second] = [0, 1].map(|place| together.contributions[place]);
    assert!(first.broken > 0 && second.broken > 0, "{first:?} {second:?}");
    assert_eq!(first.attacked, count as u64);
    assert_eq!(second.attacked, first.attacked - first.broken);
    assert_eq!((first.spent, second.spent), (Cost::forward(first.attacked), Cost::forward(second.attacked)));
}

#[test]
fn what_a_minimal_distance_attack_ends_with_outside_the_ball_is_no_adversarial() {
    let shift = Shift { amount: 0.4, stream: 0 };
    let judged = chain(&[member(&shift, true)], 0.1);
    assert!(judged.judgements.iter().all(|judged| judged.verdict == Verdict::Robust));
    let judged = chain(&[member(&shift, false)], 0.1);
    assert!(judged.judgements.iter().all(|judged| judged.verdict == Verdict::Invalid));
}
