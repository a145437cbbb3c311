//! Putting together what belongs together.

use std::collections::BTreeMap;

/// Things of the same name together, groups and things in the order in which they come.
pub(crate) fn grouped<T, N: Clone + Ord>(
    things: impl IntoIterator<Item = T>,
    name: impl Fn(&T) -> N,
) -> Vec<(N, Vec<T>)> {
    let mut groups: Vec<(N, Vec<T>)> = Vec::new();
    let mut places = BTreeMap::new();
    for thing in things {
        let name = name(&thing);
        let place = *places.entry(name.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((name, Vec::new()));
        }
        groups[place].1.push(thing);
    }
    groups
}
