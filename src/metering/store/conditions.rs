//! What alerts are made from: the last days of a silo.

use granary_tenants::TenantTx;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use uuid::Uuid;

use crate::alert::measure::{Facts, Heard, LagFacts, MachineFacts, RepositoryFacts};
use crate::error::MeteringError;

/// A clock that is ahead by no more than this is believed: what a source says of a later time is looked at when it has come.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// A job that has just begun may be over in a moment.
const JOB_AFTER: SignedDuration = SignedDuration::from_mins(5);

const COUNT_NOW: &str = "
    select
        (select count(distinct coalesce(machines.replaced_by, machines.id))
         from tier_assignments join machines on machines.id = tier_assignments.machine_id
         where valid_from <= $1 and coalesce(valid_to, 'infinity') > $1),
        (select count(*) from backup_runs where billing_on >= $1::date - 1 and state = 'running' and started_at <= $2)";

/// Machines whose last runs failed, and protected ones without a restore point since an instant. Replaced machines count under the
/// one that goes on.
const LIST_MACHINES: &str = "
    with recursive chains (machine_id, root_id, path) as (
        select id, replaced_by, array[id] from machines where replaced_by is not null
        union all
        select chains.machine_id, machines.replaced_by, chains.path || machines.id
        from chains join machines on machines.id = chains.root_id
        where machines.replaced_by is not null and machines.id <> all (chains.path)
    ),
    roots as (
        select distinct on (machine_id) machine_id, root_id from chains order by machine_id, cardinality(path) desc
    ),
    held as (
        select coalesce(roots.root_id, assignments.machine_id) as machine_id, min(assignments.valid_from) as held_from
        from tier_assignments as assignments left join roots on roots.machine_id = assignments.machine_id
        where assignments.valid_from <= $1 and coalesce(assignments.valid_to, 'infinity') > $1
        group by 1
    ),
    recent as (
        select coalesce(roots.root_id, runs.machine_id) as machine_id, runs.state, runs.ended_at, runs.error
        from backup_runs as runs left join roots on roots.machine_id = runs.machine_id
        where runs.billing_on between $1::date - 14 and $1::date + 1 and runs.state in ('completed', 'completed_with_warning', 'failed')
    ),
    cycled as (
        select coalesce(roots.root_id, cycles.machine_id) as machine_id, max(cycles.last_cycle_at) as good_at
        from replication_cycles as cycles left join roots on roots.machine_id = cycles.machine_id
        where cycles.billing_on between $1::date - 14 and $1::date + 1 and cycles.cycles_completed > 0
        group by 1
    ),
    completed as (
        select machine_id, max(ended_at) as good_at from recent where state <> 'failed' group by machine_id
    ),
    failing as (
        select recent.machine_id, count(*) as failed, max(recent.ended_at) as failed_at,
            (array_agg(recent.error order by recent.ended_at desc))[1] as error
        from recent left join completed on completed.machine_id = recent.machine_id
        where recent.state = 'failed' and recent.ended_at > coalesce(completed.good_at, '-infinity')
        group by recent.machine_id
    )
    select machines.id, machines.name, held.held_from, greatest(completed.good_at, cycled.good_at),
        coalesce(failing.failed, 0), failing.failed_at, failing.error
    from machines
    left join held on held.machine_id = machines.id
    left join completed on completed.machine_id = machines.id
    left join cycled on cycled.machine_id = machines.id
    left join failing on failing.machine_id = machines.id
    where (held.machine_id is not null or machines.unprotected_on is null)
        and (failing.machine_id is not null
            or (held.machine_id is not null and coalesce(greatest(completed.good_at, cycled.good_at), '-infinity') < $2))
    order by machines.name, machines.id";

/// Each repository's latest sample of the last seven days, and one of at least as many before.
const LIST_REPOSITORIES: &str = "
    select repositories.id, repositories.name, repositories.capacity_bytes, latest.used_bytes, latest.sampled_at,
        earlier.used_bytes, earlier.sampled_at
    from repositories
    cross join lateral (
        select used_bytes, sampled_at from storage_samples
        where repository_id = repositories.id and sampled_at > $1 and sampled_at <= $2 order by sampled_at desc limit 1
    ) as latest
    left join lateral (
        select used_bytes, sampled_at from storage_samples
        where repository_id = repositories.id and sampled_at between latest.sampled_at - interval '30 days' and latest.sampled_at - interval '7 days'
        order by sampled_at desc limit 1
    ) as earlier on true
    order by repositories.name, repositories.id";

/// The last day of each machine that replicated today or yesterday.
const LIST_LAGS: &str = "
    select latest.machine_id, machines.name, latest.lag_seconds_max, latest.last_cycle_at
    from (
        select distinct on (machine_id) machine_id, lag_seconds_max, last_cycle_at
        from replication_cycles where billing_on between $1::date - 1 and $1::date + 1 order by machine_id, service_on desc
    ) as latest
    join machines on machines.id = latest.machine_id
    where machines.replaced_by is null and machines.unprotected_on is null and latest.lag_seconds_max > 0
    order by machines.name, machines.id";

/// When each source was heard last, and whether it sends signs of life one by one.
const LIST_HEARD: &str = "
    select distinct on (source) source, last_at, heard is not null from heartbeats where last_at <= $1 order by source, service_on desc";

/// Machines that rest by agreement, none for all of them: their night was skipped, or maintenance goes on or ended after an instant.
const LIST_EXCUSED: &str = "
    select machine_id from skipped_runs where is_excused and service_on >= $1
    union
    select machine_id from maintenance_windows where not is_cancelled and starts_at <= $2 and ends_at > $3";

/// Reads what limits are compared with, and nothing else.
pub(crate) async fn read_use(tx: &TenantTx, today: Date) -> Result<Facts, MeteringError> {
    let before = |span: SignedDuration| tx.now().checked_sub(span).unwrap_or(Timestamp::MIN);
    let counts = tx.query_one(COUNT_NOW, &[&today, &before(JOB_AFTER)]).await?;
    let repositories = tx.query(LIST_REPOSITORIES, &[&before(SignedDuration::from_hours(7 * 24)), &before(-AHEAD)]).await?;
    let repositories = repositories.iter().map(|row| RepositoryFacts {
        id: row.get(0),
        name: row.get(1),
        capacity_bytes: row.get(2),
        used_bytes: row.get(3),
        sampled_at: row.get(4),
        before: row.get::<_, Option<i64>>(5).zip(row.get(6)),
    });
    let (machines_protected, jobs_running) = (counts.get(0), counts.get(1));
    Ok(Facts { machines_protected, jobs_running, repositories: repositories.collect(), ..Facts::default() })
}

/// Reads what is known of a customer: `today` is the MSP's day, `service_on` the customer's.
pub(crate) async fn read_facts(tx: &TenantTx, (today, service_on): (Date, Date), rpo_hours: i64) -> Result<Facts, MeteringError> {
    let now = tx.now();
    let before = |span: SignedDuration| now.checked_sub(span).unwrap_or(Timestamp::MIN);
    let zone = &tx.msp().time_zone;
    let begin = |day: Date| day.to_zoned(zone.clone()).map(|at| at.timestamp()).ok();
    let machines = tx.query(LIST_MACHINES, &[&today, &before(SignedDuration::from_hours(rpo_hours))]).await?;
    let machines = machines.iter().map(|row| MachineFacts {
        id: row.get(0),
        name: row.get(1),
        protected_since: row.get::<_, Option<Date>>(2).and_then(begin),
        good_at: row.get(3),
        failed: row.get(4),
        failed_at: row.get(5),
        error: row.get(6),
    });
    let lags = tx.query(LIST_LAGS, &[&today]).await?;
    let lags = lags.iter().map(|row| LagFacts {
        id: row.get(0),
        name: row.get(1),
        lag_seconds: row.get::<_, i32>(2).into(),
        last_cycle_at: row.get(3),
    });
    let heard = tx.query(LIST_HEARD, &[&before(-AHEAD)]).await?;
    let yesterday = service_on.checked_sub(1.day()).unwrap_or(service_on);
    // The restore point that maintenance left out is made when the next one is due.
    let ended_after = before(SignedDuration::from_hours(rpo_hours));
    let excused = tx.query(LIST_EXCUSED, &[&yesterday, &now, &ended_after]).await?;
    let excused: Vec<Option<Uuid>> = excused.iter().map(|row| row.get(0)).collect();
    Ok(Facts {
        machines: machines.collect(),
        lags: lags.collect(),
        heard: heard.iter().map(|row| Heard { source: row.get(0), at: row.get(1), is_live: row.get(2) }).collect(),
        everything_rests: excused.contains(&None),
        excused: excused.into_iter().flatten().collect(),
        ..read_use(tx, today).await?
    })
}
