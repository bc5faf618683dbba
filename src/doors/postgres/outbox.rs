//! What goes to a client: collected, and sent when it is enough or when the client waits for it.

use std::time::Duration;

use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::fault::Fault;
use super::frames::FrameError;

/// Sent at once when it is more.
const FULL: usize = 64 << 10;
/// Who takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// The writing half of a connection.
#[derive(Debug)]
pub(super) struct Outbox<W> {
    writer: W,
    pub(super) waiting: BytesMut,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, waiting: BytesMut::new() }
    }

    pub(super) fn into_writer(self) -> W {
        self.writer
    }

    /// Adds a message; what cannot be written is an error in its place.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) -> Result<(), FrameError> {
        let begun = self.waiting.len();
        message.encode(&mut self.waiting).map_err(|_| {
            self.waiting.truncate(begun);
            FrameError::Broken("an answer is longer than the protocol allows")
        })
    }

    pub(super) fn put_fault(&mut self, fault: &Fault) -> Result<(), FrameError> {
        self.put(&fault.message())
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= FULL
    }

    /// Sends what there is.
    pub(super) async fn flush(&mut self) -> Result<(), FrameError> {
        let sending = async {
            self.writer.write_all_buf(&mut self.waiting).await?;
            self.writer.flush().await
        };
        tokio::time::timeout(PATIENCE, sending).await.map_err(|_| FrameError::Gone)??;
        // One row may have been long; the next client's are not.
        if self.waiting.capacity() > 4 * FULL {
            self.waiting = BytesMut::new();
        }
        Ok(())
    }

    /// Sends what there is, and says that nothing follows.
    pub(super) async fn close(&mut self) {
        if self.flush().await.is_ok() {
            let _ = tokio::time::timeout(PATIENCE, self.writer.shutdown()).await;
        }
    }
}
