//! What the last build made of what: for every part of every computed model a digest of its inputs and one of its rows.
//!
//! A part whose inputs have the digest that they had is not computed again, and one whose rows have is not written again. The ledger
//! lies in the lake beside the marts and is published with them, so that both are always of the same version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use granary_lake::Publication;
use granary_types::Period;
use sha2::{Digest, Sha256};

use crate::catalog::{Contents, LAKE_SCHEMA};
use crate::{Materialised, Model, Models, WarehouseError};

/// The dataset that holds it.
pub(crate) const DATASET: &str = "model_builds";
/// The part of a model that has no months, and in the ledger the one that speaks for all of them.
pub(crate) const WHOLE: &str = "all";

const COLUMNS: [&str; 4] = ["model", "month", "inputs", "content"];

/// Digests of one part; of a part without rows the content is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) inputs: String,
    pub(crate) content: String,
}

/// The entries of all models, by model and month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger(BTreeMap<String, BTreeMap<String, Entry>>);

impl Ledger {
    /// Reads the ledger from the rows of its file; rows of another shape are as good as none.
    pub(crate) fn of_rows(batches: &[RecordBatch]) -> Self {
        let mut ledger = Self::default();
        for batch in batches {
            let columns: Option<Vec<_>> =
                COLUMNS.iter().map(|name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())).collect();
            let Some([models, months, inputs, contents]) = columns.as_deref().and_then(<[_]>::as_array) else { return Self::default() };
            for row in 0..batch.num_rows() {
                let entry = Entry { inputs: inputs.value(row).to_owned(), content: contents.value(row).to_owned() };
                ledger.put(models.value(row), months.value(row), entry);
            }
        }
        ledger
    }

    /// Makes the rows that are published beside the marts.
    pub(crate) fn publication(&self) -> Result<Publication, WarehouseError> {
        let rows: Vec<[&str; 4]> = self
            .0
            .iter()
            .flat_map(|(model, parts)| {
                parts.iter().map(move |(month, entry)| [model.as_str(), month.as_str(), entry.inputs.as_str(), entry.content.as_str()])
            })
            .collect();
        let fields: Vec<Field> = COLUMNS.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let column = |index: usize| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[index]))) };
        let batch = RecordBatch::try_new(Arc::clone(&schema), (0..COLUMNS.len()).map(column).collect())
            .map_err(|error| WarehouseError::Engine(error.into()))?;
        Ok(Publication { dataset: DATASET.to_owned(), month: WHOLE.to_owned(), schema, batches: vec![batch] })
    }

    pub(crate) fn get(&self, model: &str, month: &str) -> Option<&Entry> {
        self.0.get(model)?.get(month)
    }

    pub(crate) fn put(&mut self, model: &str, month: &str, entry: Entry) {
        self.0.entry(model.to_owned()).or_default().insert(month.to_owned(), entry);
    }

    /// Returns the months of a model, and what is known of each.
    pub(crate) fn months<'a>(&'a self, model: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> + use<'a> {
        self.0.get(model).into_iter().flatten()
    }

    /// Takes over what another ledger says of a model.
    pub(crate) fn keep(&mut self, model: &str, from: &Self) {
        if let Some(parts) = from.0.get(model) {
            self.0.insert(model.to_owned(), parts.clone());
        }
    }
}

/// What a model is made of, seen through the views between: raw datasets, computed models, and the texts that say how.
#[derive(Debug, Default)]
pub(crate) struct Sources<'a> {
    pub(crate) datasets: BTreeSet<&'a str>,
    pub(crate) computed: BTreeSet<&'a str>,
    texts: BTreeMap<&'a str, &'a str>,
}

impl<'a> Sources<'a> {
    /// Follows the graph down to what a build has at hand.
    pub(crate) fn of(model: &'a Model, models: &'a Models) -> Self {
        let mut sources = Self::default();
        sources.follow(model, models);
        sources
    }

    fn follow(&mut self, model: &'a Model, models: &'a Models) {
        self.texts.insert(&model.name, &model.sql);
        self.datasets.extend(model.datasets());
        for parent in model.parents().filter_map(|name| models.get(name)) {
            if parent.description.materialised != Materialised::View {
                self.computed.insert(&parent.name);
            } else if !self.texts.contains_key(parent.name.as_str()) {
                self.follow(parent, models);
            }
        }
    }

    /// Returns every month of which the sources hold anything.
    pub(crate) fn months(&self, contents: &Contents, ledger: &Ledger) -> BTreeSet<String> {
        let files = self.datasets.iter().filter_map(|dataset| contents.files.get(*dataset)).flatten();
        let raw = files.filter_map(|file| file.partition.last()).cloned();
        let computed = self.computed.iter().flat_map(|model| ledger.months(model).map(|(month, _)| month.clone()));
        raw.chain(computed).filter(|month| month != WHOLE).collect()
    }

    /// Digests what a month is made from, or the whole model when none is given. A month reads the files of its neighbours, too:
    /// months of the lake are UTC, and those of models begin hours before or after.
    pub(crate) fn digest(&self, month: Option<&str>, contents: &Contents, ledger: &Ledger) -> String {
        let mut digest = Sha256::new();
        let mut add = |words: &[&str]| {
            for word in words {
                digest.update(word.len().to_le_bytes());
                digest.update(word);
            }
        };
        add(&[env!("CARGO_PKG_VERSION")]);
        for (name, sql) in &self.texts {
            add(&["model", name, sql]);
        }
        let near = month.map(neighbours);
        let is_near = |of: &String| of == WHOLE || near.as_ref().is_none_or(|near| near.contains(of));
        for dataset in &self.datasets {
            let files = contents.files.get(*dataset).into_iter().flatten();
            let mut lines: Vec<[&str; 3]> = files
                .filter(|file| file.partition.last().is_none_or(is_near))
                .map(|file| {
                    [
                        file.partition.first().map_or("", String::as_str),
                        file.partition.last().map_or("", String::as_str),
                        contents.identity(file),
                    ]
                })
                .collect();
            lines.sort_unstable();
            add(&[LAKE_SCHEMA, dataset]);
            lines.iter().for_each(|line| add(line));
        }
        for model in &self.computed {
            add(&["computed", model]);
            let own = month.and_then(|month| ledger.get(model, month).map(|entry| (month, entry)));
            let has_months = ledger.months(model).any(|(of, _)| of != WHOLE);
            match (month, own) {
                (Some(_), Some((of, entry))) => add(&[of, &entry.content]),
                (Some(_), None) if has_months => {}
                _ => ledger.months(model).for_each(|(of, entry)| add(&[of, &entry.content])),
            }
        }
        hex(&digest.finalize())
    }
}

/// A month and the ones before and after it.
fn neighbours(month: &str) -> BTreeSet<String> {
    let around = |period: Period| [period.previous(), period, period.next()].map(|period| period.to_string());
    month.parse().map_or_else(|_| BTreeSet::from([month.to_owned()]), |period| BTreeSet::from(around(period)))
}

/// Writes bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
        text
    })
}
