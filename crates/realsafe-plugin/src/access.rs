//! What an attack may ask of the model that it attacks, as types: what is not declared has no method.

use std::fmt::Debug;
use std::marker::PhantomData;

use realsafe_abi::{REALSAFE_ACCESS_GRADIENTS, REALSAFE_ACCESS_LABELS, REALSAFE_ACCESS_NONE, REALSAFE_ACCESS_SCORES};

/// A level of access; the types of this module are all there are.
pub trait Access: sealed::Sealed + Debug + 'static {
    #[doc(hidden)]
    const LEVEL: u32;
    #[doc(hidden)]
    const SURROGATES: bool = false;
}

/// Predicted labels may be asked for.
pub trait SeesLabels: Access {}
/// Logits may be asked for.
pub trait SeesScores: SeesLabels {}
/// Gradients may be asked for.
pub trait SeesGradients: SeesScores {}
/// Surrogates may be asked for everything.
pub trait SeesSurrogates: Access {}

/// The victim is never asked; it is judged once, at the end.
#[derive(Clone, Copy, Debug)]
pub enum Nothing {}
/// Predicted labels.
#[derive(Clone, Copy, Debug)]
pub enum Labels {}
/// Labels and logits.
#[derive(Clone, Copy, Debug)]
pub enum Scores {}
/// Labels, logits and gradients.
#[derive(Clone, Copy, Debug)]
pub enum Gradients {}
/// What `A` allows, and surrogates.
#[derive(Clone, Copy, Debug)]
pub struct WithSurrogates<A>(PhantomData<A>);

impl Access for Nothing {
    const LEVEL: u32 = REALSAFE_ACCESS_NONE;
}
impl Access for Labels {
    const LEVEL: u32 = REALSAFE_ACCESS_LABELS;
}
impl Access for Scores {
    const LEVEL: u32 = REALSAFE_ACCESS_SCORES;
}
impl Access for Gradients {
    const LEVEL: u32 = REALSAFE_ACCESS_GRADIENTS;
}
impl<A: Access> Access for WithSurrogates<A> {
    const LEVEL: u32 = A::LEVEL;
    const SURROGATES: bool = true;
}

impl SeesLabels for Labels {}
impl SeesLabels for Scores {}
impl SeesLabels for Gradients {}
impl<A: SeesLabels> SeesLabels for WithSurrogates<A> {}
impl SeesScores for Scores {}
impl SeesScores for Gradients {}
impl<A: SeesScores> SeesScores for WithSurrogates<A> {}
impl SeesGradients for Gradients {}
impl<A: SeesGradients> SeesGradients for WithSurrogates<A> {}
impl<A: Access> SeesSurrogates for WithSurrogates<A> {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Nothing {}
    impl Sealed for super::Labels {}
    impl Sealed for super::Scores {}
    impl Sealed for super::Gradients {}
    impl<A: super::Access> Sealed for super::WithSurrogates<A> {}
}
