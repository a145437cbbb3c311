//! Specs from text to cells, with a catalogue made for the purpose.

mod attacks;
mod codes;
mod fixture;
mod keys;
mod messages;
mod randomised;
mod rejecting;
mod schema;
mod specs;
