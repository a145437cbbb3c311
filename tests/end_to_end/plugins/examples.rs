//! The example plugins.
