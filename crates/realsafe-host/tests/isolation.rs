//! The same plugin in this process and in worker processes: equal where it behaves, contained where it does not.

mod support {
    mod library;
    pub(crate) mod oracle;

    pub(crate) use library::Library;
}

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use realsafe_host::{
    Argument, AttackInstance, BatchView, Failure, FailureKind, Limits, LoadError, Plugin, Shape, Workers, serve,
};
use support::Library;
use support::oracle::{Oracle, PROBLEM, SHAPE, Trouble};

/// Set in worker processes, and in one that starts workers.
const ROLE: &str = "REALSAFE_TEST_ROLE";
const ROWS: usize = 5;
const ATTACK: usize = 0;
const DEFENSE: usize = 1;
const MODEL: usize = 2;
const LOSS: usize = 3;

/// What the attack of `components.c` does in a step.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
enum Behaviour {
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
}

fn command(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, role);
    command
}

fn workers() -> Workers {
    let limits = Limits { deadline: Duration::from_secs(60), memory: None };
    Workers { command: Arc::new(|| command("worker_entry", "worker")), limits, cancelled: Arc::default() }
}

/// Not a test: the worker processes of the others.
#[test]
fn worker_entry() {
    if std::env::var_os(ROLE).is_some_and(|role| role == "worker") {
        let code = serve();
        assert_eq!(code, ExitCode::SUCCESS);
        std::process::exit(0);
    }
}

fn in_process(library: &Library) -> Plugin {
    Plugin::in_process(&library.path, library.digest()).unwrap()
}

fn isolated(library: &Library, workers: Workers) -> Plugin {
    Plugin::isolated(&library.path, library.digest(), workers).unwrap()
}

fn attack(plugin: &Plugin, behaviour: Behaviour) -> Result<AttackInstance, Failure> {
    let arguments = [Argument::Count(behaviour as u64), Argument::Number(0.03), Argument::Loss(1)];
    plugin.attack(ATTACK, &PROBLEM, &arguments)
}

/// Makes steps, and leaves out a row after the first.
fn drive(attack: &mut AttackInstance, oracle: &mut Oracle, steps: u32) -> Result<(Vec<f32>, Vec<u8>), Failure> {
    let images: Vec<f32> = (0..ROWS * SHAPE.values()).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
    let samples: Vec<u32> = (100..100 + ROWS as u32).collect();
    let (mut iterates, mut state) = (images.clone(), vec![0; ROWS * attack.state_bytes()]);
    let mut rows = ROWS;
    for step in 0..=steps {
        let batch = BatchView {
            images: &images[(ROWS - rows) * SHAPE.values()..],
            labels: &samples[ROWS - rows..],
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
fn ending(plugin: &Plugin, behaviour: Behaviour, oracle: &mut Oracle) -> (Failure, Vec<String>) {
    let mut attack = attack(plugin, behaviour).unwrap();
    let failure = drive(&mut attack, oracle, 1).unwrap_err();
    (failure, attack.warnings())
}

#[test]
fn a_worker_gives_the_same_bytes() {
    let library = Library::compile("components", &[]);
    let (local, remote) = (in_process(&library), isolated(&library, workers()));
    assert_eq!(local.description(), remote.description());
    assert_eq!((remote.digest(), remote.path()), (Some(library.digest()), Some(library.path.as_path())));
    let results = [&local, &remote].map(|plugin| {
        let arguments = [Argument::Count(3), Argument::Unset, Argument::Loss(9)];
        let plan = plugin.plan(ATTACK, &arguments).unwrap();
        assert_eq!((plan.steps, plan.step.forwards, plan.start.queries), (7, 5, 0));
        let mut oracle = Oracle::default();
        let mut attack = attack(plugin, Behaviour::Well).unwrap();
        assert_eq!(attack.state_bytes(), 8);
        let result = drive(&mut attack, &mut oracle, 4).unwrap();
        assert_eq!(oracle.asked, 4 * (ROWS - 1) * 4);
        assert!(attack.warnings().is_empty(), "{:?}", attack.warnings());
        result
    });
    assert_eq!(results[0], results[1]);
    assert!(results[0].0.iter().all(|value| (0.0..=1.0).contains(value)));
    assert!(results[0].1.iter().any(|byte| *byte > 0));
}

#[test]
fn defenses_models_and_losses_give_the_same_numbers() {
    let library = Library::compile("components", &[]);
    for plugin in [in_process(&library), isolated(&library, workers())] {
        let shape = Shape { channels: 1, height: 1, width: 3, classes: 0 };
        let defense = plugin.defense(DEFENSE, &[]).unwrap();
        assert_eq!(defense.forward(shape, &[0.0, 0.25, 1.0]).unwrap(), [1.0, 0.75, 0.0]);
        assert_eq!(defense.pull(shape, &[0.0; 3], &[1.0, -2.0, 0.5]).unwrap(), [-1.0, 2.0, -0.5]);
        assert_eq!(defense.forward(shape, &[0.0; 4]).unwrap_err().kind, FailureKind::Failed);

        let weights: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let arguments = [
            Argument::File("weights.bin".to_owned(), weights),
            Argument::Numbers(vec![1.0, 2.0, 4.0]),
            Argument::Flag(true),
            Argument::Choice("half".to_owned()),
            Argument::Text("12".to_owned()),
        ];
        let model = plugin.model(MODEL, &arguments).unwrap();
        assert_eq!(model.shape(), Shape { channels: 1, height: 2, width: 2, classes: 3 });
        let logits = model.logits(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]).unwrap();
        assert_eq!(logits, [0.0, 4.0, 0.0, 2.25, 3.5, 0.0]);
        let failure = model.pull(&[0.0; 4], &[0.0; 3]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported);
        assert_eq!(failure.message, "the model `linear` does not have `pull`");
        let mut short = arguments;
        short[0] = Argument::File("short.bin".to_owned(), vec![1]);
        let failure = plugin.model(MODEL, &short).unwrap_err();
        assert_eq!(failure, Failure::new(FailureKind::BadValue, "the weights have another size"));

        let loss = plugin.loss(LOSS, &[]).unwrap();
        let (objectives, derivatives) = loss.evaluate(2, &[3.0, 4.0, 5.0, 6.0], &[1, 0], &[u32::MAX, 1]).unwrap();
        assert_eq!(objectives, [-4.0, 6.0]);
        assert_eq!(derivatives, [0.0, -1.0, 0.0, 1.0]);
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let library = Library::compile("components", &[]);
    for plugin in [in_process(&library), isolated(&library, workers())] {
        let kinds = |arguments: &[Argument]| plugin.attack(ATTACK, &PROBLEM, arguments).unwrap_err();
        assert_eq!(kinds(&[]).kind, FailureKind::BadValue);
        let swapped = [Argument::Number(0.0), Argument::Count(1), Argument::Unset];
        assert!(kinds(&swapped).message.contains("`behaviour` of `probing`"));
        let far = [Argument::Count(0), Argument::Number(2.0), Argument::Unset];
        assert_eq!(kinds(&far), Failure::new(FailureKind::BadValue, "a gain above 1 makes no sense"));
        assert!(plugin.attack(DEFENSE, &PROBLEM, &[]).unwrap_err().message.contains("is not an attack"));
        let failure = attack(&plugin, Behaviour::Crowd).unwrap_err();
        assert!(failure.message.contains("wants to keep 18446744073709551615 bytes"), "{failure}");
        assert!(attack(&plugin, Behaviour::Well).is_ok());
    }
}

#[test]
fn refusals_make_a_call_fail_whatever_the_plugin_returns() {
    let library = Library::compile("components", &[]);
    let cases = [
        (Behaviour::Ignore, FailureKind::Failed, "asked for row 4 of a batch of 4 rows"),
        (Behaviour::NullPointer, FailureKind::Failed, "null pointer"),
        (Behaviour::SecondTape, FailureKind::Failed, "second tape"),
        (Behaviour::StaleTape, FailureKind::Failed, "which is not live"),
        (Behaviour::Surrogate, FailureKind::Unsupported, "asked network 2, but has 1 surrogates"),
        (Behaviour::BadRole, FailureKind::Failed, "the role 9"),
        (Behaviour::ManyNumbers, FailureKind::Failed, "18446744073709551615 random numbers"),
        (Behaviour::Silent, FailureKind::Failed, "`probing` failed, and does not say why (status 77)"),
    ];
    for plugin in [in_process(&library), isolated(&library, workers())] {
        for (behaviour, kind, words) in cases {
            let mut oracle = Oracle::default();
            let (failure, _) = ending(&plugin, behaviour, &mut oracle);
            assert_eq!(failure.kind, kind, "{behaviour:?}: {failure}");
            assert!(failure.message.contains(words), "{behaviour:?}: {failure}");
            let tapes = matches!(behaviour, Behaviour::SecondTape | Behaviour::StaleTape);
            assert_eq!((oracle.asked, oracle.discarded), (tapes.into(), tapes.into()), "{behaviour:?}");
        }
        let troubles = [
            (Trouble::Budget, FailureKind::Budget, "nothing is left"),
            (
                Trouble::Panic,
                FailureKind::Device,
                "the host panicked while it answered the plugin: out of device memory",
            ),
            (Trouble::ShortAnswer, FailureKind::Failed, "the logits have 1 values instead of 12"),
        ];
        for (trouble, kind, words) in troubles {
            let mut oracle = Oracle { trouble, ..Oracle::default() };
            assert_eq!(ending(&plugin, Behaviour::Well, &mut oracle).0, Failure::new(kind, words));
        }
    }
}

#[test]
fn warnings_are_kept() {
    let library = Library::compile("components", &[]);
    for plugin in [in_process(&library), isolated(&library, workers())] {
        let mut oracle = Oracle::default();
        let (failure, warnings) = ending(&plugin, Behaviour::Speak, &mut oracle);
        assert_eq!(failure, Failure::new(FailureKind::Failed, "spoke"));
        assert_eq!(
            (warnings.as_slice(), oracle.said.as_slice()),
            (&["created".to_owned(), "careful".to_owned()][..], &["careful".to_owned()][..],)
        );

        let mut leaking = attack(&plugin, Behaviour::Leak).unwrap();
        let mut oracle = Oracle::default();
        drive(&mut leaking, &mut oracle, 3).unwrap();
        assert_eq!(oracle.discarded, 3);
        assert_eq!(leaking.warnings().len(), 1, "each thing once");
        assert!(leaking.warnings()[0].contains("left a tape behind"), "{:?}", leaking.warnings());
    }
}

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
    for behaviour in [Behaviour::Hang, Behaviour::Poll] {
        let (failure, _) = ending(&plugin, behaviour, &mut Oracle::default());
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

/// Not a test: a host that is killed while its plugin hangs.
#[test]
fn host_entry() {
    if std::env::var_os(ROLE).is_some_and(|role| role == "host") {
        let library = Library::compile("components", &[]);
        let hear = |message: &str| println!("\n{message}");
        let _ = ending(&isolated(&library, workers()), Behaviour::Process, &mut Oracle { hear, ..Oracle::default() });
    }
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
