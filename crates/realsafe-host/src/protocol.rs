//! What host and worker say to each other.

use std::path::PathBuf;

use bytemuck::{cast_slice, cast_slice_mut};
use serde::{Deserialize, Serialize};

use crate::aligned::Aligned;
use crate::gate::{Gate, nonsense};
use crate::operation::{Operation, Phase, Setting};
use crate::thunks::MOST_NUMBERS;
use crate::{Argument, Callbacks, Description, Digest, Failure, LoadError, Plan, Shape, Work};

/// What the host wants of a worker.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// To load a library; the first request, and only once.
    Load {
        path: PathBuf,
        expected: Digest,
    },
    Plan {
        component: usize,
        arguments: Vec<Argument>,
    },
    Shape {
        component: usize,
        arguments: Vec<Argument>,
    },
    /// To create the instance that the following requests are for, in the place of an older one.
    Create {
        component: usize,
        setting: Setting,
        arguments: Vec<Argument>,
    },
    /// To end the instance.
    Destroy,
    /// To call an attack; the arrays are those of the batch, the iterates and the state.
    Attack {
        phase: Phase,
        restart: u32,
        step: u32,
    },
    /// To call anything else; the arrays are its inputs.
    Compute(Operation),
}

/// What a worker says.
#[derive(Serialize, Deserialize)]
pub(crate) enum Report {
    /// It is there.
    Ready,
    /// It has loaded the library, or not.
    Loaded(Result<Box<Description>, LoadError>),
    /// A question of the plugin, which an [`Answer`] follows.
    Question(Question),
    /// The end of a request.
    Done(Result<Outcome, Failure>),
}

/// How a request ended, beside the arrays.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Nothing,
    Plan(Plan),
    Shape(Shape),
    /// The number of bytes that an attack keeps per row.
    Created {
        state_bytes: u64,
    },
}

/// A question of a plugin: the methods of [`Callbacks`]. Slices come as arrays, in the order of the arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    Labels { role: u32 },
    Scores { network: u32, role: u32 },
    Gradient { network: u32, loss: u64, role: u32 },
    Forward { network: u32, role: u32 },
    Pull { tape: u64 },
    Discard { tape: u64 },
    Random { row: u32, stream: u32, distribution: u32, radius: f32, count: u64 },
    Seed { row: u32, stream: u32 },
    Steepest,
    Project,
    Remaining { row: u32 },
    Cancelled,
    Log { level: u32, message: String },
}

/// The answer to a question; slices come as arrays.
pub(crate) type Answer = Result<Reply, Failure>;

/// What an answer is, beside the arrays.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Arrays,
    Tape(u64),
    Seed([u8; 32]),
    Work(Work),
    Flag(bool),
}

impl Question {
    /// Whether it is to a network, so that a plugin that goes on asking gets on, or comes to the end of its budget.
    pub(crate) const fn advances(&self) -> bool {
        matches!(
            self,
            Self::Labels { .. }
                | Self::Scores { .. }
                | Self::Gradient { .. }
                | Self::Forward { .. }
                | Self::Pull { .. }
        )
    }

    /// Puts the question to a gate.
    pub(crate) fn answer(&self, arrays: &mut [Aligned], gate: &mut Gate<'_>) -> Result<(Reply, Vec<Aligned>), Failure> {
        let numbers = |reply, values: &[f32]| Ok((reply, vec![Aligned::copy_of(values)]));
        match (self, arrays) {
            (Self::Labels { role }, [rows, images]) => {
                let predictions = gate.labels(rows.values(), images.values(), *role)?;
                Ok((Reply::Arrays, vec![Aligned::copy_of(&predictions)]))
            }
            (Self::Scores { network, role }, [rows, images]) => {
                numbers(Reply::Arrays, &gate.scores(*network, rows.values(), images.values(), *role)?)
            }
            (Self::Gradient { network, loss, role }, [rows, images]) => {
                let (logits, gradients) = gate.gradient(*network, rows.values(), images.values(), *loss, *role)?;
                Ok((Reply::Arrays, vec![Aligned::copy_of(&logits), Aligned::copy_of(&gradients)]))
            }
            (Self::Forward { network, role }, [rows, images]) => {
                let (logits, tape) = gate.forward(*network, rows.values(), images.values(), *role)?;
                numbers(Reply::Tape(tape), &logits)
            }
            (Self::Pull { tape }, [cotangents]) => numbers(Reply::Arrays, &gate.pull(*tape, cotangents.values())?),
            (Self::Discard { tape }, []) => gate.discard(*tape).map(|()| (Reply::Arrays, Vec::new())),
            (Self::Random { row, stream, distribution, radius, count }, []) if *count <= MOST_NUMBERS => {
                let mut values = Aligned::zeroed(*count as usize * size_of::<f32>());
                gate.random(*row, *stream, *distribution, *radius, values.values_mut())?;
                Ok((Reply::Arrays, vec![values]))
            }
            (Self::Seed { row, stream }, []) => Ok((Reply::Seed(gate.stream_seed(*row, *stream)?), Vec::new())),
            (Self::Steepest, [rows, gradients]) => {
                gate.steepest(rows.values(), gradients.values_mut())?;
                Ok((Reply::Arrays, vec![std::mem::replace(gradients, Aligned::zeroed(0))]))
            }
            (Self::Project, [rows, images]) => {
                gate.project(rows.values(), images.values_mut())?;
                Ok((Reply::Arrays, vec![std::mem::replace(images, Aligned::zeroed(0))]))
            }
            (Self::Remaining { row }, []) => Ok((Reply::Work(gate.remaining(*row)?), Vec::new())),
            (Self::Cancelled, []) => Ok((Reply::Flag(gate.cancelled()), Vec::new())),
            (Self::Log { level, message }, []) => {
                gate.log(*level, message);
                Ok((Reply::Arrays, Vec::new()))
            }
            _ => Err(nonsense("the worker process asked a question that makes no sense")),
        }
    }
}

/// The callbacks of a worker: an exchange with the host for each question.
pub(crate) struct Asking<F>(pub(crate) F);

impl<F: FnMut(&Question, &[&[u8]]) -> Result<(Reply, Vec<Aligned>), Failure>> Asking<F> {
    fn ask(&mut self, question: Question, arrays: &[&[u8]]) -> Result<(Reply, Vec<Aligned>), Failure> {
        (self.0)(&question, arrays)
    }

    fn one<T: bytemuck::AnyBitPattern>(&mut self, question: Question, arrays: &[&[u8]]) -> Result<Vec<T>, Failure> {
        match self.ask(question, arrays)?.1.as_slice() {
            [array] => Ok(array.values().to_vec()),
            _ => Err(unanswered()),
        }
    }

    /// Replaces values by those of the answer.
    fn replace(&mut self, question: Question, rows: &[&[u8]], values: &mut [f32]) -> Result<(), Failure> {
        let (_, arrays) = self.ask(question, rows)?;
        match arrays.as_slice() {
            [array] if array.bytes().len() == size_of_val(values) => {
                cast_slice_mut(values).copy_from_slice(array.bytes());
                Ok(())
            }
            _ => Err(unanswered()),
        }
    }
}

fn unanswered() -> Failure {
    nonsense("the host gave an answer that does not fit the question")
}

impl<F: FnMut(&Question, &[&[u8]]) -> Result<(Reply, Vec<Aligned>), Failure>> Callbacks for Asking<F> {
    fn labels(&mut self, rows: &[u32], images: &[f32], role: u32) -> Result<Vec<u32>, Failure> {
        self.one(Question::Labels { role }, &[cast_slice(rows), cast_slice(images)])
    }

    fn scores(&mut self, network: u32, rows: &[u32], images: &[f32], role: u32) -> Result<Vec<f32>, Failure> {
        self.one(Question::Scores { network, role }, &[cast_slice(rows), cast_slice(images)])
    }

    fn gradient(
        &mut self,
        network: u32,
        rows: &[u32],
        images: &[f32],
        loss: u64,
        role: u32,
    ) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        let arrays = [cast_slice(rows), cast_slice(images)];
        match self.ask(Question::Gradient { network, loss, role }, &arrays)?.1.as_slice() {
            [logits, gradients] => Ok((logits.values().to_vec(), gradients.values().to_vec())),
            _ => Err(unanswered()),
        }
    }

    fn forward(&mut self, network: u32, rows: &[u32], images: &[f32], role: u32) -> Result<(Vec<f32>, u64), Failure> {
        let (reply, arrays) = self.ask(Question::Forward { network, role }, &[cast_slice(rows), cast_slice(images)])?;
        match (reply, arrays.as_slice()) {
            (Reply::Tape(tape), [logits]) => Ok((logits.values().to_vec(), tape)),
            _ => Err(unanswered()),
        }
    }

    fn pull(&mut self, tape: u64, cotangents: &[f32]) -> Result<Vec<f32>, Failure> {
        self.one(Question::Pull { tape }, &[cast_slice(cotangents)])
    }

    fn discard(&mut self, tape: u64) -> Result<(), Failure> {
        self.ask(Question::Discard { tape }, &[]).map(drop)
    }

    fn random(
        &mut self,
        row: u32,
        stream: u32,
        distribution: u32,
        radius: f32,
        values: &mut [f32],
    ) -> Result<(), Failure> {
        let count = values.len() as u64;
        self.replace(Question::Random { row, stream, distribution, radius, count }, &[], values)
    }

    fn stream_seed(&mut self, row: u32, stream: u32) -> Result<[u8; 32], Failure> {
        match self.ask(Question::Seed { row, stream }, &[])?.0 {
            Reply::Seed(seed) => Ok(seed),
            _ => Err(unanswered()),
        }
    }

    fn steepest(&mut self, rows: &[u32], gradients: &mut [f32]) -> Result<(), Failure> {
        let copy = gradients.to_vec();
        self.replace(Question::Steepest, &[cast_slice(rows), cast_slice(&copy)], gradients)
    }

    fn project(&mut self, rows: &[u32], images: &mut [f32]) -> Result<(), Failure> {
        let copy = images.to_vec();
        self.replace(Question::Project, &[cast_slice(rows), cast_slice(&copy)], images)
    }

    fn remaining(&mut self, row: u32) -> Result<Work, Failure> {
        match self.ask(Question::Remaining { row }, &[])?.0 {
            Reply::Work(work) => Ok(work),
            _ => Err(unanswered()),
        }
    }

    fn cancelled(&mut self) -> bool {
        matches!(self.ask(Question::Cancelled, &[]), Err(_) | Ok((Reply::Flag(true), _)))
    }

    fn log(&mut self, level: u32, message: &str) {
        // What fails here fails at the end of the call as well.
        let _ = self.ask(Question::Log { level, message: message.to_owned() }, &[]);
    }
}
