//! Keys of cells: BLAKE3 of everything that can change a cell's numbers, and of nothing else.
//!
//! Not in the key: paths, the ids that a spec gives its things, the experiment, and how samples are cut into cells
//! beyond the samples themselves. So a result is found again under another name, in another spec or directory.

use crate::{Budget, Cell, Chosen, Component, Key, Kind, Member, Origin, ParameterKind, Search, StackLayer, Value};

/// Raised when the encoding changes.
const FORMAT: u64 = 4;

/// Computes the key of a cell; what the cell has in its `key` does not matter.
pub(crate) fn key(cell: &Cell, device_class: &str) -> Key {
    let mut writer = Writer::default();
    writer.count(FORMAT);
    writer.chosen(&cell.data);
    writer.counts(cell.samples.iter().map(|sample| u64::from(*sample)));
    writer.chosen(&cell.model);
    writer.count(cell.stack.len() as u64);
    for StackLayer { defense, gradient } in &cell.stack {
        writer.chosen(defense);
        writer.text(gradient.name());
    }
    // What a chain is called says nothing about it.
    if cell.attack.members.is_empty() {
        writer.chosen(&cell.attack.chosen);
    }
    writer.count(cell.attack.members.len() as u64);
    for Member { chosen, restarts, eot } in &cell.attack.members {
        writer.text(&chosen.id);
        writer.chosen(chosen);
        writer.counts([u64::from(*restarts), u64::from(*eot)].into_iter());
    }
    writer.text(cell.attack.success.name());
    writer.counts([u64::from(cell.attack.restarts), u64::from(cell.attack.eot)].into_iter());
    writer.optional(cell.attack.search.as_ref(), Writer::search);
    let Budget { queries, forwards, backwards } = cell.attack.budget;
    for limit in [queries, forwards, backwards] {
        writer.optional(limit, Writer::count);
    }
    writer.counts(cell.attack.record.iter().map(|step| u64::from(*step)));
    writer.count(cell.attack.surrogates.len() as u64);
    cell.attack.surrogates.iter().for_each(|surrogate| writer.chosen(surrogate));
    writer.text(cell.attack.ensemble.name());
    writer.text(cell.threat.norm.name());
    writer.optional(cell.threat.eps.as_ref(), |writer, eps| writer.float(eps.value()));
    writer.text(cell.threat.goal.name());
    writer.optional(cell.threat.target.as_ref(), |writer, target| writer.text(target.name()));
    writer.count(cell.seed);
    writer.text("f32");
    writer.text(device_class);
    writer.optional(cell.draws, |writer, draws| writer.count(draws.into()));
    Key(writer.0.finalize().to_hex().to_string())
}

/// Writes values one after the other, each so that its end is known.
#[derive(Default)]
struct Writer(blake3::Hasher);

impl Writer {
    fn count(&mut self, count: u64) {
        self.0.update(&count.to_le_bytes());
    }

    fn counts(&mut self, counts: impl ExactSizeIterator<Item = u64>) {
        self.count(counts.len() as u64);
        counts.for_each(|count| self.count(count));
    }

    fn float(&mut self, value: f64) {
        // Zero has two encodings but one meaning.
        self.count((value + 0.0).to_bits());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.count(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn search(&mut self, search: &Search) {
        match search {
            Search::List(radii) => {
                self.text("list");
                self.count(radii.len() as u64);
                radii.iter().for_each(|radius| self.float(radius.value()));
            }
            Search::Exponential { start, doublings, bisections } => {
                self.text("exponential");
                self.float(start.value());
                self.counts([u64::from(*doublings), u64::from(*bisections)].into_iter());
            }
            Search::Linear { largest, points, bisections } => {
                self.text("linear");
                self.float(largest.value());
                self.counts([u64::from(*points), u64::from(*bisections)].into_iter());
            }
        }
    }

    fn chosen(&mut self, chosen: &Chosen) {
        let component: &Component = chosen.component;
        self.text(component.kind().name());
        self.text(component.id);
        self.count(u64::from(component.revision));
        if let Origin::Plugin { blake3, .. } = component.origin {
            self.optional(blake3, Self::text);
        }
        // Of a file the digest counts, not the path.
        let is_file =
            |name: &str| component.parameter(name).is_some_and(|parameter| parameter.kind == ParameterKind::File);
        let values: Vec<(&str, &Value)> = chosen.values.iter().filter(|(name, _)| !is_file(name)).collect();
        self.count(values.len() as u64);
        for (name, value) in values {
            self.text(name);
            self.value(value);
        }
        self.count(chosen.files.len() as u64);
        for (name, file) in &chosen.files {
            // The files of datasets are known by their paths, in a fixed order.
            if component.kind() != Kind::Dataset || is_file(name) {
                self.text(name);
            }
            self.text(&file.blake3);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Flag(flag) => {
                self.text("flag");
                self.count(u64::from(*flag));
            }
            Value::Count(count) => {
                self.text("count");
                self.count(*count);
            }
            Value::Number(number) => {
                self.text("number");
                self.float(number.value());
            }
            Value::Numbers(numbers) => {
                self.text("numbers");
                self.count(numbers.len() as u64);
                numbers.iter().for_each(|number| self.float(number.value()));
            }
            Value::Text(text) => {
                self.text("text");
                self.text(text);
            }
            Value::Component(chosen) => {
                self.text(chosen.component.kind().name());
                self.chosen(chosen);
            }
            Value::Components(parts) => {
                self.text("list");
                self.count(parts.len() as u64);
                parts.iter().for_each(|part| self.chosen(part));
            }
        }
    }
}
