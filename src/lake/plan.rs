//! Which parts of which datasets have to be read: a pure decision from what is dirty and what was exported before.

use std::collections::{BTreeMap, BTreeSet};

use granary_types::{Dataset, Period};

use crate::LakeError;
use crate::manifest::HOME_ROOT;
use crate::month::Part;
use crate::schema::{arrow_schema, signature};
use crate::store::DirtyRow;

/// What to read of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every row.
    All,
    /// The rows of some months.
    Months(BTreeSet<Period>),
}

/// What to read of an owner, and what it will have settled.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) datasets: Vec<(Dataset, Wanted)>,
    /// The dirty rows that the snapshot saw.
    pub(crate) dirty_ids: Vec<i64>,
}

impl Plan {
    /// Decides; `exported` names the datasets, with their schemas and the root of their files' names, that went out before.
    pub(crate) fn new(datasets: &[Dataset], root: &str, dirty: Vec<DirtyRow>, exported: &[String]) -> Result<Self, LakeError> {
        let mut plan = Self::default();
        let mut parts: BTreeMap<String, BTreeSet<Part>> = BTreeMap::new();
        for row in dirty {
            let part = row.month.parse().map_err(|_| LakeError::InvalidPart(row.month))?;
            parts.entry(row.dataset).or_default().insert(part);
            plan.dirty_ids.extend(row.ids);
        }
        for dataset in datasets {
            let is_known = exported.contains(&label(dataset, root));
            let dirty = parts.remove(dataset.name).unwrap_or_default();
            if is_known && dirty.is_empty() {
                continue;
            }
            let is_whole = !is_known || dataset.month_column.is_none() || dirty.contains(&Part::Whole);
            let months = dirty.into_iter().filter_map(|part| match part {
                Part::Whole => None,
                Part::Month(period) => Some(period),
            });
            plan.datasets.push((*dataset, if is_whole { Wanted::All } else { Wanted::Months(months.collect()) }));
        }
        Ok(plan)
    }

    /// Tells whether there is nothing to do at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.datasets.is_empty() && self.dirty_ids.is_empty()
    }
}

impl Wanted {
    /// Tells whether a part was asked for, so that its absence from the answer means that it is empty.
    pub(crate) fn covers(&self, part: Part) -> bool {
        match (self, part) {
            (Self::All, _) => true,
            (Self::Months(months), Part::Month(period)) => months.contains(&period),
            (Self::Months(_), Part::Whole) => false,
        }
    }
}

/// Names a dataset, its schema, and the region's store that its files go to, if any: where one of them is another, everything goes
/// out anew.
pub(crate) fn label(dataset: &Dataset, root: &str) -> String {
    let mut hash = hex::encode(signature(&arrow_schema(dataset)));
    hash.truncate(16);
    let place = if root == HOME_ROOT { String::new() } else { format!(" {root}") };
    format!("{} {hash}{place}", dataset.name)
}

#[cfg(test)]
mod tests {
    use granary_types::{Column, ColumnKind, Source};

    use super::*;

    const RUNS: Dataset = Dataset {
        name: "runs",
        source: Source::Tenant,
        month_column: Some("ended_at"),
        columns: &[Column::new("ended_at", ColumnKind::Timestamp)],
        sort: &[],
    };
    const MACHINES: Dataset = Dataset {
        name: "machines",
        source: Source::Tenant,
        month_column: None,
        columns: &[Column::new("id", ColumnKind::Uuid)],
        sort: &[],
    };

    fn dirty(dataset: &str, month: &str, id: i64) -> DirtyRow {
        DirtyRow { dataset: dataset.to_owned(), month: month.to_owned(), ids: vec![id] }
    }

    #[test]
    fn only_dirty_months_of_known_datasets_are_read() {
        let known = [label(&RUNS, HOME_ROOT), label(&MACHINES, HOME_ROOT)];
        let rows = vec![dirty("runs", "2025-10", 1), dirty("runs", "2025-11", 2), dirty("gone", "all", 3)];
        let plan = Plan::new(&[RUNS, MACHINES], HOME_ROOT, rows, &known).unwrap();
        let months = ["2025-10", "2025-11"].map(|month| month.parse().unwrap()).into();
        assert_eq!(plan.datasets, [(RUNS, Wanted::Months(months))]);
        assert_eq!(plan.dirty_ids, [1, 2, 3]);
        assert!(Plan::new(&[RUNS, MACHINES], HOME_ROOT, vec![], &known).unwrap().is_empty());
    }

    #[test]
    fn a_new_or_changed_dataset_goes_out_whole() {
        let plan = Plan::new(
            &[RUNS, MACHINES],
            HOME_ROOT,
            vec![dirty("runs", "2025-10", 1)],
            &[label(&MACHINES, HOME_ROOT), "runs 0123".to_owned()],
        )
        .unwrap();
        assert_eq!(plan.datasets, [(RUNS, Wanted::All)]);
    }

    #[test]
    fn what_moves_to_another_region_goes_out_whole() {
        let known = [label(&RUNS, HOME_ROOT)];
        let plan = Plan::new(&[RUNS], "lake-eu", vec![], &known).unwrap();
        assert_eq!(plan.datasets, [(RUNS, Wanted::All)]);
        assert!(Plan::new(&[RUNS], "lake-eu", vec![], &[label(&RUNS, "lake-eu")]).unwrap().is_empty());
    }

    #[test]
    fn a_dataset_without_months_is_read_whole() {
        let plan = Plan::new(&[MACHINES], HOME_ROOT, vec![dirty("machines", "2025-10", 1)], &[label(&MACHINES, HOME_ROOT)]).unwrap();
        assert_eq!(plan.datasets, [(MACHINES, Wanted::All)]);
    }
}
