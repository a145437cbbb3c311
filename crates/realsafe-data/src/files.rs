//! Finding, unpacking and checking the files of a dataset.

use std::io::Read;

use flate2::read::GzDecoder;
use fs_err as fs;
use md5::{Digest, Md5};
use realsafe_core::Locations;
use realsafe_plan::RequiredFile;

/// The unpacked content of the first candidate that exists, and that candidate's name.
///
/// # Errors
/// A message that names the file, what is wrong with it, and where people get it.
pub(crate) fn read(file: &RequiredFile, locations: &Locations) -> Result<(Vec<u8>, String), String> {
    let directory = locations.data.display();
    let again = format!("get it from {}", file.origin);
    let Some(name) = file.candidates.iter().find(|name| locations.file(name).is_file()) else {
        let names: Vec<String> = file.candidates.iter().map(|name| format!("`{name}`")).collect();
        return Err(format!(
            "there is no {names} in the data directory `{directory}`; {again}, and set the directory with `--data` or `REALSAFE_DATA`",
            names = names.join(" or "),
        ));
    };
    let path = locations.file(name);
    let packed = fs::read(&path).map_err(|error| error.to_string())?;
    let content = if name.ends_with(".gz") {
        let mut content = Vec::new();
        GzDecoder::new(packed.as_slice())
            .read_to_end(&mut content)
            .map_err(|error| format!("`{}` cannot be unpacked: {error}; {again}", path.display()))?;
        content
    } else {
        packed
    };
    if let Some(expected) = file.md5 {
        let found: String = Md5::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        if found != expected {
            return Err(format!(
                "`{path}` is damaged: the MD5 of its {size} bytes (unpacked) is {found}, expected {expected}; {again}",
                path = path.display(),
                size = content.len(),
            ));
        }
    }
    Ok((content, path.display().to_string()))
}
