//! What stands between a plugin and the host's answers: rights, checks, and the memory of what failed.
//!
//! Every question passes a gate in the process of the plugin, and, if that is a worker, a second one in the parent,
//! which need not believe the first.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use realsafe_abi::{
    REALSAFE_ACCESS_GRADIENTS, REALSAFE_ACCESS_LABELS, REALSAFE_ACCESS_SCORES, REALSAFE_LOG_WARNING, REALSAFE_PROBE,
    REALSAFE_VICTIM,
};

use crate::{Attack, Callbacks, Failure, FailureKind, Problem, Shape, Work};

/// What may be asked during a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    /// How much of the victim the attack sees.
    pub(crate) access: u32,
    /// How many surrogates it may ask.
    pub(crate) surrogates: u32,
    /// How many rows the batch has; 0 in calls without a batch, in which nothing may be asked.
    pub(crate) rows: usize,
    shape: Shape,
}

impl Rights {
    /// Those of calls without a batch: to say something, and to be told to stop.
    pub(crate) const fn none() -> Self {
        let shape = Shape { channels: 0, height: 0, width: 0, classes: 0 };
        Self { access: 0, surrogates: 0, rows: 0, shape }
    }

    /// Those of an attack's start and step.
    pub(crate) const fn of_attack(attack: &Attack, problem: &Problem, rows: usize) -> Self {
        let surrogates = if attack.surrogates { problem.surrogates } else { 0 };
        Self { access: attack.access, surrogates, rows, shape: problem.shape }
    }

    /// The number of values of an image.
    pub(crate) const fn values(&self) -> usize {
        self.shape.values()
    }

    /// The number of classes.
    pub(crate) const fn classes(&self) -> usize {
        self.shape.classes as usize
    }

    /// Whether some network may be asked for what needs that access.
    pub(crate) const fn any(&self, access: u32) -> bool {
        self.rows > 0 && (self.surrogates > 0 || self.access >= access)
    }

    fn network(&self, network: u32, access: u32) -> Result<(), Failure> {
        if network == REALSAFE_VICTIM {
            return if self.rows > 0 && self.access >= access {
                Ok(())
            } else {
                Err(Failure::new(
                    FailureKind::Unsupported,
                    "the attack asked the victim for more than the access level that it declares",
                ))
            };
        }
        if network <= self.surrogates {
            return Ok(());
        }
        let reason = format!("the attack asked network {network}, but has {} surrogates", self.surrogates);
        Err(Failure::new(FailureKind::Unsupported, reason))
    }

    fn rows(&self, rows: &[u32]) -> Result<(), Failure> {
        rows.iter().try_for_each(|row| self.row(*row))
    }

    fn row(&self, row: u32) -> Result<(), Failure> {
        if (row as usize) < self.rows {
            return Ok(());
        }
        Err(nonsense(format!("the plugin asked for row {row} of a batch of {} rows", self.rows)))
    }

    fn images(&self, rows: &[u32], images: &[f32]) -> Result<(), Failure> {
        self.rows(rows)?;
        expect(images, rows.len() * self.values(), "images of a question")
    }
}

fn role(role: u32) -> Result<(), Failure> {
    if role <= REALSAFE_PROBE { Ok(()) } else { Err(nonsense(format!("the plugin gave an image the role {role}"))) }
}

pub(crate) fn nonsense(reason: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Failed, reason)
}

/// Checks a length.
pub(crate) fn expect<T>(values: &[T], length: usize, what: &str) -> Result<(), Failure> {
    if values.len() == length {
        return Ok(());
    }
    Err(nonsense(format!("the {what} have {} values instead of {length}", values.len())))
}

/// Callbacks behind checks. What is refused or fails first makes the whole call fail.
pub(crate) struct Gate<'a> {
    callbacks: &'a mut dyn Callbacks,
    rights: Rights,
    /// The live tape, and how many images it is of.
    tape: Option<(u64, usize)>,
    failure: Option<Failure>,
    warnings: Vec<String>,
}

/// Makes a call whose questions pass a gate, and tells how it ended and what the plugin warned of.
pub(crate) fn guarded<T>(
    callbacks: &mut dyn Callbacks,
    rights: Rights,
    call: impl FnOnce(&mut Gate<'_>) -> Result<T, Failure>,
) -> (Result<T, Failure>, Vec<String>) {
    let mut gate = Gate { callbacks, rights, tape: None, failure: None, warnings: Vec::new() };
    let result = call(&mut gate);
    let failure = gate.failure.take();
    if let Some((tape, _)) = gate.tape
        && gate.discard(tape).is_ok()
        && failure.is_none()
        && result.is_ok()
    {
        gate.log(
            REALSAFE_LOG_WARNING,
            "the plugin left a tape behind; it has to pull or discard each tape that it records",
        );
    }
    (failure.or_else(|| gate.failure.take()).map_or(result, Err), gate.warnings)
}

impl Gate<'_> {
    const MOST_WARNINGS: usize = 100;

    pub(crate) const fn rights(&self) -> Rights {
        self.rights
    }

    /// Does something for the plugin, unless something failed before. Panics of the host stop here.
    pub(crate) fn guard<T>(&mut self, action: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = catch_unwind(AssertUnwindSafe(|| action(self)))
            .unwrap_or_else(|panic| Err(Failure::new(FailureKind::Device, panic_text(&*panic))));
        if let Err(failure) = &result {
            self.failure.get_or_insert_with(|| failure.clone());
        }
        result
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the host panicked while it answered the plugin: {}", text.unwrap_or("it gave no reason"))
}

impl Callbacks for Gate<'_> {
    fn labels(&mut self, rows: &[u32], images: &[f32], image_role: u32) -> Result<Vec<u32>, Failure> {
        self.guard(|gate| {
            gate.rights.network(REALSAFE_VICTIM, REALSAFE_ACCESS_LABELS)?;
            gate.rights.images(rows, images)?;
            role(image_role)?;
            let predictions = gate.callbacks.labels(rows, images, image_role)?;
            expect(&predictions, rows.len(), "predictions")?;
            Ok(predictions)
        })
    }

    fn scores(&mut self, network: u32, rows: &[u32], images: &[f32], image_role: u32) -> Result<Vec<f32>, Failure> {
        self.guard(|gate| {
            gate.rights.network(network, REALSAFE_ACCESS_SCORES)?;
            gate.rights.images(rows, images)?;
            role(image_role)?;
            let logits = gate.callbacks.scores(network, rows, images, image_role)?;
            expect(&logits, rows.len() * gate.rights.classes(), "logits")?;
            Ok(logits)
        })
    }

    fn gradient(
        &mut self,
        network: u32,
        rows: &[u32],
        images: &[f32],
        loss: u64,
        image_role: u32,
    ) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        self.guard(|gate| {
            gate.rights.network(network, REALSAFE_ACCESS_GRADIENTS)?;
            gate.rights.images(rows, images)?;
            role(image_role)?;
            let (logits, gradients) = gate.callbacks.gradient(network, rows, images, loss, image_role)?;
            expect(&logits, rows.len() * gate.rights.classes(), "logits")?;
            expect(&gradients, images.len(), "gradients")?;
            Ok((logits, gradients))
        })
    }

    fn forward(
        &mut self,
        network: u32,
        rows: &[u32],
        images: &[f32],
        image_role: u32,
    ) -> Result<(Vec<f32>, u64), Failure> {
        self.guard(|gate| {
            gate.rights.network(network, REALSAFE_ACCESS_GRADIENTS)?;
            gate.rights.images(rows, images)?;
            role(image_role)?;
            if gate.tape.is_some() {
                return Err(nonsense("the plugin asked for a second tape before it pulled or discarded the first one"));
            }
            let (logits, tape) = gate.callbacks.forward(network, rows, images, image_role)?;
            gate.tape = Some((tape, rows.len()));
            expect(&logits, rows.len() * gate.rights.classes(), "logits")?;
            Ok((logits, tape))
        })
    }

    fn pull(&mut self, tape: u64, cotangents: &[f32]) -> Result<Vec<f32>, Failure> {
        self.guard(|gate| {
            let images = gate.live(tape)?;
            expect(cotangents, images * gate.rights.classes(), "cotangents")?;
            gate.tape = None;
            let gradients = gate.callbacks.pull(tape, cotangents)?;
            expect(&gradients, images * gate.rights.values(), "gradients")?;
            Ok(gradients)
        })
    }

    fn discard(&mut self, tape: u64) -> Result<(), Failure> {
        self.guard(|gate| {
            gate.live(tape)?;
            gate.tape = None;
            gate.callbacks.discard(tape)
        })
    }

    fn random(
        &mut self,
        row: u32,
        stream: u32,
        distribution: u32,
        radius: f32,
        values: &mut [f32],
    ) -> Result<(), Failure> {
        self.guard(|gate| {
            gate.rights.row(row)?;
            gate.callbacks.random(row, stream, distribution, radius, values)
        })
    }

    fn stream_seed(&mut self, row: u32, stream: u32) -> Result<[u8; 32], Failure> {
        self.guard(|gate| {
            gate.rights.row(row)?;
            gate.callbacks.stream_seed(row, stream)
        })
    }

    fn steepest(&mut self, rows: &[u32], gradients: &mut [f32]) -> Result<(), Failure> {
        self.guard(|gate| {
            gate.rights.images(rows, gradients)?;
            gate.callbacks.steepest(rows, gradients)
        })
    }

    fn project(&mut self, rows: &[u32], images: &mut [f32]) -> Result<(), Failure> {
        self.guard(|gate| {
            gate.rights.images(rows, images)?;
            gate.callbacks.project(rows, images)
        })
    }

    fn remaining(&mut self, row: u32) -> Result<Work, Failure> {
        self.guard(|gate| {
            gate.rights.row(row)?;
            gate.callbacks.remaining(row)
        })
    }

    fn cancelled(&mut self) -> bool {
        self.guard(|gate| Ok(gate.callbacks.cancelled())).unwrap_or(true)
    }

    fn log(&mut self, level: u32, message: &str) {
        if level == REALSAFE_LOG_WARNING && self.warnings.len() < Self::MOST_WARNINGS {
            self.warnings.push(message.to_owned());
        }
        // A failure of the host is kept by the guard.
        let _ = self.guard(|gate| {
            gate.callbacks.log(level, message);
            Ok(())
        });
    }
}

impl Gate<'_> {
    /// The number of images of a tape.
    pub(crate) fn live(&self, tape: u64) -> Result<usize, Failure> {
        match self.tape {
            Some((live, images)) if live == tape => Ok(images),
            _ => Err(nonsense(format!("the plugin used tape {tape}, which is not live"))),
        }
    }
}
