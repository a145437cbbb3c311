//! A plugin that is part of the program: a loss, written as tables in Rust.

use std::ffi::c_void;

use realsafe_abi::*;
use realsafe_host::{Fallback, LoadError, Plugin};

const TEXT: RealsafeText = RealsafeText::new("");

static TEMPERATURE: RealsafeParameter = RealsafeParameter {
    size: size_of::<RealsafeParameter>() as u32,
    kind: REALSAFE_NUMBER,
    name: RealsafeText::new("temperature"),
    unit: TEXT,
    documentation: RealsafeText::new("What logits are divided by."),
    fallback_kind: REALSAFE_DEFAULT,
    fallback: RealsafeText::new("1/2"),
    minimum: 0.0,
    maximum: 10.0,
    choices: std::ptr::null(),
    choice_count: 0,
};

unsafe extern "C" fn create(
    _: *const RealsafeHost,
    values: *const *const RealsafeValue,
    _: u64,
    instance: *mut *mut c_void,
) -> RealsafeStatus {
    // SAFETY: the host passes one value, and a place for the instance.
    unsafe { instance.write(Box::into_raw(Box::new((**values).number)).cast()) };
    REALSAFE_OK
}

unsafe extern "C" fn destroy(instance: *mut c_void) {
    // SAFETY: `create` made it.
    drop(unsafe { Box::from_raw(instance.cast::<f64>()) });
}

unsafe extern "C" fn evaluate(
    instance: *mut c_void,
    _: *const RealsafeHost,
    rows: u32,
    classes: u32,
    logits: *const f32,
    _: *const u32,
    _: *const u32,
    objectives: *mut f32,
    derivatives: *mut f32,
) -> RealsafeStatus {
    let (rows, classes) = (rows as usize, classes as usize);
    // SAFETY: the host's arrays have these lengths, and `create` made the instance.
    unsafe {
        let temperature = *instance.cast::<f64>() as f32;
        for row in 0..rows {
            objectives.add(row).write(*logits.add(row * classes) / temperature);
        }
        for value in 0..rows * classes {
            derivatives.add(value).write(if value % classes == 0 { temperature.recip() } else { 0.0 });
        }
    }
    REALSAFE_OK
}

static LOSS: RealsafeLoss = RealsafeLoss {
    size: size_of::<RealsafeLoss>() as u32,
    create: Some(create),
    destroy: Some(destroy),
    evaluate: Some(evaluate),
};

/// Pointers of tables of constants.
struct List<T>([*const T; 1]);
// SAFETY: nobody writes through the pointers.
unsafe impl<T> Sync for List<T> {}

static PARAMETERS: List<RealsafeParameter> = List([&TEMPERATURE]);
static COMPONENT: RealsafeComponent = RealsafeComponent {
    size: size_of::<RealsafeComponent>() as u32,
    kind: REALSAFE_KIND_LOSS,
    revision: 1,
    id: RealsafeText::new("tempered"),
    documentation: TEXT,
    example: TEXT,
    parameters: PARAMETERS.0.as_ptr(),
    parameter_count: 1,
    interface: (&raw const LOSS).cast(),
};
static COMPONENTS: List<RealsafeComponent> = List([&COMPONENT]);

const PLUGIN: RealsafePlugin = RealsafePlugin {
    size: size_of::<RealsafePlugin>() as u32,
    magic: REALSAFE_MAGIC,
    major: REALSAFE_MAJOR,
    minor: REALSAFE_MINOR,
    needs_minor: 0,
    name: RealsafeText::new("linked-in"),
    version: RealsafeText::new("1"),
    licence: TEXT,
    documentation: TEXT,
    components: COMPONENTS.0.as_ptr(),
    component_count: 1,
    homepage: TEXT,
};

#[test]
fn a_linked_plugin_is_called_in_process() {
    static TABLE: RealsafePlugin = PLUGIN;
    let plugin = Plugin::linked(&TABLE).unwrap();
    assert_eq!((plugin.digest(), plugin.path()), (None, None));
    let component = &plugin.description().components[0];
    assert_eq!(component.parameters[0].fallback, Fallback::Default("1/2".to_owned()));
    let loss = plugin.loss(0, &[realsafe_host::Argument::Number(0.5)]).unwrap();
    let (objectives, derivatives) = loss.evaluate(2, &[1.0, 5.0, 3.0, 0.0], &[0, 0], &[u32::MAX; 2]).unwrap();
    assert_eq!((objectives.as_slice(), derivatives.as_slice()), (&[2.0, 6.0][..], &[2.0, 0.0, 2.0, 0.0][..]));
    assert!(plugin.model(0, &[]).unwrap_err().message.contains("is not a model"));
}

#[test]
fn a_malformed_linked_plugin_is_named() {
    static TABLE: RealsafePlugin = RealsafePlugin { component_count: 1, components: std::ptr::null(), ..PLUGIN };
    let error = Plugin::linked(&TABLE).unwrap_err();
    assert!(matches!(error, LoadError::Malformed { .. }));
    assert_eq!(error.to_string(), "plugin `linked-in` (a linked plugin): components is a null pointer");
}
