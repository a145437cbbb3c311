//! What a plugin does to its worker stays there.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use realsafe_host::{Failure, FailureKind, Limits, LoadError, Plugin, Shape};

use crate::driver::{Behaviour, DEFENSE, attack, command, drive, ending, isolated, workers};
use crate::library::Library;
use crate::oracle::Oracle;

#[test]
fn what_a_worker_prints_becomes_a_warning() {
    let library = Library::compile("components", &[]);
    let plugin = isolated(&library, workers());
    let mut printing = attack(&plugin, Behaviour::Print).unwrap();
    drive(&mut printing, &mut Oracle::default(), 1).unwrap();
    assert_eq!(printing.warnings(), ["the plugin wrote to standard output: \"hello\""]);
    drop(printing);
    let mut printing = attack(&plugin, Behaviour::PrintMuch).unwrap();
    drive(&mut printing, &mut Oracle::default(), 1).unwrap();
    let [warning] = &printing.warnings()[..] else { panic!("{:?}", printing.warnings()) };
    assert!(warning.ends_with("nois\" and more") && warning.len() < 1100, "{warning}");
}

#[test]
fn what_kills_a_worker_costs_one_call() {
    let library = Library::compile("components", &[]);
    let plugin = isolated(&library, workers());
    let cases = [
        (Behaviour::Crash, "the worker process was killed by signal 11 (segmentation fault)"),
        (Behaviour::Abort, "the worker process was killed by signal 6 (abort)"),
        (Behaviour::Exit, "the worker process ended with exit code 3"),
        (Behaviour::Fork, "the worker process was killed by signal 6 (abort)"),
    ];
    for (behaviour, words) in cases {
        let mut attack = attack(&plugin, behaviour).unwrap();
        let failure = drive(&mut attack, &mut Oracle::default(), 1).unwrap_err();
        assert_eq!(failure, Failure::new(FailureKind::Crashed, words));
        assert_eq!(drive(&mut attack, &mut Oracle::default(), 1), Err(failure), "it stays dead");
    }
    drive(&mut attack(&plugin, Behaviour::Well).unwrap(), &mut Oracle::default(), 2).unwrap();

    let shape = Shape { channels: 1, height: 1, width: 1, classes: 0 };
    let defense = plugin.defense(DEFENSE, &[]).unwrap();
    assert_eq!(defense.pull(shape, &[3.0], &[1.0]).unwrap_err().kind, FailureKind::Crashed);
    assert_eq!(defense.pull(shape, &[1.0], &[1.0]).unwrap(), [-1.0], "another worker takes over");
}

#[test]
fn limits_end_a_worker() {
    let library = Library::compile("components", &[]);
    let mut limited = workers();
    limited.limits.deadline = Duration::from_secs(3);
    let plugin = isolated(&library, limited.clone());
    for behaviour in [Behaviour::Process, Behaviour::Poll] {
        let mut oracle = Oracle::default();
        let (failure, _) = ending(&plugin, behaviour, &mut oracle);
        assert!(!oracle.said.iter().filter_map(|said| said.strip_prefix("process ")).any(runs), "it has ended");
        assert_eq!(failure, Failure::new(FailureKind::TimedOut, "the plugin gave no answer within 3 s"));
    }
    if cfg!(target_os = "linux") {
        limited.limits = Limits { deadline: Duration::from_secs(60), memory: Some(1 << 30) };
        let (failure, _) = ending(&isolated(&library, limited), Behaviour::Memory, &mut Oracle::default());
        assert_eq!(failure.kind, FailureKind::OutOfMemory, "{failure}");
        assert!(failure.message.contains("but may take 1024 MiB"), "{failure}");
    }
}

#[test]
fn stopping_the_run_ends_a_worker() {
    let library = Library::compile("components", &[]);
    let stoppable = workers();
    let stop = Arc::<AtomicBool>::clone(&stoppable.cancelled);
    let plugin = isolated(&library, stoppable);
    let mut hanging = attack(&plugin, Behaviour::Hang).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
        });
        let failure = drive(&mut hanging, &mut Oracle::default(), 1).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cancelled);
    });
}

#[test]
fn four_threads_use_four_workers() {
    let library = Library::compile("components", &[]);
    let plugin = isolated(&library, workers());
    let expected = drive(&mut attack(&plugin, Behaviour::Well).unwrap(), &mut Oracle::default(), 3).unwrap();
    let defense = plugin.defense(DEFENSE, &[]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (plugin, defense, expected) = (&plugin, &defense, &expected);
            scope.spawn(move || {
                let mut attack = attack(plugin, Behaviour::Well).unwrap();
                for _ in 0..5 {
                    assert_eq!(&drive(&mut attack, &mut Oracle::default(), 3).unwrap(), expected);
                    let value = thread as f32 / 4.0;
                    let shape = Shape { channels: 1, height: 1, width: 1, classes: 0 };
                    assert_eq!(defense.forward(shape, &[value]).unwrap(), [1.0 - value]);
                }
            });
        }
    });
}

#[test]
fn what_does_not_load_is_told_by_the_worker() {
    let library = Library::compile("broken", &["-DNEEDS=2"]);
    let error = Plugin::isolated(&library.path, library.digest(), workers()).unwrap_err();
    assert!(matches!(error, LoadError::TooNew { .. }), "{error}");
    let other = Library::compile("components", &[]);
    let error = Plugin::isolated(&library.path, other.digest(), workers()).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
    let mut wrong = workers();
    wrong.command = Arc::new(|| Command::new("true"));
    let error = Plugin::isolated(&other.path, other.digest(), wrong.clone()).unwrap_err();
    assert!(error.to_string().ends_with("the worker process ended with exit code 0"), "{error}");
    wrong.command = Arc::new(|| Command::new("/does/not/exist"));
    let error = Plugin::isolated(&other.path, other.digest(), wrong).unwrap_err();
    let LoadError::Worker { failure, .. } = error else { panic!("{error}") };
    assert_eq!(failure.kind, FailureKind::Crashed);
}

#[test]
fn no_worker_survives_its_host() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut host = command("host_entry", "host").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut processes = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("process ").map(str::to_owned));
    let process = processes.next().expect("the worker tells its number");
    assert!(runs(&process));
    host.kill().unwrap();
    host.wait().unwrap();
    let killed = Instant::now();
    while runs(&process) {
        assert!(killed.elapsed() < Duration::from_secs(20), "worker {process} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process runs; one that only nobody asked for its exit code does not.
fn runs(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}
