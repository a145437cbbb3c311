//! The C ABI of realsafe-spec plugins, version 1.
//!
//! A plugin is a shared library with one exported function, [`EntryFunction`], named [`REALSAFE_ENTRY`]. It returns a
//! [`RealsafePlugin`]: a table that names the plugin and lists its components, each with its documentation, its
//! parameters and a table of functions. `realsafe_plugin.h` says the same in C and is generated from this file.
//!
//! # Rules
//! - **Versions.** The major version is in the name of the entry. Minor versions only append fields to structs; every
//!   struct begins with its own size, and a field is there if the size covers it.
//! - **Memory.** Nobody frees the other side's memory. Outputs are allocated by the caller. What a table points to
//!   lives as long as the process: libraries are never unloaded. Arguments are borrowed for the call.
//! - **Numbers.** Images are `float`, row by row, each channel by channel, in `[0, 1]`, without gaps. The first element
//!   of an array is aligned to 64 bytes.
//! - **Threads.** An instance is used by one thread at a time, not always the same one. A host table and its context are
//!   valid during the call that they are passed to, on the calling thread.
//! - **Failures.** Functions return a [`RealsafeStatus`]. A status other than [`REALSAFE_OK`] that a host's function
//!   returns has to be passed on: the host holds the call to be failed whatever it returns. Unwinding out of a function
//!   ends the process.
#![no_std]

use core::ffi::{c_char, c_void};

/// The name of the exported function, the major version included.
pub const REALSAFE_ENTRY: &str = "realsafe_plugin_v1";

/// `RSPL` in the first four bytes of [`RealsafePlugin`], after its size.
pub const REALSAFE_MAGIC: u32 = 0x4C50_5352;
/// The version of the ABI that cannot be mixed with others.
pub const REALSAFE_MAJOR: u32 = 1;
/// The number of additions since. Version 1.1 added the plugin's homepage.
pub const REALSAFE_MINOR: u32 = 1;

/// What a function returns. Unknown numbers mean [`REALSAFE_FAILED`].
pub type RealsafeStatus = i32;
/// Done.
pub const REALSAFE_OK: RealsafeStatus = 0;
/// The user stopped the run.
pub const REALSAFE_CANCELLED: RealsafeStatus = 1;
/// More was asked for than the budget or the declared cost allows.
pub const REALSAFE_BUDGET: RealsafeStatus = 2;
/// A parameter, or a file that it names, does not fit.
pub const REALSAFE_BAD_VALUE: RealsafeStatus = 3;
/// The component did not declare that it asks for this.
pub const REALSAFE_UNSUPPORTED: RealsafeStatus = 4;
/// Any other failure.
pub const REALSAFE_FAILED: RealsafeStatus = 5;
/// The plugin panicked, and caught it.
pub const REALSAFE_PANICKED: RealsafeStatus = 6;

/// A component that looks for adversarial examples; its interface is [`RealsafeAttack`].
pub const REALSAFE_KIND_ATTACK: u32 = 1;
/// A component that stands in front of a model; its interface is [`RealsafeDefense`].
pub const REALSAFE_KIND_DEFENSE: u32 = 2;
/// A component that maps images to logits; its interface is [`RealsafeModel`].
pub const REALSAFE_KIND_MODEL: u32 = 3;
/// A component that attacks raise; its interface is [`RealsafeLoss`].
pub const REALSAFE_KIND_LOSS: u32 = 4;

/// A parameter that is true or false.
pub const REALSAFE_FLAG: u32 = 1;
/// A parameter that is a whole number.
pub const REALSAFE_COUNT: u32 = 2;
/// A parameter that is a number, written as 0.1 or "8/255".
pub const REALSAFE_NUMBER: u32 = 3;
/// A parameter that is a list of numbers.
pub const REALSAFE_NUMBERS: u32 = 4;
/// A parameter that is one of several words.
pub const REALSAFE_CHOICE: u32 = 5;
/// A parameter that is any text.
pub const REALSAFE_TEXT: u32 = 6;
/// A parameter that is a file, whose content the host reads.
pub const REALSAFE_FILE: u32 = 7;
/// A parameter that is a loss of the catalogue. Attacks only.
pub const REALSAFE_LOSS: u32 = 8;

/// A parameter that the spec must set.
pub const REALSAFE_REQUIRED: u32 = 0;
/// A parameter that stays unset when the spec does not set it.
pub const REALSAFE_UNSET: u32 = 1;
/// A parameter that has a default.
pub const REALSAFE_DEFAULT: u32 = 2;

/// The attack never asks the victim: it sees surrogates only, and the victim is judged once, at the end.
pub const REALSAFE_ACCESS_NONE: u32 = 0;
/// The attack sees predicted labels of the victim.
pub const REALSAFE_ACCESS_LABELS: u32 = 1;
/// The attack sees logits of the victim.
pub const REALSAFE_ACCESS_SCORES: u32 = 2;
/// The attack sees logits and gradients of the victim.
pub const REALSAFE_ACCESS_GRADIENTS: u32 = 3;

/// The largest change of a pixel. Norms are bits.
pub const REALSAFE_LINF: u32 = 1;
/// The Euclidean length of the change.
pub const REALSAFE_L2: u32 = 2;
/// The sum of all changes.
pub const REALSAFE_L1: u32 = 4;
/// The number of changed values.
pub const REALSAFE_L0: u32 = 8;

/// Any label but the true one. Goals are bits.
pub const REALSAFE_UNTARGETED: u32 = 1;
/// The target label.
pub const REALSAFE_TARGETED: u32 = 2;
/// Optimises towards the target; any label but the true one counts.
pub const REALSAFE_TARGETED_MISCLASSIFY: u32 = 4;

/// The derivative of what a defense's forward pass computes, from [`RealsafeDefense::pull`].
pub const REALSAFE_GRADIENT_EXACT: u32 = 1;
/// The identity: backward pass differentiable approximation (BPDA).
pub const REALSAFE_GRADIENT_IDENTITY: u32 = 2;
/// Zeros.
pub const REALSAFE_GRADIENT_BLOCKED: u32 = 3;

/// The defended model that is attacked. Surrogate number i is the network i + 1.
pub const REALSAFE_VICTIM: u32 = 0;

/// An image that is a candidate for the result.
pub const REALSAFE_ITERATE: u32 = 0;
/// An image that only measures; it counts as success under `success = "any-query"` alone.
pub const REALSAFE_PROBE: u32 = 1;

/// Softmax cross-entropy. Other losses come from parameters of the kind [`REALSAFE_LOSS`].
pub const REALSAFE_CROSS_ENTROPY: u64 = 0;
/// The largest other logit minus the logit of the class.
pub const REALSAFE_MARGIN: u64 = 1;

/// Uniform numbers in `[-1, 1)`.
pub const REALSAFE_UNIFORM: u32 = 0;
/// Standard normal numbers.
pub const REALSAFE_GAUSSIAN: u32 = 1;
/// A point of the ball around the origin, in the norm of the problem: uniform in the cube for linf, a Gaussian direction
/// times a uniform radius for l2.
pub const REALSAFE_BALL: u32 = 2;

/// The stream that draws where attacks start.
pub const REALSAFE_STREAM_START: u32 = 0;
/// The stream that draws what attacks need at a step. Numbers from 256 on are the plugin's own.
pub const REALSAFE_STREAM_STEP: u32 = 1;

/// No class: the target of a sample without one, or the prediction of a model that gives NaN.
pub const REALSAFE_NO_CLASS: u32 = u32::MAX;
/// No limit.
pub const REALSAFE_UNLIMITED: u64 = u64::MAX;

/// A message that helps to find mistakes.
pub const REALSAFE_LOG_DEBUG: u32 = 0;
/// A message that the user should see; it is recorded with the cell.
pub const REALSAFE_LOG_WARNING: u32 = 1;

/// UTF-8 without a terminating zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeText {
    /// The first byte; may be null when the length is 0.
    pub data: *const c_char,
    /// The number of bytes.
    pub length: u64,
}

/// Channels, height and width of images, and the number of classes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeShape {
    /// `sizeof` this struct.
    pub size: u32,
    /// Channels.
    pub channels: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// The number of classes.
    pub classes: u32,
}

/// A parameter of a component.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeParameter {
    /// `sizeof` this struct.
    pub size: u32,
    /// `REALSAFE_FLAG` to `REALSAFE_LOSS`.
    pub kind: u32,
    /// Its key in specs, in kebab case.
    pub name: RealsafeText,
    /// Its unit in words; empty where there is none.
    pub unit: RealsafeText,
    /// What it does, in a sentence.
    pub documentation: RealsafeText,
    /// `REALSAFE_REQUIRED`, `REALSAFE_UNSET` or `REALSAFE_DEFAULT`.
    pub fallback_kind: u32,
    /// The default as a spec would write it, without quotes: `40`, `8/255`, `true`, `0.5, 0.5`.
    pub fallback: RealsafeText,
    /// The least value of a count or number, or of each number of a list.
    pub minimum: f64,
    /// The most. Counts are whole numbers up to 2^53.
    pub maximum: f64,
    /// The words of a choice.
    pub choices: *const RealsafeText,
    /// How many words there are.
    pub choice_count: u64,
}

/// The value of a parameter. Values come in the order of the component's parameters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeValue {
    /// `sizeof` this struct.
    pub size: u32,
    /// The kind of the parameter, or 0 where it is unset.
    pub kind: u32,
    /// Of a count; of a flag, 0 or 1; of a loss, what [`RealsafeHost::gradient`] takes.
    pub count: u64,
    /// Of a number.
    pub number: f64,
    /// Of a list of numbers.
    pub numbers: *const f64,
    /// How many numbers there are.
    pub number_count: u64,
    /// Of a choice or text; of a file, its name as in the spec.
    pub text: RealsafeText,
    /// The content of a file.
    pub bytes: *const u8,
    /// The number of its bytes.
    pub byte_count: u64,
}

/// An amount of work on one sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealsafeCost {
    /// Images sent to the victim.
    pub queries: u64,
    /// Forward passes of the victim. `scores` and `labels` cost a query and a forward pass each.
    pub forwards: u64,
    /// Backward passes of the victim. `gradient` costs a query, a forward and a backward pass.
    pub backwards: u64,
}

/// What an attack is going to do, as far as its parameters tell.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafePlan {
    /// `sizeof` this struct.
    pub size: u32,
    /// How many steps it makes at most.
    pub steps: u32,
    /// The most that `start` asks of the victim per row.
    pub start: RealsafeCost,
    /// The most that one `step` asks of the victim per row.
    pub step: RealsafeCost,
}

/// What is fixed when an attack is created.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeProblem {
    /// `sizeof` this struct.
    pub size: u32,
    /// One of the norms.
    pub norm: u32,
    /// One of the goals.
    pub goal: u32,
    /// How many surrogates there are.
    pub surrogates: u32,
    /// The shape of all images, and the number of classes.
    pub shape: RealsafeShape,
}

/// The samples that an attack works on. Rows come and go between steps: what depends on a row's place is wrong.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeBatch {
    /// `sizeof` this struct.
    pub size: u32,
    /// How many rows there are.
    pub rows: u32,
    /// The clean images.
    pub images: *const f32,
    /// The true class of each row.
    pub labels: *const u32,
    /// The target of each row, or `REALSAFE_NO_CLASS`.
    pub targets: *const u32,
    /// The radius of each row; infinite where the attack minimises the distance.
    pub eps: *const f32,
    /// The index of each row in the dataset.
    pub samples: *const u32,
    /// The restart, from 0.
    pub restart: u32,
    /// The step, from 0.
    pub step: u32,
}

/// What a plugin may ask its host. Functions that the component's kind and access level do not cover are null.
///
/// Where a function takes `count`, `rows` and `images`, image i belongs to row `rows[i]` of the batch; a row may occur
/// several times or not at all. Every image is charged to the sample of its row.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeHost {
    /// `sizeof` this struct.
    pub size: u32,
    /// The minor version of the host.
    pub minor: u32,
    /// The first argument of all functions.
    pub context: *mut c_void,
    /// Predicts the class of each image, `REALSAFE_NO_CLASS` where the victim gives NaN.
    pub labels: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            count: u32,
            rows: *const u32,
            images: *const f32,
            role: u32,
            predictions: *mut u32,
        ) -> RealsafeStatus,
    >,
    /// Computes the logits of each image. The role matters for the victim only.
    pub scores: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            network: u32,
            count: u32,
            rows: *const u32,
            images: *const f32,
            role: u32,
            logits: *mut f32,
        ) -> RealsafeStatus,
    >,
    /// Computes the logits of each image, and the gradient along which the attacker's objective rises: the loss for the
    /// label, or minus the loss for the target.
    pub gradient: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            network: u32,
            count: u32,
            rows: *const u32,
            images: *const f32,
            loss: u64,
            role: u32,
            logits: *mut f32,
            gradients: *mut f32,
        ) -> RealsafeStatus,
    >,
    /// Computes the logits of each image and keeps what `pull` needs: a tape, of which there is at most one at a time.
    pub forward: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            network: u32,
            count: u32,
            rows: *const u32,
            images: *const f32,
            role: u32,
            logits: *mut f32,
            tape: *mut u64,
        ) -> RealsafeStatus,
    >,
    /// Multiplies the derivative of a tape's logits with cotangents (`count` times `classes`). The tape is gone
    /// afterwards, even after a failure.
    pub pull: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            tape: u64,
            cotangents: *const f32,
            gradients: *mut f32,
        ) -> RealsafeStatus,
    >,
    /// Gives up a tape.
    pub discard: Option<unsafe extern "C" fn(context: *mut c_void, tape: u64) -> RealsafeStatus>,
    /// Draws numbers from a stream of a row's sample, at this restart and step, from the beginning of the stream. The
    /// radius is that of `REALSAFE_BALL`.
    pub random: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            row: u32,
            stream: u32,
            distribution: u32,
            radius: f32,
            count: u64,
            values: *mut f32,
        ) -> RealsafeStatus,
    >,
    /// The 32 bytes that a random generator of the plugin's own is seeded with, for a row's sample at this restart and
    /// step.
    pub stream_seed:
        Option<unsafe extern "C" fn(context: *mut c_void, row: u32, stream: u32, seed: *mut u8) -> RealsafeStatus>,
    /// Replaces gradients by the direction of steepest ascent in the norm: the sign for linf, the unit vector for l2.
    pub steepest: Option<
        unsafe extern "C" fn(context: *mut c_void, count: u32, rows: *const u32, gradients: *mut f32) -> RealsafeStatus,
    >,
    /// Projects images onto the ball of their rows, then onto the box `[0, 1]`.
    pub project: Option<
        unsafe extern "C" fn(context: *mut c_void, count: u32, rows: *const u32, images: *mut f32) -> RealsafeStatus,
    >,
    /// What a row's sample may still spend during this call, under its budget and the declared cost;
    /// `REALSAFE_UNLIMITED` where neither is a limit.
    pub remaining:
        Option<unsafe extern "C" fn(context: *mut c_void, row: u32, remaining: *mut RealsafeCost) -> RealsafeStatus>,
    /// Whether the user stopped the run: 0 or 1.
    pub cancelled: Option<unsafe extern "C" fn(context: *mut c_void) -> u32>,
    /// Says something, `REALSAFE_LOG_DEBUG` or `REALSAFE_LOG_WARNING`.
    pub log: Option<unsafe extern "C" fn(context: *mut c_void, level: u32, message: RealsafeText)>,
    /// Says why the function that is running is about to fail.
    pub set_error: Option<unsafe extern "C" fn(context: *mut c_void, message: RealsafeText)>,
}

/// The functions of an attack.
///
/// It is a batch of independent per-sample machines. The host owns the iterates and the state, moves rows as samples
/// are done, and makes the steps: what is adversarial ends by itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeAttack {
    /// `sizeof` this struct.
    pub size: u32,
    /// One of `REALSAFE_ACCESS_...`.
    pub access: u32,
    /// 1 if it uses surrogates, else 0.
    pub surrogates: u32,
    /// The norms in which it works.
    pub norms: u32,
    /// The goals that it can pursue.
    pub goals: u32,
    /// 1 if it looks for the smallest distance and ignores eps, else 0.
    pub minimises_distance: u32,
    /// Says what it is going to do with these parameters. Losses and files are not there yet.
    pub plan: Option<
        unsafe extern "C" fn(
            host: *const RealsafeHost,
            values: *const *const RealsafeValue,
            value_count: u64,
            plan: *mut RealsafePlan,
        ) -> RealsafeStatus,
    >,
    /// Creates an instance.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const RealsafeHost,
            problem: *const RealsafeProblem,
            values: *const *const RealsafeValue,
            value_count: u64,
            instance: *mut *mut c_void,
        ) -> RealsafeStatus,
    >,
    /// Ends an instance.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// The number of bytes that it keeps per row, beside the iterate. Rows follow each other without gaps.
    pub state_bytes: Option<unsafe extern "C" fn(instance: *mut c_void) -> u64>,
    /// Sets up all rows. The iterates are the clean images, the state is zero.
    pub start: AttackFunction,
    /// Makes one step on every row.
    pub step: AttackFunction,
}

/// `start` and `step` of an attack: `iterates` are the images that it would return, `state` is its own.
pub type AttackFunction = Option<
    unsafe extern "C" fn(
        instance: *mut c_void,
        host: *const RealsafeHost,
        batch: *const RealsafeBatch,
        iterates: *mut f32,
        state: *mut u8,
    ) -> RealsafeStatus,
>;

/// The functions of a defense: deterministic, images to images of the same shape in `[0, 1]`, row by row.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeDefense {
    /// `sizeof` this struct.
    pub size: u32,
    /// The gradient that attackers are given by default, one of `REALSAFE_GRADIENT_...`.
    pub gradient: u32,
    /// Creates an instance.
    pub create: CreateFunction,
    /// Ends an instance.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// What the model gets to see.
    pub forward: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const RealsafeHost,
            shape: *const RealsafeShape,
            rows: u32,
            images: *const f32,
            output: *mut f32,
        ) -> RealsafeStatus,
    >,
    /// The vector-Jacobian product of `forward` at the images; null where there is none.
    pub pull: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const RealsafeHost,
            shape: *const RealsafeShape,
            rows: u32,
            images: *const f32,
            cotangents: *const f32,
            gradients: *mut f32,
        ) -> RealsafeStatus,
    >,
}

/// Creates an instance of a defense, model or loss.
pub type CreateFunction = Option<
    unsafe extern "C" fn(
        host: *const RealsafeHost,
        values: *const *const RealsafeValue,
        value_count: u64,
        instance: *mut *mut c_void,
    ) -> RealsafeStatus,
>;

/// The functions of a model: deterministic, row by row.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeModel {
    /// `sizeof` this struct.
    pub size: u32,
    /// The shape that it takes and the number of logits that it gives. Files are not there yet.
    pub shape: Option<
        unsafe extern "C" fn(
            host: *const RealsafeHost,
            values: *const *const RealsafeValue,
            value_count: u64,
            shape: *mut RealsafeShape,
        ) -> RealsafeStatus,
    >,
    /// Creates an instance.
    pub create: CreateFunction,
    /// Ends an instance.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// The logits of images.
    pub logits: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const RealsafeHost,
            rows: u32,
            images: *const f32,
            logits: *mut f32,
        ) -> RealsafeStatus,
    >,
    /// The vector-Jacobian product of `logits` at the images; null where there is none.
    pub pull: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const RealsafeHost,
            rows: u32,
            images: *const f32,
            cotangents: *const f32,
            gradients: *mut f32,
        ) -> RealsafeStatus,
    >,
}

/// The functions of a loss: what an attacker raises, as a function of one row's logits.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeLoss {
    /// `sizeof` this struct.
    pub size: u32,
    /// Creates an instance.
    pub create: CreateFunction,
    /// Ends an instance.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// The objective of each row and its derivative with respect to the row's logits: to be raised, away from the label
    /// or, where a row has one, towards the target.
    pub evaluate: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            host: *const RealsafeHost,
            rows: u32,
            classes: u32,
            logits: *const f32,
            labels: *const u32,
            targets: *const u32,
            objectives: *mut f32,
            derivatives: *mut f32,
        ) -> RealsafeStatus,
    >,
}

/// A component as everything but its own code sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafeComponent {
    /// `sizeof` this struct.
    pub size: u32,
    /// One of `REALSAFE_KIND_...`. Components of unknown kinds are passed over.
    pub kind: u32,
    /// Raised by hand whenever the component's numbers may change.
    pub revision: u32,
    /// The name that `use` takes, in kebab case.
    pub id: RealsafeText,
    /// The manual, in Markdown; its first paragraph is what lists show.
    pub documentation: RealsafeText,
    /// Keys of an example table, as TOML without `use`.
    pub example: RealsafeText,
    /// Everything that can be set.
    pub parameters: *const *const RealsafeParameter,
    /// How many parameters there are.
    pub parameter_count: u64,
    /// A [`RealsafeAttack`], [`RealsafeDefense`], [`RealsafeModel`] or [`RealsafeLoss`].
    pub interface: *const c_void,
}

/// A plugin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RealsafePlugin {
    /// `sizeof` this struct.
    pub size: u32,
    /// `REALSAFE_MAGIC`.
    pub magic: u32,
    /// `REALSAFE_MAJOR`.
    pub major: u32,
    /// `REALSAFE_MINOR` of the header that the plugin was built with.
    pub minor: u32,
    /// The least minor version that the plugin needs of its host.
    pub needs_minor: u32,
    /// The name, in kebab case.
    pub name: RealsafeText,
    /// The version, in words.
    pub version: RealsafeText,
    /// The licence, as an SPDX expression.
    pub licence: RealsafeText,
    /// What it is, in a sentence.
    pub documentation: RealsafeText,
    /// The components.
    pub components: *const *const RealsafeComponent,
    /// How many there are.
    pub component_count: u64,
    /// Where to read more; may be empty. Since version 1.1.
    pub homepage: RealsafeText,
}

/// The exported function: the plugin's table, or null when it cannot work with a host of that minor version.
pub type EntryFunction = unsafe extern "C" fn(host_minor: u32) -> *const RealsafePlugin;

impl RealsafeText {
    /// The text of a constant.
    pub const fn new(text: &'static str) -> Self {
        Self { data: text.as_ptr().cast(), length: text.len() as u64 }
    }
}

/// The size of [`RealsafePlugin`] in version 1.0.
pub const PLUGIN_SIZE_1_0: usize = core::mem::offset_of!(RealsafePlugin, homepage);

// SAFETY: these are tables of constants; nobody writes through their pointers.
unsafe impl Sync for RealsafeText {}
// SAFETY: see above.
unsafe impl Sync for RealsafeParameter {}
// SAFETY: see above.
unsafe impl Sync for RealsafeComponent {}
// SAFETY: see above.
unsafe impl Sync for RealsafePlugin {}
