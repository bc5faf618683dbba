//! Rows that travel between two places, as Postgres writes them.

use futures::{SinkExt, StreamExt};
use tokio_postgres::Row;

use crate::error::DbError;
use crate::owner::OwnerConnection;

impl OwnerConnection {
    /// Runs a query that Postgres itself wrote, quoting every name.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>, DbError> {
        Ok(self.client().query(sql, &[]).await?)
    }

    /// Streams the rows of a `copy … to stdout` here into a `copy … from stdin` there; returns how many arrived.
    ///
    /// # Errors
    /// When one of the two refuses; nothing has arrived then.
    pub async fn copy_to(&self, out: &str, there: &Self, into: &str) -> Result<u64, DbError> {
        let mut rows = std::pin::pin!(self.client().copy_out(out).await?);
        let mut sink = std::pin::pin!(there.client().copy_in::<_, bytes::Bytes>(into).await?);
        while let Some(chunk) = rows.next().await {
            sink.feed(chunk?).await?;
        }
        Ok(sink.finish().await?)
    }

    /// Starts a `copy … to stdout`.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn copy_out(&self, out: &str) -> Result<tokio_postgres::CopyOutStream, DbError> {
        Ok(self.client().copy_out(out).await?)
    }

    /// Starts a `copy … from stdin`; the caller writes and finishes the sink.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn copy_in(&self, into: &str) -> Result<tokio_postgres::CopyInSink<bytes::Bytes>, DbError> {
        Ok(self.client().copy_in(into).await?)
    }
}
