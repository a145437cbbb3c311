//! The program as people use it: spawned, interrupted, resumed, compared with other libraries and between backends.

#[cfg(any(feature = "tch", feature = "wgpu"))]
mod backends;
mod batching;
mod defenses;
mod documentation;
mod foreign;
mod golden;
mod papers;
mod peers;
#[cfg(unix)]
mod plugins;
mod program;
mod quickstart;
mod resume;
