//! Numbers of other libraries, made by `tests/reference/reference.py`.

use std::collections::BTreeMap;

/// The numbers of that name.
pub(crate) fn reference(name: &str) -> Vec<f32> {
    let all: BTreeMap<String, Vec<f32>> =
        serde_json::from_str(include_str!("../../tests/reference/reference.json")).unwrap();
    all[name].clone()
}

/// Values from 0 to 1 in a fixed order, as the script has them.
pub(crate) fn pattern(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 37 % 101) as f32) / 100.0).collect()
}
