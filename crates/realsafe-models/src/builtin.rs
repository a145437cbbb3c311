//! Weights that the program carries, for `weights = "builtin:NAME"`.

/// Names and contents; a line per file in the crate's `weights` folder.
const BUILTIN: &[(&str, &[u8])] = &[
    ("digits-feature-denoising", include_bytes!("../weights/digits-feature-denoising.safetensors")),
    ("digits-fgsm-at", include_bytes!("../weights/digits-fgsm-at.safetensors")),
    ("digits-gaussian-noise", include_bytes!("../weights/digits-gaussian-noise.safetensors")),
    ("digits-generator", include_bytes!("../weights/digits-generator.onnx")),
    ("digits-interval-bound-propagation", include_bytes!("../weights/digits-interval-bound-propagation.safetensors")),
    ("digits-mmc", include_bytes!("../weights/digits-mmc.safetensors")),
    ("digits-label-leaking", include_bytes!("../weights/digits-label-leaking.safetensors")),
    ("digits-mmc-at", include_bytes!("../weights/digits-mmc-at.safetensors")),
    ("digits-pgd-at", include_bytes!("../weights/digits-pgd-at.safetensors")),
    ("digits-random-self-ensemble", include_bytes!("../weights/digits-random-self-ensemble.safetensors")),
    ("digits-standard", include_bytes!("../weights/digits-standard.safetensors")),
    ("digits-standard-onnx", include_bytes!("../weights/digits-standard.onnx")),
    ("digits-surrogate", include_bytes!("../weights/digits-surrogate.safetensors")),
    ("digits-thermometer", include_bytes!("../weights/digits-thermometer.safetensors")),
    ("digits-trades", include_bytes!("../weights/digits-trades.safetensors")),
    ("digits-whitened", include_bytes!("../weights/digits-whitened.safetensors")),
    ("digits-wong-kolter", include_bytes!("../weights/digits-wong-kolter.safetensors")),
    ("mnist-pgd-at", include_bytes!("../weights/mnist-pgd-at.safetensors")),
];

/// The safetensors file of that name, or nothing if there is none.
pub fn builtin_weights(name: &str) -> Option<&'static [u8]> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The names of all weights that the program carries.
pub(crate) fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}
