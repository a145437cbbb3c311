//! The table of a plugin, driven as a host would.

mod attacks;
mod description;
mod host;
mod others;
mod values;
