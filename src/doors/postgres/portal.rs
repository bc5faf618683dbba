//! Statements that are kept for later, with the places of their values, and portals: their answers, of which a part may still come.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use futures::StreamExt;
use futures::stream::BoxStream;
use granary_warehouse::{Question, WarehouseError};
use pgwire::api::Type;

use super::columns::{Columns, Rows, type_of};
use super::fault::Fault;
use super::statement::Piece;
use super::values::Place;

/// About what a column of an answer takes, with its name.
const FIELD_BYTES: usize = 300;

/// A statement that was read.
#[derive(Debug)]
pub(super) struct Prepared {
    /// None for a text without a statement.
    pub(super) piece: Option<Piece>,
    pub(super) places: Vec<Place>,
    /// Columns of the answer, if there is one.
    pub(super) schema: Option<datafusion::arrow::datatypes::SchemaRef>,
}

impl Prepared {
    /// About how many bytes are kept of it.
    pub(super) fn size(&self) -> usize {
        let text = self.piece.as_ref().map_or(0, |piece| piece.sql.len());
        let columns = self.schema.as_ref().map_or(0, |schema| schema.fields().len());
        text + self.places.len() * size_of::<Place>() + columns * FIELD_BYTES + 1_000
    }
}

/// Returns the places of a question, in order: of the type that the client named, or that the question tells, or text.
pub(super) fn places(question: &Question, named: &[u32]) -> Result<Vec<Place>, Fault> {
    let told = question.parameters()?;
    let most = told.keys().filter_map(|name| name.strip_prefix('$')?.parse::<usize>().ok()).max().unwrap_or(0).max(named.len());
    if most > 65_535 {
        return Err(Fault::new("54000", "a statement has at most 65,535 parameters"));
    }
    let place = |number: usize| {
        let wanted = told.get(&format!("${number}")).cloned().flatten();
        let is_named = named.get(number - 1).copied().filter(|oid| *oid != 0 && *oid != Type::UNKNOWN.oid());
        let kind = match (is_named, &wanted) {
            (Some(oid), _) => Type::from_oid(oid).ok_or_else(|| Fault::new("42704", format!("there is no type with the number {oid}")))?,
            (None, Some(wanted)) => {
                let field = Arc::new(datafusion::arrow::datatypes::Field::new("value", wanted.clone(), true));
                type_of(&field).unwrap_or(Type::TEXT)
            }
            (None, None) => Type::TEXT,
        };
        Ok(Place { kind, is_named: is_named.is_some(), wanted })
    };
    (1..=most).map(place).collect()
}

/// A statement with its values.
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) values: Vec<ScalarValue>,
    pub(super) formats: Vec<i16>,
    pub(super) state: State,
    /// About how many bytes its values take.
    pub(super) size: usize,
}

/// How far an answer is.
pub(super) enum State {
    Fresh,
    Coming(Box<Answer>),
    Done,
}

/// An answer on its way.
pub(super) struct Answer {
    pub(super) columns: Columns,
    pub(super) batches: BoxStream<'static, Result<RecordBatch, WarehouseError>>,
    pub(super) rows: Option<Rows>,
    /// The first word of what a client is told at the end.
    pub(super) word: &'static str,
}

impl Answer {
    pub(super) fn new(columns: Columns, batches: BoxStream<'static, Result<RecordBatch, WarehouseError>>, word: &'static str) -> Self {
        Self { columns, batches, rows: None, word }
    }

    /// An answer that is known already.
    pub(super) fn of(columns: Columns, batch: RecordBatch, word: &'static str) -> Self {
        Self::new(columns, futures::stream::iter([Ok(batch)]).boxed(), word)
    }

    /// Waits for more rows; false at the end.
    pub(super) async fn more(&mut self) -> Result<bool, Fault> {
        match self.batches.next().await {
            None => Ok(false),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(batch)) => {
                self.rows = Some(Rows::new(&self.columns, &batch)?);
                Ok(true)
            }
        }
    }
}
