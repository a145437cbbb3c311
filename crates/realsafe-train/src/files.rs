//! Files that are either absent or complete, also after a crash.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;

/// Replaces a file at once: readers see the old or the new bytes, never a part.
pub(crate) fn replace_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staging = tempfile::Builder::new().prefix(".part-").tempdir_in(path.parent().unwrap_or(Path::new(".")))?;
    let part = staging.path().join("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)
}
