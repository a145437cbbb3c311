//! The recipes, one file each.

mod adp;
mod alp;
mod center_loss;
mod deep_defense;
mod ensemble_at;
mod fast_at;
mod fgsm_at;
mod free_at;
mod interval_bound_propagation;
mod label_smoothing;
mod mart;
mod mmc;
mod mmc_at;
mod pgd_at;
mod standard;
mod trades;
mod wong_kolter;
