//! Reading audit logs, their heads and their checkpoints. A silo's statements find its own tables by the search path.

use granary_db::{AuditChain, AuditRecord, CheckpointClaim, Row, Tx};
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;
use uuid::Uuid;

use crate::audit::{AuditFilter, AuditLine, Checkpoint, Cursor, Head, Stored};
use crate::error::TenantsError;

/// The chain of entries that belong to no MSP has zeros for its id, as the index has.
macro_rules! of_chain {
    () => {
        "coalesce(a.msp_id, '00000000-0000-0000-0000-000000000000') = $1::uuid"
    };
}

const FIND_HEAD: &str = "select sequence, digest, older, older_digest from audit_heads where chain_id = $1";
const FIND_SILO_HEAD: &str = "select sequence, digest, older, older_digest from audit_head";
const LIST_RECORDS: &str = concat!(
    "select a.sequence, a.customer_id, a.actor, a.action, a.happened_at, a.words_digest, a.previous_digest, a.digest, a.salt, a.subject,
        a.detail, a.reason, coalesce(c.status = 'erased', false) as may_be_blank
    from audit_log a left join customers c on c.id = a.customer_id where ",
    of_chain!(),
    " and a.sequence > $2 order by a.sequence limit $3"
);
const LIST_SILO_RECORDS: &str = "
    select a.sequence, null::uuid as customer_id, a.actor, a.action, a.happened_at, a.words_digest, a.previous_digest, a.digest, a.salt,
        a.subject, a.detail, a.reason, false as may_be_blank
    from audit_log a where a.sequence > $1 order by a.sequence limit $2";
/// As the migrations that began the chains have it. A chain begins with 1: what says less stands outside it.
const COUNT_OLDER: &str = concat!(
    "select count(*) as older, sha256(convert_to(string_agg(concat_ws(' ', id, coalesce(customer_id::text, '-'), actor, action,
        (extract(epoch from happened_at) * 1000000)::bigint), chr(10) order by id), 'UTF8')) as older_digest
    from audit_log a where (a.sequence is null or a.sequence < 1) and ",
    of_chain!()
);
const COUNT_OLDER_IN_SILO: &str = "
    select count(*) as older, sha256(convert_to(string_agg(concat_ws(' ', id, '-', actor, action,
        (extract(epoch from happened_at) * 1000000)::bigint), chr(10) order by id), 'UTF8')) as older_digest
    from audit_log where sequence is null or sequence < 1";
const LAST_CHECKPOINT: &str = "select number, digest from audit_checkpoints where chain_id = $1 order by number desc limit 1";
const INSERT_CHECKPOINT: &str = "
    insert into audit_checkpoints (chain_id, number, msp_id, customer_id, sequence, digest, made_at, signature)
    values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (chain_id, number) do nothing";
const LIST_CHECKPOINTS: &str = "
    select chain_id, number, sequence, digest, made_at, signature from audit_checkpoints where chain_id = $1 order by number";
const LAST_SWAP: &str = "select max(happened_at) from audit_log where customer_id = $1 and action = 'customer.swap'";
/// Filters: customers ($2), the beginning of the action ($3), the actor ($4), from ($5) and before ($6) an instant; then those after
/// a place ($7, $8), the newest first.
const LIST_LINES: &str = "
    select a.id, a.sequence, a.happened_at, a.actor, a.action, a.subject, a.detail, a.reason, c.code as customer,
        coalesce(u.name, k.name) as who
    from audit_log a
    left join customers c on c.id = a.customer_id
    left join users u on a.actor = 'user:' || u.id::text
    left join api_keys k on a.actor = 'api_key:' || k.id::text
    where a.msp_id is not distinct from $1::uuid and ($2::uuid[] is null or a.customer_id = any($2))
        and ($3::text is null or starts_with(a.action, $3)) and ($4::text is null or a.actor = $4)
        and ($5::timestamptz is null or a.happened_at >= $5) and ($6::timestamptz is null or a.happened_at < $6)
        and ($7::timestamptz is null or (a.happened_at, a.id) < ($7, $8::bigint))
    order by a.happened_at desc, a.id desc limit $9";
const LIST_SILO_LINES: &str = "
    select a.id, a.sequence, a.happened_at, a.actor, a.action, a.subject, a.detail, a.reason, null::text as customer, null::text as who
    from audit_log a
    where ($1::text is null or starts_with(a.action, $1)) and ($2::text is null or a.actor = $2)
        and ($3::timestamptz is null or a.happened_at >= $3) and ($4::timestamptz is null or a.happened_at < $4)
        and ($5::timestamptz is null or (a.happened_at, a.id) < ($5, $6::bigint))
    order by a.happened_at desc, a.id desc limit $7";
const HAS_CHAIN: &str = "select to_regclass('audit_head') is not null";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[FIND_HEAD, LIST_RECORDS, COUNT_OLDER, LAST_CHECKPOINT, INSERT_CHECKPOINT, LIST_CHECKPOINTS, LAST_SWAP, LIST_LINES, LIST_SILO_LINES];

/// Finds the end of a chain; none when nothing was ever recorded in it.
pub(crate) async fn find_head(tx: &Tx, chain: AuditChain) -> Result<Option<Head>, TenantsError> {
    let row = match chain.customer() {
        Some(_) => tx.query_opt(FIND_SILO_HEAD, &[]).await?,
        None => tx.query_opt(FIND_HEAD, &[&chain.id()]).await?,
    };
    row.map(|row| {
        Ok(Head {
            sequence: row.try_get(0).map_err(TenantsError::column)?,
            digest: row.try_get(1).map_err(TenantsError::column)?,
            older: row.try_get(2).map_err(TenantsError::column)?,
            older_digest: row.try_get(3).map_err(TenantsError::column)?,
        })
    })
    .transpose()
}

/// Lists records of a chain behind a sequence, in order.
pub(crate) async fn list_records(tx: &Tx, chain: AuditChain, after: i64, limit: i64) -> Result<Vec<Stored>, TenantsError> {
    let rows = match chain.customer() {
        Some(_) => tx.query(LIST_SILO_RECORDS, &[&after, &limit]).await?,
        None => tx.query(LIST_RECORDS, &[&chain.id(), &after, &limit]).await?,
    };
    rows.iter().map(|row| stored(row).map_err(TenantsError::column)).collect()
}

fn stored(row: &Row) -> Result<Stored, granary_db::RowError> {
    Ok(Stored {
        record: AuditRecord {
            sequence: row.try_get("sequence")?,
            customer: row.try_get("customer_id")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            happened_at: row.try_get("happened_at")?,
            words_digest: row.try_get::<_, Option<_>>("words_digest")?.unwrap_or_default(),
            previous_digest: row.try_get::<_, Option<_>>("previous_digest")?.unwrap_or_default(),
        },
        digest: row.try_get::<_, Option<_>>("digest")?.unwrap_or_default(),
        salt: row.try_get("salt")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        reason: row.try_get("reason")?,
        may_be_blank: row.try_get("may_be_blank")?,
    })
}

/// Counts what stands outside a chain, with its digest.
pub(crate) async fn count_older(tx: &Tx, chain: AuditChain) -> Result<(i64, Option<Vec<u8>>), TenantsError> {
    let row = match chain.customer() {
        Some(_) => tx.query_one(COUNT_OLDER_IN_SILO, &[]).await?,
        None => tx.query_one(COUNT_OLDER, &[&chain.id()]).await?,
    };
    Ok((row.try_get(0).map_err(TenantsError::column)?, row.try_get(1).map_err(TenantsError::column)?))
}

/// Tells whether the silo that a transaction is in has a chain yet.
pub(crate) async fn has_chain(tx: &Tx) -> Result<bool, TenantsError> {
    tx.query_one(HAS_CHAIN, &[]).await?.try_get(0).map_err(TenantsError::column)
}

/// Finds number and digest of a chain's newest checkpoint.
pub(crate) async fn find_last_checkpoint(tx: &Tx, chain: Uuid) -> Result<Option<(i64, Vec<u8>)>, TenantsError> {
    Ok(tx.query_opt(LAST_CHECKPOINT, &[&chain]).await?.map(|row| (row.get(0), row.get(1))))
}

/// Enters a checkpoint, unless somebody entered one of that number.
pub(crate) async fn insert_checkpoint(
    tx: &Tx,
    (msp, customer): (Option<MspId>, Option<CustomerId>),
    checkpoint: &Checkpoint,
) -> Result<bool, TenantsError> {
    let Checkpoint { claim: CheckpointClaim { chain, number, sequence, digest, made_at }, signature } = checkpoint;
    Ok(tx.execute(INSERT_CHECKPOINT, &[chain, number, &msp, &customer, sequence, digest, made_at, signature]).await? == 1)
}

/// Lists the checkpoints of a chain by number.
pub(crate) async fn list_checkpoints(tx: &Tx, chain: Uuid) -> Result<Vec<Checkpoint>, TenantsError> {
    let rows = tx.query(LIST_CHECKPOINTS, &[&chain]).await?;
    let read = |row: &Row| Checkpoint {
        claim: CheckpointClaim { chain: row.get(0), number: row.get(1), sequence: row.get(2), digest: row.get(3), made_at: row.get(4) },
        signature: row.get(5),
    };
    Ok(rows.iter().map(read).collect())
}

/// Finds the instant at which a copy last took the place of a customer's silo.
pub(crate) async fn find_last_swap(tx: &Tx, customer: CustomerId) -> Result<Option<Timestamp>, TenantsError> {
    Ok(tx.query_one(LAST_SWAP, &[&customer]).await?.get(0))
}

/// Lists lines of the control schema's log.
pub(crate) async fn list_audit_lines(
    tx: &Tx,
    msp: Option<MspId>,
    customers: Option<&[CustomerId]>,
    filter: &AuditFilter,
    limit: i64,
) -> Result<Vec<AuditLine>, TenantsError> {
    let AuditFilter { action, actor, since, until, after } = filter;
    let (at, id) = after.map(|cursor| cursor.bound(0)).unzip();
    let rows = tx.query(LIST_LINES, &[&msp, &customers, action, actor, since, until, &at, &id, &limit]).await?;
    rows.iter().map(|row| line(row, 0).map_err(TenantsError::column)).collect()
}

/// Lists lines of the log of the silo that a transaction is in.
pub(crate) async fn list_silo_lines(tx: &Tx, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditLine>, TenantsError> {
    let AuditFilter { action, actor, since, until, after } = filter;
    let (at, id) = after.map(|cursor| cursor.bound(1)).unzip();
    let rows = tx.query(LIST_SILO_LINES, &[action, actor, since, until, &at, &id, &limit]).await?;
    rows.iter().map(|row| line(row, 1).map_err(TenantsError::column)).collect()
}

fn line(row: &Row, log: u8) -> Result<AuditLine, granary_db::RowError> {
    let at = row.try_get("happened_at")?;
    Ok(AuditLine {
        place: Cursor { at, log, id: row.try_get("id")? },
        sequence: row.try_get("sequence")?,
        happened_at: at,
        actor: row.try_get("actor")?,
        who: row.try_get("who")?,
        action: row.try_get("action")?,
        customer: row.try_get("customer")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        reason: row.try_get("reason")?,
    })
}
