//! Backups of the whole installation, and the way back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::output::Format;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  granary backup --to file:///srv/backups
  granary backup --to s3://granary-backups/north
  granary backup list --from s3://granary-backups/north
  granary backup prune --from s3://granary-backups/north --keep 14

Copies all of Postgres while others write, sealed under the master key, which never goes along: put it into escrow. The lake is
immutable and stays where it is. From the first backup on the embedded Postgres keeps its log for the store, and whoever runs jobs
(serve --with-worker, worker) ships it every minute, so that every second can be restored. Backups that are older than
leaving.backup_days go when the next one is complete. A store is reached as the lake's is: [lake.s3] of the configuration.

A Postgres of your own (GRANARY_DATABASE_URL) is copied if the role may replicate; such a backup stands for the instant of its end,
and archiving its log is up to you."
)]
pub(crate) struct Backup {
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
    /// Where backups lie: file:///path or s3://bucket/prefix, of this installation alone
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// List the backups in a store, and which instants they cover
    #[command(after_help = "\
Examples:
  granary backup list --from file:///srv/backups
  granary backup list --from file:///srv/backups --format json | jq -r '.[-1].until_at'")]
    List {
        /// Where the backups lie
        #[arg(long, value_name = "URL")]
        from: String,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Delete all but the newest backups, the log that only they need, and what killed ones have left
    #[command(after_help = "Examples:\n  granary backup prune --from file:///srv/backups --keep 14")]
    Prune {
        /// Where the backups lie
        #[arg(long, value_name = "URL")]
        from: String,
        /// How many stay
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
    },
    /// Ship the log up to now, as workers do every minute
    #[command(after_help = "Examples:\n  granary backup ship")]
    Ship,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary restore --from file:///srv/backups --data-dir restored --master-key .granary/keys/master
  granary restore --from file:///srv/backups --at 2025-10-14T09:30:00Z --data-dir restored
  granary key import-escrow --from master.escrow --data-dir restored

Makes a data directory that any command opens: everything that was committed at the instant or before it, nothing behind it. The
directory is new, or holds nothing but keys/master, as import-escrow leaves it. Everything is checked before Postgres is started;
what is missing or was changed is named. Needs the master key of that time, and the same major version of Postgres. The lake is
found where it was; files from behind the instant are named by nobody any more. Let a restored house take the place of the one that
was: two houses over one lake would take each other's files for leftovers.")]
pub(crate) struct Restore {
    /// Where the backups lie
    #[arg(long, value_name = "URL")]
    pub(crate) from: String,
    /// The instant [default: the last one that is covered]
    #[arg(long, value_name = "INSTANT")]
    pub(crate) at: Option<Timestamp>,
    /// The file with the master key; it is copied into the data directory [default: keys/master there, unless GRANARY_MASTER_KEY or
    /// [keys.kms] names the key]
    #[arg(long, value_name = "FILE")]
    pub(crate) master_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary drill --from s3://granary-backups/north
  granary drill --from file:///srv/backups --at 2025-10-14T09:30:00Z --format json

Restores into a scratch directory, which is removed again whatever comes of it: reads every page, compares events, invoices and the
lake's versions with what was counted when the backup was made, reads the audit chains, and opens every file of the lake that the
restored database names. Ends with 1 when anything is wrong.")]
pub(crate) struct Drill {
    /// Where the backups lie
    #[arg(long, value_name = "URL")]
    pub(crate) from: String,
    /// The instant [default: the one at which the newest backup was counted]
    #[arg(long, value_name = "INSTANT")]
    pub(crate) at: Option<Timestamp>,
    /// The file with the master key [default: keys/master of the data directory, unless GRANARY_MASTER_KEY or [keys.kms] names the key]
    #[arg(long, value_name = "FILE")]
    pub(crate) master_key: Option<PathBuf>,
    /// Where the scratch directory is made [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}
