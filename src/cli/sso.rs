//! Identity providers through which people come in.

use std::process::ExitCode;

use granary_access::{IdentityProvider, Manager, Place, SsoSettings};
use granary_foundation::Secret;
use granary_types::CustomerCode;
use serde_json::{Value, json};

use super::arguments::{Global, Sso, SsoWanted};
use super::files::content_of;
use super::house::{ACTOR, House, Rooms};
use super::output::{Rows, print_json};
use super::{Failure, Usage};

const COMMAND: Manager<'static> = Manager::Command(ACTOR);
const COLUMNS: [&str; 10] =
    ["customer", "issuer", "client_id", "is_on", "is_forced", "domains", "groups", "break_glass", "redirect_uri", "updated_at"];

pub(crate) async fn run(global: &Global, command: Sso) -> Result<ExitCode, Failure> {
    // Standard input is read before the database is kept waiting.
    let secret = match &command {
        Sso::Set(wanted) => wanted.secret_file.as_deref().map(content_of).transpose()?.map(secret_in).transpose()?,
        Sso::List { .. } | Sso::Test { .. } | Sso::Remove { .. } => None,
    };
    House::with(global, async |house| {
        match command {
            Sso::List { msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let customers = house.tenants.list_customers(msp.id).await?;
                let shown: Vec<Value> = house
                    .access
                    .list_sso(msp.id)
                    .await?
                    .iter()
                    .map(|provider| {
                        let code = customers.iter().find(|customer| Some(customer.id) == provider.customer_id).map(|customer| &customer.code);
                        row(house, provider, code)
                    })
                    .collect();
                Rows::of(&COLUMNS, &shown).print(format)?;
            }
            Sso::Set(wanted) => {
                let at = place(house, wanted.msp.as_deref(), wanted.customer.as_ref()).await?;
                let settings = settings(*wanted, secret, house.access.sso(at).await?)?;
                let provider = house.access.set_sso(COMMAND, at, &settings).await?;
                print_json(&json!({
                    "issuer": provider.issuer, "is_on": provider.is_on, "is_forced": provider.is_forced, "domains": provider.domains,
                    "groups": provider.groups, "redirect_uri": house.access.sso_redirect(provider.id), "note": "try it with granary sso test",
                }))?;
            }
            Sso::Test { customer, msp } => {
                let at = place(house, msp.as_deref(), customer.as_ref()).await?;
                let report = house.access.test_sso(at).await?;
                print_json(&json!({
                    "issuer": report.issuer, "authorization_endpoint": report.authorization_endpoint,
                    "token_endpoint": report.token_endpoint, "keys": report.keys, "redirect_uri": report.redirect_uri,
                    "remarks": report.remarks,
                }))?;
                return Ok(if report.remarks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Sso::Remove { customer, msp, reason } => {
                let at = place(house, msp.as_deref(), customer.as_ref()).await?;
                house.access.remove_sso(COMMAND, at, &reason).await?;
                print_json(&json!({"removed": true}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn row(house: &Rooms, provider: &IdentityProvider, code: Option<&CustomerCode>) -> Value {
    let groups: Vec<String> = provider.groups.iter().map(|(name, role)| format!("{name}={role}")).collect();
    json!({
        "customer": code, "issuer": provider.issuer, "client_id": provider.client_id, "is_on": provider.is_on, "is_forced": provider.is_forced,
        "domains": provider.domains.join(" "), "groups": groups.join(", "), "break_glass": provider.break_glass_email,
        "redirect_uri": house.access.sso_redirect(provider.id), "updated_at": provider.updated_at,
    })
}

/// What is wanted, over what is there.
fn settings(wanted: SsoWanted, client_secret: Option<Secret>, before: Option<IdentityProvider>) -> Result<SsoSettings, Usage> {
    let missing = |option: &str| Usage(format!("{option} is needed: there is no identity provider here yet"));
    let SsoWanted { issuer, client_id, groups_claim, groups, domains, trust_email, is_on, force, .. } = wanted;
    let before = before.as_ref();
    let kept = |text: Option<String>, of: fn(&IdentityProvider) -> &String| text.or_else(|| before.map(|before| of(before).clone()));
    Ok(SsoSettings {
        issuer: kept(issuer, |before| &before.issuer).ok_or_else(|| missing("--issuer"))?,
        client_id: kept(client_id, |before| &before.client_id).ok_or_else(|| missing("--client-id"))?,
        client_secret,
        groups_claim: kept(groups_claim, |before| &before.groups_claim).unwrap_or_else(|| "groups".to_owned()),
        groups: match before {
            Some(before) if groups.is_empty() => before.groups.clone(),
            _ => groups.into_iter().collect(),
        },
        domains: match before {
            Some(before) if domains.is_empty() => before.domains.clone(),
            _ => domains,
        },
        trusts_email: trust_email.unwrap_or(before.is_some_and(|before| before.trusts_email)),
        is_on: is_on.unwrap_or(before.is_none_or(|before| before.is_on)),
        // A provider that nobody is led to cannot be forced on anybody.
        is_forced: force.unwrap_or(is_on != Some(false) && before.is_some_and(|before| before.is_forced)),
    })
}

fn secret_in(content: Vec<u8>) -> Result<Secret, Usage> {
    let text = String::from_utf8(content).map_err(|_| Usage("the client's secret is not a text".to_owned()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

async fn place(house: &Rooms, msp: Option<&str>, customer: Option<&CustomerCode>) -> Result<Place, Failure> {
    Ok(match customer {
        Some(code) => {
            let (msp, customer) = house.customer(msp, code).await?;
            Place { msp: Some(msp.id), customer: Some(customer.id) }
        }
        None => Place { msp: Some(house.msp(msp).await?.id), customer: None },
    })
}
