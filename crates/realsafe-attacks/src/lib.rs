//! The attacks, one file each; a file's header is the attack's manual.

mod ascent;
mod bim;
mod boundary;
mod fgsm;
mod mim;
mod pgd;
mod square;
