//! The attacks, one file each; a file's header is the attack's manual. What several share lies in `shared`.

mod apgd;
mod apgd_t;
mod autoattack;
mod bandits;
mod bim;
mod boundary;
mod chain;
mod cw;
mod ddn;
mod deepfool;
mod dim;
mod evolutionary;
mod fgsm;
mod fmn;
mod hop_skip_jump;
mod mim;
mod p_rgf;
mod pgd;
mod rays;
mod rgf;
mod sgm;
mod shared;
mod si_ni_fgsm;
mod square;
mod tim;
mod vmi;
