//! Requests of one person: what is known of me, give it to me, forget me.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use granary_tenants::{Contact, Customer, Mention, Msp, PersonAddress, TenantsError, forget_contact_email, list_mentions};
use granary_types::CustomerCode;
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Global, Person};
use super::customer_leaving::confirm;
use super::files::Named;
use super::house::{ACTOR, House, Missing, Rooms};
use super::output::print_json;
use super::progress::Reporter;

/// What one customer has of a person.
struct Traces {
    customer: Customer,
    contacts: Vec<Contact>,
    is_its_address: bool,
    mentions: Vec<Mention>,
    /// By the code of the copy.
    copies: Vec<(CustomerCode, Vec<Mention>)>,
}

/// All that is known of a person.
struct Known {
    user: Option<granary_access::Person>,
    traces: Vec<Traces>,
}

pub(crate) async fn run(global: &Global, command: Person) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Person::Find { email, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                let known = look(house, &msp, &email, "granary person find").await?;
                let customers: Vec<Value> = known.traces.iter().map(summary).collect();
                print_json(&json!({"email": email.as_str(), "user": known.user, "customers": customers}))?;
            }
            Person::Export { email, reason, out, msp } => export(house, msp.as_deref(), &email, &reason, &out).await?,
            Person::Erase { email, reason, yes, msp } => erase(house, msp.as_deref(), &email, &reason, yes).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Looks everywhere; customers that have nothing of the person are left out.
async fn look(house: &Rooms, msp: &Msp, email: &PersonAddress, command: &str) -> Result<Known, Failure> {
    let customers = house.tenants.list_customers(msp.id).await?;
    house.note_opening(customers.iter().map(|customer| customer.id), command).await?;
    let clones = house.tenants.list_clones(msp.id, None).await?;
    let progress = Reporter::shared().port();
    progress.begin("looking", customers.len() as u64);
    let mut traces = Vec::new();
    for customer in customers {
        let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
        let mut contacts = house.tenants.list_contacts(&tx, &customer).await?;
        tx.commit().await?;
        contacts.retain(|contact| email.is(&contact.email));
        let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(msp, &customer)).await?;
        let mentions = list_mentions(&tx, email).await?;
        tx.commit().await?;
        let mut copies = Vec::new();
        for copy in clones.iter().filter(|copy| copy.parent == customer.id) {
            let mentions = house.tenants.list_mentions_in_clone(copy, email).await?;
            if !mentions.is_empty() {
                copies.push((copy.code.clone(), mentions));
            }
        }
        let is_its_address = customer.contact_email.as_deref().is_some_and(|own| email.is(own));
        if is_its_address || !contacts.is_empty() || !mentions.is_empty() || !copies.is_empty() {
            traces.push(Traces { customer, contacts, is_its_address, mentions, copies });
        }
        progress.advance(1);
    }
    progress.end();
    Ok(Known { user: house.access.find_person(msp.id, email.as_str()).await?, traces })
}

/// How much a customer has of a person.
fn summary(traces: &Traces) -> Value {
    json!({"customer": traces.customer.code, "contacts": traces.contacts.len(), "contact_email": traces.is_its_address,
        "rows": rows(&traces.mentions), "copies": copies(traces)})
}

/// How many rows of which table.
fn rows(mentions: &[Mention]) -> BTreeMap<&str, usize> {
    let mut rows = BTreeMap::new();
    for mention in mentions {
        *rows.entry(mention.table.as_str()).or_default() += 1;
    }
    rows
}

/// The same of the copies of a customer's silo.
fn copies(traces: &Traces) -> BTreeMap<&str, BTreeMap<&str, usize>> {
    traces.copies.iter().map(|(code, mentions)| (code.as_str(), rows(mentions))).collect()
}

async fn export(house: &Rooms, msp: Option<&str>, email: &PersonAddress, reason: &str, out: &Path) -> Result<(), Failure> {
    let msp = house.msp(msp).await?;
    let known = look(house, &msp, email, "granary person export").await?;
    if known.user.is_none() && known.traces.is_empty() {
        return Err(Missing(format!("nothing is known of {} at {}", email.as_str(), msp.code)).into());
    }
    for traces in &known.traces {
        // In the customer's own log, where its people see it; the address stays out of it.
        let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(&msp, &traces.customer)).await?;
        tx.record_audit("person.export", &format!("customer:{}", traces.customer.code), &json!({}), Some(reason)).await?;
        tx.commit().await?;
    }
    let customers: Vec<Value> = known
        .traces
        .iter()
        .map(|traces| {
            let contacts: Vec<Value> = traces
                .contacts
                .iter()
                .map(
                    |one| json!({"kind": one.kind, "name": one.name, "email": one.email, "phone": one.phone, "created_at": one.created_at}),
                )
                .collect();
            json!({"code": traces.customer.code, "name": traces.customer.name, "contact_email": traces.is_its_address,
                "contacts": contacts, "rows": traces.mentions,
                "copies": traces.copies.iter().map(|(code, mentions)| (code.as_str(), mentions)).collect::<BTreeMap<_, _>>()})
        })
        .collect();
    let document = json!({"kind": "granary person export 1", "email": email.as_str(), "msp": {"code": msp.code, "name": msp.name},
        "made_at": house.clock.now(), "user": known.user, "customers": customers});
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(out).named("create", out)?;
    file.write_all(&serde_json::to_vec_pretty(&document)?).named("write", out)?;
    file.sync_all().named("write", out)?;
    Ok(print_json(&json!({"path": out, "customers": known.traces.iter().map(summary).collect::<Vec<_>>(), "user": known.user.is_some()}))?)
}

async fn erase(house: &Rooms, msp: Option<&str>, email: &PersonAddress, reason: &str, is_sure: bool) -> Result<(), Failure> {
    let msp = house.msp(msp).await?;
    let known = look(house, &msp, email, "granary person erase").await?;
    let held = known.traces.iter().map(|traces| traces.customer.id).chain(known.user.as_ref().and_then(|user| user.customer_id));
    for customer in held {
        if let Some(hold) = house.tenants.hold_on(customer).await? {
            return Err(TenantsError::OnHold(hold.set_at, hold.reason).into());
        }
    }
    if !is_sure {
        confirm(&format!("login and contacts of {} will be destroyed for ever", email.as_str()), "the address", email.as_str())?;
    }
    let (mut contacts, mut addresses) = (0, 0);
    for traces in &known.traces {
        let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
        for contact in &traces.contacts {
            house.tenants.remove_contact(&tx, &traces.customer, contact.id, reason).await?;
            contacts += 1;
        }
        addresses += u32::from(forget_contact_email(&tx, &traces.customer, email, reason).await?);
        tx.commit().await?;
    }
    if let Some(user) = &known.user {
        house.access.forget_person(msp.id, user, ACTOR, reason).await?;
    }
    let left: Vec<Value> = known
        .traces
        .iter()
        .filter(|traces| !traces.mentions.is_empty() || !traces.copies.is_empty())
        .map(|traces| json!({"customer": traces.customer.code, "rows": rows(&traces.mentions), "copies": copies(traces)}))
        .collect();
    Ok(print_json(&json!({"email": email.as_str(), "users": u32::from(known.user.is_some()), "contacts": contacts,
        "contact_emails": addresses, "left": left}))?)
}
