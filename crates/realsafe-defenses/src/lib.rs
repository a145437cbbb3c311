//! The defenses, one file each; a file's header is the defense's manual.

mod bit_depth;
mod crop_rescale;
mod feature_squeezing;
mod gaussian_smoothing;
mod global_contrast_normalisation;
mod jpeg;
mod per_image_standardisation;
mod prediction_averaging;
mod quilting;
mod rand_disc;
mod rand_mix;
mod random_resize_pad;
mod shared;
mod thermometer;
mod total_variation;
mod zca_whitening;
