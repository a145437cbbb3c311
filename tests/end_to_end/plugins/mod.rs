//! Plugins as people use them: trusted, named in a spec, run by the program, in worker processes or linked into it.

mod equality;
mod examples;
mod interruption;
mod libraries;
mod loading;
mod misbehaviour;
mod surrogates;
mod workplace;
