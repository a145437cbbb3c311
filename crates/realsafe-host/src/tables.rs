//! Reading a plugin's tables, which may be older, newer, or wrong.

use std::collections::BTreeSet;
use std::ffi::c_void;

use realsafe_abi::*;

use crate::place::Place;
use crate::{Attack, Component, Defense, Description, Fallback, Interface, LoadError, Model, Parameter, ParameterKind};

/// A plugin's description and its functions, in the same order.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) description: Description,
    pub(crate) functions: Vec<Functions>,
}

/// The functions of a component. Those that have to be there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Functions {
    Attack(RealsafeAttack),
    Defense(RealsafeDefense),
    Model(RealsafeModel),
    Loss(RealsafeLoss),
}

impl Tables {
    /// Reads a plugin's table. `source` says where it comes from.
    ///
    /// # Safety
    /// The pointer is null or points to a plugin's table that lives as long as the process.
    pub(crate) unsafe fn read(source: &str, table: *const RealsafePlugin) -> Result<Self, LoadError> {
        let place = Place { plugin: source, name: "the table of the plugin".to_owned() };
        place.check(table)?;
        // SAFETY: the first three fields are in every version of the struct.
        let [_, magic, major] = unsafe { table.cast::<[u32; 3]>().read() };
        let plugin = source.to_owned();
        if magic != REALSAFE_MAGIC {
            return Err(LoadError::Magic { plugin, found: magic });
        }
        if major < REALSAFE_MAJOR {
            return Err(LoadError::TooOld { plugin, major });
        }
        if major > REALSAFE_MAJOR {
            return Err(LoadError::TooNew { plugin, needs: major.to_string() });
        }
        // SAFETY: it is a plugin's table of our major version; numbers, texts and pointers may be zero.
        let table = unsafe { place.read(table, PLUGIN_SIZE_1_0) }?;
        if table.needs_minor > REALSAFE_MINOR {
            return Err(LoadError::TooNew { plugin, needs: format!("{REALSAFE_MAJOR}.{}", table.needs_minor) });
        }
        // SAFETY: the texts and lists of a plugin's table, by the ABI.
        unsafe { Self::read_plugin(source, &table) }
    }

    /// # Safety
    /// What the table points to is what the ABI says.
    unsafe fn read_plugin(source: &str, table: &RealsafePlugin) -> Result<Self, LoadError> {
        let place = Place { plugin: source, name: String::new() };
        // SAFETY: promised by the caller, as for all blocks of this function.
        let name = unsafe { place.at("the name of the plugin").kebab(table.name) }?;
        let named = format!("plugin `{name}` ({source})");
        let place = Place { plugin: &named, name: String::new() };
        // SAFETY: see above.
        let (version, licence, documentation, homepage, components) = unsafe {
            (
                place.at("version").text(table.version)?,
                place.at("licence").text(table.licence)?,
                place.at("documentation").text(table.documentation)?,
                place.at("homepage").text(table.homepage)?,
                place.at("components").list(table.components, table.component_count)?,
            )
        };
        if version.is_empty() {
            return Err(place.at("version").malformed("is empty"));
        }
        let minor = table.minor;
        let mut description = Description {
            name,
            version,
            licence,
            documentation,
            homepage,
            minor,
            components: Vec::new(),
            warnings: Vec::new(),
        };
        let mut functions = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, pointer) in components.iter().enumerate() {
            let place = place.at(format!("component {index}"));
            // SAFETY: see above; numbers, texts and pointers may be zero.
            let component = unsafe { place.read(*pointer, size_of::<RealsafeComponent>()) }?;
            // SAFETY: see above.
            let id = unsafe { place.at("id").kebab(component.id) }?;
            if !(REALSAFE_KIND_ATTACK..=REALSAFE_KIND_LOSS).contains(&component.kind) {
                let kind = component.kind;
                description
                    .warnings
                    .push(format!("component `{id}` is of kind {kind}, which this program does not know"));
                continue;
            }
            let place = Place { plugin: &named, name: format!("component `{id}`") };
            // SAFETY: see above.
            let (read, table) = unsafe { read_component(&place, id, &component) }?;
            if !seen.insert((component.kind, read.id.clone())) {
                return Err(place.malformed(format!("occurs twice among the {} components", read.interface.kind())));
            }
            description.components.push(read);
            functions.push(table);
        }
        Ok(Self { description, functions })
    }
}

/// # Safety
/// What the table points to is what the ABI says.
unsafe fn read_component(
    place: &Place<'_>,
    id: String,
    table: &RealsafeComponent,
) -> Result<(Component, Functions), LoadError> {
    // SAFETY: promised by the caller.
    let (documentation, example, pointers, (interface, functions)) = unsafe {
        (
            place.at("documentation").text(table.documentation)?,
            place.at("example").text(table.example)?,
            place.at("parameters").list(table.parameters, table.parameter_count)?,
            read_interface(&place.at("interface"), table.kind, table.interface)?,
        )
    };
    let mut parameters = Vec::<Parameter>::new();
    for (index, pointer) in pointers.iter().enumerate() {
        let unnamed = place.at(format!("parameter {index}"));
        // SAFETY: promised by the caller; numbers, texts and pointers may be zero.
        let parameter = unsafe { unnamed.read(*pointer, size_of::<RealsafeParameter>()) }?;
        // SAFETY: promised by the caller.
        let name = unsafe { unnamed.at("name").kebab(parameter.name) }?;
        let place = place.at(format!("parameter `{name}`"));
        if parameters.iter().any(|other| other.name == name) {
            return Err(place.malformed("occurs twice"));
        }
        // SAFETY: promised by the caller.
        let parameter = unsafe { read_parameter(&place, name, &parameter) }?;
        if parameter.kind == ParameterKind::Loss && table.kind != REALSAFE_KIND_ATTACK {
            return Err(place.malformed("is a loss, which only attacks can have"));
        }
        parameters.push(parameter);
    }
    let component = Component { id, revision: table.revision, documentation, example, parameters, interface };
    Ok((component, functions))
}

/// # Safety
/// What the table points to is what the ABI says.
unsafe fn read_parameter(place: &Place<'_>, name: String, table: &RealsafeParameter) -> Result<Parameter, LoadError> {
    let kind = match table.kind {
        REALSAFE_FLAG => ParameterKind::Flag,
        REALSAFE_COUNT => ParameterKind::Count,
        REALSAFE_NUMBER => ParameterKind::Number,
        REALSAFE_NUMBERS => ParameterKind::Numbers,
        REALSAFE_CHOICE => ParameterKind::Choice,
        REALSAFE_TEXT => ParameterKind::Text,
        REALSAFE_FILE => ParameterKind::File,
        REALSAFE_LOSS => ParameterKind::Loss,
        kind => return Err(place.at("kind").malformed(format!("is {kind}, which this program does not know"))),
    };
    // SAFETY: promised by the caller, as for all blocks of this function.
    let (unit, documentation, default, texts) = unsafe {
        (
            place.at("unit").text(table.unit)?,
            place.at("documentation").text(table.documentation)?,
            place.at("default").text(table.fallback)?,
            place.at("choices").list(table.choices, table.choice_count)?,
        )
    };
    // SAFETY: see above.
    let choices = texts.iter().map(|text| unsafe { place.at("choices").text(*text) }).collect::<Result<Vec<_>, _>>()?;
    let fallback = match table.fallback_kind {
        REALSAFE_REQUIRED => Fallback::Required,
        REALSAFE_UNSET => Fallback::Unset,
        REALSAFE_DEFAULT => Fallback::Default(default),
        other => return Err(place.at("fallback kind").malformed(format!("is {other}, which is no fallback"))),
    };
    let (minimum, maximum) = (table.minimum, table.maximum);
    let ranged = matches!(kind, ParameterKind::Count | ParameterKind::Number | ParameterKind::Numbers);
    if ranged && (minimum.is_nan() || maximum.is_nan() || minimum > maximum) {
        return Err(place.malformed(format!("has the range {minimum} to {maximum}, which is empty")));
    }
    if kind == ParameterKind::Choice {
        if choices.is_empty() || choices.iter().any(String::is_empty) {
            return Err(place.at("choices").malformed("has no words, or an empty one"));
        }
        if let Fallback::Default(default) = &fallback
            && !choices.contains(default)
        {
            return Err(place.at("default").malformed(format!("is `{default}`, which is none of its choices")));
        }
    }
    Ok(Parameter { name, kind, unit, documentation, fallback, minimum, maximum, choices })
}

/// # Safety
/// The pointer is null, not aligned, or points to the interface of a component of that kind.
unsafe fn read_interface(
    place: &Place<'_>,
    kind: u32,
    pointer: *const c_void,
) -> Result<(Interface, Functions), LoadError> {
    // SAFETY of all reads: promised by the caller; numbers, pointers and functions may be zero.
    match kind {
        REALSAFE_KIND_ATTACK => {
            // SAFETY: see above.
            let table = unsafe { place.read(pointer.cast::<RealsafeAttack>(), size_of::<RealsafeAttack>()) }?;
            Ok((Interface::Attack(read_attack(place, &table)?), Functions::Attack(table)))
        }
        REALSAFE_KIND_DEFENSE => {
            // SAFETY: see above.
            let table = unsafe { place.read(pointer.cast::<RealsafeDefense>(), size_of::<RealsafeDefense>()) }?;
            place.required(table.create, "create")?;
            place.required(table.destroy, "destroy")?;
            place.required(table.forward, "forward")?;
            let (gradient, pull) = (table.gradient, table.pull.is_some());
            if !(REALSAFE_GRADIENT_EXACT..=REALSAFE_GRADIENT_BLOCKED).contains(&gradient) {
                return Err(place.at("gradient").malformed(format!("is {gradient}, which this program does not know")));
            }
            if gradient == REALSAFE_GRADIENT_EXACT && !pull {
                return Err(place.at("pull").malformed("is null, but the gradient is exact by default"));
            }
            Ok((Interface::Defense(Defense { gradient, pull }), Functions::Defense(table)))
        }
        REALSAFE_KIND_MODEL => {
            // SAFETY: see above.
            let table = unsafe { place.read(pointer.cast::<RealsafeModel>(), size_of::<RealsafeModel>()) }?;
            place.required(table.shape, "shape")?;
            place.required(table.create, "create")?;
            place.required(table.destroy, "destroy")?;
            place.required(table.logits, "logits")?;
            Ok((Interface::Model(Model { pull: table.pull.is_some() }), Functions::Model(table)))
        }
        _ => {
            // SAFETY: see above.
            let table = unsafe { place.read(pointer.cast::<RealsafeLoss>(), size_of::<RealsafeLoss>()) }?;
            place.required(table.create, "create")?;
            place.required(table.destroy, "destroy")?;
            place.required(table.evaluate, "evaluate")?;
            Ok((Interface::Loss, Functions::Loss(table)))
        }
    }
}

fn read_attack(place: &Place<'_>, table: &RealsafeAttack) -> Result<Attack, LoadError> {
    place.required(table.plan, "plan")?;
    place.required(table.create, "create")?;
    place.required(table.destroy, "destroy")?;
    place.required(table.state_bytes, "state_bytes")?;
    place.required(table.start, "start")?;
    place.required(table.step, "step")?;
    let attack = Attack {
        access: table.access,
        surrogates: place.at("surrogates").flag(table.surrogates)?,
        norms: table.norms & (REALSAFE_LINF | REALSAFE_L2 | REALSAFE_L1 | REALSAFE_L0),
        goals: table.goals & (REALSAFE_UNTARGETED | REALSAFE_TARGETED | REALSAFE_TARGETED_MISCLASSIFY),
        minimises_distance: place.at("minimises_distance").flag(table.minimises_distance)?,
    };
    if attack.access > REALSAFE_ACCESS_GRADIENTS {
        return Err(place.at("access").malformed(format!("is {}, which this program does not know", attack.access)));
    }
    if attack.access == REALSAFE_ACCESS_NONE && !attack.surrogates {
        return Err(place.at("access").malformed("is none, but the attack uses no surrogates either"));
    }
    if attack.norms == 0 {
        return Err(place.at("norms").malformed("has no norm that this program knows"));
    }
    if attack.goals == 0 {
        return Err(place.at("goals").malformed("has no goal that this program knows"));
    }
    Ok(attack)
}
