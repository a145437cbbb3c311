//! Where data and weights lie: `--data`, then `REALSAFE_DATA`, then `realsafe` in the platform's cache directory.

use std::path::PathBuf;

use realsafe_core::Locations;
use realsafe_plan::Environment;

/// The option that says it.
#[derive(clap::Args, Debug)]
pub(crate) struct DataDirectory {
    /// Directory of datasets and weights [default: $REALSAFE_DATA, then `realsafe` in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataDirectory {
    /// The directory, and in words what said so.
    fn find(&self) -> (PathBuf, &'static str) {
        let variable = || std::env::var_os("REALSAFE_DATA").filter(|value| !value.is_empty());
        if let Some(data) = &self.data {
            (data.clone(), "--data")
        } else if let Some(data) = variable() {
            (data.into(), "REALSAFE_DATA")
        } else {
            (dirs::cache_dir().unwrap_or_default().join("realsafe"), "the default")
        }
    }

    /// For specs that are read.
    pub(crate) fn environment(&self) -> Environment<'static> {
        let (data, origin) = self.find();
        let builtin = &|name: &str| realsafe_models::builtin_weights(name).map(<[u8]>::to_vec);
        Environment { data, data_origin: origin.to_owned(), builtin, read_files: true }
    }

    /// For components that are built.
    pub(crate) fn locations(&self) -> Locations {
        Locations { data: self.find().0 }
    }
}
