//! The SQL of backups.

use std::fmt::Write as _;

use granary_db::{DbError, Identifier, OwnerConnection};
use jiff::Timestamp;
use uuid::Uuid;

use crate::golden::GoldenLine;

const LOCK: &str = "granary backs up";
const SHIPPING_LOCK: &str = "granary ships the log";

const HAS_HOUSE: &str = "select to_regclass('control.installations') is not null and to_regclass('control.lake_heads') is not null";
const HAS_MASTERS: &str = "select to_regclass('keystore.masters') is not null";
const FIND_MASTER: &str = "select fingerprint, wrapped from keystore.masters where is_current";
const MAY_REPLICATE: &str = "
    select current_user::text, coalesce((select rolreplication or rolsuper from pg_catalog.pg_roles where rolname = current_user), false)";
const GET_SERVER: &str = "
    select
        (select id from control.installations), current_setting('server_version_num')::int / 10000,
        (select max(version) from control.refinery_schema_history), current_setting('archive_mode') <> 'off',
        (select rolname::text from pg_catalog.pg_roles where oid = 10), current_database()::text,
        pg_size_bytes(current_setting('wal_segment_size')), clock_timestamp()";
const NOW: &str = "select clock_timestamp()";
/// A transaction that is committed: recovery stops only where it meets one from behind its target.
const TICK: &str = "select pg_current_xact_id()::text";
const SWITCH: &str = "select pg_walfile_name(pg_switch_wal() - 1)";
const NEXT_TRANSACTION: &str = "select pg_snapshot_xmax(pg_current_snapshot())::text";
/// What was destroyed may still lie in the page of the row that it was in.
const FORGET_OLD_ROWS: &str = "vacuum full keystore.keys";

/// Nobody writes into what is counted while the snapshot is made: whoever had begun has committed, and that is in the log. Nobody waits
/// for us longer than half a second, and nobody else is made the victim of a deadlock, which is looked for after a second only.
const QUIET: &str = "
    begin;
    set local lock_timeout = '500ms';
    lock table control.invoices, control.invoice_items, control.lake_heads in share mode;
    do $do$
    declare
        silo record;
    begin
        for silo in
            select c.schema_name from control.customers c
            where c.status <> 'erased' and to_regclass(format('%I.usage_events', c.schema_name)) is not null
            order by c.schema_name
        loop
            execute format('lock table %I.usage_events in share mode', silo.schema_name);
        end loop;
    end $do$";
const LOUD: &str = "rollback";
const SNAPSHOT: &str = "begin isolation level repeatable read read only; select 1";
const END: &str = "commit";

const LIST_SILOS: &str = "
    select c.msp_id, c.schema_name from control.customers c
    where c.status <> 'erased' and to_regclass(format('%I.usage_events', c.schema_name)) is not null
    order by c.msp_id, c.schema_name";
const INVOICES: &str = "
    select msp_id, count(*), coalesce(sum(total_minor), 0)::text from control.invoices where state = 'finalised' group by msp_id
    order by msp_id";
const INVOICE_LINES: &str = "
    select msp_id, count(*), coalesce(sum(amount_minor), 0)::text from control.invoice_items group by msp_id order by msp_id";
const LAKE_VERSIONS: &str = "select msp_id, version, ''::text from control.lake_heads order by msp_id";

/// What is to be known of a server before it is backed up.
pub(crate) struct ServerFacts {
    pub(crate) installation: Uuid,
    pub(crate) major: i32,
    pub(crate) schema_version: i32,
    pub(crate) is_archiving: bool,
    pub(crate) superuser: String,
    pub(crate) database: String,
    pub(crate) segment_bytes: i64,
    pub(crate) now: Timestamp,
}

/// Tells who we are, and whether we may copy the server.
pub(crate) async fn may_replicate(owner: &OwnerConnection) -> Result<(String, bool), DbError> {
    let row = owner.query_one(MAY_REPLICATE, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Tells what the server is; none where there is no house.
pub(crate) async fn find_server(owner: &OwnerConnection) -> Result<Option<ServerFacts>, DbError> {
    if !owner.query_one(HAS_HOUSE, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = owner.query_one(GET_SERVER, &[]).await?;
    let Some(installation) = row.try_get(0)? else { return Ok(None) };
    Ok(Some(ServerFacts {
        installation,
        major: row.try_get(1)?,
        schema_version: row.try_get(2)?,
        is_archiving: row.try_get(3)?,
        superuser: row.try_get(4)?,
        database: row.try_get(5)?,
        segment_bytes: row.try_get(6)?,
        now: row.try_get(7)?,
    }))
}

/// The master in force: its fingerprint, and what a KMS opens to it.
pub(crate) async fn find_master(owner: &OwnerConnection) -> Result<Option<(String, Option<Vec<u8>>)>, DbError> {
    if !owner.query_one(HAS_MASTERS, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let Some(row) = owner.query_opt(FIND_MASTER, &[]).await? else { return Ok(None) };
    Ok(Some((row.try_get(0)?, row.try_get(1)?)))
}

pub(crate) async fn try_lock(owner: &OwnerConnection) -> Result<bool, DbError> {
    owner.try_lock(LOCK).await
}

/// Waits until nobody else ships; held as long as the connection lives.
pub(crate) async fn lock_shipping(owner: &OwnerConnection) -> Result<(), DbError> {
    owner.lock(SHIPPING_LOCK).await
}

pub(crate) async fn now(owner: &OwnerConnection) -> Result<Timestamp, DbError> {
    Ok(owner.query_one(NOW, &[]).await?.try_get(0)?)
}

/// Commits a transaction that changes nothing.
pub(crate) async fn tick(owner: &OwnerConnection) -> Result<(), DbError> {
    owner.query_one(TICK, &[]).await.map(drop)
}

/// Ends the segment that is written into, and names it.
pub(crate) async fn switch(owner: &OwnerConnection) -> Result<String, DbError> {
    Ok(owner.query_one(SWITCH, &[]).await?.try_get(0)?)
}

/// Returns the number that the next transaction gets; as long as it stays nobody has written.
pub(crate) async fn next_transaction(owner: &OwnerConnection) -> Result<String, DbError> {
    Ok(owner.query_one(NEXT_TRANSACTION, &[]).await?.try_get(0)?)
}

pub(crate) async fn forget_old_rows(owner: &OwnerConnection) -> Result<(), DbError> {
    owner.batch(FORGET_OLD_ROWS).await
}

/// Makes a snapshot for `reader` while nobody writes into what is counted, and tells its instant; none while somebody holds a table
/// for too long.
pub(crate) async fn begin_golden(gate: &OwnerConnection, reader: &OwnerConnection) -> Result<Option<Timestamp>, DbError> {
    match gate.batch(QUIET).await {
        Ok(()) => {}
        Err(error) if error.is_cancelled() || error.is_serialization_failure() => {
            gate.batch(LOUD).await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let at = now(gate).await?;
    reader.batch(SNAPSHOT).await?;
    gate.batch(LOUD).await?;
    Ok(Some(at))
}

pub(crate) async fn end_golden(reader: &OwnerConnection) -> Result<(), DbError> {
    reader.batch(END).await
}

/// Counts and adds up what the snapshot sees, per MSP.
pub(crate) async fn list_golden(reader: &OwnerConnection) -> Result<Vec<GoldenLine>, DbError> {
    let mut lines = Vec::new();
    for (name, sql) in [("invoices", INVOICES), ("invoice_lines", INVOICE_LINES), ("lake_version", LAKE_VERSIONS)] {
        for row in reader.query(sql, &[]).await? {
            lines.push(GoldenLine { name: name.to_owned(), msp: row.try_get(0)?, count: row.try_get(1)?, sum: row.try_get(2)? });
        }
    }
    let mut silos: Vec<(Uuid, Identifier)> = Vec::new();
    for row in reader.query(LIST_SILOS, &[]).await? {
        silos.push((row.try_get(0)?, Identifier::new(row.try_get::<_, String>(1)?)?));
    }
    for of_one in silos.chunk_by(|one, other| one.0 == other.0) {
        lines.push(events(reader, of_one).await?);
    }
    Ok(lines)
}

/// The events of an MSP's silos: how many, and a sum over what identifies them.
async fn events(reader: &OwnerConnection, silos: &[(Uuid, Identifier)]) -> Result<GoldenLine, DbError> {
    let mut line =
        GoldenLine { name: "events".to_owned(), msp: silos.first().map(|silo| silo.0).unwrap_or_default(), count: 0, sum: String::new() };
    let (mut count, mut sum) = (0_i64, 0_i128);
    for some in silos.chunks(50) {
        let mut sql = String::new();
        for (_, schema) in some {
            let _ = write!(
                sql,
                "select count(*)::text, coalesce(sum(hashtextextended(source || ' ' || id, 0)), 0)::text from {schema}.usage_events;"
            );
        }
        for row in reader.batch_rows(&sql).await? {
            let figure = |index| row.get(index).and_then(|text: &str| text.parse::<i128>().ok()).unwrap_or_default();
            count += i64::try_from(figure(0)).unwrap_or_default();
            sum += figure(1);
        }
    }
    (line.count, line.sum) = (count, sum.to_string());
    Ok(line)
}
