//! What a plugin does is the same in this process and in a worker.

use realsafe_host::{Argument, Failure, FailureKind, Shape};

use crate::driver::{
    ATTACK, Behaviour, DEFENSE, LOSS, MODEL, ROWS, attack, drive, ending, in_process, isolated, workers,
};
use crate::library::Library;
use crate::oracle::{Oracle, PROBLEM, Trouble};

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
