//! `[data]`: the dataset, and which of its images.

use std::path::Path;
use std::sync::Arc;

use super::Scope;
use crate::diagnostic::{Diagnostic, Place, tidy};
use crate::fields::{self, Fields};
use crate::tree::Node;
use crate::{Chosen, Kind};

/// The images of an experiment.
pub(super) struct Images {
    pub(super) chosen: Arc<Chosen>,
    pub(super) samples: Vec<u32>,
    pub(super) shape: [usize; 3],
    pub(super) classes: usize,
}

/// The keys of which at most one says which images are meant.
enum Selection<'a> {
    All,
    First(&'a Node),
    Range(&'a Node),
    Indices(&'a Node),
}

impl Scope<'_> {
    /// Reads `[data]`.
    pub(super) fn data(&mut self, top: &mut Fields<'_>) -> Option<Images> {
        let node = top.section("data", "[data]", &mut self.diagnostics)?;
        let mut opened = self.open(Kind::Dataset, node)?;
        let mut given = Vec::new();
        for (key, selection) in [
            ("samples", Selection::First as fn(_) -> _),
            ("range", Selection::Range as fn(_) -> _),
            ("indices", Selection::Indices as fn(_) -> _),
        ] {
            given.extend(opened.fields.entry(key).map(|entry| (&entry.key, selection(&entry.node))));
        }
        if let [_, (place, _), ..] = given.as_slice() {
            let message = "more than one key says which images are meant";
            self.diagnostics.push(Diagnostic::at(place, message).help("keep one of `samples`, `range` and `indices`"));
        }
        let place = opened.place.clone();
        let chosen = self.close(opened, false).item?;
        let traits = chosen.component.dataset()?;
        let total = (traits.samples)(&chosen.values);
        let selection = given.into_iter().next().map_or(Selection::All, |(_, selection)| selection);
        let samples =
            select(&selection, total, &place).map_err(|error| self.diagnostics.push(error)).unwrap_or_default();
        let (shape, classes) = ((traits.shape)(&chosen.values), (traits.classes)(&chosen.values));
        Some(Images { chosen: Arc::new(chosen), samples, shape, classes })
    }
}

fn select(selection: &Selection<'_>, total: Option<usize>, place: &Place) -> Result<Vec<u32>, Diagnostic> {
    let total = total.map(|total| total as u64);
    let most = total.unwrap_or(u64::from(u32::MAX));
    let up_to = |node: &Node, least: u64, most: u64| {
        let count = fields::count(node, least, most)?;
        u32::try_from(count).map_err(|_| fields::out_of_range(node, &count.to_string(), "below 2^32"))
    };
    match selection {
        Selection::All => match total.map(u32::try_from) {
            Some(Ok(total)) => Ok((0..total).collect()),
            _ => Err(Diagnostic::at(place, "the parameters of this dataset do not tell how many images it has")
                .help("say which images are meant, as in `samples = 1000`")),
        },
        Selection::First(node) => Ok((0..up_to(node, 1, most)?).collect()),
        Selection::Range(node) => {
            let [from, to] = fields::list(node)? else {
                return Err(Diagnostic::at(&node.place, "a range has two numbers")
                    .help("`range = [0, 1000]` means the first 1,000 images"));
            };
            let from = up_to(from, 0, most.saturating_sub(1))?;
            Ok((from..up_to(to, u64::from(from) + 1, most)?).collect())
        }
        Selection::Indices(node) => {
            let mut indices = match node.text() {
                Some(file) => read_indices(file, most, &node.place)?,
                None => fields::list(node)
                    .map_err(|_| {
                        node.expected("a list of whole numbers, or the name of a text file with one per line")
                    })?
                    .iter()
                    .map(|node| up_to(node, 0, most.saturating_sub(1)))
                    .collect::<Result<_, _>>()?,
            };
            indices.sort_unstable();
            if let Some(pair) = indices.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Diagnostic::at(&node.place, format!("the index {} occurs twice", pair[0])));
            }
            if indices.is_empty() {
                return Err(Diagnostic::at(&node.place, "there are no indices"));
            }
            Ok(indices)
        }
    }
}

/// Reads a text file with one index per line; blank lines and lines that start with `#` are skipped.
fn read_indices(file: &str, most: u64, place: &Place) -> Result<Vec<u32>, Diagnostic> {
    let path = tidy(&place.source.directory().join(Path::new(file)));
    let text = fs_err::read_to_string(&path).map_err(|error| {
        Diagnostic::at(place, format!("cannot read the indices: {error}")).help("the path is relative to the spec")
    })?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            line.parse().ok().filter(|index| u64::from(*index) < most).ok_or_else(|| {
                let message = format!("{}:{}: `{line}` is not an index below {most}", path.display(), number + 1);
                Diagnostic::at(place, message)
            })
        })
        .collect()
}
