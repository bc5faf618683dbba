//! Looking into the log for what corrects events, and for the events that tell of a thing; taking out what is counted anew.

use std::collections::BTreeSet;

use granary_tenants::TenantTx;
use granary_types::CustomerId;
use jiff::civil::Date;
use uuid::Uuid;

use super::column;
use crate::correction::Logged;
use crate::error::MeteringError;
use crate::fact::MachineKey;
use crate::identity;
use crate::thing::Thing;

/// What corrects the given events, and what corrects that, and so on.
const LIST_CORRECTIONS: &str = "
    with recursive found (source, id) as (
        select known.source, known.id
        from unnest($1::text[], $2::text[]) as given (source, id)
        cross join lateral (
            select source, id from usage_events where type like 'event.%' and source = given.source and data ->> 'event_id' = given.id offset 0
        ) as known
        union
        select known.source, known.id
        from found
        cross join lateral (
            select source, id from usage_events where type like 'event.%' and source = found.source and data ->> 'event_id' = found.id offset 0
        ) as known
    )
    select event.source, event.id, event.type, event.occurred_at, event.content_hash, event.data
    from found join usage_events as event on event.source = found.source and event.id = found.id";

/// The facts that the given corrections are about, or what they are about, and so on.
const LIST_CORRECTED: &str = "
    with recursive found (source, id) as (
        select source, id from unnest($1::text[], $2::text[]) as given (source, id)
        union
        select found.source, known.event_id
        from found
        cross join lateral (
            select data ->> 'event_id' as event_id from usage_events where source = found.source and id = found.id and type like 'event.%' offset 0
        ) as known
    )
    select event.source, event.id, event.type, event.occurred_at, event.content_hash, event.data
    from found join usage_events as event on event.source = found.source and event.id = found.id
    where event.type not like 'event.%' and event.data::text <> 'null'";

macro_rules! name_in {
    ($type:literal, $data:literal) => {
        concat!(
            "case split_part(",
            $type,
            ", '.', 1)
                when 'backup' then case when ",
            $type,
            " = 'backup.skipped' then ",
            $data,
            " -> 'machine' ->> 'vendor_id' else ",
            $data,
            " ->> 'run_id' end
                when 'restore' then ",
            $data,
            " ->> 'restore_id'
                when 'replication' then ",
            $data,
            " -> 'machine' ->> 'vendor_id'
                when 'repository' then ",
            $data,
            " -> 'repository' ->> 'vendor_id'
                when 'ticket' then ",
            $data,
            " ->> 'ticket_id'
                when 'chain' then ",
            $data,
            " ->> 'chain_id'
                when 'copy' then ",
            $data,
            " ->> 'copy_id'
                when 'maintenance' then ",
            $data,
            " ->> 'window_id'
                else '' end"
        )
    };
}

/// Facts about things, by what they say themselves. There is no index for it: corrections are rare, events are many.
const LIST_ABOUT: &str = concat!(
    "select event.source, event.id, event.type, event.occurred_at, event.content_hash, event.data
    from usage_events as event
    where event.type not like 'event.%' and event.type not like 'machine.%' and event.data::text <> 'null'
        and (split_part(event.type, '.', 1), ",
    name_in!("event.type", "event.data"),
    ") in (select family, name from unnest($1::text[], $2::text[]) as given (family, name))"
);

/// Facts about things, by what amends them.
const LIST_AMENDED_ABOUT: &str = concat!(
    "select event.source, event.id, event.type, event.occurred_at, event.content_hash, event.data
    from (
        select distinct source, data ->> 'event_id' as id
        from usage_events
        where type like 'event.%' and type = 'event.amended'
            and (split_part(data ->> 'type', '.', 1), ",
    name_in!("(data ->> 'type')", "(data -> 'data')"),
    ") in (select family, name from unnest($1::text[], $2::text[]) as given (family, name))
    ) as amended
    join usage_events as event on event.source = amended.source and event.id = amended.id
    where event.type not like 'event.%' and event.data::text <> 'null'"
);

/// Facts that are amended into something about these machines themselves.
const LIST_AMENDED_SAYINGS: &str = "
    select event.source, event.id, event.type, event.occurred_at, event.content_hash, event.data
    from (
        select distinct amendment.source, amendment.data ->> 'event_id' as id
        from usage_events as amendment
        join unnest($1::text[], $2::text[]) as given (source_system, vendor_id)
            on amendment.data -> 'data' ->> 'source_system' = given.source_system
            and amendment.data -> 'data' ->> 'vendor_id' = given.vendor_id
        where amendment.type like 'event.%' and amendment.type = 'event.amended' and amendment.data ->> 'type' like 'machine.%'
    ) as amended
    join usage_events as event on event.source = amended.source and event.id = amended.id
    where event.type not like 'event.%' and event.data::text <> 'null'";

const DELETE_RUNS: &str = "delete from backup_runs where id = any($1)";
const DELETE_ATTEMPTS: &str = "delete from backup_attempts where run_id = any($1)";
const DELETE_DISKS: &str = "delete from backup_disks where run_id = any($1)";
const DELETE_RESTORES: &str = "delete from restore_runs where id = any($1)";
const DELETE_TICKETS: &str = "delete from tickets where id = any($1)";
const DELETE_STORED: &str = "delete from stored_backups where id = any($1)";
const DELETE_WINDOWS: &str = "delete from maintenance_windows where id = any($1)";
const DELETE_SAMPLES: &str = "delete from storage_samples where repository_id = any($1)";
const DELETE_REPOSITORIES: &str = "delete from repositories where id = any($1)";
const DELETE_CYCLES: &str = "
    delete from replication_cycles where (machine_id, service_on) in (select * from unnest($1::uuid[], $2::date[]))";
const DELETE_SKIPPED: &str = "
    delete from skipped_runs where (machine_id, service_on, reason) in (select * from unnest($1::uuid[], $2::date[], $3::text[]))";
const DELETE_HEARTBEATS: &str = "delete from heartbeats where (source, service_on) in (select * from unnest($1::text[], $2::date[]))";
const DELETE_ACTIVITY: &str = "
    delete from activity where (source, service_on, kind) in (select * from unnest($1::text[], $2::date[], $3::text[]))";

/// Reads an event of the log.
pub(crate) fn logged(row: &granary_db::Row) -> Result<Logged, MeteringError> {
    let hash: &[u8] = row.get(4);
    Ok(Logged {
        source: row.get(0),
        id: row.get(1),
        event_type: row.get(2),
        occurred_at: row.get(3),
        content_hash: hash.try_into().map_err(|_| MeteringError::Corrupt("a content hash is not 32 bytes long".to_owned()))?,
        data: row.get(5),
    })
}

/// Returns what corrects these events (source, id), and what corrects that, and so on.
pub(crate) async fn list_corrections(tx: &TenantTx, events: &[(&str, &str)]) -> Result<Vec<Logged>, MeteringError> {
    let rows = tx.query(LIST_CORRECTIONS, &[&column(events, |event| event.0), &column(events, |event| event.1)]).await?;
    rows.iter().map(logged).collect()
}

/// Returns the facts that these corrections (source, id) are about in the end, as far as they are in the log.
pub(crate) async fn list_corrected(tx: &TenantTx, corrections: &[(&str, &str)]) -> Result<Vec<Logged>, MeteringError> {
    let rows = tx.query(LIST_CORRECTED, &[&column(corrections, |event| event.0), &column(corrections, |event| event.1)]).await?;
    rows.iter().map(logged).collect()
}

/// Returns every fact that may tell of these things, by what it says or what amends it; some may come twice, some tell of others.
pub(crate) async fn list_about(tx: &TenantTx, things: &BTreeSet<Thing>) -> Result<Vec<Logged>, MeteringError> {
    let wanted: BTreeSet<(&str, &str)> = things.iter().flat_map(Thing::found_by).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (families, names): (Vec<&str>, Vec<&str>) = wanted.into_iter().unzip();
    let mut rows = tx.query(LIST_ABOUT, &[&families, &names]).await?;
    rows.extend(tx.query(LIST_AMENDED_ABOUT, &[&families, &names]).await?);
    rows.iter().map(logged).collect()
}

/// Returns the facts that are amended into something about these machines themselves.
pub(crate) async fn list_amended_sayings(tx: &TenantTx, machines: &[MachineKey<'_>]) -> Result<Vec<Logged>, MeteringError> {
    let systems = column(machines, |key| key.source_system);
    let vendor_ids = column(machines, |key| key.vendor_id);
    let rows = tx.query(LIST_AMENDED_SAYINGS, &[&systems, &vendor_ids]).await?;
    rows.iter().map(logged).collect()
}

/// Takes the rows of things out. What a machine is stays: it is derived from everything that was ever said of it.
pub(crate) async fn delete_things(tx: &TenantTx, customer: CustomerId, things: &BTreeSet<Thing>) -> Result<(), MeteringError> {
    let ids = |id: &dyn Fn(&Thing) -> Option<Uuid>| things.iter().filter_map(id).collect::<Vec<Uuid>>();
    let runs = ids(&|thing| if let Thing::Run { source, name } = thing { Some(identity::run_id(customer, source, name)) } else { None });
    let repositories =
        ids(&|thing| if let Thing::Repository { vendor_id } = thing { Some(identity::repository_id(customer, vendor_id)) } else { None });
    let restores =
        ids(&|thing| if let Thing::Restore { source, name } = thing { Some(identity::restore_id(customer, source, name)) } else { None });
    let tickets =
        ids(&|thing| if let Thing::Ticket { source, name } = thing { Some(identity::ticket_id(customer, source, name)) } else { None });
    let windows =
        ids(&|thing| if let Thing::Window { source, name } = thing { Some(identity::window_id(customer, source, name)) } else { None });
    let stored = ids(&|thing| match thing {
        Thing::Stored { source, kind, name } => Some(identity::stored_id(customer, kind, source, name)),
        _ => None,
    });
    for (statement, ids) in [
        (DELETE_RUNS, &runs),
        (DELETE_ATTEMPTS, &runs),
        (DELETE_DISKS, &runs),
        (DELETE_RESTORES, &restores),
        (DELETE_TICKETS, &tickets),
        (DELETE_WINDOWS, &windows),
        (DELETE_STORED, &stored),
        (DELETE_SAMPLES, &repositories),
        (DELETE_REPOSITORIES, &repositories),
    ] {
        if !ids.is_empty() {
            tx.execute(statement, &[ids]).await?;
        }
    }
    delete_days(tx, things).await
}

async fn delete_days(tx: &TenantTx, things: &BTreeSet<Thing>) -> Result<(), MeteringError> {
    let mut cycles: Vec<(Uuid, Date)> = Vec::new();
    let mut skipped: Vec<(Uuid, Date, &str)> = Vec::new();
    let mut heartbeats: Vec<(&str, Date)> = Vec::new();
    let mut activity: Vec<(&str, Date, &str)> = Vec::new();
    for thing in things {
        match thing {
            Thing::Cycles { machine, day, .. } => cycles.push((*machine, *day)),
            Thing::Skipped { machine, day, reason, .. } => skipped.push((*machine, *day, reason)),
            Thing::Heartbeats { source, day } => heartbeats.push((source, *day)),
            Thing::Activity { source, day, kind } => activity.push((source, *day, kind)),
            _ => {}
        }
    }
    if !cycles.is_empty() {
        tx.execute(DELETE_CYCLES, &[&column(&cycles, |key| key.0), &column(&cycles, |key| key.1)]).await?;
    }
    if !skipped.is_empty() {
        let (machines, days, reasons) = (column(&skipped, |key| key.0), column(&skipped, |key| key.1), column(&skipped, |key| key.2));
        tx.execute(DELETE_SKIPPED, &[&machines, &days, &reasons]).await?;
    }
    if !heartbeats.is_empty() {
        tx.execute(DELETE_HEARTBEATS, &[&column(&heartbeats, |key| key.0), &column(&heartbeats, |key| key.1)]).await?;
    }
    if !activity.is_empty() {
        let (sources, days, kinds) = (column(&activity, |key| key.0), column(&activity, |key| key.1), column(&activity, |key| key.2));
        tx.execute(DELETE_ACTIVITY, &[&sources, &days, &kinds]).await?;
    }
    Ok(())
}
