//! Answers as batches of rows, for doors that write them in a protocol of their own.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use granary_foundation::Boxed;
use granary_types::MspId;

use crate::answer::Writer;
use crate::{Question, Session, Warehouse, WarehouseError};

/// An answer as it comes; dropped, the query ends.
pub struct RowStream {
    /// The columns, known before the first row.
    pub schema: SchemaRef,
    /// Batches that hold rows.
    pub batches: BoxStream<'static, Result<RecordBatch, WarehouseError>>,
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowStream({} columns)", self.schema.fields().len())
    }
}

impl Warehouse {
    /// Answers a question within a session as batches of rows; an error before the first rows is returned, one after them ends the
    /// stream. The query goes on no longer than somebody takes the answer.
    ///
    /// # Errors
    /// As [`Warehouse::answer`].
    pub fn rows<'a>(&'a self, msp: MspId, session: &'a Session, question: Question) -> Boxed<'a, Result<RowStream, WarehouseError>> {
        Box::pin(async move {
            let schema = question.schema();
            let batches = self.begin(msp, session, question, |_| Ok(Batches)).await?;
            Ok(RowStream { schema, batches })
        })
    }
}

/// Hands batches on as they are.
struct Batches;

impl Writer for Batches {
    type Piece = RecordBatch;

    fn write(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>, WarehouseError> {
        Ok(Some(batch).filter(|batch| batch.num_rows() > 0))
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>, WarehouseError> {
        Ok(None)
    }
}
