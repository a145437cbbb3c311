//! What the program carries in the crate's `weights` folder, for `builtin:NAME`.

/// Weights of networks of this crate: names and safetensors files.
const NETWORKS: &[(&str, &[u8])] = &[
    ("digits-adp-0", include_bytes!("../weights/digits-adp-0.safetensors")),
    ("digits-adp-1", include_bytes!("../weights/digits-adp-1.safetensors")),
    ("digits-adp-2", include_bytes!("../weights/digits-adp-2.safetensors")),
    ("digits-center-loss", include_bytes!("../weights/digits-center-loss.safetensors")),
    ("digits-feature-denoising", include_bytes!("../weights/digits-feature-denoising.safetensors")),
    ("digits-fgsm-at", include_bytes!("../weights/digits-fgsm-at.safetensors")),
    ("digits-gaussian-noise", include_bytes!("../weights/digits-gaussian-noise.safetensors")),
    ("digits-interval-bound-propagation", include_bytes!("../weights/digits-interval-bound-propagation.safetensors")),
    ("digits-label-leaking", include_bytes!("../weights/digits-label-leaking.safetensors")),
    ("digits-mmc", include_bytes!("../weights/digits-mmc.safetensors")),
    ("digits-mmc-at", include_bytes!("../weights/digits-mmc-at.safetensors")),
    ("digits-pgd-at", include_bytes!("../weights/digits-pgd-at.safetensors")),
    ("digits-random-self-ensemble", include_bytes!("../weights/digits-random-self-ensemble.safetensors")),
    ("digits-standard", include_bytes!("../weights/digits-standard.safetensors")),
    ("digits-standardised", include_bytes!("../weights/digits-standardised.safetensors")),
    ("digits-surrogate", include_bytes!("../weights/digits-surrogate.safetensors")),
    ("digits-thermometer", include_bytes!("../weights/digits-thermometer.safetensors")),
    ("digits-trades", include_bytes!("../weights/digits-trades.safetensors")),
    ("digits-whitened", include_bytes!("../weights/digits-whitened.safetensors")),
    ("digits-wong-kolter", include_bytes!("../weights/digits-wong-kolter.safetensors")),
    ("mnist-pgd-at", include_bytes!("../weights/mnist-pgd-at.safetensors")),
];

/// Graphs with their weights: names and ONNX files.
const GRAPHS: &[(&str, &[u8])] = &[
    ("digits-generator", include_bytes!("../weights/digits-generator.onnx")),
    ("digits-standard-onnx", include_bytes!("../weights/digits-standard.onnx")),
];

/// The safetensors or ONNX file of that name, or nothing if there is none.
pub fn builtin_weights(name: &str) -> Option<&'static [u8]> {
    find(NETWORKS, name).or_else(|| find(GRAPHS, name))
}

/// The safetensors file of that name.
///
/// # Errors
/// A message that names those that there are.
pub(crate) fn builtin_network(name: &str) -> Result<&'static [u8], String> {
    find(NETWORKS, name).ok_or_else(|| {
        let known: Vec<String> = NETWORKS.iter().map(|(name, _)| format!("`builtin:{name}`")).collect();
        let what = if find(GRAPHS, name).is_some() { "is an ONNX graph, no weights" } else { "is not built in" };
        format!("`builtin:{name}` {what}; weights that are built in: {}", known.join(", "))
    })
}

fn find(files: &'static [(&str, &[u8])], name: &str) -> Option<&'static [u8]> {
    files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}
