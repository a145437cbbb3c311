//! What plugins say about their components, in the words of specs.

use realsafe_abi::{
    REALSAFE_ACCESS_LABELS, REALSAFE_ACCESS_NONE, REALSAFE_ACCESS_SCORES, REALSAFE_GRADIENT_BLOCKED,
    REALSAFE_GRADIENT_EXACT, REALSAFE_L0, REALSAFE_L1, REALSAFE_L2, REALSAFE_LINF, REALSAFE_TARGETED,
    REALSAFE_TARGETED_MISCLASSIFY, REALSAFE_UNTARGETED,
};
use realsafe_host::{Argument, Plugin};
use realsafe_plan::{
    Access, AttackTraits, Component, DefenseTraits, Fallback, Goal, GradientMode, ModelTraits, Norm, Origin, Parameter,
    ParameterKind, Surrogates, Traits, Value, Values,
};

use super::{Part, cost, keep};

/// The norms by their numbers in the ABI.
pub(super) const NORMS: [(u32, Norm); 4] =
    [(REALSAFE_LINF, Norm::Linf), (REALSAFE_L2, Norm::L2), (REALSAFE_L1, Norm::L1), (REALSAFE_L0, Norm::L0)];
/// The goals by their numbers in the ABI.
pub(super) const GOALS: [(u32, Goal); 3] = [
    (REALSAFE_UNTARGETED, Goal::Untargeted),
    (REALSAFE_TARGETED, Goal::Targeted),
    (REALSAFE_TARGETED_MISCLASSIFY, Goal::TargetedMisclassify),
];

/// The description of a component.
pub(super) fn component(plugin: &Plugin, described: &realsafe_host::Component, traits: Traits) -> Component {
    let description = plugin.description();
    Component {
        id: text(&described.id),
        revision: described.revision,
        origin: Origin::Plugin {
            name: text(&description.name),
            version: text(&description.version),
            blake3: plugin.digest().map(|digest| text(&digest.to_string())),
        },
        source: text(&described.documentation),
        parameters: list(described.parameters.iter().map(parameter)),
        example: text(&described.example),
        traits,
    }
}

pub(super) fn attack_traits(part: &Part, facts: &realsafe_host::Attack) -> Traits {
    let planned = part.clone();
    Traits::Attack(AttackTraits {
        access: match facts.access {
            REALSAFE_ACCESS_NONE => Access::Nothing,
            REALSAFE_ACCESS_LABELS => Access::Labels,
            REALSAFE_ACCESS_SCORES => Access::Scores,
            _ => Access::Gradients,
        },
        surrogates: if facts.surrogates { Surrogates::Needed } else { Surrogates::Unused },
        norms: list(NORMS.into_iter().filter(|(bit, _)| facts.norms & bit != 0).map(|(_, norm)| norm)),
        goals: list(GOALS.into_iter().filter(|(bit, _)| facts.goals & bit != 0).map(|(_, goal)| goal)),
        minimises_distance: facts.minimises_distance,
        cost: keep(move |values: &Values| {
            let plan = planned.plan(values)?;
            Ok(cost(plan.start).plus(cost(plan.step).times(plan.steps.into())))
        }),
    })
}

pub(super) fn defense_traits(facts: &realsafe_host::Defense) -> Traits {
    let default = match facts.gradient {
        REALSAFE_GRADIENT_EXACT => GradientMode::Exact,
        REALSAFE_GRADIENT_BLOCKED => GradientMode::Blocked,
        _ => GradientMode::Identity,
    };
    let exact = facts.pull.then_some(GradientMode::Exact);
    let others = exact.into_iter().chain([GradientMode::Identity, GradientMode::Blocked]);
    let gradients = [default].into_iter().chain(others.filter(|mode| *mode != default));
    Traits::Defense(DefenseTraits { gradients: list(gradients), ..DefenseTraits::PLAIN })
}

pub(super) fn model_traits(part: &Part, facts: &realsafe_host::Model) -> Traits {
    let (input, classes) = (part.clone(), part.clone());
    let shape = |part: &Part, values: &Values| {
        part.plugin.shape(part.index, &part.early(values)).map_err(|failure| failure.message)
    };
    Traits::Model(ModelTraits {
        input: keep(move |values: &Values| {
            let shape = shape(&input, values)?;
            Ok([shape.channels, shape.height, shape.width].map(|size| size as usize))
        }),
        classes: keep(move |values: &Values| Ok(shape(&classes, values)?.classes as usize)),
        differentiable: facts.pull,
        randomised: &|_| false,
    })
}

fn parameter(described: &realsafe_host::Parameter) -> Parameter {
    use realsafe_host::ParameterKind as Kind;
    let (minimum, maximum) = (described.minimum, described.maximum);
    Parameter {
        name: text(&described.name),
        kind: match described.kind {
            Kind::Flag => ParameterKind::Flag,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counts are small and positive"
            )]
            Kind::Count => ParameterKind::Count { minimum: minimum as u64, maximum: maximum as u64 },
            Kind::Number => ParameterKind::Number { minimum, maximum },
            Kind::Numbers => ParameterKind::Numbers { minimum, maximum },
            Kind::Choice => ParameterKind::Choice(list(described.choices.iter().map(|choice| text(choice)))),
            Kind::Text => ParameterKind::Text,
            Kind::File => ParameterKind::File,
            Kind::Loss => ParameterKind::Loss,
        },
        unit: text(&described.unit),
        fallback: match &described.fallback {
            realsafe_host::Fallback::Required => Fallback::Required,
            realsafe_host::Fallback::Unset => Fallback::Unset,
            realsafe_host::Fallback::Default(value) => Fallback::Value(text(value)),
        },
        documentation: text(&described.documentation),
    }
}

/// The values of a component in the order of its parameters; files and losses are left out.
pub(super) fn arguments(component: &realsafe_host::Component, values: &Values) -> Vec<Argument> {
    use realsafe_host::ParameterKind as Kind;
    let argument = |parameter: &realsafe_host::Parameter| match (values.get(&parameter.name), parameter.kind) {
        (None | Some(Value::Component(_) | Value::Components(_)), _) | (_, Kind::File) => Argument::Unset,
        (Some(Value::Flag(flag)), _) => Argument::Flag(*flag),
        (Some(Value::Count(count)), _) => Argument::Count(*count),
        (Some(Value::Number(number)), _) => Argument::Number(number.value()),
        (Some(Value::Numbers(_)), _) => Argument::Numbers(values.numbers(&parameter.name)),
        (Some(Value::Text(word)), Kind::Choice) => Argument::Choice(word.clone()),
        (Some(Value::Text(text)), _) => Argument::Text(text.clone()),
    };
    component.parameters.iter().map(argument).collect()
}

fn text(text: &str) -> &'static str {
    Box::leak(text.into())
}

fn list<T>(things: impl Iterator<Item = T>) -> &'static [T] {
    things.collect::<Vec<_>>().leak()
}
