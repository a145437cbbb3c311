//! What an attack asks reaches the host, and what it does wrong does not.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use realsafe_plugin::abi::*;
use realsafe_plugin::{
    About, Attack, Batch, Component, Cost, Error, LossChoice, Package, Parameter, Plan, Plugin, Problem, Role, Rows,
    Stream, Values, Victim, access,
};

use crate::host::{Host, UNSET, create};

type Access = access::WithSurrogates<access::Gradients>;

/// Does what its parameter says, in the first row.
struct Obedient {
    deed: u64,
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

impl Drop for Obedient {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

impl Attack for Obedient {
    const ABOUT: About = About {
        id: "obedient",
        revision: 1,
        documentation: "",
        example: "",
        parameters: &[Parameter::count("deed", 0, 100)],
    };
    type Access = Access;

    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        Ok(Plan { steps: values.count("deed")? as u32, start: Cost::queries(1), step: Cost::gradients(2) })
    }

    fn create(problem: &Problem, values: &Values<'_>) -> Result<Self, Error> {
        assert_eq!(problem.surrogates, 2);
        match values.count("deed")? {
            99 => Err(Error::bad_value("`deed` is too bad")),
            deed => Ok(Self { deed }),
        }
    }

    fn state_len(&self) -> usize {
        3
    }

    fn start(
        &self,
        _: &mut Victim<'_, Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error> {
        for row in 0..batch.len() {
            iterates.row_mut(row).fill(batch.eps[row]);
            state.row_mut(row)[2] = batch.image(row)[1];
        }
        Ok(())
    }

    fn step(
        &self,
        victim: &mut Victim<'_, Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let image = batch.image(0);
        match self.deed {
            0 => {
                assert_eq!(victim.labels(&[1, 0], iterates, Role::Probe)?, [1, 1]);
                assert_eq!((batch.reached(0, 1), batch.reached(1, 1)), (true, false));
                assert_eq!((batch.aim(0), batch.aim(1)), ((0, 1.0), (0, -1.0)));
            }
            1 => assert_eq!(victim.scores(&[0], image, Role::Iterate)?, [1.0, 2.0]),
            2 => {
                let (logits, mut gradients) = victim.gradient(&[0], image, LossChoice::MARGIN, Role::Iterate)?;
                assert_eq!((&logits[..], &gradients[..]), (&[1.0, 2.0][..], &[1.0, 2.0][..]));
                victim.steepest(&[0], &mut gradients)?;
                assert_eq!(gradients, [1.0, 1.0]);
            }
            3 => drop(victim.forward(&[0], image, Role::Iterate)?),
            4 => {
                let tape = victim.forward(&[0], image, Role::Iterate)?;
                assert_eq!(tape.logits(), [1.0, 2.0]);
                assert_eq!(tape.pull(&[5.0, 6.0])?, [1.0, 2.0]);
            }
            5 => drop(victim.forward(&[0], image, Role::Iterate)?.pull(&[5.0])?),
            6 => {
                victim.surrogate_scores(0, &[0], image)?;
                victim.surrogate_gradient(1, &[0], image, LossChoice::CROSS_ENTROPY)?;
                victim.surrogate_forward(1, &[0], image)?.pull(&[0.0, 1.0])?;
                assert!(victim.surrogate_scores(2, &[0], image).is_err());
            }
            7 => {
                let mut values = [0.0; 3];
                victim.uniform(0, Stream::START, &mut values)?;
                victim.gaussian(1, Stream::STEP, &mut values)?;
                victim.ball(1, Stream::own(2), 0.5, &mut values[..2])?;
                assert_eq!(values, [1.0, 2.0, 3.0]);
                assert_eq!(victim.stream_seed(1, Stream::STEP)?, [2; 32]);
                assert_eq!(victim.remaining(1)?, Cost { queries: 1, forwards: 5, backwards: Cost::UNLIMITED });
                victim.warn("careful");
                assert!(!victim.cancelled());
            }
            8 => drop(victim.labels(&[2], image, Role::Iterate)?),
            9 => drop(victim.labels(&[0, 1], image, Role::Iterate)?),
            10 => panic!("deed {}", self.deed),
            11 => return Err("no deed".into()),
            _ => victim.project(&[0], &mut [2.0, -1.0])?,
        }
        Ok(())
    }
}

static PLUGIN: Plugin = Plugin::new(
    Package { name: "tests", version: "1", licence: "MIT", documentation: "", homepage: "" },
    &[Component::attack::<Obedient>()],
);

fn attack() -> &'static RealsafeAttack {
    // SAFETY: the table has one component, an attack.
    unsafe { &*(**PLUGIN.table().components).interface.cast() }
}

fn obedient(host: &mut Host, deed: u64) -> Result<*mut c_void, RealsafeStatus> {
    create(host, attack(), &[RealsafeValue { kind: REALSAFE_COUNT, count: deed, ..UNSET }])
}

/// Starts and steps a batch of two rows, and gives iterates and state.
fn advance(
    table: &RealsafeHost,
    instance: *mut c_void,
    function: AttackFunction,
) -> (RealsafeStatus, [f32; 4], [f32; 6]) {
    let (images, labels, targets) = ([0.1, 0.2, 0.3, 0.4], [0, 1], [REALSAFE_NO_CLASS, 0]);
    let (eps, samples) = ([0.5, 0.25], [40, 41]);
    let batch = RealsafeBatch {
        size: size_of::<RealsafeBatch>() as u32,
        rows: 2,
        images: images.as_ptr(),
        labels: labels.as_ptr(),
        targets: targets.as_ptr(),
        eps: eps.as_ptr(),
        samples: samples.as_ptr(),
        restart: 0,
        step: 0,
    };
    let (mut iterates, mut state) = (images, [0.0; 6]);
    // SAFETY: everything lives during the call.
    let status =
        unsafe { function.unwrap()(instance, table, &batch, iterates.as_mut_ptr(), state.as_mut_ptr().cast()) };
    (status, iterates, state)
}

/// The status of a deed, which notes what was asked and said.
fn status(host: &mut Host, deed: u64) -> RealsafeStatus {
    let instance = obedient(host, deed).unwrap();
    let (status, ..) = advance(&host.table(), instance, attack().step);
    // SAFETY: it is not used again.
    unsafe { attack().destroy.unwrap()(instance) };
    status
}

#[test]
fn rows_keep_iterates_and_state() {
    let mut host = Host::default();
    let instance = obedient(&mut host, 0).unwrap();
    // SAFETY: the instance lives.
    assert_eq!(unsafe { attack().state_bytes.unwrap()(instance) }, 12);
    let (status, iterates, state) = advance(&host.table(), instance, attack().start);
    assert_eq!(status, REALSAFE_OK);
    assert_eq!(iterates, [0.5, 0.5, 0.25, 0.25]);
    assert_eq!(state, [0.0, 0.0, 0.2, 0.0, 0.0, 0.4]);
    let before = DROPPED.load(Ordering::Relaxed);
    // SAFETY: it is not used again.
    unsafe { attack().destroy.unwrap()(instance) };
    assert!(DROPPED.load(Ordering::Relaxed) > before);
}

#[test]
fn questions_reach_the_host() {
    for (deed, calls) in [
        (0, vec!["labels as 1 [1, 0] [0.1, 0.2, 0.3, 0.4]"]),
        (1, vec!["scores of 0 [0] [0.1, 0.2]"]),
        (2, vec!["gradient 1 of 0 [0] [0.1, 0.2]"]),
        (3, vec!["forward of 0 [0] [0.1, 0.2]", "discard 7"]),
        (4, vec!["forward of 0 [0] [0.1, 0.2]", "pull 7 [5.0, 6.0]"]),
        (
            6,
            vec![
                "scores of 1 [0] [0.1, 0.2]",
                "gradient 0 of 2 [0] [0.1, 0.2]",
                "forward of 2 [0] [0.1, 0.2]",
                "pull 7 [0.0, 1.0]",
            ],
        ),
        (7, vec!["random 0 0 0 0 3", "random 1 1 1 0 3", "random 1 258 2 0.5 2", "log 1 careful"]),
        (12, vec![]),
    ] {
        let mut host = Host::default();
        let status = status(&mut host, deed);
        assert_eq!((status, &host.errors[..]), (REALSAFE_OK, &[][..]), "deed {deed}");
        assert_eq!(host.calls, calls, "deed {deed}");
    }
}

#[test]
fn mistakes_stay_in_the_plugin() {
    for (deed, error) in [(8, "there is no row 2"), (9, "2 values are not 2 images of 2 values"), (11, "no deed")] {
        let mut host = Host::default();
        assert_eq!(status(&mut host, deed), REALSAFE_FAILED);
        assert!(host.calls.is_empty() && host.errors.len() == 1 && host.errors[0].contains(error), "{:?}", host.errors);
    }
    // Wrong cotangents give up the tape.
    let mut host = Host::default();
    assert_eq!(status(&mut host, 5), REALSAFE_FAILED);
    assert_eq!(host.calls[1], "discard 7");
}

#[test]
fn failures_of_the_host_are_passed_on_without_a_message() {
    for refusal in [REALSAFE_CANCELLED, REALSAFE_BUDGET, REALSAFE_UNSUPPORTED, 77] {
        for deed in [0, 1, 2, 3] {
            let mut host = Host { status: refusal, ..Host::default() };
            assert_eq!(status(&mut host, deed), refusal);
            assert_eq!((host.calls.len(), host.errors.len()), (1, 0));
        }
    }
}

#[test]
fn panics_are_caught_and_reported() {
    let mut host = Host::default();
    assert_eq!(status(&mut host, 10), REALSAFE_PANICKED);
    assert_eq!(host.errors, ["deed 10"]);
}

#[test]
fn what_the_host_lacks_is_not_called() {
    let mut host = Host::default();
    let instance = obedient(&mut host, 1).unwrap();
    let table = RealsafeHost { scores: None, ..host.table() };
    assert_eq!(advance(&table, instance, attack().step).0, REALSAFE_UNSUPPORTED);
    assert!(host.errors[0].contains("scores"), "{:?}", host.errors);
    let table = RealsafeHost { size: 16, ..host.table() };
    assert_eq!(advance(&table, instance, attack().step).0, REALSAFE_FAILED);
    assert_eq!(advance(&host.table(), null_mut(), attack().step).0, REALSAFE_FAILED);
    // SAFETY: it is not used again.
    unsafe { attack().destroy.unwrap()(instance) };
}

#[test]
fn creation_may_fail() {
    let mut host = Host::default();
    assert_eq!(obedient(&mut host, 99), Err(REALSAFE_BAD_VALUE));
    assert_eq!(create(&mut host, attack(), &[UNSET]), Err(REALSAFE_BAD_VALUE));
    assert_eq!(create(&mut host, attack(), &[]), Err(REALSAFE_FAILED));
    assert_eq!(host.errors[..2], ["`deed` is too bad", "`deed` is not set"]);
}

#[test]
fn plans_are_written() {
    let mut host = Host::default();
    let nothing = RealsafeCost::default();
    let mut plan = RealsafePlan { size: size_of::<RealsafePlan>() as u32, steps: 0, start: nothing, step: nothing };
    let value = RealsafeValue { kind: REALSAFE_COUNT, count: 12, ..UNSET };
    // SAFETY: everything lives during the call.
    let status = unsafe { attack().plan.unwrap()(&host.table(), &std::ptr::from_ref(&value), 1, &mut plan) };
    assert_eq!((status, plan.steps), (REALSAFE_OK, 12));
    assert_eq!(plan.start, RealsafeCost { queries: 1, forwards: 1, backwards: 0 });
    assert_eq!(plan.step, RealsafeCost { queries: 2, forwards: 2, backwards: 2 });
    plan.size = 8;
    // SAFETY: as above.
    let status = unsafe { attack().plan.unwrap()(&host.table(), &std::ptr::from_ref(&value), 1, &mut plan) };
    assert_eq!(status, REALSAFE_FAILED);
}
