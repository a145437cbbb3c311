//! Sets of adversarial images: written for others, and read from anybody.
//!
//! A `.safetensors` file holds `images` (32-bit floats `[n, c, h, w]` in `[0, 1]`), `labels`, `samples` and, where the goal has
//! one, `targets` (whole numbers `[n]`), and what they are as JSON under the metadata key `realsafe`; a `.npy` file holds the images alone.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use npyz::WriterBuilder;
use realsafe_plan::Cell;
use serde_json::json;

use crate::files::write_atomically;
use crate::images::{decode_column, decode_images, encode_with};
use crate::{Adversarials, Error, Result, Store};

/// Images to be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct AdversarialSet {
    /// The images.
    pub images: Adversarials,
    /// The true class of each, where the file says so.
    pub labels: Option<Vec<u32>>,
    /// The index of each in its dataset, where the file says so.
    pub samples: Option<Vec<u32>>,
    /// The class that each aims at, where the file says so.
    pub targets: Option<Vec<u32>>,
}

/// Writes the final images in the store, one `.safetensors` and one `.npy` per attack, defended model, threat model and
/// seed, and gives the files in plan order. Cells without images are left out.
///
/// # Errors
/// When no cell holds images, or a file cannot be read or written.
pub fn export_adversarials(cells: &[Cell], store: &Store, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut sets: Vec<(String, Vec<&Cell>)> = Vec::new();
    let mut places = BTreeMap::new();
    for cell in cells {
        let stem = file_stem(cell);
        let place = *places.entry(stem.clone()).or_insert(sets.len());
        if place == sets.len() {
            sets.push((stem, Vec::new()));
        }
        sets[place].1.push(cell);
    }
    let mut files = Vec::new();
    for (stem, chunks) in &sets {
        if let Some(set) = collect(chunks, store)? {
            files.extend(write_set(&directory.join(stem), chunks[0], &set)?);
        }
    }
    if files.is_empty() {
        let cause = "no cell of the plan holds its final images; run it again with `--save-adversarials`";
        return Err(Error::Nothing(cause.to_owned()));
    }
    Ok(files)
}

fn file_stem(cell: &Cell) -> String {
    let eps = cell.threat.eps.as_ref().map_or("minimal".to_owned(), |eps| eps.text().replace('/', "-"));
    let (model, attack, threat) = (&cell.model.id, &cell.attack.chosen.id, &cell.threat.id);
    format!("{}.{model}.{}.{attack}.{threat}.{eps}.seed-{}", cell.experiment, cell.stack_name(), cell.seed)
}

/// The images of all chunks that hold some, with the samples they belong to.
fn collect(chunks: &[&Cell], store: &Store) -> Result<Option<AdversarialSet>> {
    let mut set: Option<AdversarialSet> = None;
    for cell in chunks {
        let Some(record) = store.get(&cell.key)? else {
            continue;
        };
        let Some(images) = record.adversarials else {
            continue;
        };
        let (labels, samples) = record.outcomes.iter().map(|outcome| (outcome.label, outcome.sample)).unzip();
        let targets: Option<Vec<u32>> = record.outcomes.iter().map(|outcome| outcome.target).collect();
        match &mut set {
            None => set = Some(AdversarialSet { images, labels: Some(labels), samples: Some(samples), targets }),
            Some(set) => {
                set.images.pixels.extend(images.pixels);
                for (column, more) in
                    [(&mut set.labels, Some(labels)), (&mut set.samples, Some(samples)), (&mut set.targets, targets)]
                {
                    column.iter_mut().for_each(|column| column.extend(more.iter().flatten()));
                }
            }
        }
    }
    Ok(set)
}

fn write_set(stem: &Path, cell: &Cell, set: &AdversarialSet) -> Result<[PathBuf; 2]> {
    let path = |extension: &str| {
        let mut path = stem.as_os_str().to_owned();
        path.push(extension);
        PathBuf::from(path)
    };
    let description = json!({
        "experiment": cell.experiment,
        "data": cell.data.id,
        "model": cell.model.id,
        "defense": cell.stack_name(),
        "attack": cell.attack.chosen.id,
        "norm": cell.threat.unit.name,
        "eps": cell.threat.eps.as_ref().map(realsafe_plan::Number::text),
        "goal": cell.threat.goal.name(),
        "seed": cell.seed,
    });
    let columns = [("labels", &set.labels), ("samples", &set.samples), ("targets", &set.targets)];
    let columns: Vec<(&str, &[u32])> =
        columns.iter().filter_map(|(name, column)| Some((*name, column.as_ref()?.as_slice()))).collect();
    let tensors = encode_with(&set.images, &columns, Some(("realsafe", description.to_string())))?;
    let files = [path(".safetensors"), path(".npy")];
    write_atomically(&files[0], &tensors)?;
    write_atomically(&files[1], &encode_npy(&set.images)?)?;
    Ok(files)
}

fn encode_npy(images: &Adversarials) -> Result<Vec<u8>> {
    let [channels, height, width] = images.shape.map(|size| size as u64);
    let mut file = BufWriter::new(Vec::new());
    let options = npyz::WriteOptions::new().default_dtype().shape(&[images.count() as u64, channels, height, width]);
    let mut writer = options.writer(&mut file).begin_nd()?;
    writer.extend(images.pixels.iter().copied())?;
    writer.finish()?;
    file.flush()?;
    Ok(file.into_inner().map_err(|error| error.into_error())?)
}

/// Reads images from a `.safetensors` or `.npy` file made by anybody.
///
/// # Errors
/// When the file cannot be read, is of neither kind, or does not hold 32-bit floats `[n, c, h, w]` of at least one image.
pub fn read_adversarials(path: &Path) -> Result<AdversarialSet> {
    let bytes = fs::read(path)?;
    let set = match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => decode_safetensors(&bytes),
        Some("npy") => {
            decode_npy(&bytes).map(|images| AdversarialSet { images, labels: None, samples: None, targets: None })
        }
        _ => Err("the name of a set of images ends in `.safetensors` or `.npy`".to_owned()),
    };
    let some =
        |set: AdversarialSet| if set.images.count() > 0 { Ok(set) } else { Err("it holds no images".to_owned()) };
    set.and_then(some).map_err(|cause| Error::malformed(path, cause))
}

fn decode_safetensors(bytes: &[u8]) -> std::result::Result<AdversarialSet, String> {
    let images = decode_images(bytes)?;
    let column = |name: &str| {
        let column = decode_column(bytes, name)?;
        match &column {
            Some(numbers) if numbers.len() != images.count() => {
                Err(format!("{} `{name}` for {} images", numbers.len(), images.count()))
            }
            _ => Ok(column),
        }
    };
    let (labels, samples, targets) = (column("labels")?, column("samples")?, column("targets")?);
    Ok(AdversarialSet { images, labels, samples, targets })
}

fn decode_npy(bytes: &[u8]) -> std::result::Result<Adversarials, String> {
    let file = npyz::NpyFile::new(bytes).map_err(|error| error.to_string())?;
    let shape: Vec<usize> = file.shape().iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect();
    let &[_, channels, height, width] = shape.as_slice() else {
        return Err(format!("the array has shape {shape:?}; expected [n, c, h, w]"));
    };
    if file.order() != npyz::Order::C {
        return Err("the array is in Fortran order; save it with `numpy.ascontiguousarray`".to_owned());
    }
    let described = file.dtype().descr();
    let values = file.data::<f32>().map_err(|_| format!("the array holds {described}; expected 32-bit floats"))?;
    let pixels = values.collect::<std::io::Result<Vec<f32>>>().map_err(|error| error.to_string())?;
    Ok(Adversarials { shape: [channels, height, width], pixels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CellRecord;
    use crate::fixture::{cell, record_of};

    fn record_with(first: u32, value: f32) -> CellRecord {
        CellRecord {
            adversarials: Some(Adversarials { shape: [1, 1, 2], pixels: vec![value, 0.25, value, 0.75] }),
            ..record_of(first, "rb")
        }
    }

    #[test]
    fn chunks_are_joined_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let cells = [0, 2, 4].map(|first| cell("net", "pgd", Some("8/255"), first..first + 2, 0));
        assert!(matches!(export_adversarials(&cells, &store, directory.path()), Err(Error::Nothing(_))));
        store.put(&cells[0], &record_with(0, 0.5)).unwrap();
        store.put(&cells[1], &record_of(2, "rb")).unwrap();
        store.put(&cells[2], &record_with(4, 1.0)).unwrap();

        let files = export_adversarials(&cells, &store, directory.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            ["trial.net.none.pgd.near.8-255.seed-0.safetensors", "trial.net.none.pgd.near.8-255.seed-0.npy"]
        );
        let pixels = vec![0.5, 0.25, 0.5, 0.75, 1.0, 0.25, 1.0, 0.75];
        let images = Adversarials { shape: [1, 1, 2], pixels };
        let set = read_adversarials(&files[0]).unwrap();
        let samples = Some(vec![0, 1, 4, 5]);
        let expected = AdversarialSet { images, labels: Some(vec![1; 4]), samples, targets: None };
        assert_eq!(set, expected);
        let plain = read_adversarials(&files[1]).unwrap();
        assert_eq!(plain, AdversarialSet { labels: None, samples: None, ..expected });
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let flat = {
            let mut bytes = Vec::new();
            let options = npyz::WriteOptions::new().default_dtype().shape(&[2, 3]);
            let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
            writer.extend([0.5_f32; 6]).unwrap();
            writer.finish().unwrap();
            bytes
        };
        let empty = Adversarials { shape: [1, 1, 1], pixels: Vec::new() };
        let (none, no_npy) = (encode_with(&empty, &[], None).unwrap(), encode_npy(&empty).unwrap());
        let images = Adversarials { shape: [1, 1, 1], pixels: vec![0.5; 3] };
        let short = encode_with(&images, &[("labels", &[1, 2])], None).unwrap();
        for (name, bytes, cause) in [
            ("images.png", vec![], "ends in `.safetensors` or `.npy`"),
            ("flat.npy", flat, "shape [2, 3]; expected [n, c, h, w]"),
            ("none.safetensors", none, "none.safetensors: it holds no images"),
            ("none.npy", no_npy, "none.npy: it holds no images"),
            ("short.safetensors", short, "2 `labels` for 3 images"),
            ("noise.safetensors", vec![7; 40], "noise.safetensors: "),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            let message = read_adversarials(&path).unwrap_err().to_string();
            assert!(message.contains(cause), "{message}");
        }
    }
}
