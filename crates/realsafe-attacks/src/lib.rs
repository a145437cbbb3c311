//! The attacks, one file each; a file's header is the attack's manual. What several share lies in `shared`.

mod apgd;
mod apgd_t;
mod bim;
mod boundary;
mod fgsm;
mod mim;
mod pgd;
mod shared;
mod square;
