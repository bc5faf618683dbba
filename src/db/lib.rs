//! The room `db`: connections, transactions, migrations, the outbox, the job queue, and the Postgres that the demo starts.
//!
//! It owns the control schema's machinery and two walls that stand in every transaction: `search_path` and role, both local
//! to the transaction ([`TxSettings`]). Whoever forgets one meets an error, never another tenant's rows, because the login
//! role has no right of its own. A [`Tx`] owns its connection; dropped without an end it closes the connection, so that
//! nothing of it reaches the next borrower.
//!
//! Not here: who the tenant is (`tenants` opens transactions for scopes), and anything of the business.

mod audit;
mod base_backup;
mod database;
mod dump;
pub mod embedded;
mod error;
mod installation;
pub mod jobs;
pub mod outbox;
mod owner;
mod pool;
mod settings;
mod store;
mod transfer;
mod tx;

pub use audit::{
    AuditChain, AuditEntry, AuditKey, AuditKeys, AuditRecord, CheckpointClaim, record_as_owner, record_audit, record_in_silo, words_digest,
};
pub use base_backup::{BaseBackup, Included};
pub use database::{Database, DatabaseConfig};
pub use dump::{Dump, DumpRows, TableRows};
pub use error::DbError;
pub use installation::{InstallationNames, plan_control};
pub use owner::OwnerConnection;
pub use pool::PoolUse;
pub use settings::{Identifier, InvalidIdentifier, TxSettings};
pub use tokio_postgres::Error as RowError;
pub use tokio_postgres::types::ToSql;
pub use tokio_postgres::{CopyInSink, CopyOutStream};
pub use tokio_postgres::{Row, SimpleQueryRow};
pub use tx::Tx;
