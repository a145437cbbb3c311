//! Reading and writing weights, and networks that have them; nothing in a file is ever executed.

use std::path::{Path, PathBuf};

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{
    ApplyError, ApplyResult, BurnToPyTorchAdapter, ChainAdapter, FloatCastAdapter, KeyRemapper, ModuleSnapshot,
    ModuleStore, PyTorchToBurnAdapter, PytorchStore, SafetensorsStore,
};
use burn::tensor::{DType, Device};
use realsafe_core::{Locations, Model};
use realsafe_plan::Values;

use crate::builtin::builtin_network;
use crate::network::{Evaluation, Network};

/// Prefixes that training scripts and the packages `robustness` and RobustBench leave in front of every key.
const WRAPPERS: [(&str, &str); 3] =
    [(r"^(state_dict|model_state_dict|model)\.", ""), (r"^module\.", ""), (r"^model\.", "")];

/// Whether a key, without prefixes, is of something that the same leave beside the weights: counters of batch norms, a second
/// copy of the network inside an attack, and buffers for the normalisation of channels, which here is a matter of parameters.
fn is_beside(key: &str) -> bool {
    key.ends_with("num_batches_tracked")
        || ["attacker.", "normalize.", "normalizer."].iter().any(|start| key.starts_with(start))
        || ["mean", "std", "mu", "sigma"].contains(&key)
}

/// Where weights come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file of this name and content that the program carries.
    Builtin(String, &'static [u8]),
    /// A file.
    File(PathBuf),
}

impl Source {
    /// Finds what a spec names: `builtin:NAME`, or a file.
    pub(crate) fn find(name: &str, locations: &Locations) -> Result<Self, String> {
        if let Some(builtin) = name.strip_prefix("builtin:") {
            return Ok(Self::Builtin(name.to_owned(), builtin_network(builtin)?));
        }
        let path = locations.file(name);
        if !path.is_file() {
            return Err(format!(
                "there is no weights file `{}`; paths are relative to the data directory `{}`",
                path.display(),
                locations.data.display()
            ));
        }
        Ok(Self::File(path))
    }

    /// The name that messages use.
    fn name(&self) -> String {
        match self {
            Self::Builtin(name, _) => name.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// All tensors of the file, by the keys that it uses.
    fn tensors(&self) -> Result<Vec<StoredTensor>, String> {
        fn all<S: ModuleStore>(mut store: S) -> Result<Vec<StoredTensor>, String>
        where
            S::Error: std::fmt::Display,
        {
            store
                .get_all_tensors()
                .map(|tensors| tensors.values().cloned().collect())
                .map_err(|error| error.to_string())
        }
        let tensors = match self {
            Self::Builtin(_, bytes) => {
                all(SafetensorsStore::from_bytes(Some(bytes.to_vec())).map_indices_contiguous(false))
            }
            Self::File(path) if path.extension().is_some_and(|extension| extension == "safetensors") => {
                all(SafetensorsStore::from_file(path).map_indices_contiguous(false))
            }
            Self::File(path) => all(PytorchStore::from_file(path).map_indices_contiguous(false)),
        };
        tensors.map_err(|error| {
            format!(
                "cannot read the weights file `{}`: {error}; it is damaged, or neither safetensors nor a PyTorch checkpoint",
                self.name()
            )
        })
    }
}

/// The body of every [`realsafe_core::ModelEntry`]: a network with the weights that its parameters name.
pub(crate) fn build<N: Network>(
    values: &Values,
    locations: &Locations,
    device: &Device,
) -> Result<Box<dyn Model>, String> {
    if !values.is_set("weights") {
        return Err("the network has no weights: name a file with `weights`, or train one first".to_owned());
    }
    let mut network = N::new(values, device);
    load(&mut network, &Source::find(values.text("weights"), locations)?)?;
    Ok(Box::new(Evaluation::new(&network)))
}

/// Gives a network the weights of a file, every one of which it must use.
///
/// # Errors
/// A message that names the file and each key that is missing, unused or of the wrong shape.
pub(crate) fn load<N: Network>(network: &mut N, source: &Source) -> Result<(), String> {
    let renames = WRAPPERS.iter().chain(N::RENAMES).copied();
    let remapper = KeyRemapper::from_pattern_iter(renames).map_err(|error| error.to_string())?;
    let (mut tensors, names) = remapper.remap(source.tensors()?);
    tensors.retain(|tensor| !is_beside(&tensor.name) && !N::UNUSED.iter().any(|start| tensor.name.starts_with(start)));
    let adapter = ChainAdapter::new(PyTorchToBurnAdapter, FloatCastAdapter::to(DType::F32));
    let result = network.apply(tensors, None, Some(Box::new(adapter)), true);
    let problems = problems(&result, &names);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("the weights file `{}` does not fit the network:\n  {}", source.name(), problems.join("\n  ")))
}

/// Writes a network's weights as safetensors, with keys and layouts as in PyTorch, replacing the file if there is one.
pub(crate) fn save<N: Network>(network: &N, path: &Path) -> Result<(), String> {
    let mut store = SafetensorsStore::from_file(path)
        .with_to_adapter(BurnToPyTorchAdapter)
        .clear_metadata()
        .skip_enum_variants(true)
        .map_indices_contiguous(false)
        .overwrite(true);
    network
        .save_into(&mut store)
        .map_err(|error| format!("cannot write the weights file `{}`: {error}", path.display()))
}

/// What is wrong with a file, in the file's own words; `names` pairs our keys with the file's.
fn problems(result: &ApplyResult, names: &[(String, String)]) -> Vec<String> {
    let original = |key: &str| names.iter().find(|(ours, _)| ours == key).map_or(key, |(_, theirs)| theirs).to_owned();
    let unused: Vec<String> = result.unused.iter().map(|key| original(key)).collect();
    let mut problems = Vec::new();
    for (key, container) in &result.missing {
        let key = pytorch_key(key, container);
        let near = unused
            .iter()
            .map(|other| (strsim::jaro_winkler(&key, other), other))
            .filter(|(similarity, _)| *similarity > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        problems.push(match near {
            Some((_, near)) => format!("key `{key}` is missing; the nearest unused key is `{near}`"),
            None => format!("key `{key}` is missing"),
        });
    }
    problems.extend(unused.iter().map(|key| format!("key `{key}` is not used by the network")));
    problems.extend(result.errors.iter().map(|error| match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            // Matrices lie transposed in the file.
            let shape = |shape: &[usize]| match shape {
                [rows, columns] => format!("[{columns}, {rows}]"),
                other => format!("{other:?}"),
            };
            format!("key `{}` has shape {}, but the network needs {}", original(path), shape(found), shape(expected))
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            format!("key `{}` holds {found:?}, but the network needs {expected:?}", original(path))
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            format!("key `{}` cannot be read: {message}", original(path))
        }
    }));
    problems
}

/// The key that PyTorch has for a parameter of ours.
fn pytorch_key(key: &str, container: &str) -> String {
    if !container.ends_with("BatchNorm") {
        return key.to_owned();
    }
    key.replace(".gamma", ".weight").replace(".beta", ".bias")
}
