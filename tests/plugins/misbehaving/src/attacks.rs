//! Attacks that return clean images, and misbehave from their second step on.

use std::marker::PhantomData;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use realsafe_plugin::{
    About, Attack, Batch, Cost, Error, Parameter, Plan, Problem, Role, Rows, Stream, Values, Victim, access,
};

type Asked<'a> = Victim<'a, access::Gradients>;

/// What an attack does wrong.
pub(crate) trait Misbehaviour: Send + 'static {
    const ID: &'static str;
    const DOCUMENTATION: &'static str;
    const STEP_COST: Cost = Cost::gradients(1);

    fn misbehave(victim: &mut Asked<'_>, batch: &Batch<'_>, iterates: &mut Rows<'_>) -> Result<(), Error>;
}

pub(crate) struct Misbehaving<M>(PhantomData<M>);

impl<M: Misbehaviour> Attack for Misbehaving<M> {
    const ABOUT: About = About {
        id: M::ID,
        revision: 1,
        documentation: M::DOCUMENTATION,
        example: "",
        parameters: &[Parameter::count("steps", 1, 1000).fallback("3").documentation("How many steps are made.")],
    };
    type Access = access::Gradients;

    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        Ok(Plan { steps: values.count("steps")? as u32, start: Cost::NOTHING, step: M::STEP_COST })
    }

    fn create(_: &Problem, _: &Values<'_>) -> Result<Self, Error> {
        Ok(Self(PhantomData))
    }

    fn start(&self, _: &mut Asked<'_>, _: &Batch<'_>, _: &mut Rows<'_>, _: &mut Rows<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn step(
        &self,
        victim: &mut Asked<'_>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        if batch.step == 0 { Ok(()) } else { M::misbehave(victim, batch, iterates) }
    }
}

macro_rules! misbehaviours {
    ($($(#[cost = $cost:expr])? $name:ident($id:literal, $documentation:literal) =
        |$victim:ident, $batch:ident, $iterates:ident| $body:block)*) => {
        $(
            pub(crate) struct $name;

            impl Misbehaviour for $name {
                const ID: &'static str = $id;
                const DOCUMENTATION: &'static str = $documentation;
                $(const STEP_COST: Cost = $cost;)?

                fn misbehave(
                    $victim: &mut Asked<'_>,
                    $batch: &Batch<'_>,
                    $iterates: &mut Rows<'_>,
                ) -> Result<(), Error> $body
            }
        )*
    };
}

misbehaviours! {
    Aborts("aborts", "Aborts.") = |_victim, _batch, _iterates| { std::process::abort() }

    DependsOnBatch("depends-on-batch", "Moves images by the number of rows.") = |victim, batch, iterates| {
        let share = batch.len() as f32 / 1000.0;
        for row in 0..batch.len() {
            let change = batch.eps[row] * share;
            iterates.row_mut(row).iter_mut().for_each(|pixel| *pixel += change);
        }
        victim.project(batch.rows(), iterates)
    }

    EatsMemory("eats-memory", "Allocates until it is killed.") = |_victim, _batch, _iterates| {
        let mut eaten = Vec::new();
        loop {
            // Written to, so that it takes real memory.
            eaten.push(std::hint::black_box(vec![1_u8; 64 << 20]));
        }
    }

    Hangs("hangs", "Sleeps for ever.") = |_victim, _batch, _iterates| {
        loop {
            sleep(Duration::from_secs(1));
        }
    }

    #[cost = Cost::queries(200)]
    IgnoresCancel("ignores-cancel", "Keeps asking, whatever the answer, for at least two seconds a step.") =
        |victim, batch, iterates| {
            for _ in 0..200 {
                let _ = victim.labels(batch.rows(), iterates, Role::Iterate);
                sleep(Duration::from_millis(10));
            }
            Ok(())
        }

    LeaksTape("leaks-tape", "Neither pulls nor gives up a tape.") = |victim, batch, iterates| {
        std::mem::forget(victim.forward(batch.rows(), iterates, Role::Iterate)?);
        Ok(())
    }

    LeavesBall("leaves-ball", "Adds 0.5 to every pixel.") = |_victim, _batch, iterates| {
        iterates.iter_mut().for_each(|pixel| *pixel += 0.5);
        Ok(())
    }

    OverQueries("over-queries", "Asks a hundred times for the one gradient that it declared, and ignores the refusal.") =
        |victim, batch, iterates| {
            for _ in 0..100 {
                let _ = victim.labels(batch.rows(), iterates, Role::Iterate);
            }
            Ok(())
        }

    Panics("panics", "Panics.") = |_victim, batch, _iterates| { panic!("a panic at step {}", batch.step) }

    Prints("prints", "Prints to stdout.") = |_victim, _batch, _iterates| {
        println!("a plugin prints to stdout");
        Ok(())
    }

    RandomOutside("random-outside", "Moves images by what the clock says.") = |victim, batch, iterates| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(|error| error.to_string())?;
        let share = now.subsec_nanos() as f32 / 1e9;
        let mut noise = vec![0.0; batch.problem.shape.values()];
        for &row in batch.rows() {
            victim.ball(row, Stream::STEP, share * batch.eps[row as usize], &mut noise)?;
            iterates.row_mut(row as usize).iter_mut().zip(&noise).for_each(|(pixel, noise)| *pixel += noise);
        }
        victim.project(batch.rows(), iterates)
    }

    Segfaults("segfaults", "Writes where there is no memory.") = |_victim, _batch, _iterates| {
        // SAFETY: there is none; the process is to die here, as the first page is never mapped.
        unsafe { std::ptr::without_provenance_mut::<u32>(8).write_volatile(1) };
        Ok(())
    }

    WritesNan("writes-nan", "Returns NaN.") = |_victim, _batch, iterates| {
        iterates.fill(f32::NAN);
        Ok(())
    }
}
