//! Values of every kind, and of the wrong one.

use std::ptr::{from_ref, null_mut};

use realsafe_plugin::abi::*;
use realsafe_plugin::{About, Component, Error, Loss, LossChoice, Package, Parameter, Plugin, Values};

use crate::host::{Host, UNSET};

/// Fails unless its values are those of the first test.
struct Reader;

impl Loss for Reader {
    const ABOUT: About = About {
        id: "reader",
        revision: 1,
        documentation: "",
        example: "",
        parameters: &[
            Parameter::flag("flag"),
            Parameter::count("count", 0, 9),
            Parameter::number("number", 0.0, 1.0),
            Parameter::numbers("numbers", 0.0, 1.0),
            Parameter::choice("choice", &["this", "that"]),
            Parameter::text("text"),
            Parameter::file("file"),
            Parameter::loss("loss"),
            Parameter::number("unset", 0.0, 1.0).optional(),
        ],
    };

    fn create(values: &Values<'_>) -> Result<Self, Error> {
        assert!(values.flag("flag")?);
        assert_eq!(values.count("count")?, 7);
        assert_eq!(values.optional_count("count")?, Some(7));
        assert_eq!(values.number("number")?, 0.5);
        assert_eq!(values.numbers("numbers")?, [0.25, 0.75]);
        assert_eq!(values.choice("choice")?, "that");
        assert_eq!((values.text("text")?, values.optional_text("text")?), ("größe", Some("größe")));
        assert_eq!(values.file("file")?, b"content");
        assert_eq!(values.loss("loss")?, LossChoice::MARGIN);
        assert_eq!(values.optional_number("unset")?, None);
        for wrong in [values.count("flag").err(), values.number("unset").err(), values.flag("nothing").err()] {
            assert!(wrong.is_some());
        }
        Ok(Self)
    }

    fn evaluate(&self, _: &[f32], _: u32, _: Option<u32>, _: &mut [f32]) -> Result<f32, Error> {
        Ok(0.0)
    }
}

static PLUGIN: Plugin = Plugin::new(
    Package { name: "tests", version: "1", licence: "MIT", documentation: "", homepage: "" },
    &[Component::loss::<Reader>()],
);

fn text(bytes: &'static [u8]) -> RealsafeText {
    RealsafeText { data: bytes.as_ptr().cast(), length: bytes.len() as u64 }
}

fn values() -> [RealsafeValue; 9] {
    static NUMBERS: [f64; 2] = [0.25, 0.75];
    [
        RealsafeValue { kind: REALSAFE_FLAG, count: 1, ..UNSET },
        RealsafeValue { kind: REALSAFE_COUNT, count: 7, ..UNSET },
        RealsafeValue { kind: REALSAFE_NUMBER, number: 0.5, ..UNSET },
        RealsafeValue { kind: REALSAFE_NUMBERS, numbers: NUMBERS.as_ptr(), number_count: 2, ..UNSET },
        RealsafeValue { kind: REALSAFE_CHOICE, text: text(b"that"), ..UNSET },
        RealsafeValue { kind: REALSAFE_TEXT, text: text("größe".as_bytes()), ..UNSET },
        RealsafeValue { kind: REALSAFE_FILE, text: text(b"name"), bytes: b"content".as_ptr(), byte_count: 7, ..UNSET },
        RealsafeValue { kind: REALSAFE_LOSS, count: REALSAFE_MARGIN, ..UNSET },
        UNSET,
    ]
}

/// Creates the loss; gives the status and what was said.
fn create(values: &[RealsafeValue; 9]) -> (RealsafeStatus, Vec<String>) {
    let mut host = Host::default();
    let pointers = values.each_ref().map(from_ref);
    let mut instance = null_mut();
    // SAFETY: the component is a loss, and everything lives during the calls.
    let status = unsafe {
        let loss: &RealsafeLoss = &*(**PLUGIN.table().components).interface.cast();
        let status = loss.create.unwrap()(&host.table(), pointers.as_ptr(), 9, &mut instance);
        loss.destroy.unwrap()(instance);
        status
    };
    (status, host.errors)
}

#[test]
fn values_of_every_kind_are_read() {
    assert_eq!(create(&values()), (REALSAFE_OK, vec![]));
}

#[test]
fn values_that_break_the_rules_are_refused() {
    for (place, value, message) in [
        (0, RealsafeValue { kind: REALSAFE_NUMBER, ..UNSET }, "`flag` is not of the kind"),
        (1, UNSET, "`count` is not set"),
        (3, RealsafeValue { kind: REALSAFE_NUMBERS, number_count: 2, ..UNSET }, "null or not aligned"),
        (5, RealsafeValue { kind: REALSAFE_TEXT, text: text(b"\xff"), ..UNSET }, "not UTF-8"),
        (6, RealsafeValue { size: 8, kind: REALSAFE_FILE, ..UNSET }, "has 8 bytes"),
    ] {
        let mut values = values();
        values[place] = value;
        let (status, errors) = create(&values);
        assert_ne!(status, REALSAFE_OK);
        assert!(errors.len() == 1 && errors[0].contains(message), "{errors:?}");
    }
}
