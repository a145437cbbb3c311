//! The table says what the traits say.

use realsafe_plugin::abi::*;
use realsafe_plugin::{
    About, Attack, Batch, Component, Cost, Error, Goal, Loss, Norm, Package, Parameter, Plan, Plugin, Problem, Rows,
    Values, Victim, access,
};

use crate::host::read;

struct Quiet;

/// As `include_str!` gives it.
const SOURCE: &str = "//! Sums up.\n//!\n//!   - Indented.\n\nuse core::mem;\n//! Not of the header.\n";

struct Documented;

impl Loss for Documented {
    const ABOUT: About = About { id: "documented", revision: 1, documentation: SOURCE, example: "", parameters: &[] };

    fn create(_: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn evaluate(&self, logits: &[f32], _: u32, _: Option<u32>, _: &mut [f32]) -> Result<f32, Error> {
        Ok(logits.iter().sum())
    }
}

impl Attack for Quiet {
    const ABOUT: About = About {
        id: "quiet",
        revision: 3,
        documentation: "Does nothing.",
        example: "count = 2",
        parameters: &[
            Parameter::count("count", 1, 9).fallback("4").unit("things").documentation("How many."),
            Parameter::choice("choice", &["this", "that"]),
            Parameter::number("number", -1.0, 0.5).optional(),
        ],
    };
    const NORMS: &'static [Norm] = &[Norm::L2];
    const GOALS: &'static [Goal] = &[Goal::Untargeted, Goal::TargetedMisclassify];
    const MINIMISES_DISTANCE: bool = true;
    type Access = access::WithSurrogates<access::Nothing>;

    fn plan(_: &Values<'_>) -> Result<Plan, Error> {
        Ok(Plan { steps: 1, start: Cost::NOTHING, step: Cost::NOTHING })
    }

    fn create(_: &Problem, _: &Values<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn start(
        &self,
        _: &mut Victim<'_, Self::Access>,
        _: &Batch<'_>,
        _: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn step(
        &self,
        _: &mut Victim<'_, Self::Access>,
        _: &Batch<'_>,
        _: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }
}

static PLUGIN: Plugin = Plugin::new(
    Package { name: "tests", version: "1.2", licence: "MIT", documentation: "For tests", homepage: "home" },
    &[Component::attack::<Quiet>(), Component::attack::<Quiet>()],
);

realsafe_plugin::plugin!(static PACKAGE: [attack Quiet, loss Documented]);

#[test]
fn plugins_name_themselves_and_their_components() {
    let table = PLUGIN.table();
    assert!(std::ptr::eq(table, PLUGIN.table()));
    assert_eq!(table.size as usize, size_of::<RealsafePlugin>());
    assert_eq!((table.magic, table.major, table.minor), (REALSAFE_MAGIC, REALSAFE_MAJOR, REALSAFE_MINOR));
    assert_eq!(table.component_count, 2);
    let texts = [table.name, table.version, table.licence, table.documentation, table.homepage];
    // SAFETY: tables live as long as the process.
    let (texts, component) = unsafe { (texts.map(|text| read(text)), **table.components.add(1)) };
    assert_eq!(texts, ["tests", "1.2", "MIT", "For tests", "home"]);
    assert_eq!((component.kind, component.revision), (REALSAFE_KIND_ATTACK, 3));
    let texts = [component.id, component.documentation, component.example];
    // SAFETY: as above.
    let (texts, attack) = unsafe { (texts.map(|text| read(text)), *component.interface.cast::<RealsafeAttack>()) };
    assert_eq!(texts, ["quiet", "Does nothing.", "count = 2"]);
    assert_eq!((attack.access, attack.surrogates), (REALSAFE_ACCESS_NONE, 1));
    assert_eq!((attack.norms, attack.goals), (REALSAFE_L2, REALSAFE_UNTARGETED | REALSAFE_TARGETED_MISCLASSIFY));
    assert_eq!(attack.minimises_distance, 1);
}

#[test]
fn parameters_are_complete() {
    // SAFETY: tables live as long as the process.
    let (count, choice, number, length) = unsafe {
        let component = **PLUGIN.table().components;
        let parameters = component.parameters;
        (**parameters, **parameters.add(1), **parameters.add(2), component.parameter_count)
    };
    assert_eq!(length, 3);
    assert_eq!((count.kind, count.minimum, count.maximum), (REALSAFE_COUNT, 1.0, 9.0));
    assert_eq!((count.fallback_kind, count.choice_count), (REALSAFE_DEFAULT, 0));
    let texts = [count.name, count.unit, count.documentation, count.fallback];
    // SAFETY: as above.
    assert_eq!(texts.map(|text| unsafe { read(text) }), ["count", "things", "How many.", "4"]);
    assert_eq!((choice.kind, choice.fallback_kind, choice.choice_count), (REALSAFE_CHOICE, REALSAFE_REQUIRED, 2));
    // SAFETY: as above.
    assert_eq!(unsafe { [read(*choice.choices), read(*choice.choices.add(1))] }, ["this", "that"]);
    assert_eq!((number.kind, number.minimum, number.maximum), (REALSAFE_NUMBER, -1.0, 0.5));
    assert_eq!(number.fallback_kind, REALSAFE_UNSET);
}

#[test]
fn packages_are_described_by_cargo() {
    let table = PACKAGE.table();
    // SAFETY: tables live as long as the process.
    let texts = unsafe { [read(table.name), read(table.version), read(table.licence)] };
    assert_eq!(texts, ["realsafe-plugin", env!("CARGO_PKG_VERSION"), "MIT OR Apache-2.0"]);
}

#[test]
fn manuals_may_be_headers_of_source_files() {
    // SAFETY: tables live as long as the process.
    let manual = unsafe { read((**PACKAGE.table().components.add(1)).documentation) };
    assert_eq!(manual, "Sums up.\n\n  - Indented.");
}
