//! How two reports of the same thing become one row.

use std::collections::BTreeMap;

/// A row that takes in another report of the same thing.
///
/// Merging is commutative, associative and idempotent: whatever the order, the repetitions and the batches in which reports
/// arrive, the same row comes out. Where reports contradict each other, a total order on their content decides, never the
/// order of arrival.
pub(crate) trait Merge {
    /// Takes in another report.
    fn merge(&mut self, other: Self);
}

/// Puts a report under its key.
pub(crate) fn merge_into<K: Ord, R: Merge>(rows: &mut BTreeMap<K, R>, key: K, row: R) {
    match rows.entry(key) {
        std::collections::btree_map::Entry::Vacant(entry) => _ = entry.insert(row),
        std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(row),
    }
}

/// Merges what is stored into what was reported, and keeps only the rows that differ from what is stored.
pub(crate) fn merge_stored<K: Ord, R: Merge + Clone + PartialEq>(reported: &mut BTreeMap<K, R>, stored: Vec<(K, R)>) {
    for (key, row) in stored {
        if let std::collections::btree_map::Entry::Occupied(mut entry) = reported.entry(key) {
            let before = row.clone();
            entry.get_mut().merge(row);
            if *entry.get() == before {
                entry.remove();
            }
        }
    }
}

/// Keeps the greater of two by a total order on their content.
pub(crate) fn keep_greater<R, O: Ord>(kept: &mut R, other: R, order: impl for<'r> Fn(&'r R) -> O) {
    if order(&other) > order(kept) {
        *kept = other;
    }
}
