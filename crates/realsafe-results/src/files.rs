//! Files that are either absent or complete, also after a crash.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use serde::Serialize;
use tempfile::TempDir;

use crate::Result;
use crate::tables::row::{About, Row};

/// Writes a file and waits until the disk has it.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

/// Waits until the disk has the names in a folder; only Unix can say so.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    if cfg!(unix) {
        fs::File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// Replaces a file at once: readers see the old or the new bytes, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let staging = staging(parent)?;
    let part = staging.path().join("part");
    write_durably(&part, bytes)?;
    fs::rename(&part, path)?;
    sync_directory(parent)
}

/// A hidden folder beside the files to come, removed when dropped.
pub(crate) fn staging(parent: &Path) -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(".part-").tempdir_in(parent)?)
}

/// BLAKE3 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

/// Rows as CSV below a header: `\n` at line ends, the shortest floats that read back the same, `inf` for infinity.
pub(crate) fn csv_bytes<R: Serialize>(header: &[&str], rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let written = writer.write_record(header).and_then(|()| rows.into_iter().try_for_each(|row| writer.serialize(row)));
    written.map_err(std::io::Error::from)?;
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}

/// Rows as CSV below the names of their fields, which stand there without rows, too.
pub(crate) fn csv_table<R: Default + Serialize>(rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>> {
    csv_bytes(&names::<R>()?.iter().collect::<Vec<_>>(), rows)
}

/// The same for rows that say first what they are about.
pub(crate) fn csv_rows<'a, T: Default + Serialize + 'a>(rows: impl IntoIterator<Item = &'a Row<T>>) -> Result<Vec<u8>> {
    let (about, values) = (names::<About>()?, names::<T>()?);
    let header: Vec<&str> = about.iter().chain(values.iter()).collect();
    csv_bytes(&header, rows.into_iter().map(|row| (&row.about, &row.values)))
}

/// The names of the fields of a struct.
fn names<R: Default + Serialize>() -> Result<csv::StringRecord> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(R::default()).map_err(std::io::Error::from)?;
    let sample = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(csv::Reader::from_reader(sample.as_slice()).headers().map_err(std::io::Error::from)?.clone())
}
