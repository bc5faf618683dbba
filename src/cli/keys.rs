//! The key store: the master key changed, put into escrow and taken out.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use granary_foundation::Secret;
use granary_tenants::AuditFilter;
use granary_types::CustomerCode;
use granary_vault::{Escrow, Owner};
use serde_json::json;

use super::arguments::{Global, KeyStore};
use super::files::Named;
use super::house::{House, Rooms, configuration};
use super::output::{Rows, print_json};
use super::progress::Reporter;
use super::{Failure, Usage};

/// How far back escrows are looked for.
const LISTED: u16 = 1_000;
/// More than any passphrase has.
const LONGEST: u64 = 4_096;

pub(crate) async fn run(global: &Global, command: KeyStore) -> Result<ExitCode, Failure> {
    if let KeyStore::ImportEscrow { from } = &command {
        return import(global, from);
    }
    House::with(global, async |house| {
        match command {
            KeyStore::Status { format } => {
                let masters = house.tenants.keys().masters().await?;
                let columns = ["fingerprint", "source", "is_current", "is_held", "keys", "created_at", "retired_at"];
                Rows::of(&columns, &masters).print(format)?;
            }
            KeyStore::Rotate { customer: None, msp: None, yes } => {
                if !yes {
                    must_be_in_escrow(house).await?;
                }
                let rotation = house.tenants.keys().rotate_master(&Reporter::shared().port()).await?;
                house.note(None, None, "key.rotate", &format!("master:{}", rotation.current), &json!(rotation)).await?;
                print_json(&rotation)?;
            }
            KeyStore::Rotate { customer, msp, yes: _ } => renew(house, msp.as_deref(), customer.as_ref()).await?,
            KeyStore::ExportEscrow { out } => {
                let escrow = house.tenants.keys().export_escrow(&passphrase()?).await?;
                house.note(None, None, "key.export_escrow", &format!("master:{}", escrow.fingerprint), &json!({})).await?;
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&out).named("create", &out)?;
                file.write_all(&serde_json::to_vec_pretty(&escrow)?).named("write", &out)?;
                file.sync_all().named("write", &out)?;
                print_json(&json!({"path": out, "fingerprint": escrow.fingerprint}))?;
            }
            KeyStore::ImportEscrow { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Refuses to let go of a master that backups open with and that nobody has put away. A rotation that was killed goes on.
async fn must_be_in_escrow(house: &Rooms) -> Result<(), Failure> {
    let masters = house.tenants.keys().masters().await?;
    let Some(current) = masters.iter().find(|master| master.is_current && master.source == "file") else { return Ok(()) };
    let is_midway = masters.iter().any(|master| !master.is_current && master.keys > 0);
    let listed = async |action: &str| {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        house.tenants.list_audit_as_operator(None, &filter, LISTED).await
    };
    if is_midway || listed("backup.make").await?.is_empty() {
        return Ok(());
    }
    let subject = format!("master:{}", current.fingerprint);
    if listed("key.export_escrow").await?.iter().any(|line| line.subject == subject) {
        return Ok(());
    }
    Err(Usage(
        "the backups that were made open with the present master key alone, and a rotation lets it go: put it into escrow first (granary key \
         export-escrow --out FILE), or say --yes when it lies in another safe place; then back up again"
            .to_owned(),
    )
    .into())
}

/// Gives one owner a new version of its wrapping key.
async fn renew(house: &Rooms, msp: Option<&str>, customer: Option<&CustomerCode>) -> Result<(), Failure> {
    let (owner, subject, msp, customer) = match customer {
        Some(code) => {
            let (msp, customer) = house.customer(msp, code).await?;
            (Owner::Customer(customer.id), format!("customer:{code}"), msp, Some(customer.id))
        }
        None => {
            let msp = house.msp(msp).await?;
            (Owner::Msp(msp.id), format!("msp:{}", msp.code), msp, None)
        }
    };
    let version = house.tenants.keys().renew(owner).await?;
    house.note(Some(&msp), customer, "key.renew", &subject, &json!({"version": version})).await?;
    Ok(print_json(&json!({"owner": subject, "version": version}))?)
}

/// Needs no database: it is what comes before one can be opened.
fn import(global: &Global, from: &Path) -> Result<ExitCode, Failure> {
    let config = configuration(global)?;
    let text = std::fs::read(from).named("read", from)?;
    let escrow: Escrow = serde_json::from_slice(&text).map_err(|error| Usage(format!("{} is no escrow: {error}", from.display())))?;
    let keys = config.data_dir.join("keys");
    std::fs::create_dir_all(&keys).named("make", &keys)?;
    let file = keys.join("master");
    escrow.restore(&passphrase()?, &file)?;
    print_json(&json!({"path": file, "fingerprint": escrow.fingerprint}))?;
    Ok(ExitCode::SUCCESS)
}

fn passphrase() -> Result<Secret, Failure> {
    let mut text = String::new();
    std::io::stdin().take(LONGEST).read_to_string(&mut text).named("read", "the passphrase on standard input")?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
