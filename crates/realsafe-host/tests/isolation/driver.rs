//! How the tests make a plugin work.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use realsafe_host::{Argument, AttackInstance, BatchView, Failure, Limits, Plugin, Workers};

use crate::library::Library;
use crate::oracle::{Oracle, PROBLEM, SHAPE};

/// Set in worker processes, and in one that starts workers.
pub(crate) const ROLE: &str = "REALSAFE_TEST_ROLE";
pub(crate) const ROWS: usize = 5;
pub(crate) const ATTACK: usize = 0;
pub(crate) const DEFENSE: usize = 1;
pub(crate) const MODEL: usize = 2;
pub(crate) const LOSS: usize = 3;

/// What the attack of `components.c` does in a step.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Behaviour {
    Well,
    Crash,
    Abort,
    Hang,
    Poll,
    Memory,
    Print,
    PrintMuch,
    Leak,
    Ignore,
    Exit,
    NullPointer,
    SecondTape,
    Surrogate,
    Silent,
    Speak,
    Process,
    StaleTape,
    Crowd,
    BadRole,
    ManyNumbers,
    Fork,
}

pub(crate) fn command(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, role);
    command
}

pub(crate) fn workers() -> Workers {
    let limits = Limits { deadline: Duration::from_secs(60), memory: None };
    Workers { command: Arc::new(|| command("worker_entry", "worker")), limits, cancelled: Arc::default() }
}

pub(crate) fn in_process(library: &Library) -> Plugin {
    Plugin::in_process(&library.path, library.digest()).unwrap()
}

pub(crate) fn isolated(library: &Library, workers: Workers) -> Plugin {
    Plugin::isolated(&library.path, library.digest(), workers).unwrap()
}

pub(crate) fn attack(plugin: &Plugin, behaviour: Behaviour) -> Result<AttackInstance, Failure> {
    let arguments = [Argument::Count(behaviour as u64), Argument::Number(0.03), Argument::Loss(1)];
    plugin.attack(ATTACK, &PROBLEM, &arguments)
}

/// Makes steps, and leaves out a row after the first.
pub(crate) fn drive(
    attack: &mut AttackInstance,
    oracle: &mut Oracle,
    steps: u32,
) -> Result<(Vec<f32>, Vec<u8>), Failure> {
    let images: Vec<f32> = (0..ROWS * SHAPE.values()).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
    let samples: Vec<u32> = (100..100 + ROWS as u32).collect();
    let (mut iterates, mut state) = (images.clone(), vec![0; ROWS * attack.state_bytes()]);
    let mut rows = ROWS;
    for step in 0..=steps {
        let batch = BatchView {
            images: &images[(ROWS - rows) * SHAPE.values()..],
            labels: &[0, 1, 2, 0, 1][ROWS - rows..],
            targets: &[u32::MAX; ROWS][ROWS - rows..],
            eps: &[0.1; ROWS][ROWS - rows..],
            samples: &samples[ROWS - rows..],
            restart: 0,
            step: step.saturating_sub(1),
        };
        if step == 0 {
            attack.start(oracle, &batch, &mut iterates, &mut state)?;
            // An odd address from here on: the plugin gets aligned copies.
            iterates.drain(..SHAPE.values());
            state.drain(..attack.state_bytes());
            rows -= 1;
        } else {
            attack.step(oracle, &batch, &mut iterates, &mut state)?;
        }
    }
    Ok((iterates, state))
}

/// How a behaviour ends in a plugin.
pub(crate) fn ending(plugin: &Plugin, behaviour: Behaviour, oracle: &mut Oracle) -> (Failure, Vec<String>) {
    let mut attack = attack(plugin, behaviour).unwrap();
    let failure = drive(&mut attack, oracle, 1).unwrap_err();
    (failure, attack.warnings())
}
