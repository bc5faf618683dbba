//! The log of usage events and the quarantine.

use std::collections::HashMap;

use granary_tenants::TenantTx;
use jiff::Timestamp;

use super::column;
use super::corrections::logged;
use crate::correction::Logged;
use crate::counting::Corrected;
use crate::error::MeteringError;
use crate::event::{ContentHash, Event};
use crate::fact::MachineKey;

/// One writer a tenant: what is read before it is merged cannot change meanwhile. The first number is the room's.
const LOCK: &str = "select pg_advisory_xact_lock(7301, hashtext(current_schema()))";

/// The limit keeps the planner at one index probe an event, whatever it believes about the size of a young table. A row without a
/// position says that something in the log corrects something; the order leads to it by its index.
const LIST_KNOWN: &str = "
    select given.position, known.content_hash
    from unnest($1::int[], $2::text[], $3::text[]) as given (position, source, id)
    cross join lateral (select content_hash from usage_events where source = given.source and id = given.id limit 1) as known
    union all
    (select null, content_hash from usage_events where type like 'event.%' order by source, data ->> 'event_id' limit 1)";

const INSERT: &str = "
    insert into usage_events (occurred_at, received_at, source, id, type, subject, content_hash, data)
    select occurred_at, $8, source, id, type, subject, content_hash, data::json
    from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[])
        as given (occurred_at, source, id, type, subject, content_hash, data)";

const INSERT_QUARANTINED: &str = "
    insert into quarantined_events (source, id, content_hash, reason, event, received_at)
    select source, id, content_hash, reason, event::json, $6
    from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[]) as given (source, id, content_hash, reason, event)
    on conflict (source, id, content_hash) do nothing";

const LIST_SAYINGS: &str = "
    select event.source, event.id, event.type, event.occurred_at, event.content_hash, event.data
    from unnest($1::text[], $2::text[]) as given (source_system, vendor_id)
    join usage_events as event
        on event.data ->> 'source_system' = given.source_system and event.data ->> 'vendor_id' = given.vendor_id
        and event.type like 'machine.%'";

/// Makes this transaction the only one that ingests or rebuilds in this tenant, until it ends.
pub(crate) async fn lock(tx: &TenantTx) -> Result<(), MeteringError> {
    tx.execute(LOCK, &[]).await?;
    Ok(())
}

/// What the log knows of some events.
#[derive(Debug)]
pub(crate) struct Known {
    /// By position, the content hash of those whose (source, id) is in it already.
    pub(crate) hashes: HashMap<i32, Vec<u8>>,
    pub(crate) corrected: Corrected,
}

/// Returns what the log knows of these events.
pub(crate) async fn get_known(tx: &TenantTx, events: &[(i32, &Event<'_>)]) -> Result<Known, MeteringError> {
    let positions = column(events, |(position, _)| *position);
    let sources = column(events, |(_, event)| event.source);
    let ids = column(events, |(_, event)| event.id);
    let mut known = Known { hashes: HashMap::new(), corrected: Corrected::Nothing };
    for row in tx.query(LIST_KNOWN, &[&positions, &sources, &ids]).await? {
        match row.get(0) {
            Some(position) => _ = known.hashes.insert(position, row.get(1)),
            None => known.corrected = Corrected::Something,
        }
    }
    Ok(known)
}

/// Appends events that are not in the log.
pub(crate) async fn insert(tx: &TenantTx, events: &[&Event<'_>], received_at: Timestamp) -> Result<(), MeteringError> {
    let occurred_at = column(events, |event| event.occurred_at);
    let sources = column(events, |event| event.source);
    let ids = column(events, |event| event.id);
    let types = column(events, |event| event.event_type);
    let subjects = column(events, |event| event.subject);
    let hashes = column(events, |event| &event.content_hash[..]);
    let data = column(events, |event| event.data.as_str());
    tx.execute(INSERT, &[&occurred_at, &sources, &ids, &types, &subjects, &hashes, &data, &received_at]).await?;
    Ok(())
}

/// An event that was refused and has a name to be found by.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) content_hash: ContentHash,
    pub(crate) reason: String,
    pub(crate) event: String,
}

/// Puts events into quarantine, each content once.
pub(crate) async fn insert_quarantined(tx: &TenantTx, refused: &[Refused], received_at: Timestamp) -> Result<(), MeteringError> {
    let sources = column(refused, |event| event.source.as_str());
    let ids = column(refused, |event| event.id.as_str());
    let hashes = column(refused, |event| &event.content_hash[..]);
    let reasons = column(refused, |event| event.reason.as_str());
    let events = column(refused, |event| event.event.as_str());
    tx.execute(INSERT_QUARANTINED, &[&sources, &ids, &hashes, &reasons, &events, &received_at]).await?;
    Ok(())
}

/// Returns everything that was ever said of these machines.
pub(crate) async fn list_sayings(tx: &TenantTx, machines: &[MachineKey<'_>]) -> Result<Vec<Logged>, MeteringError> {
    let systems = column(machines, |key| key.source_system);
    let vendor_ids = column(machines, |key| key.vendor_id);
    let rows = tx.query(LIST_SAYINGS, &[&systems, &vendor_ids]).await?;
    rows.iter().map(logged).collect()
}
