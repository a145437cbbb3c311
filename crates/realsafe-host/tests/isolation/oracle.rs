//! A host with a linear victim and linear surrogates, which counts what it is asked.

use realsafe_abi::REALSAFE_UNLIMITED;
use realsafe_host::{Callbacks, Failure, FailureKind, Problem, Shape, Work};

pub(crate) const SHAPE: Shape = Shape { channels: 1, height: 3, width: 5, classes: 3 };
pub(crate) const PROBLEM: Problem = Problem { norm: 1, goal: 1, surrogates: 1, shape: SHAPE };

/// What fails, or how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    Budget,
    Panic,
    ShortAnswer,
}

pub(crate) struct Oracle {
    pub(crate) trouble: Trouble,
    /// How many images were asked for.
    pub(crate) asked: usize,
    pub(crate) discarded: usize,
    /// What the plugin said, also to whom it may concern while it works.
    pub(crate) said: Vec<String>,
    pub(crate) hear: fn(&str),
    pub(crate) tape: Option<(u64, usize)>,
    pub(crate) tapes: u64,
}

impl Default for Oracle {
    fn default() -> Self {
        Self { trouble: Trouble::None, asked: 0, discarded: 0, said: Vec::new(), hear: |_| {}, tape: None, tapes: 0 }
    }
}

/// A weight of a network, between -1 and 1.
fn weight(network: u32, class: usize, index: usize) -> f32 {
    let mixed = (network as u64 * 31 + class as u64 * 17 + index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
}

impl Oracle {
    fn ask(&mut self, network: u32, images: &[f32]) -> Result<Vec<f32>, Failure> {
        match self.trouble {
            Trouble::Budget => return Err(Failure::new(FailureKind::Budget, "nothing is left")),
            Trouble::Panic => panic!("out of device memory"),
            Trouble::ShortAnswer => return Ok(vec![0.0]),
            Trouble::None => {}
        }
        self.asked += images.len() / SHAPE.values();
        let logit = |image: &[f32], class| image.iter().enumerate().map(|(i, x)| x * weight(network, class, i)).sum();
        Ok(images.chunks(SHAPE.values()).flat_map(|image| (0..3).map(move |class| logit(image, class))).collect())
    }
}

impl Callbacks for Oracle {
    fn labels(&mut self, rows: &[u32], images: &[f32], _: u32) -> Result<Vec<u32>, Failure> {
        let logits = self.ask(0, images)?;
        let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or_default() as u32;
        Ok(logits.chunks(3).take(rows.len()).map(best).collect())
    }

    fn scores(&mut self, network: u32, _: &[u32], images: &[f32], _: u32) -> Result<Vec<f32>, Failure> {
        self.ask(network, images)
    }

    fn gradient(
        &mut self,
        network: u32,
        _: &[u32],
        images: &[f32],
        loss: u64,
        _: u32,
    ) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        let logits = self.ask(network, images)?;
        let gradient = |i: usize| weight(network, loss as usize, i % SHAPE.values()) * (1.0 + images[i]);
        Ok((logits, (0..images.len()).map(gradient).collect()))
    }

    fn forward(&mut self, network: u32, rows: &[u32], images: &[f32], _: u32) -> Result<(Vec<f32>, u64), Failure> {
        let logits = self.ask(network, images)?;
        self.tapes += 1;
        assert_eq!(self.tape.replace((self.tapes, rows.len())), None);
        Ok((logits, self.tapes))
    }

    fn pull(&mut self, tape: u64, cotangents: &[f32]) -> Result<Vec<f32>, Failure> {
        let (live, count) = self.tape.take().expect("a gate lets no stale tape through");
        assert_eq!(live, tape);
        Ok((0..count * SHAPE.values()).map(|i| weight(1, 0, i % SHAPE.values()) * cotangents[0]).collect())
    }

    fn discard(&mut self, tape: u64) -> Result<(), Failure> {
        assert_eq!(self.tape.take().map(|(live, _)| live), Some(tape));
        self.discarded += 1;
        Ok(())
    }

    fn random(
        &mut self,
        row: u32,
        stream: u32,
        distribution: u32,
        radius: f32,
        values: &mut [f32],
    ) -> Result<(), Failure> {
        for (index, value) in values.iter_mut().enumerate() {
            *value = radius * weight(row + 7 * stream + 77 * distribution, row as usize, index);
        }
        Ok(())
    }

    fn stream_seed(&mut self, row: u32, stream: u32) -> Result<[u8; 32], Failure> {
        Ok([(row + stream) as u8; 32])
    }

    fn steepest(&mut self, _: &[u32], gradients: &mut [f32]) -> Result<(), Failure> {
        gradients.iter_mut().for_each(|gradient| *gradient = gradient.signum());
        Ok(())
    }

    fn project(&mut self, _: &[u32], images: &mut [f32]) -> Result<(), Failure> {
        images.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        Ok(())
    }

    fn remaining(&mut self, row: u32) -> Result<Work, Failure> {
        Ok(Work { queries: 5 + u64::from(row), forwards: REALSAFE_UNLIMITED, backwards: 0 })
    }

    fn cancelled(&mut self) -> bool {
        false
    }

    fn log(&mut self, _: u32, message: &str) {
        (self.hear)(message);
        self.said.push(message.to_owned());
    }
}
