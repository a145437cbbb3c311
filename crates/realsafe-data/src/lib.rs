//! Datasets, one component per file: images and labels on the host, checked when they are read.

mod bytes;
mod datasets;
mod files;
