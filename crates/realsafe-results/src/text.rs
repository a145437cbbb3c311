//! Numbers and tables as text for people.

use std::ops::Range;

use comfy_table::{CellAlignment, Table, presets};

/// A share as percents with so many decimals.
pub fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// Rows below a header, a line each; the columns of `numbers` are aligned to the right.
pub fn table(header: &[&str], numbers: Range<usize>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if numbers.contains(&index) { CellAlignment::Right } else { CellAlignment::Left };
        column.set_cell_alignment(alignment);
    }
    // Cells have a space on both sides.
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}

/// Words that are there, joined by a space.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A radius as people write it: steps of 8-bit images stay such, although their fraction can be reduced.
pub(crate) fn spell(eps: &str) -> String {
    let fraction =
        eps.split_once('/').and_then(|(above, below)| Some((above.parse::<u64>().ok()?, below.parse().ok()?)));
    match fraction {
        Some((above, below @ (17 | 51 | 85))) => format!("{}/255", above * (255 / below)),
        Some((above, below @ (34 | 102 | 170 | 510))) => format!("{:.1}/255", (above * (510 / below)) as f64 / 2.0),
        _ => eps.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_8_bit_images_stay_such() {
        for (eps, spelled) in
            [("8/255", "8/255"), ("1/85", "3/255"), ("1/510", "0.5/255"), ("0.3", "0.3"), ("1/4", "1/4")]
        {
            assert_eq!(spell(eps), spelled);
        }
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [["a", "1", "x"], ["bb", "22", "y"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["name", "n", "word"], 1..2, rows), "name   n  word\na      1  x\nbb    22  y\n");
    }
}
