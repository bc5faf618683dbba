//! All SQL of the room. Rows go as arrays, one statement a table and batch.

pub(crate) mod acceptances;
pub(crate) mod alerts;
pub(crate) mod closing;
pub(crate) mod conditions;
pub(crate) mod control;
pub(crate) mod corrections;
pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod machines;
pub(crate) mod measurements;
pub(crate) mod rebuilding;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod service;
pub(crate) mod storage;
pub(crate) mod stored;
pub(crate) mod usage;

/// Makes the array of one column.
pub(crate) fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
