//! What an operator looks at: queues, nights, schemas, and what went wrong for whom.

use granary_db::{Row, Tx};
use jiff::Timestamp;

use crate::error::TenantsError;
use crate::watch::{DeadJob, JobCount, LastNight, MailCount, Outbox, Schemas, Trouble, TroubleKind};

/// A job that was due at once has been due since it was queued. What is done is no work any more.
const COUNT_JOBS: &str = "
    select kind, state, count(*) as jobs, min(greatest(run_at, created_at)) as oldest_at
    from jobs where state <> 'done' group by kind, state order by kind, state";
const LIST_DEAD_JOBS: &str = "
    select j.id, j.kind, m.code as msp, c.code as customer, j.attempt, coalesce(j.last_error, '') as error,
        coalesce(j.finished_at, j.created_at) as died_at
    from jobs j left join msps m on m.id = j.msp_id left join customers c on c.id = j.customer_id
    where j.state = 'dead' order by died_at desc, j.id limit $1";
/// The newest night of each MSP; one that has had none counts from when it was added.
const LIST_LAST_NIGHTS: &str = "
    select m.code as msp, n.night_on, coalesce(max(n.finished_at), m.created_at) as ended_at, count(n.owner_id) as owners,
        count(n.owner_id) filter (where n.outcome = 'failed') as failed
    from msps m
    left join (select msp_id, max(night_on) as night_on from nights where night_on > $1 group by msp_id) last on last.msp_id = m.id
    left join nights n on n.msp_id = m.id and n.night_on = last.night_on
    group by m.id, n.night_on order by m.code";
const COUNT_MAILS: &str = "
    select state, count(*) as mails, min(created_at) as oldest_at
    from mails where state = 'waiting' or created_at > $1 group by state order by state";
const COUNT_SCHEMAS: &str = "
    select count(*) filter (where c.schema_version >= $1) as current, count(*) filter (where c.schema_version < $1) as behind,
        count(*) filter (where s.error is not null) as failed, count(*) filter (where s.drift is not null) as drifted
    from customers c left join schema_states s on s.customer_id = c.id
    where c.schema_version > 0 and c.status <> 'erased'";
const COUNT_CUSTOMERS: &str = "select status, count(*) as customers from customers group by status order by status";
/// What an operator has to look at, customer by customer: `$1` is an hour ago, `$2` the day from which nights are looked at.
const LIST_TROUBLES: &str = "
    with troubles as (
        select customer_id, 'migration' as kind, coalesce(attempted_at, checked_at) as since_at, error as detail
        from schema_states where error is not null
        union all
        select customer_id, 'drift', checked_at, drift from schema_states where drift is not null
        union all
        select customer_id, 'operation', updated_at, operation || coalesce(': ' || last_error, ' has not ended')
        from lifecycle_runs where ended_at is null and (last_error is not null or updated_at < $1)
        union all
        select n.owner_id, 'export', n.finished_at, coalesce(n.error, '')
        from nights n
        where n.outcome = 'failed' and n.night_on > $2
            and not exists (select from nights later where later.owner_id = n.owner_id and later.night_on > n.night_on)
        union all
        select customer_id, 'move', started_at, from_cluster || ' to ' || to_cluster from moves where started_at < $1
        union all
        select parent_id, 'copy', expires_at, code from clones where expires_at < $1
    )
    select t.kind, m.code as msp, c.code as customer, t.since_at, t.detail
    from troubles t join customers c on c.id = t.customer_id join msps m on m.id = c.msp_id
    where c.status <> 'erased'
    order by t.since_at, m.code, c.code, t.kind limit $3";
/// Asked in every cluster.
const SEE_CLUSTER: &str = "
    select count(*) as waiting, min(emitted_at) as oldest_at, current_setting('server_version_num')::int as server_version,
        clock_timestamp() as server_at
    from outbox.messages";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[COUNT_JOBS, LIST_DEAD_JOBS, LIST_LAST_NIGHTS, COUNT_MAILS, COUNT_SCHEMAS, COUNT_CUSTOMERS, LIST_TROUBLES, SEE_CLUSTER];

fn rows<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, TenantsError>) -> Result<Vec<T>, TenantsError> {
    rows.iter().map(read).collect()
}

/// Counts the jobs that are to be done or lie dead.
pub(crate) async fn count_jobs(tx: &Tx) -> Result<Vec<JobCount>, TenantsError> {
    rows(&tx.query(COUNT_JOBS, &[]).await?, |row| {
        Ok(JobCount {
            kind: row.try_get(0).map_err(TenantsError::column)?,
            state: row.try_get(1).map_err(TenantsError::column)?,
            jobs: row.try_get(2).map_err(TenantsError::column)?,
            oldest_at: row.try_get(3).map_err(TenantsError::column)?,
        })
    })
}

/// Lists dead jobs, the newest first.
pub(crate) async fn list_dead_jobs(tx: &Tx, limit: i64) -> Result<Vec<DeadJob>, TenantsError> {
    rows(&tx.query(LIST_DEAD_JOBS, &[&limit]).await?, |row| {
        Ok(DeadJob {
            id: row.try_get(0).map_err(TenantsError::column)?,
            kind: row.try_get(1).map_err(TenantsError::column)?,
            msp: row.try_get(2).map_err(TenantsError::column)?,
            customer: row.try_get(3).map_err(TenantsError::column)?,
            attempt: row.try_get(4).map_err(TenantsError::column)?,
            error: row.try_get(5).map_err(TenantsError::column)?,
            died_at: row.try_get(6).map_err(TenantsError::column)?,
        })
    })
}

/// Lists the last night of each MSP.
pub(crate) async fn list_last_nights(tx: &Tx, after: jiff::civil::Date) -> Result<Vec<LastNight>, TenantsError> {
    rows(&tx.query(LIST_LAST_NIGHTS, &[&after]).await?, |row| {
        Ok(LastNight {
            msp: row.try_get(0).map_err(TenantsError::column)?,
            night_on: row.try_get(1).map_err(TenantsError::column)?,
            ended_at: row.try_get(2).map_err(TenantsError::column)?,
            owners: row.try_get(3).map_err(TenantsError::column)?,
            failed: row.try_get(4).map_err(TenantsError::column)?,
        })
    })
}

/// Counts mails by state: those since an instant, and all that wait.
pub(crate) async fn count_mails(tx: &Tx, since: Timestamp) -> Result<Vec<MailCount>, TenantsError> {
    rows(&tx.query(COUNT_MAILS, &[&since]).await?, |row| {
        Ok(MailCount {
            state: row.try_get(0).map_err(TenantsError::column)?,
            mails: row.try_get(1).map_err(TenantsError::column)?,
            oldest_at: row.try_get(2).map_err(TenantsError::column)?,
        })
    })
}

/// Counts silos by how their schema stands.
pub(crate) async fn count_standing(tx: &Tx, latest: i32) -> Result<Schemas, TenantsError> {
    let row = tx.query_one(COUNT_SCHEMAS, &[&latest]).await?;
    Ok(Schemas {
        current: row.try_get(0).map_err(TenantsError::column)?,
        behind: row.try_get(1).map_err(TenantsError::column)?,
        failed: row.try_get(2).map_err(TenantsError::column)?,
        drifted: row.try_get(3).map_err(TenantsError::column)?,
    })
}

/// Counts customers by status.
pub(crate) async fn count_customers(tx: &Tx) -> Result<Vec<(String, i64)>, TenantsError> {
    rows(&tx.query(COUNT_CUSTOMERS, &[]).await?, |row| {
        Ok((row.try_get(0).map_err(TenantsError::column)?, row.try_get(1).map_err(TenantsError::column)?))
    })
}

/// Lists what went wrong for customers, the oldest first.
pub(crate) async fn list_troubles(
    tx: &Tx,
    before: Timestamp,
    nights_after: jiff::civil::Date,
    limit: i64,
) -> Result<Vec<Trouble>, TenantsError> {
    rows(&tx.query(LIST_TROUBLES, &[&before, &nights_after, &limit]).await?, |row| {
        Ok(Trouble {
            kind: TroubleKind::parse(row.try_get(0).map_err(TenantsError::column)?),
            msp: row.try_get(1).map_err(TenantsError::column)?,
            customer: row.try_get(2).map_err(TenantsError::column)?,
            since_at: row.try_get(3).map_err(TenantsError::column)?,
            detail: row.try_get(4).map_err(TenantsError::column)?,
        })
    })
}

/// Looks at a cluster.
pub(crate) async fn see_cluster(tx: &Tx) -> Result<Outbox, TenantsError> {
    let row = tx.query_one(SEE_CLUSTER, &[]).await?;
    Ok(Outbox {
        waiting: row.try_get(0).map_err(TenantsError::column)?,
        oldest_at: row.try_get(1).map_err(TenantsError::column)?,
        server_version: row.try_get(2).map_err(TenantsError::column)?,
        server_at: row.try_get(3).map_err(TenantsError::column)?,
    })
}
