//! The attacks, one file each; a file's header is the attack's manual. What several share lies in `shared`.

mod bandits;
mod bim;
mod boundary;
mod fgsm;
mod mim;
mod p_rgf;
mod pgd;
mod rgf;
mod shared;
mod square;
