//! Every dataset through its entry: what it reads, and what it says of files that are missing or damaged.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use realsafe_core::{Dataset, DatasetEntry, Locations, inventory};
use realsafe_plan::{Catalogue, Environment, check_component, parse_component};

fn entry(id: &str) -> &'static DatasetEntry {
    inventory::iter::<DatasetEntry>().find(|entry| entry.component.id == id).expect("it is registered")
}

fn open(id: &str, table: &str, data: &Path) -> Result<Box<dyn Dataset>, String> {
    let entry = entry(id);
    let environment = Environment {
        data: data.to_owned(),
        data_origin: "the test".to_owned(),
        builtin: &|_| None,
        read_files: false,
    };
    let chosen = parse_component(&entry.component, table, &Catalogue::default(), &environment)
        .map_err(|problems| problems.render(false))?;
    (entry.build)(&chosen.values, &Locations { data: data.to_owned() })
}

/// Where real images lie, if they are here.
fn assets() -> Option<PathBuf> {
    let assets = std::env::var_os("REALSAFE_DATA").map(PathBuf::from);
    if assets.is_none() {
        eprintln!("skipped: REALSAFE_DATA is not set");
    }
    assets
}

#[test]
fn every_file_is_a_registered_component() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/datasets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().replace('_', "-"))
        .filter(|name| name != "mod" && name != "tests")
        .collect();
    let mut registered: Vec<&str> = inventory::iter::<DatasetEntry>().map(|entry| entry.component.id).collect();
    files.sort();
    registered.sort_unstable();
    assert_eq!(files, registered);
    for entry in inventory::iter::<DatasetEntry>() {
        check_component(&entry.component).unwrap();
    }
}

#[test]
fn digits_are_carried_by_the_program() {
    let nowhere = Path::new("");
    let train = open("digits", "split = \"train\"", nowhere).unwrap();
    let test = open("digits", "", nowhere).unwrap();
    assert_eq!((train.len(), test.len()), (1197, 600));
    let first = train.read(&[0]).unwrap();
    assert_eq!((first.shape, first.labels.as_slice()), ([1, 8, 8], [0].as_slice()));
    let top: Vec<f32> = first.pixels[..8].iter().map(|pixel| pixel * 16.0).collect();
    assert_eq!(top, [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
    assert_eq!(train.read(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap().labels, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(test.read(&[0, 1, 2, 3]).unwrap().labels, [8, 4, 1, 7]);
    let all: f32 = [train, test].iter().map(|split| sum(split.as_ref())).sum();
    assert_eq!(all, 561_718.0);
}

/// The sum of all pixels, 0 to 16.
fn sum(dataset: &dyn Dataset) -> f32 {
    let indices: Vec<u32> = (0..dataset.len() as u32).collect();
    dataset.read(&indices).unwrap().pixels.iter().map(|pixel| pixel * 16.0).sum()
}

#[test]
fn an_index_beyond_the_end_is_an_error() {
    let error = open("digits", "", Path::new("")).unwrap().read(&[3, 600]).unwrap_err();
    assert_eq!(error, "the dataset has no sample 600; it has 600, counted from 0");
}

#[test]
fn a_missing_file_says_where_people_get_it() {
    let data = tempfile::tempdir().unwrap();
    let error = open("mnist", "", data.path()).err().unwrap();
    let directory = data.path().display();
    assert_eq!(
        error,
        format!(
            "there is no `mnist/t10k-images-idx3-ubyte` or `mnist/t10k-images-idx3-ubyte.gz` in the data directory \
             `{directory}`; get it from the MNIST database, http://yann.lecun.com/exdb/mnist (torchvision fetches the \
             same files), and set the directory with `--data` or `REALSAFE_DATA`"
        )
    );
}

#[test]
fn a_damaged_file_is_named_with_both_checksums() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("cifar-10-batches-bin")).unwrap();
    let path = data.path().join("cifar-10-batches-bin/test_batch.bin");
    std::fs::write(&path, b"abc").unwrap();
    let error = open("cifar10", "", data.path()).err().unwrap();
    assert_eq!(
        error,
        format!(
            "`{}` is damaged: the MD5 of its 3 bytes (unpacked) is 900150983cd24fb0d6963f7d28e17f72, expected \
             803d5f7f4d78ea53de84dbe85f74fb6d; get it from the binary version of CIFAR-10, \
             https://www.cs.toronto.edu/~kriz/cifar.html",
            path.display()
        )
    );
}

#[test]
fn a_truncated_gzip_file_is_named() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("mnist")).unwrap();
    let path = data.path().join("mnist/t10k-images-idx3-ubyte.gz");
    std::fs::write(&path, &include_bytes!("../../data/digits.bin.gz")[..1000]).unwrap();
    let error = open("mnist", "", data.path()).err().unwrap();
    assert!(error.starts_with(&format!("`{}` cannot be unpacked: ", path.display())), "{error}");
}

/// A folder with a 6x4 image, red on the left, green in the middle, blue on the right, and a list that names it.
fn folder(list: &str) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let colours = [Rgb([255, 0, 0]), Rgb([0, 255, 0]), Rgb([0, 0, 255])];
    RgbImage::from_fn(6, 4, |x, _| colours[x as usize / 2]).save(data.path().join("a.png")).unwrap();
    std::fs::write(data.path().join("list.csv"), list).unwrap();
    data
}

const TABLE: &str = "folder = \"\"\nlabels = \"list.csv\"\nextension = \"png\"\nlabel-offset = -1\nclasses = 10\n";

#[test]
fn images_are_cut_out_of_the_centre() {
    let data = folder("file,label,target\na,3,10\n");
    let table = format!("{TABLE}target-column = \"target\"\nsize = 2\nresize = \"shorter-side\"\ncrop-fraction = 0.5");
    let samples = open("images", &table, data.path()).unwrap().read(&[0, 0]).unwrap();
    assert_eq!((samples.shape, samples.labels, samples.targets), ([3, 2, 2], vec![2, 2], Some(vec![9, 9])));
    let green = [[0.0; 4], [1.0; 4], [0.0; 4]].concat();
    assert_eq!(samples.pixels, [green.clone(), green].concat());
}

#[test]
fn images_are_stretched() {
    let data = folder("file,label\na,3\n");
    let table = format!("{TABLE}size = 3\nresize = \"stretch\"");
    let samples = open("images", &table, data.path()).unwrap().read(&[0]).unwrap();
    assert_eq!((samples.shape, samples.targets), ([3, 3, 3], None));
    let [red, green, blue] = [0, 1, 2].map(|channel| &samples.pixels[channel * 9..][..3]);
    assert!(red[0] > 0.8 && green[1] > 0.7 && blue[2] > 0.8, "{red:?} {green:?} {blue:?}");
}

#[test]
fn images_of_another_size_and_wrong_classes_are_errors() {
    let data = folder("file,label\na,3\n");
    let error = open("images", &format!("{TABLE}size = 4"), data.path()).unwrap().read(&[0]).unwrap_err();
    assert!(error.contains("a.png` has 6x4 pixels, not 4x4; set `size`, or `resize`"), "{error}");
    let data = folder("file,label\na,1\nb,11\n");
    let error = open("images", &format!("{TABLE}size = 4"), data.path()).err().unwrap();
    assert!(error.ends_with("list.csv`, line 3: `11` in column `label` is no class from 1 to 10"), "{error}");
    let table = format!("{TABLE}size = 4\nlabel-column = \"class\"");
    let error = open("images", &table, data.path()).err().unwrap();
    assert!(error.ends_with("has no column `class`, which `label-column` names; it has file, label"), "{error}");
}

#[test]
fn label_offsets_are_whole() {
    let data = folder("file,label\na,3\n");
    let table = format!("{TABLE}size = 4").replace("label-offset = -1", "label-offset = -0.5");
    let error = open("images", &table, data.path()).err().unwrap();
    assert_eq!(error, "`label-offset` is -0.5, but classes are whole numbers");
}

#[test]
fn real_datasets_begin_with_the_known_labels() {
    let Some(assets) = assets() else { return };
    for (id, table, samples, labels) in [
        ("mnist", "", 10_000, [7, 2, 1, 0, 4]),
        ("mnist", "split = \"train\"", 60_000, [5, 0, 4, 1, 9]),
        ("cifar10", "", 10_000, [3, 8, 8, 0, 6]),
        ("cifar10", "split = \"train\"\ntrain-files = 1", 10_000, [6, 9, 9, 4, 1]),
    ] {
        let dataset = open(id, table, &assets).unwrap();
        assert_eq!(dataset.len(), samples, "{id} {table}");
        assert_eq!(dataset.read(&[0, 1, 2, 3, 4]).unwrap().labels, labels, "{id} {table}");
    }
}

#[test]
fn examples_open_and_read() {
    for entry in inventory::iter::<DatasetEntry>() {
        let nowhere = Path::new("").to_owned();
        let Some(data) = (if entry.component.id == "digits" { Some(nowhere) } else { assets() }) else { continue };
        let dataset = open(entry.component.id, entry.component.example, &data).unwrap();
        let samples = dataset.read(&[1, 0]).unwrap();
        assert_eq!(samples.pixels.len(), 2 * samples.shape.iter().product::<usize>(), "{}", entry.component.id);
        assert!(samples.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{}", entry.component.id);
    }
}
