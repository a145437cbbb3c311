//! The attacks, one file each; a file's header is the attack's manual. What several share lies in `shared`.

mod bim;
mod boundary;
mod evolutionary;
mod fgsm;
mod hop_skip_jump;
mod mim;
mod pgd;
mod rays;
mod shared;
mod square;
