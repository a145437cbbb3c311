//! The attacks, one file each; a file's header is the attack's manual. What several share lies in `shared`.

mod bim;
mod boundary;
mod dim;
mod fgsm;
mod mim;
mod pgd;
mod sgm;
mod shared;
mod si_ni_fgsm;
mod square;
mod tim;
mod vmi;
