//! The manifest beside a library, which says what is in it to those who do not load it.

use std::path::{Path, PathBuf};

use fs_err as fs;
use realsafe_abi::REALSAFE_MAJOR;
use serde::{Deserialize, Serialize};

use crate::Description;
use crate::trust::replace;

/// What a manifest says. It is a hint: what counts is the library's own table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The plugin's licence.
    pub licence: String,
    /// The version of the ABI: `1.1`.
    pub abi: String,
    /// The components.
    #[serde(default, rename = "component")]
    pub components: Vec<ManifestComponent>,
}

/// A component in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestComponent {
    /// `attack`, `defense`, `model` or `loss`.
    pub kind: String,
    /// The name that `use` takes.
    pub id: String,
    /// The first paragraph of its documentation.
    pub summary: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// It is not what a manifest should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
}

/// Where the manifest of a library lies: `<stem>.plugin.toml` beside it.
pub fn manifest_path(library: &Path) -> PathBuf {
    library.with_extension("plugin.toml")
}

impl Manifest {
    /// The manifest that fits a description.
    pub fn of(description: &Description) -> Self {
        Self {
            name: description.name.clone(),
            version: description.version.clone(),
            licence: description.licence.clone(),
            abi: format!("{REALSAFE_MAJOR}.{}", description.minor),
            components: description
                .components
                .iter()
                .map(|component| ManifestComponent {
                    kind: component.interface.kind().to_owned(),
                    id: component.id.clone(),
                    summary: component.summary(),
                })
                .collect(),
        }
    }

    /// Reads the manifest beside a library; none where there is none.
    ///
    /// # Errors
    /// The manifest cannot be read, or is malformed.
    pub fn beside(library: &Path) -> Result<Option<Self>, ManifestError> {
        let path = manifest_path(library);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        toml::from_str(&text)
            .map(Some)
            .map_err(|error| ManifestError::Malformed { path, reason: error.to_string().trim_end().to_owned() })
    }

    /// Writes the manifest beside a library, and says where.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_beside(&self, library: &Path) -> Result<PathBuf, ManifestError> {
        let path = manifest_path(library);
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        replace(&path, &text)?;
        Ok(path)
    }
}
