//! Ending the program ends its worker processes.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::libraries::of_tests;
use super::workplace::Workplace;
use crate::program::argument;

const SPEC: &str = r#"
[experiment]
id = "interruption"

[data]
use = "digits"
samples = 8

[[model]]
use = "digits-cnn"
weights = "builtin:digits-standard"

[[threat]]
norm = "linf"
eps = "0.1"

[[attack]]
use = "hangs"

[run]
chunk = 2
"#;

/// How many cells run side by side, each with a worker process of its own.
const JOBS: usize = 4;

/// A variable that a program and all of its children have.
const MARK: &str = "REALSAFE_TEST_MARK";

/// A program whose plugin hangs.
struct Hanging {
    program: Child,
    mark: String,
    // Deleted at the end.
    _workplace: Workplace,
}

impl Hanging {
    /// Starts it, and waits until the plugin works.
    fn start(name: &str) -> Self {
        let library = of_tests("misbehaving");
        let workplace = Workplace::trusting(&[&library]);
        workplace.write("spec.toml", SPEC);
        let mark = format!("{name}-{}", std::process::id());
        let jobs = JOBS.to_string();
        let mut command = workplace.program(&["run", "spec.toml", "--plugin", argument(&library), "--jobs", &jobs]);
        command.env(MARK, &mark).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut hanging = Self { program: command.spawn().unwrap(), mark, _workplace: workplace };
        let mut lines = BufReader::new(hanging.program.stderr.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("stored already")), "it ended too early");
        hanging.wait(JOBS);
        // The first step, which does nothing, comes before the second.
        sleep(Duration::from_millis(500));
        assert!(hanging.program.try_wait().unwrap().is_none() && hanging.workers() == JOBS, "it does not hang");
        hanging
    }

    /// How many other processes there are with the mark; those that ended but were not waited for have no environment.
    fn workers(&self) -> usize {
        let marked = format!("{MARK}={}", self.mark).into_bytes();
        let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            number.is_some_and(|number| number != self.program.id())
        });
        let environments = processes.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        environments.filter(|environment| environment.split(|byte| *byte == 0).any(|entry| *entry == marked)).count()
    }

    /// Waits until there are so many workers, for five seconds.
    fn wait(&self, wanted: usize) {
        let clock = Instant::now();
        while self.workers() != wanted {
            let found = self.workers();
            assert!(clock.elapsed() < Duration::from_secs(5), "{found} worker processes instead of {wanted}");
            sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn an_interrupt_does_not_wait_for_plugins_that_hang() {
    let mut hanging = Hanging::start("interrupt");
    let clock = Instant::now();
    let interrupted = std::process::Command::new("kill").args(["-INT", &hanging.program.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let mut errors = String::new();
    hanging.program.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(hanging.program.wait().unwrap().code(), Some(75), "{errors}");
    assert!(clock.elapsed() < Duration::from_secs(3), "it took {:?}", clock.elapsed());
    assert!(errors.contains("the same command goes on"), "{errors}");
    assert_eq!(hanging.workers(), 0, "worker processes outlive their parent");
}

#[test]
fn workers_do_not_outlive_a_program_that_is_killed() {
    let mut hanging = Hanging::start("kill");
    hanging.program.kill().unwrap();
    hanging.program.wait().unwrap();
    hanging.wait(0);
}
