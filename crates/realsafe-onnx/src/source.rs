//! The file that a parameter names: `builtin:NAME`, or one of the data directory.

use realsafe_core::Locations;
use realsafe_models::builtin_weights;
use realsafe_plan::Values;

use crate::signature::Signature;

/// What the file takes and gives, as far as it is there when specs are read.
///
/// # Errors
/// That it is not there, and those of [`Signature::read`].
pub(crate) fn signature(values: &Values, parameter: &str) -> Result<Signature, String> {
    match (values.path(parameter), builtin(values.text(parameter))) {
        (Some(path), _) if path.is_file() => Signature::read_file(path),
        (_, Some(bytes)) => Signature::read(bytes),
        _ => Err("it is not there".to_owned()),
    }
}

/// The bytes of the file.
///
/// # Errors
/// That it is not there, or cannot be read.
pub(crate) fn bytes(values: &Values, parameter: &str, locations: &Locations) -> Result<Vec<u8>, String> {
    let name = values.text(parameter);
    if name.starts_with("builtin:") {
        return builtin(name).map(<[u8]>::to_vec).ok_or_else(|| "it is not built in".to_owned());
    }
    fs_err::read(locations.file(name)).map_err(|error| error.to_string())
}

fn builtin(name: &str) -> Option<&'static [u8]> {
    name.strip_prefix("builtin:").and_then(builtin_weights)
}
