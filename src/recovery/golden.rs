//! Golden sums: what stood in the database at one instant, so that whoever restores that instant can compare.

use std::time::Duration;

use granary_db::OwnerConnection;
use granary_foundation::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{RecoveryError, store};

/// How often a quiet moment is looked for.
const TRIES: u32 = 20;

/// What one MSP had of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenLine {
    /// `events`, `invoices` (finalised), `invoice_lines`, or `lake_version`.
    pub name: String,
    pub msp: Uuid,
    pub count: i64,
    /// In minor units; of events, a sum over what identifies them.
    pub sum: String,
}

/// Counts at an instant that can be restored to the transaction; none when the tables are never quiet.
pub(crate) async fn take(url: &Secret) -> Result<Option<(Timestamp, Vec<GoldenLine>)>, RecoveryError> {
    let (gate, reader) = (OwnerConnection::connect(url).await?, OwnerConnection::connect(url).await?);
    for _ in 0..TRIES {
        if let Some(at) = store::begin_golden(&gate, &reader).await? {
            let lines = store::list_golden(&reader).await?;
            store::end_golden(&reader).await?;
            return Ok(Some((at, lines)));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(None)
}

/// Counts what a database holds that nobody writes into: a restored one.
///
/// # Errors
/// When the server does not answer.
pub async fn current_lines(url: &Secret) -> Result<Vec<GoldenLine>, RecoveryError> {
    Ok(store::list_golden(&OwnerConnection::connect(url).await?).await?)
}
