//! Which parts of which datasets have to be read: a pure decision from what is dirty, what was exported before, and how it lies.

use std::collections::{BTreeMap, BTreeSet};

use granary_types::{Dataset, Period};
use jiff::Timestamp;

use crate::LakeError;
use crate::manifest::{CurrentFile, HOME_ROOT};
use crate::month::{Part, is_settled};
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

/// How the months that an owner has in the lake lie there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Those of which days are files of their own.
    pub(crate) in_days: BTreeSet<(String, Period)>,
    /// Those whose one file is large.
    pub(crate) large: BTreeSet<(String, Period)>,
}

impl Held {
    /// Sorts the files of the current version; a month is large above a number of bytes.
    pub(crate) fn of(current: &[CurrentFile], large_bytes: u64) -> Self {
        let mut held = Self::default();
        for file in current {
            match file.part {
                Part::Day(day) => held.in_days.insert((file.dataset.clone(), Period::of(day))),
                Part::Month(month) if file.size_bytes > large_bytes => held.large.insert((file.dataset.clone(), month)),
                Part::Month(_) | Part::Whole => false,
            };
        }
        held
    }
}

/// What to read of a dataset, and how its months are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) dataset: Dataset,
    pub(crate) wanted: Wanted,
    /// Months that become one file a day: they are large and still change.
    pub(crate) by_day: BTreeSet<Period>,
}

/// What to read of an owner, and what it will have settled.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) readings: Vec<Reading>,
    /// The dirty rows that the snapshot saw.
    pub(crate) dirty_ids: Vec<i64>,
}

impl Plan {
    /// Decides; `exported` names the datasets, with their schemas and the root of their files' names, that went out before.
    ///
    /// A month that has outgrown one file goes out by the day when it changes again, and as one file once it has settled, changed or
    /// not.
    pub(crate) fn new(
        datasets: &[Dataset],
        root: &str,
        dirty: Vec<DirtyRow>,
        exported: &[String],
        held: &Held,
        now: Timestamp,
    ) -> Result<Self, LakeError> {
        let mut plan = Self::default();
        let mut parts: BTreeMap<String, BTreeSet<Part>> = BTreeMap::new();
        for row in dirty {
            let part = row.month.parse().map_err(|_| LakeError::InvalidPart(row.month))?;
            parts.entry(row.dataset).or_default().insert(part);
            plan.dirty_ids.extend(row.ids);
        }
        for dataset in datasets {
            let of_dataset = |months: &BTreeSet<(String, Period)>, is_wanted: &dyn Fn(Period) -> bool| -> BTreeSet<Period> {
                let own = months.iter().filter(|(name, month)| name == dataset.name && is_wanted(*month));
                own.map(|(_, month)| *month).collect()
            };
            let to_merge = of_dataset(&held.in_days, &|month| is_settled(month, now));
            let is_known = exported.contains(&label(dataset, root));
            let dirty = parts.remove(dataset.name).unwrap_or_default();
            if is_known && dirty.is_empty() && to_merge.is_empty() {
                continue;
            }
            let mut by_day = of_dataset(&held.in_days, &|month| !is_settled(month, now));
            by_day.extend(of_dataset(&held.large, &|month| !is_settled(month, now)));
            let is_whole = !is_known || dirty.contains(&Part::Whole) || (dataset.month_column.is_none() && !dirty.is_empty());
            let wanted =
                if is_whole { Wanted::All } else { Wanted::Months(dirty.into_iter().filter_map(Part::month).chain(to_merge).collect()) };
            if let Wanted::Months(months) = &wanted {
                by_day.retain(|month| months.contains(month));
            }
            plan.readings.push(Reading { dataset: *dataset, wanted, by_day });
        }
        Ok(plan)
    }

    /// Tells whether there is nothing to do at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.readings.is_empty() && self.dirty_ids.is_empty()
    }
}

impl Wanted {
    /// Tells whether a part was asked for, so that its absence from the answer means that it is empty.
    pub(crate) fn covers(&self, part: Part) -> bool {
        match self {
            Self::All => true,
            Self::Months(months) => part.month().is_some_and(|month| months.contains(&month)),
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

    const NOW: &str = "2025-11-10T12:00:00Z";

    fn plan(datasets: &[Dataset], dirty: Vec<DirtyRow>, exported: &[String], held: &Held) -> Plan {
        Plan::new(datasets, HOME_ROOT, dirty, exported, held, NOW.parse().unwrap()).unwrap()
    }

    fn months(months: &[&str]) -> BTreeSet<Period> {
        months.iter().map(|month| month.parse().unwrap()).collect()
    }

    fn whole(dataset: Dataset) -> Reading {
        Reading { dataset, wanted: Wanted::All, by_day: BTreeSet::new() }
    }

    #[test]
    fn only_dirty_months_of_known_datasets_are_read() {
        let known = [label(&RUNS, HOME_ROOT), label(&MACHINES, HOME_ROOT)];
        let rows = vec![dirty("runs", "2025-10", 1), dirty("runs", "2025-11", 2), dirty("gone", "all", 3)];
        let plan_of = |rows| plan(&[RUNS, MACHINES], rows, &known, &Held::default());
        let found = plan_of(rows);
        let wanted = Wanted::Months(months(&["2025-10", "2025-11"]));
        assert_eq!(found.readings, [Reading { dataset: RUNS, wanted, by_day: BTreeSet::new() }]);
        assert_eq!(found.dirty_ids, [1, 2, 3]);
        assert!(plan_of(vec![]).is_empty());
    }

    #[test]
    fn a_new_or_changed_dataset_goes_out_whole() {
        let exported = [label(&MACHINES, HOME_ROOT), "runs 0123".to_owned()];
        let found = plan(&[RUNS, MACHINES], vec![dirty("runs", "2025-10", 1)], &exported, &Held::default());
        assert_eq!(found.readings, [whole(RUNS)]);
    }

    #[test]
    fn what_moves_to_another_region_goes_out_whole() {
        let known = [label(&RUNS, HOME_ROOT)];
        let moved = |exported: &[String]| Plan::new(&[RUNS], "lake-eu", vec![], exported, &Held::default(), NOW.parse().unwrap()).unwrap();
        assert_eq!(moved(&known).readings, [whole(RUNS)]);
        assert!(moved(&[label(&RUNS, "lake-eu")]).is_empty());
    }

    #[test]
    fn a_dataset_without_months_is_read_whole() {
        let found = plan(&[MACHINES], vec![dirty("machines", "2025-10", 1)], &[label(&MACHINES, HOME_ROOT)], &Held::default());
        assert_eq!(found.readings, [whole(MACHINES)]);
    }

    #[test]
    fn a_large_month_goes_out_by_the_day_until_it_settles_and_then_as_one_file() {
        let known = [label(&RUNS, HOME_ROOT)];
        let at = |month: &str| ("runs".to_owned(), month.parse().unwrap());
        let held = Held { in_days: [at("2025-09"), at("2025-11")].into(), large: [at("2025-10"), at("2025-12")].into() };
        // September has settled: it is merged, though nothing of it changed. October has, too: what is late is written into its one file.
        let found = plan(&[RUNS], vec![dirty("runs", "2025-10", 1)], &known, &held);
        let wanted = Wanted::Months(months(&["2025-09", "2025-10"]));
        assert_eq!(found.readings, [Reading { dataset: RUNS, wanted, by_day: BTreeSet::new() }]);
        // November goes on in days, December begins to, January is small.
        let rows = ["2025-11", "2025-12", "2026-01"].map(|month| dirty("runs", month, 1)).into();
        let found = plan(&[RUNS], rows, &known, &held);
        let wanted = Wanted::Months(months(&["2025-09", "2025-11", "2025-12", "2026-01"]));
        assert_eq!(found.readings, [Reading { dataset: RUNS, wanted, by_day: months(&["2025-11", "2025-12"]) }]);
        // Everything is read anew: what has settled is one file, what changes stays cut.
        let found = plan(&[RUNS], vec![], &[], &held);
        assert_eq!(found.readings, [Reading { dataset: RUNS, wanted: Wanted::All, by_day: months(&["2025-11", "2025-12"]) }]);
        // Nobody else's months matter.
        assert!(plan(&[MACHINES], vec![], &[label(&MACHINES, HOME_ROOT)], &held).is_empty());
    }
}
