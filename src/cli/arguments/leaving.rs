//! Leaving: erasing, certificates, legal holds.

use std::path::PathBuf;

use clap::Subcommand;
use granary_types::CustomerCode;

use super::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Leaving {
    /// Destroy everything of a closed customer but what the law keeps, and issue a signed certificate
    #[command(after_help = "\
Examples:
  granary customer erase ACME --reason 'end of contract, letter of 3 May' --out acme-certificate.json
  granary customer certificate verify acme-certificate.json

An erasure that was interrupted is finished by the same call. Nothing brings the data back.")]
    Erase {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for the certificate
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// Do not ask for the code again
        #[arg(long)]
        yes: bool,
        /// Write the certificate to this file as well
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Write everything that a customer has to an archive that opens without this program
    #[command(after_help = "\
Examples:
  granary customer export ACME --out acme.tar
  granary customer export ACME --msp NORTH --out /media/stick/acme.tar

CSV of every table, Parquet, reports as PDF, a README, a manifest and checksums. Contacts are in clear: keep it safe.")]
    Export {
        /// The customer, by its code
        code: CustomerCode,
        /// The tar archive; one of that name is replaced when the new one is complete
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Show and verify certificates of erasures
    #[command(subcommand, after_help = "Example:\n  granary customer certificate verify acme-certificate.json")]
    Certificate(CertificateCommand),
    /// Forbid and allow again that a customer is erased
    #[command(subcommand, after_help = "Example:\n  granary customer hold set ACME --reason 'lawsuit 7/25'")]
    Hold(Hold),
    /// Open an invoice that was kept of an erased customer
    #[command(after_help = "Example:\n  granary customer kept-invoice NORTH-2025-00017")]
    KeptInvoice {
        /// Its number, as the certificate lists it
        number: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertificateCommand {
    /// Print the certificate of the customer that had a code
    #[command(after_help = "Example:\n  granary customer certificate show ACME")]
    Show {
        /// The code that the customer had; of several the last
        code: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Check the signature of a certificate; needs no database
    #[command(after_help = "\
Examples:
  granary customer certificate verify acme.json
  granary customer certificate verify acme.json --public-key 3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")]
    Verify {
        /// The certificate
        file: PathBuf,
        /// The MSP's key in hexadecimal digits; without it only that nothing was changed is shown, not who signed
        #[arg(long, value_name = "HEX")]
        public_key: Option<String>,
    },
    /// Print the key that checks what an MSP signed
    #[command(after_help = "Example:\n  granary customer certificate public-key --msp NORTH")]
    PublicKey {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Set a legal hold: nothing of the customer is erased while it stands
    #[command(after_help = "Example:\n  granary customer hold set ACME --reason 'lawsuit 7/25'")]
    Set {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for whoever is refused an erasure
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Release the hold
    #[command(after_help = "Example:\n  granary customer hold release ACME --reason 'settled'")]
    Release {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Show whether one stands
    #[command(after_help = "Example:\n  granary customer hold show ACME")]
    Show {
        /// The customer, by its code
        code: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}
