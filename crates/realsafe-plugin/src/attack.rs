//! Attacks.

use std::ffi::c_void;

use realsafe_abi::{
    RealsafeAttack, RealsafeBatch, RealsafeHost, RealsafePlan, RealsafeProblem, RealsafeStatus, RealsafeValue,
};

use crate::access::Access;
use crate::boundary::{destroy, give, guard, instance, reference, slice, slice_mut};
use crate::{About, Batch, Error, Goal, Norm, Plan, Problem, Rows, Values, Victim};

/// A component that looks for adversarial examples: a batch of independent per-sample machines.
///
/// The host owns what changes from step to step, the iterates and the state; it moves rows as samples are done, makes the
/// steps, counts, and judges the iterates. What is adversarial ends by itself.
pub trait Attack: Send + Sized + 'static {
    /// What the attack says about itself.
    const ABOUT: About;
    /// The norms in which it works; linf and l2 by default.
    const NORMS: &'static [Norm] = Norm::DENSE;
    /// The goals that it can pursue.
    const GOALS: &'static [Goal] = Goal::ALL;
    /// Whether it looks for the smallest distance and ignores eps.
    const MINIMISES_DISTANCE: bool = false;
    /// What it may ask of the victim, one of the types of [`access`](crate::access).
    type Access: Access;

    /// What it is going to do with these parameters.
    ///
    /// # Errors
    /// Parameters that do not fit each other.
    fn plan(values: &Values<'_>) -> Result<Plan, Error>;

    /// Sets up the attack, once for many batches.
    ///
    /// # Errors
    /// Parameters that do not fit the problem.
    fn create(problem: &Problem, values: &Values<'_>) -> Result<Self, Error>;

    /// How many numbers it keeps per row, beside the iterate.
    fn state_len(&self) -> usize {
        0
    }

    /// Sets up all rows. The iterates are the clean images, the state is zero.
    ///
    /// # Errors
    /// What `victim` reports, or the attack's own reason.
    fn start(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error>;

    /// Makes one step on every row. The iterates are the images that the attack would return now.
    ///
    /// # Errors
    /// What `victim` reports, or the attack's own reason.
    fn step(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error>;
}

/// An attack, and what it was created for.
struct Instance<A> {
    attack: A,
    problem: Problem,
}

/// The functions of `A`.
pub(crate) const fn table<A: Attack>() -> RealsafeAttack {
    RealsafeAttack {
        size: size_of::<RealsafeAttack>() as u32,
        access: A::Access::LEVEL,
        surrogates: A::Access::SURROGATES as u32,
        norms: norms(A::NORMS),
        goals: goals(A::GOALS),
        minimises_distance: A::MINIMISES_DISTANCE as u32,
        plan: Some(plan::<A>),
        create: Some(create::<A>),
        destroy: Some(destroy::<Instance<A>>),
        state_bytes: Some(state_bytes::<A>),
        start: Some(start::<A>),
        step: Some(step::<A>),
    }
}

const fn norms(norms: &[Norm]) -> u32 {
    let (mut bits, mut index) = (0, 0);
    while index < norms.len() {
        bits |= norms[index] as u32;
        index += 1;
    }
    bits
}

const fn goals(goals: &[Goal]) -> u32 {
    let (mut bits, mut index) = (0, 0);
    while index < goals.len() {
        bits |= goals[index] as u32;
        index += 1;
    }
    bits
}

unsafe extern "C" fn plan<A: Attack>(
    host: *const RealsafeHost,
    values: *const *const RealsafeValue,
    value_count: u64,
    plan: *mut RealsafePlan,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what the ABI says.
        let values = unsafe { Values::new(&A::ABOUT, values, value_count) }?;
        // SAFETY: as above; only the size is read.
        let size = unsafe { reference(plan) }?.size;
        let Plan { steps, start, step } = A::plan(&values)?;
        let filled = RealsafePlan { size, steps, start: start.into(), step: step.into() };
        // SAFETY: it is large enough, as `reference` checked, and the host lends it to be written.
        unsafe { plan.write(filled) };
        Ok(())
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn create<A: Attack>(
    host: *const RealsafeHost,
    problem: *const RealsafeProblem,
    values: *const *const RealsafeValue,
    value_count: u64,
    instance: *mut *mut c_void,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what the ABI says.
        let (problem, values) = unsafe { (reference(problem)?, Values::new(&A::ABOUT, values, value_count)?) };
        let problem = Problem::try_from(problem)?;
        let attack = A::create(&problem, &values)?;
        // SAFETY: as above.
        unsafe { give(Instance { attack, problem }, instance) }
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

unsafe extern "C" fn state_bytes<A: Attack>(pointer: *mut c_void) -> u64 {
    let mut length = 0;
    let work = || {
        // SAFETY: the host passes what `create` gave.
        length = unsafe { instance::<Instance<A>>(pointer) }?.attack.state_len();
        Ok(())
    };
    // SAFETY: no host is passed. A panic leaves no state, and the next call reports that.
    unsafe { guard(std::ptr::null(), work) };
    (length * size_of::<f32>()) as u64
}

unsafe extern "C" fn start<A: Attack>(
    instance: *mut c_void,
    host: *const RealsafeHost,
    batch: *const RealsafeBatch,
    iterates: *mut f32,
    state: *mut u8,
) -> RealsafeStatus {
    // SAFETY: the host passes what the ABI says.
    unsafe { advance(instance, host, batch, iterates, state, A::start) }
}

unsafe extern "C" fn step<A: Attack>(
    instance: *mut c_void,
    host: *const RealsafeHost,
    batch: *const RealsafeBatch,
    iterates: *mut f32,
    state: *mut u8,
) -> RealsafeStatus {
    // SAFETY: the host passes what the ABI says.
    unsafe { advance(instance, host, batch, iterates, state, A::step) }
}

type Advance<A> =
    fn(&A, &mut Victim<'_, <A as Attack>::Access>, &Batch<'_>, &mut Rows<'_>, &mut Rows<'_>) -> Result<(), Error>;

/// # Safety
/// As the ABI says of `start` and `step`.
unsafe fn advance<A: Attack>(
    pointer: *mut c_void,
    host: *const RealsafeHost,
    batch: *const RealsafeBatch,
    iterates: *mut f32,
    state: *mut u8,
    method: Advance<A>,
) -> RealsafeStatus {
    let work = || {
        // SAFETY: the host passes what `create` gave, its own table, and a batch.
        let (Instance { attack, problem }, table, batch) =
            unsafe { (instance::<Instance<A>>(pointer)?, reference(host)?, reference(batch)?) };
        let (rows, values, kept) = (batch.rows as usize, problem.shape.values(), attack.state_len());
        // SAFETY: the batch has so many rows, and outputs do not overlap anything.
        let (view, mut iterates, mut state) = unsafe {
            let view = Batch {
                problem: *problem,
                images: slice(batch.images, rows * values)?,
                labels: slice(batch.labels, rows)?,
                targets: slice(batch.targets, rows)?,
                eps: slice(batch.eps, rows)?,
                samples: slice(batch.samples, rows)?,
                restart: batch.restart,
                step: batch.step,
                rows: (0..batch.rows).collect(),
            };
            let iterates = Rows { values: slice_mut(iterates, rows * values)?, length: values };
            // The bytes begin at a multiple of 64, and every pattern of bits is a float.
            (view, iterates, Rows { values: slice_mut(state.cast::<f32>(), rows * kept)?, length: kept })
        };
        method(attack, &mut Victim::new(table, *problem, rows), &view, &mut iterates, &mut state)
    };
    // SAFETY: the host passes its own table.
    unsafe { guard(host, work) }
}

impl TryFrom<&RealsafeProblem> for Problem {
    type Error = Error;

    fn try_from(problem: &RealsafeProblem) -> Result<Self, Error> {
        let norm = Norm::ALL.iter().copied().find(|norm| *norm as u32 == problem.norm);
        let goal = Goal::ALL.iter().copied().find(|goal| *goal as u32 == problem.goal);
        let (Some(norm), Some(goal)) = (norm, goal) else {
            return Err(Error::unsupported("the host passed a norm or a goal that the plugin does not know"));
        };
        Ok(Self { norm, goal, surrogates: problem.surrogates, shape: (&problem.shape).into() })
    }
}
