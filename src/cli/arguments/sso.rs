//! `granary sso …`: identity providers through which people come in.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use granary_types::{CustomerCode, Role};

use super::text;
use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Sso {
    /// List the identity providers of an MSP and of its customers
    #[command(after_help = "Examples:\n  granary sso list\n  granary sso list --msp NORTH --format json")]
    List {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Set an identity provider up, or change what is named of it; the rest stays
    Set(Box<SsoWanted>),
    /// Ask an identity provider what it says of itself
    #[command(after_help = "Examples:\n  granary sso test\n  granary sso test --customer ACME")]
    Test {
        /// The customer whose provider it is; none for that of the MSP's own people
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Remove an identity provider; sessions that it opened end, and people come in by password
    #[command(after_help = "Examples:\n  granary sso remove --customer ACME --reason 'moved to another provider'")]
    Remove {
        /// The customer whose provider it is; none for that of the MSP's own people
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
The client's secret is read from a file or, with -, from standard input; it is sealed and never shown again. Groups and domains
replace those of before where one is given. The answer names the redirect URI that has to be registered at the provider.

Examples:
  granary sso set --issuer https://login.microsoftonline.com/7d0f5b0e-8d4b-4b5e-9b0a-2f1d3c4b5a69/v2.0 --client-id 5e1c --secret-file entra.secret --groups-claim roles --group Granary.Admin=msp_admin --domain north.example --trust-email
  pass show okta | granary sso set --customer ACME --issuer https://acme.okta.com --client-id 0oa1b2 --secret-file - --group 'Backup readers=customer_viewer' --domain acme.example
  granary sso set --force on
  granary sso set --force off            lets everybody in by password again, when the provider is gone
  granary sso set --customer ACME --use off")]
pub(crate) struct SsoWanted {
    /// The customer whose people come in through it; none for the MSP's own
    #[arg(long)]
    pub(crate) customer: Option<CustomerCode>,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// What the provider calls itself, exactly; needed at first
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// What the provider calls this house; needed at first
    #[arg(long)]
    pub(crate) client_id: Option<String>,
    /// The file that holds the client's secret; - for standard input; needed at first and with another issuer
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The claim that lists somebody's groups; /a/b for one that lies in another [default at first: groups]
    #[arg(long, value_name = "CLAIM")]
    pub(crate) groups_claim: Option<String>,
    /// A group and the role of who is in it; may be given several times
    #[arg(long = "group", value_name = "NAME=ROLE", value_parser = group)]
    pub(crate) groups: Vec<(String, Role)>,
    /// A domain whose addresses the provider speaks for; may be given several times
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
    /// Whether addresses are believed that the provider does not call verified, as Entra never does
    #[arg(long, value_name = "ON|OFF", num_args = 0..=1, default_missing_value = "on", value_parser = on_or_off)]
    pub(crate) trust_email: Option<bool>,
    /// Whether people are led to it [default at first: on]
    #[arg(long = "use", value_name = "ON|OFF", value_parser = on_or_off)]
    pub(crate) is_on: Option<bool>,
    /// Whether passwords are refused
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    pub(crate) force: Option<bool>,
}

fn group(text: &str) -> Result<(String, Role), String> {
    let (name, role) = text.rsplit_once('=').ok_or("a group and its role, such as 'Backup desk=msp_operator'")?;
    Ok((name.trim().to_owned(), role.trim().parse::<Role>().map_err(|error| error.to_string())?))
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}
