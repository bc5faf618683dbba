//! Copies of silos, for support and staging.

use std::collections::HashMap;
use std::io::Read;
use std::process::ExitCode;

use clap::Subcommand;
use granary_tenants::{Drops, HOME, NewClone, PersonalData, SiloClone, Swap};
use granary_types::CustomerCode;
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Global, text};
use super::customer_leaving::confirm;
use super::files::{Named, shell_quoted};
use super::house::{ACTOR, House, Rooms};
use super::output::{Format, Rows, print_json};
use super::progress::Reporter;

#[derive(Debug, Subcommand)]
pub(crate) enum Clones {
    /// Copy a customer's silo as it is now, while the customer goes on working
    #[command(after_help = "\
Examples:
  granary customer clone make ACME --as ACME-TICKET-7 --reason 'ticket 7: wrong tier' --days 3
  granary customer clone make ACME --as STAGING --without-personal-data --reason 'trying version 2'

A copy has a schema, a role and a key of its own. Nobody bills, exports or reports it; it is migrated like its customer, dropped when
its days are over, and dies with the customer. One that was interrupted is made anew by the same call.")]
    Make {
        /// The customer, by its code
        code: CustomerCode,
        /// The copy's own code
        #[arg(long = "as", value_name = "NEWCODE")]
        new: CustomerCode,
        /// Another cluster of the configuration, or local for the home [default: the customer's own]
        #[arg(long, value_name = "CLUSTER")]
        to: Option<String>,
        /// Put pseudonyms in the place of names and texts; the log of usage events and the audit log stay empty
        #[arg(long)]
        without_personal_data: bool,
        /// Why, for the audit logs of the house and of the customer
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// After so many days it is dropped
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// List copies: where they come from, how old and how large they are, and when they end
    #[command(after_help = "Examples:\n  granary customer clone list\n  granary customer clone list ACME --format json")]
    List {
        /// Only those of this customer, or the one of this code
        code: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Ask a copy in SQL; it cannot be changed this way, and the question is written down
    #[command(after_help = "\
Examples:
  granary customer clone query STAGING 'select tier, count(*) from tier_assignments group by tier'
  granary customer clone query STAGING - --format csv     the question is read from standard input")]
    Query {
        /// The copy, by its code
        code: CustomerCode,
        /// One statement, or - for standard input
        sql: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Put a copy in the place of its customer's silo; what was there becomes the copy
    #[command(after_help = "\
Examples:
  granary customer clone swap ACME-RESTORED --reason 'machines deleted by mistake'
  granary customer clone swap ACME-RESTORED --reason 'it was right before' --back

Writers wait for a moment. The copy is kept for thirty days at least: what the customer got since the copy was made is in the copy afterwards; invoices stay as they are, and the
next night exports every month again.")]
    Swap {
        /// The copy, by its code
        code: CustomerCode,
        /// Put back what was there before
        #[arg(long)]
        back: bool,
        /// Why, for the audit logs of the house and of the customer
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// Do not ask for the code again
        #[arg(long)]
        yes: bool,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Destroy a copy with its key before its days are over
    #[command(after_help = "Example:\n  granary customer clone drop STAGING --reason 'ticket 7 is solved'")]
    Drop {
        /// The copy, by its code
        code: CustomerCode,
        /// Also when it is what the customer's silo was before a copy took its place
        #[arg(long)]
        replaced_silo: bool,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// Do not ask for the code again
        #[arg(long)]
        yes: bool,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}

pub(crate) async fn run(global: &Global, command: Clones) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Clones::Make { code, new, to, without_personal_data, reason, days, msp } => {
                let (msp, customer) = house.customer(msp.as_deref(), &code).await?;
                let datasets = house.lake.datasets();
                let personal_data = if without_personal_data { PersonalData::Replaced(datasets) } else { PersonalData::Kept };
                let new = NewClone { parent: customer.id, code: &new, cluster: to.as_deref(), personal_data, reason: &reason, days };
                let clone = house.tenants.clone_customer(&msp, &new, ACTOR.into(), &Reporter::shared().port()).await?;
                show(house, &clone).await?;
            }
            Clones::List { code, msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                list(house, house.tenants.list_clones(msp.id, code.as_ref()).await?, format).await?;
            }
            Clones::Query { code, sql, msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let clone = house.tenants.get_clone(msp.id, &code).await?;
                let mut question = sql;
                if question == "-" {
                    question.clear();
                    std::io::stdin().read_to_string(&mut question).named("read", "standard input")?;
                }
                house.note_opening([clone.parent], "granary customer clone query").await?;
                let mut answer = house.tenants.query_clone(&clone, &question, ACTOR.into()).await?;
                let row = |row: &mut serde_json::Map<String, Value>| {
                    answer.columns.iter().map(|name| row.remove(name).unwrap_or(Value::Null)).collect()
                };
                let rows = answer.rows.iter_mut().map(row).collect();
                Rows { columns: answer.columns, rows }.print(format)?;
            }
            Clones::Swap { code, back, reason, yes, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                let clone = house.tenants.get_clone(msp.id, &code).await?;
                if !yes {
                    confirm(&format!("the silo of {} and {code} will be exchanged", clone.parent_code), "the copy's code", code.as_str())?;
                }
                let swap = if back { Swap::Back } else { Swap::Forth };
                let pause_ms = house.tenants.swap_clone(&msp, &clone, swap, house.lake.datasets(), &reason, ACTOR.into()).await?;
                print_json(&json!({"customer": clone.parent_code, "copy": code, "swapped": !back, "pause_ms": pause_ms}))?;
            }
            Clones::Drop { code, replaced_silo, reason, yes, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                let clone = house.tenants.get_clone(msp.id, &code).await?;
                let drops = if replaced_silo { Drops::ReplacedSilo } else { Drops::Copy };
                if !yes {
                    confirm(&format!("the copy {code} of {} will be destroyed for ever", clone.parent_code), "its code", code.as_str())?;
                }
                house.tenants.drop_clone(&clone, drops, &reason, ACTOR.into()).await?;
                print_json(&json!({"code": code, "dropped": true}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// What a copy is, and how one gets into it.
pub(super) async fn show(house: &Rooms, clone: &SiloClone) -> Result<(), Failure> {
    let SiloClone { code, parent_code, cluster, schema_name, role_name, schema_version, has_personal_data, expires_at, .. } = clone;
    let psql = psql(house, clone).await?;
    Ok(print_json(&json!({"code": code, "of": parent_code, "cluster": cluster, "schema": schema_name, "role": role_name,
        "version": schema_version, "personal_data": has_personal_data, "expires_at": expires_at, "psql": psql}))?)
}

/// The line with which the owner of the database gets into a copy, and sees nothing else there.
async fn psql(house: &Rooms, clone: &SiloClone) -> Result<String, Failure> {
    let options = format!("PGOPTIONS='-c search_path={} -c role={}'", clone.schema_name, clone.role_name);
    if clone.cluster != HOME {
        return Ok(format!("{options} psql \"$GRANARY_CLUSTERS_{}_URL\"", clone.cluster.to_uppercase().replace('-', "_")));
    }
    if house.config.database.url.is_some() {
        return Ok(format!("{options} psql \"$GRANARY_DATABASE_URL\""));
    }
    let [socket, port, database, login] = house.tenants.address_of(HOME).await?;
    let password = shell_quoted(&house.config.data_dir.join("postgres.password").to_string_lossy());
    let socket = shell_quoted(&socket);
    Ok(format!("PGPASSWORD=\"$(cat {password})\" {options} psql -h {socket} -p {port} -U {login} {database}"))
}

async fn list(house: &Rooms, clones: Vec<SiloClone>, format: Format) -> Result<(), Failure> {
    let sizes: HashMap<_, _> = house.tenants.clone_sizes(&clones).await?.into_iter().collect();
    let now = house.clock.now();
    let state = |clone: &SiloClone| match clone.is_complete() {
        false => "incomplete",
        true if clone.is_over(now) => "over",
        true => "ready",
    };
    let source = |clone: &SiloClone| if clone.swapped_at.is_some() { "replaced silo" } else { clone.source.as_str() };
    let rows: Vec<Value> = clones
        .iter()
        .map(|clone| {
            let age_days = now.duration_since(clone.created_at).as_hours() / 24;
            json!({"code": clone.code, "of": clone.parent_code, "state": state(clone), "source": source(clone),
                "cluster": clone.cluster, "version": clone.schema_version, "size_bytes": sizes.get(&clone.id),
                "personal_data": clone.has_personal_data, "age_days": age_days, "expires_at": clone.expires_at,
                "schema": clone.schema_name, "role": clone.role_name, "made_by": clone.made_by, "reason": clone.reason})
        })
        .collect();
    let columns = match format {
        Format::Table => {
            &["code", "of", "state", "source", "cluster", "version", "size_bytes", "personal_data", "age_days", "expires_at", "reason"][..]
        }
        Format::Json | Format::Csv => &[
            "code",
            "of",
            "state",
            "source",
            "cluster",
            "version",
            "size_bytes",
            "personal_data",
            "age_days",
            "expires_at",
            "schema",
            "role",
            "made_by",
            "reason",
        ],
    };
    Ok(Rows::of(columns, &rows).print(format)?)
}
