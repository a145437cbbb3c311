//! A folder of PNG or JPEG images with a CSV file of labels, such as an excerpt of ImageNet.
//!
//! A row of the CSV file names an image in `file-column` (with `extension` appended, where it is set), its class in
//! `label-column` and, where `target-column` is set, the class that a targeted attack shall reach; `label-offset` is
//! added to both, so -1 makes classes that count from 1 count from 0. Samples are in the order of the file.
//!
//! Images are given as `[3, size, size]`, pixels divided by 255. With `resize = "none"` they must have that size
//! already; `"stretch"` resizes both sides to it; `"shorter-side"` resizes the shorter side to `size / crop-fraction`
//! and cuts the centre out, which is how ImageNet is usually evaluated. Resizing is bilinear, smoothed where it
//! shrinks.
//!
//! ## Reference
//! Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NeurIPS 2012:
//! the shorter side resized to 256, the central 224 cut out.

use std::path::PathBuf;

use image::RgbImage;
use image::imageops::{self, FilterType};
use realsafe_core::{Dataset, DatasetEntry, Locations, Samples, inventory};
use realsafe_plan::{Component, DatasetTraits, Fallback, Origin, Parameter, ParameterKind, Traits, Values};

use crate::bytes::missing;

/// The rows of the CSV file, and how to read the images.
struct Images {
    folder: PathBuf,
    rows: Vec<Row>,
    size: u32,
    resize: Resize,
}

struct Row {
    file: String,
    label: u32,
    target: Option<u32>,
}

enum Resize {
    No,
    Stretch,
    /// The side to which the shorter one is resized.
    Shorter(u32),
}

fn build(values: &Values, locations: &Locations) -> Result<Box<dyn Dataset>, String> {
    let size = values.count("size") as u32;
    let resize = match values.text("resize") {
        "none" => Resize::No,
        "stretch" => Resize::Stretch,
        _ => Resize::Shorter((f64::from(size) / values.number("crop-fraction")).round() as u32),
    };
    let folder = locations.file(values.text("folder"));
    if !folder.is_dir() {
        return Err(format!("there is no folder `{}`; `folder` is relative to the data directory", folder.display()));
    }
    Ok(Box::new(Images { folder, rows: rows(values, locations)?, size, resize }))
}

/// Reads the CSV file.
fn rows(values: &Values, locations: &Locations) -> Result<Vec<Row>, String> {
    let path = locations.file(values.text("labels"));
    let name = path.display();
    let mut reader = csv::Reader::from_path(&path).map_err(|error| format!("`{name}`: {error}"))?;
    let header = reader.headers().map_err(|error| format!("`{name}`: {error}"))?.clone();
    let column = |name_of: &str| {
        let wanted = values.text(name_of);
        header.iter().position(|column| column == wanted).ok_or_else(|| {
            let columns: Vec<&str> = header.iter().collect();
            format!("`{name}` has no column `{wanted}`, which `{name_of}` names; it has {}", columns.join(", "))
        })
    };
    let (file, label) = (column("file-column")?, column("label-column")?);
    let target = if values.is_set("target-column") { Some(column("target-column")?) } else { None };
    let extension = if values.is_set("extension") { format!(".{}", values.text("extension")) } else { String::new() };
    let offset = values.number("label-offset");
    if offset.fract() != 0.0 {
        return Err(format!("`label-offset` is {offset}, but classes are whole numbers"));
    }
    let offset = offset as i64;
    let classes = values.count("classes") as i64;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("`{name}`: {error}"))?;
        let line = record.position().map_or(0, csv::Position::line);
        let class = |column: usize| {
            let text = record[column].trim();
            let class =
                text.parse::<i64>().ok().map(|class| class + offset).filter(|class| (0..classes).contains(class));
            class.map(|class| class as u32).ok_or_else(|| {
                format!(
                    "`{name}`, line {line}: `{text}` in column `{}` is no class from {} to {}",
                    &header[column],
                    -offset,
                    classes - 1 - offset
                )
            })
        };
        let file = format!("{}{extension}", &record[file]);
        rows.push(Row { file, label: class(label)?, target: target.map(class).transpose()? });
    }
    Ok(rows)
}

impl Images {
    /// Reads an image, resized and cut.
    fn image(&self, file: &str) -> Result<RgbImage, String> {
        let path = self.folder.join(file);
        let image = image::open(&path).map_err(|error| format!("`{}`: {error}", path.display()))?.into_rgb8();
        let (width, height) = image.dimensions();
        let size = self.size;
        match self.resize {
            Resize::No if (width, height) == (size, size) => Ok(image),
            Resize::No => Err(format!(
                "`{}` has {width}x{height} pixels, not {size}x{size}; set `size`, or `resize` to \"stretch\" or \"shorter-side\"",
                path.display()
            )),
            Resize::Stretch => Ok(imageops::resize(&image, size, size, FilterType::Triangle)),
            Resize::Shorter(shorter) => {
                let scale = f64::from(shorter) / f64::from(width.min(height));
                let scaled = |side: u32| (f64::from(side) * scale).round() as u32;
                let resized = imageops::resize(&image, scaled(width), scaled(height), FilterType::Triangle);
                let (left, top) = ((resized.width() - size) / 2, (resized.height() - size) / 2);
                Ok(imageops::crop_imm(&resized, left, top, size, size).to_image())
            }
        }
    }
}

impl Dataset for Images {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn labels(&self) -> Vec<u32> {
        self.rows.iter().map(|row| row.label).collect()
    }

    fn read(&self, indices: &[u32]) -> Result<Samples, String> {
        let side = self.size as usize;
        let mut pixels = Vec::with_capacity(indices.len() * 3 * side * side);
        let mut labels = Vec::with_capacity(indices.len());
        let mut targets = Vec::new();
        for index in indices.iter().map(|index| *index as usize) {
            let row = self.rows.get(index).ok_or_else(|| missing(index, self.len()))?;
            let image = self.image(&row.file)?;
            for channel in 0..3 {
                pixels.extend(image.pixels().map(|pixel| f32::from(pixel.0[channel]) / 255.0));
            }
            labels.push(row.label);
            targets.extend(row.target);
        }
        let targets = (targets.len() == labels.len()).then_some(targets);
        Ok(Samples { shape: [3, side, side], pixels, labels, targets })
    }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "folder",
        kind: ParameterKind::Text,
        unit: "",
        fallback: Fallback::Required,
        documentation: "Where the images lie, relative to the data directory",
    },
    Parameter {
        name: "labels",
        kind: ParameterKind::File,
        unit: "",
        fallback: Fallback::Required,
        documentation: "The CSV file, with a header line",
    },
    Parameter {
        name: "file-column",
        kind: ParameterKind::Text,
        unit: "",
        fallback: Fallback::Value("file"),
        documentation: "The column that names the image, relative to the folder",
    },
    Parameter {
        name: "extension",
        kind: ParameterKind::Text,
        unit: "",
        fallback: Fallback::Unset,
        documentation: "What to append to the name, such as `png`; unset, the column has full names",
    },
    Parameter {
        name: "label-column",
        kind: ParameterKind::Text,
        unit: "",
        fallback: Fallback::Value("label"),
        documentation: "The column of the class",
    },
    Parameter {
        name: "target-column",
        kind: ParameterKind::Text,
        unit: "",
        fallback: Fallback::Unset,
        documentation: "The column of the class that targeted attacks shall reach",
    },
    Parameter {
        name: "label-offset",
        kind: ParameterKind::Number { minimum: -1000.0, maximum: 1000.0 },
        unit: "classes",
        fallback: Fallback::Value("0"),
        documentation: "A whole number that is added to classes and targets",
    },
    Parameter {
        name: "classes",
        kind: ParameterKind::Count { minimum: 2, maximum: 1_000_000 },
        unit: "",
        fallback: Fallback::Value("1000"),
        documentation: "How many classes there are",
    },
    Parameter {
        name: "size",
        kind: ParameterKind::Count { minimum: 1, maximum: 4096 },
        unit: "pixels",
        fallback: Fallback::Required,
        documentation: "Width and height of the images as they are given to the model",
    },
    Parameter {
        name: "resize",
        kind: ParameterKind::Choice(&["none", "stretch", "shorter-side"]),
        unit: "",
        fallback: Fallback::Value("none"),
        documentation: "How images get that size",
    },
    Parameter {
        name: "crop-fraction",
        kind: ParameterKind::Number { minimum: 0.01, maximum: 1.0 },
        unit: "of the shorter side",
        fallback: Fallback::Value("0.875"),
        documentation: "How much of the shorter side is left by the cut, for `shorter-side`",
    },
];

inventory::submit! {
    DatasetEntry {
        component: Component {
            id: "images",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("images.rs"),
            parameters: PARAMETERS,
            example: r#"
folder = "nips2017_dev/images"
labels = "nips2017_dev/images.csv"
file-column = "ImageId"
extension = "png"
label-column = "TrueLabel"
target-column = "TargetClass"
label-offset = -1
size = 299
"#,
            traits: Traits::Dataset(DatasetTraits {
                shape: |values| [3, values.count("size") as usize, values.count("size") as usize],
                classes: |values| values.count("classes") as usize,
                samples: |_| None,
                files: |_| Vec::new(),
            }),
        },
        build,
    }
}
