//! The key store: the master key and what it wraps.

use std::path::PathBuf;

use clap::Subcommand;
use granary_types::CustomerCode;

use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyStore {
    /// Show the master keys: which is current, where it comes from, how many keys it wraps
    #[command(after_help = "Examples:\n  granary key status\n  granary key status --format json")]
    Status {
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Change the master key, or give one MSP or customer a new key for its files
    #[command(after_help = "\
Examples:
  granary key rotate
  granary key rotate --customer ACME
  granary key rotate --msp NORTH

Without a name: a new master key becomes current, every wrapped key is wrapped anew, and the old master is let go. No data is
rewritten; servers go on meanwhile and notice. Killed anywhere, the same command goes on. From a file and from a KMS the new
key is made; in the environment write GRANARY_MASTER_KEY=<old>,<new>, restart the servers with it, rotate, and take the old one
out. Backups from before open with the old master alone: put it into escrow first, which is asked for, and back up again afterwards.

With a name: files from now on get another key; what the older ones wrapped stays as it is.")]
    Rotate {
        /// Only the key for the files of this customer
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// Only the key for the files of this MSP, by its code; with --customer, the customer's MSP
        #[arg(long)]
        msp: Option<String>,
        /// Let the old master key go although backups need it and it is in no escrow
        #[arg(long)]
        yes: bool,
    },
    /// Seal the current master key under a passphrase, read from standard input, into a file for the safe
    #[command(after_help = "\
Examples:
  granary key export-escrow --out master.escrow < passphrase.txt

Keep file and passphrase apart from one another and from the backups of the key store: file, passphrase and such a backup
together open everything, and without the master a backup of the key store opens nothing. Every rotation needs a new escrow.")]
    ExportEscrow {
        /// The file; only its owner may read it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Put a master key back that export-escrow sealed; the passphrase is read from standard input
    #[command(after_help = "\
Examples:
  granary key import-escrow --from master.escrow < passphrase.txt

Writes <data-dir>/keys/master. A key that is there stays in force, and the one from escrow is added: it opens what an older
backup of the key store holds.")]
    ImportEscrow {
        /// The file that export-escrow wrote
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}
