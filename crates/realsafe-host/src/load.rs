//! Opening a library and finding its table.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use realsafe_abi::{EntryFunction, REALSAFE_ENTRY, REALSAFE_MAJOR, REALSAFE_MINOR};
use serde::{Deserialize, Serialize};

use crate::tables::Tables;
use crate::{Digest, Failure};

/// Why a plugin was not loaded. `plugin` is its file, or says that it is linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{reason}")]
    Read {
        /// What the system says, with the file.
        reason: String,
    },
    /// The file is not a shared library.
    #[error("{plugin} is not a shared library; build the plugin as one (a `cdylib` in Rust, `cc -shared -fPIC` in C)")]
    NotALibrary {
        /// The file.
        plugin: String,
    },
    /// The library is for another machine.
    #[error("{plugin} is built for {found}, but this program runs on {expected}; build it for {expected}")]
    Architecture {
        /// The file.
        plugin: String,
        /// What it is built for.
        found: String,
        /// What this program is built for.
        expected: String,
    },
    /// The system's loader refuses the library.
    #[error("{plugin} cannot be opened: {reason}")]
    Open {
        /// The file.
        plugin: String,
        /// What the loader says.
        reason: String,
    },
    /// The library does not export the function that plugins export.
    #[error("{plugin} does not export `{entry}`, so it is no realsafe-spec plugin of version {REALSAFE_MAJOR}")]
    NoEntry {
        /// The file.
        plugin: String,
        /// The function that is missing.
        entry: String,
    },
    /// The table does not begin as plugins' tables do.
    #[error(
        "{plugin}: its table has the magic number {found:#010x} instead of {expected:#010x}, so it is no plugin's table",
        expected = realsafe_abi::REALSAFE_MAGIC
    )]
    Magic {
        /// The plugin.
        plugin: String,
        /// What stands there.
        found: u32,
    },
    /// The plugin is made for an older ABI.
    #[error(
        "{plugin} is made for version {major} of the plugin ABI, which is too old; build it with the header or SDK of \
         version {REALSAFE_MAJOR}"
    )]
    TooOld {
        /// The plugin.
        plugin: String,
        /// The version that it is made for.
        major: u32,
    },
    /// The plugin needs a newer host.
    #[error(
        "{plugin} needs version {needs} of the plugin ABI, but this program has {REALSAFE_MAJOR}.{REALSAFE_MINOR}; use a \
         newer realsafe-spec or an older version of the plugin"
    )]
    TooNew {
        /// The plugin.
        plugin: String,
        /// The version that it needs.
        needs: String,
    },
    /// The plugin says that it cannot work with this host.
    #[error(
        "{plugin} says that it cannot work with version {REALSAFE_MAJOR}.{REALSAFE_MINOR} of the plugin ABI, the one of \
         this program"
    )]
    Refused {
        /// The plugin.
        plugin: String,
    },
    /// A struct is shorter than version 1.0 has it.
    #[error("{plugin}: {place} has {found} bytes, but version {REALSAFE_MAJOR}.0 of the plugin ABI has {least}")]
    Truncated {
        /// The plugin.
        plugin: String,
        /// Which struct.
        place: String,
        /// The size that it states.
        found: u32,
        /// The size that it has to have.
        least: u32,
    },
    /// Something in the table makes no sense.
    #[error("{plugin}: {place} {reason}")]
    Malformed {
        /// The plugin.
        plugin: String,
        /// The component and the field.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The file is not the one that is trusted.
    #[error("{plugin} has the BLAKE3 digest {found}, but {expected} was expected; it was changed in the meantime")]
    Changed {
        /// The file.
        plugin: String,
        /// The digest that was expected.
        expected: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// The worker process did not load it.
    #[error("{plugin} could not be loaded in a worker process: {failure}")]
    Worker {
        /// The file.
        plugin: String,
        /// What happened to the worker.
        failure: Failure,
    },
}

/// Loads a library into this process, once per digest. It is never closed.
pub(crate) fn load(path: &Path, expected: Digest) -> Result<Arc<Tables>, LoadError> {
    static LOADED: Mutex<BTreeMap<Digest, Arc<Tables>>> = Mutex::new(BTreeMap::new());

    let read = |error: std::io::Error| LoadError::Read { reason: error.to_string() };
    let plugin = path.display().to_string();
    let found = Digest::of_file(path).map_err(read)?;
    if found != expected {
        return Err(LoadError::Changed { plugin, expected, found });
    }
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tables) = loaded.get(&found) {
        return Ok(Arc::clone(tables));
    }
    check_format(path, &plugin)?;
    let absolute = fs::canonicalize(path).map_err(read)?;
    // SAFETY: the initialisers of a library are code that the user trusts: its digest was asked for.
    let library = unsafe { Library::open(Some(&absolute), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| LoadError::Open { plugin: plugin.clone(), reason: reason(&error) })?;
    // Functions and constants of the library are used until the process ends.
    let library = Box::leak(Box::new(library));
    // SAFETY: the name, with the major version in it, says what type the function has.
    let entry = unsafe { library.get::<EntryFunction>(REALSAFE_ENTRY.as_bytes()) }
        .map_err(|_| LoadError::NoEntry { plugin: plugin.clone(), entry: REALSAFE_ENTRY.to_owned() })?;
    // SAFETY: the ABI allows to call it with any number.
    let table = unsafe { entry(REALSAFE_MINOR) };
    if table.is_null() {
        return Err(LoadError::Refused { plugin });
    }
    // SAFETY: what the entry returns is a table, by the ABI, and the library stays.
    let tables = Arc::new(unsafe { Tables::read(&plugin, table) }?);
    loaded.insert(found, Arc::clone(&tables));
    Ok(tables)
}

/// What the loader says; libloading keeps it in the source of its error.
fn reason(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Tells what the loader would say in its own words, or not at all.
fn check_format(path: &Path, plugin: &str) -> Result<(), LoadError> {
    let mut header = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(20).read_to_end(&mut header))
        .map_err(|error| LoadError::Read { reason: error.to_string() })?;
    let not_a_library = || LoadError::NotALibrary { plugin: plugin.to_owned() };
    if cfg!(target_vendor = "apple") {
        let magics = [[0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];
        return if magics.iter().any(|magic| header.starts_with(magic)) { Ok(()) } else { Err(not_a_library()) };
    }
    let [0x7f, b'E', b'L', b'F', class, order, .., type_0, type_1, machine_0, machine_1] = header[..] else {
        return Err(not_a_library());
    };
    let number = |bytes| if order == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    const SHARED: u16 = 3;
    if number([type_0, type_1]) != SHARED {
        return Err(not_a_library());
    }
    let found = architecture(number([machine_0, machine_1]), class == 2);
    let expected = if cfg!(target_pointer_width = "64") { ARCH.to_owned() } else { format!("{ARCH} (32 bits)") };
    if found == expected {
        return Ok(());
    }
    Err(LoadError::Architecture { plugin: plugin.to_owned(), found, expected })
}

/// The machine of an ELF file, as Rust names it.
fn architecture(machine: u16, wide: bool) -> String {
    let name = match machine {
        3 => "x86",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 if wide => "riscv64",
        243 => "riscv32",
        258 => "loongarch64",
        _ => return format!("machine {machine} of the ELF format"),
    };
    if wide { name.to_owned() } else { format!("{name} (32 bits)") }
}
