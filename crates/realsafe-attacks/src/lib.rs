//! The attacks, one file each; a file's header is the attack's manual. What several share lies in `shared`.

mod bim;
mod boundary;
mod fab;
mod fab_t;
mod fgsm;
mod mim;
mod pgd;
mod shared;
mod square;
