//! The defenses, one file each; a file's header is the defense's manual.

mod bit_depth;
mod jpeg;
