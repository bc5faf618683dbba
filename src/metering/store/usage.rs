//! Daily usage: how it is rebuilt, and what is read of it.

use granary_tenants::TenantTx;
use granary_types::Tier;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::annex::AnnexRow;
use crate::error::MeteringError;
use crate::usage::{DayMachines, DayUsage, MachineCounts};

/// Replaced machines under the one that goes on; a circle of replacements ends where it closes.
///
/// `max(tier)` is the highest: backup, enterprise, replication stand in the alphabet as they stand in rank.
///
/// A completion protects its day and the six after it, or fewer where the next completion comes sooner, so that the days of
/// a machine follow one another without overlap.
const REBUILD_MACHINE_DAYS: &str = "
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
    reported as (
        select coalesce(roots.root_id, runs.machine_id) as machine_id, runs.billing_on,
            count(*) filter (where runs.state in ('completed', 'completed_with_warning')) as runs_completed,
            count(*) filter (where runs.state = 'failed') as runs_failed,
            0::bigint as cycles_completed,
            sum(runs.transferred_bytes) as transferred_bytes
        from backup_runs as runs left join roots on roots.machine_id = runs.machine_id
        where runs.billing_on between $1::date - 6 and $2 and runs.state not in ('scheduled', 'running')
        group by 1, 2
        union all
        select coalesce(roots.root_id, cycles.machine_id), cycles.billing_on, 0, 0, sum(cycles.cycles_completed), 0
        from replication_cycles as cycles left join roots on roots.machine_id = cycles.machine_id
        where cycles.billing_on between $1::date - 6 and $2
        group by 1, 2
    ),
    active as (
        select machine_id, billing_on, sum(runs_completed)::int as runs_completed, sum(runs_failed)::int as runs_failed,
            least(sum(cycles_completed), 2147483647)::int as cycles_completed,
            least(sum(transferred_bytes), 9223372036854775807)::bigint as transferred_bytes
        from reported group by machine_id, billing_on
    ),
    completions as (
        select machine_id, billing_on, lead(billing_on) over (partition by machine_id order by billing_on) as next_on
        from active where runs_completed + cycles_completed > 0
    ),
    covered as (
        select completions.machine_id, completions.billing_on + shift as billing_on
        from completions cross join lateral generate_series(0, least(6, coalesce(next_on - completions.billing_on - 1, 6))) as shift
    ),
    days as (
        select machine_id, billing_on, coalesce(active.runs_completed, 0) as runs_completed, coalesce(active.runs_failed, 0) as runs_failed,
            coalesce(active.cycles_completed, 0) as cycles_completed, coalesce(active.transferred_bytes, 0) as transferred_bytes,
            covered.machine_id is not null as is_covered
        from active full join covered using (machine_id, billing_on)
        where billing_on between $1 and $2
    ),
    tiers as (
        select coalesce(roots.root_id, assignments.machine_id) as machine_id, assignments.tier, assignments.valid_from,
            coalesce(assignments.valid_to, 'infinity') as valid_to
        from tier_assignments as assignments left join roots on roots.machine_id = assignments.machine_id
        where assignments.valid_from <= $2 and coalesce(assignments.valid_to, 'infinity') > $1
    ),
    computed as materialized (
        select days.machine_id, days.transferred_bytes, days.billing_on, days.runs_completed, days.runs_failed, days.cycles_completed,
            days.is_covered and max(tiers.tier) is not null as is_in_protection, max(tiers.tier) as tier
        from days
        left join tiers
            on tiers.machine_id = days.machine_id and days.billing_on >= tiers.valid_from and days.billing_on < tiers.valid_to
        where days.is_covered or days.runs_failed > 0 or days.transferred_bytes > 0
        group by days.machine_id, days.transferred_bytes, days.billing_on, days.runs_completed, days.runs_failed, days.cycles_completed,
            days.is_covered
    ),
    gone as (
        delete from machine_days
        where billing_on between $1 and $3
            and not exists (
                select from computed where computed.machine_id = machine_days.machine_id and computed.billing_on = machine_days.billing_on)
    )
    insert into machine_days (machine_id, transferred_bytes, billing_on, runs_completed, runs_failed, cycles_completed, is_in_protection, tier)
    select machine_id, transferred_bytes, billing_on, runs_completed, runs_failed, cycles_completed, is_in_protection, tier from computed
    on conflict (machine_id, billing_on) do update set transferred_bytes = excluded.transferred_bytes,
        runs_completed = excluded.runs_completed, runs_failed = excluded.runs_failed, cycles_completed = excluded.cycles_completed,
        is_in_protection = excluded.is_in_protection, tier = excluded.tier
        where (machine_days.transferred_bytes, machine_days.runs_completed, machine_days.runs_failed, machine_days.cycles_completed,
                machine_days.is_in_protection, machine_days.tier)
            is distinct from (excluded.transferred_bytes, excluded.runs_completed, excluded.runs_failed, excluded.cycles_completed,
                excluded.is_in_protection, excluded.tier)";

/// Each day's last sample, carried forward over at most seven days without one.
const REBUILD_STORAGE_DAYS: &str = "
    with sampled as (
        select distinct on (repository_id, billing_on) repository_id, billing_on, used_bytes
        from storage_samples
        where billing_on between $1::date - 7 and $2
        order by repository_id, billing_on, sampled_at desc
    ),
    followed as (
        select repository_id, billing_on, used_bytes, lead(billing_on) over (partition by repository_id order by billing_on) as next_on
        from sampled
    ),
    computed as materialized (
        select followed.repository_id, followed.used_bytes, followed.billing_on + shift as billing_on, shift > 0 as is_carried
        from followed cross join lateral generate_series(0, least(7, coalesce(next_on - followed.billing_on - 1, 7))) as shift
        where followed.billing_on + shift between $1 and $2
    ),
    gone as (
        delete from storage_days
        where billing_on between $1 and $3
            and not exists (
                select from computed where computed.repository_id = storage_days.repository_id and computed.billing_on = storage_days.billing_on)
    )
    insert into storage_days (repository_id, used_bytes, billing_on, is_carried)
    select repository_id, used_bytes, billing_on, is_carried from computed
    on conflict (repository_id, billing_on) do update set used_bytes = excluded.used_bytes, is_carried = excluded.is_carried
        where (storage_days.used_bytes, storage_days.is_carried) is distinct from (excluded.used_bytes, excluded.is_carried)";

const COUNT_BY_DAY: &str = "
    select billing_on,
        count(*) filter (where tier = 'backup'), count(*) filter (where tier = 'enterprise'), count(*) filter (where tier = 'replication')
    from machine_days
    where billing_on between $1 and $2 and is_in_protection
    group by billing_on
    order by billing_on";

const LIST_SERIES: &str = "
    with machines as (
        select billing_on,
            count(*) filter (where is_in_protection and tier = 'backup') as backup,
            count(*) filter (where is_in_protection and tier = 'enterprise') as enterprise,
            count(*) filter (where is_in_protection and tier = 'replication') as replication,
            sum(runs_completed) as runs_completed, sum(runs_failed) as runs_failed, sum(cycles_completed) as cycles_completed,
            least(sum(transferred_bytes), 9223372036854775807)::bigint as transferred_bytes
        from machine_days where billing_on between $1 and $2 group by billing_on
    ),
    storage as (
        select billing_on, least(sum(used_bytes), 9223372036854775807)::bigint as stored_bytes
        from storage_days where billing_on between $1 and $2 group by billing_on
    )
    select billing_on, coalesce(backup, 0), coalesce(enterprise, 0), coalesce(replication, 0), coalesce(runs_completed, 0),
        coalesce(runs_failed, 0), coalesce(cycles_completed, 0), coalesce(transferred_bytes, 0), coalesce(stored_bytes, 0)
    from machines full join storage using (billing_on)
    order by billing_on";

const COUNT_DISTINCT: &str = "
    with billed as (
        select machine_id, max(tier) as tier
        from machine_days
        where billing_on between $1 and $2 and runs_completed + cycles_completed > 0
        group by machine_id
    )
    select count(*) filter (where tier = 'backup'), count(*) filter (where tier = 'enterprise'), count(*) filter (where tier = 'replication')
    from billed";

const LIST_STORAGE: &str = "
    select repository_id, min(billing_on), max(billing_on), count(*), sum(used_bytes)::text
    from storage_days
    where billing_on between $1 and $2
    group by repository_id";

const LIST_FIRST_SAMPLES: &str = "select repository_id, min(billing_on) from storage_samples group by repository_id";

const TOTALS: &str = "
    select
        (select count(*) from backup_runs where billing_on between $1 and $2 and state = 'completed'),
        (select count(*) from backup_runs where billing_on between $1 and $2 and state = 'completed_with_warning'),
        (select count(*) from backup_runs where billing_on between $1 and $2 and state = 'failed'),
        (select least(coalesce(sum(transferred_bytes), 0), 9223372036854775807)::bigint from backup_runs where billing_on between $1 and $2),
        (select least(coalesce(sum(transferred_bytes), 0), 9223372036854775807)::bigint from replication_cycles where billing_on between $1 and $2),
        (select coalesce(sum(cycles_completed), 0)::bigint from replication_cycles where billing_on between $1 and $2),
        (select count(*) from restore_runs where ended_at >= $3 and ended_at < $4 and state = 'completed'),
        (select count(*) from restore_runs where ended_at >= $3 and ended_at < $4 and state = 'failed'),
        (select count(*) from tickets where opened_at >= $3 and opened_at < $4),
        (select least(coalesce(sum(amount), 0), 9223372036854775807)::bigint from activity where service_on between $1 and $2 and kind = 'api_call')";

const LIST_ANNEX: &str = "
    with used as (
        select machine_id, min(billing_on) filter (where is_in_protection) as first_on, max(billing_on) filter (where is_in_protection) as last_on,
            count(*) filter (where is_in_protection) as days_in_protection, max(tier) filter (where runs_completed + cycles_completed > 0) as tier,
            sum(runs_completed) as runs_completed, sum(runs_failed) as runs_failed, sum(cycles_completed) as cycles_completed,
            sum(transferred_bytes) as transferred_bytes
        from machine_days where billing_on between $1 and $2 group by machine_id
    ),
    held as (
        select machine_id, max(tier) as tier
        from tier_assignments where valid_from <= $2 and coalesce(valid_to, 'infinity') > $1 group by machine_id
    ),
    reached as (
        select days.machine_id, min(days.billing_on) as tier_from_on
        from machine_days as days join used on used.machine_id = days.machine_id and used.tier = days.tier
        where days.billing_on between $1 and $2 and days.runs_completed + days.cycles_completed > 0
        group by days.machine_id
    )
    select machines.id, machines.source_system, machines.vendor_id, machines.name, used.first_on, used.last_on,
        coalesce(used.days_in_protection, 0), used.tier, reached.tier_from_on, held.tier,
        coalesce(used.runs_completed, 0)::bigint, coalesce(used.runs_failed, 0)::bigint, coalesce(used.cycles_completed, 0)::bigint,
        least(coalesce(used.transferred_bytes, 0), 9223372036854775807)::bigint
    from machines
    left join used on used.machine_id = machines.id
    left join held on held.machine_id = machines.id
    left join reached on reached.machine_id = machines.id
    where used.machine_id is not null or (held.machine_id is not null and machines.replaced_by is null)
    order by machines.name, machines.id";

/// As [`COUNT_DISTINCT`], and the machines that were in protection on a day that everybody was heard on.
const COUNT_DISTINCT_KNOWN: &str = "
    with billed as (
        select machine_id, max(tier) as tier
        from machine_days
        where (billing_on between $1 and $2 and runs_completed + cycles_completed > 0) or (billing_on = $3 and is_in_protection)
        group by machine_id
    )
    select count(*) filter (where tier = 'backup'), count(*) filter (where tier = 'enterprise'), count(*) filter (where tier = 'replication')
    from billed";

/// The last day that is known of each repository that spoke within a week of a day.
const LIST_LAST_STORAGE: &str = "
    select distinct on (repository_id) billing_on, used_bytes
    from storage_days
    where billing_on between $1::date - 7 and $2
    order by repository_id, billing_on desc";

/// Rebuilds the days `first..=last`, of which those after `until` have not come yet.
pub(crate) async fn rebuild(tx: &TenantTx, first: Date, until: Date, last: Date) -> Result<(), MeteringError> {
    tx.execute(REBUILD_MACHINE_DAYS, &[&first, &until, &last]).await?;
    tx.execute(REBUILD_STORAGE_DAYS, &[&first, &until, &last]).await?;
    Ok(())
}

/// Counts machines in protection, day by day; a day without any is absent.
pub(crate) async fn count_by_day(tx: &TenantTx, first: Date, last: Date) -> Result<Vec<DayMachines>, MeteringError> {
    let rows = tx.query(COUNT_BY_DAY, &[&first, &last]).await?;
    let read = |row: &granary_db::Row| DayMachines { day: row.get(0), backup: row.get(1), enterprise: row.get(2), replication: row.get(3) };
    Ok(rows.iter().map(read).collect())
}

/// Returns what was counted day by day.
pub(crate) async fn list_series(tx: &TenantTx, first: Date, last: Date) -> Result<Vec<DayUsage>, MeteringError> {
    let read = |row: &granary_db::Row| DayUsage {
        day: row.get(0),
        backup: row.get(1),
        enterprise: row.get(2),
        replication: row.get(3),
        runs_completed: row.get(4),
        runs_failed: row.get(5),
        cycles_completed: row.get(6),
        transferred_bytes: row.get(7),
        stored_bytes: row.get(8),
    };
    Ok(tx.query(LIST_SERIES, &[&first, &last]).await?.iter().map(read).collect())
}

/// Counts machines that completed something, at their highest tier.
pub(crate) async fn count_distinct(tx: &TenantTx, first: Date, last: Date) -> Result<MachineCounts, MeteringError> {
    let row = tx.query_one(COUNT_DISTINCT, &[&first, &last]).await?;
    let count = |index: usize| row.get::<_, i64>(index).into();
    Ok(MachineCounts { backup: count(0), enterprise: count(1), replication: count(2) })
}

/// Counts machines that completed something or were in protection on a day, at their highest tier.
pub(crate) async fn count_distinct_known(tx: &TenantTx, days: (Date, Date), known_on: Date) -> Result<MachineCounts, MeteringError> {
    let row = tx.query_one(COUNT_DISTINCT_KNOWN, &[&days.0, &days.1, &known_on]).await?;
    let count = |index: usize| row.get::<_, i64>(index).into();
    Ok(MachineCounts { backup: count(0), enterprise: count(1), replication: count(2) })
}

/// Returns the last known day and bytes of each repository.
pub(crate) async fn list_last_storage(tx: &TenantTx, known_on: Date, last: Date) -> Result<Vec<(Date, i64)>, MeteringError> {
    Ok(tx.query(LIST_LAST_STORAGE, &[&known_on, &last]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A repository's days in a period.
#[derive(Debug)]
pub(crate) struct StorageRow {
    pub(crate) repository_id: Uuid,
    pub(crate) first_on: Date,
    pub(crate) last_on: Date,
    pub(crate) days: i64,
    /// The sum over the days.
    pub(crate) byte_days: i128,
}

/// Returns the storage of a period by repository.
pub(crate) async fn list_storage(tx: &TenantTx, first: Date, last: Date) -> Result<Vec<StorageRow>, MeteringError> {
    let rows = tx.query(LIST_STORAGE, &[&first, &last]).await?;
    let read = |row: &granary_db::Row| {
        let text: &str = row.get(4);
        let byte_days = text.parse().map_err(|_| MeteringError::Corrupt(format!("{text} is not a number of bytes")))?;
        Ok(StorageRow { repository_id: row.get(0), first_on: row.get(1), last_on: row.get(2), days: row.get(3), byte_days })
    };
    rows.iter().map(read).collect()
}

/// Returns the billing day of each repository's first sample ever.
pub(crate) async fn list_first_samples(tx: &TenantTx) -> Result<Vec<(Uuid, Date)>, MeteringError> {
    let rows = tx.query(LIST_FIRST_SAMPLES, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What a period adds up to besides machines and storage.
#[derive(Debug)]
pub(crate) struct TotalsRow {
    pub(crate) runs_completed: i64,
    pub(crate) runs_with_warning: i64,
    pub(crate) runs_failed: i64,
    pub(crate) transferred_bytes: i64,
    pub(crate) replicated_bytes: i64,
    pub(crate) cycles_completed: i64,
    pub(crate) restores_completed: i64,
    pub(crate) restores_failed: i64,
    pub(crate) tickets_opened: i64,
    pub(crate) api_calls: i64,
}

/// Adds a period up; days for what is counted by day, instants for the rest.
pub(crate) async fn get_totals(tx: &TenantTx, days: (Date, Date), span: (Timestamp, Timestamp)) -> Result<TotalsRow, MeteringError> {
    let row = tx.query_one(TOTALS, &[&days.0, &days.1, &span.0, &span.1]).await?;
    Ok(TotalsRow {
        runs_completed: row.get(0),
        runs_with_warning: row.get(1),
        runs_failed: row.get(2),
        transferred_bytes: row.get(3),
        replicated_bytes: row.get(4),
        cycles_completed: row.get(5),
        restores_completed: row.get(6),
        restores_failed: row.get(7),
        tickets_opened: row.get(8),
        api_calls: row.get(9),
    })
}

/// Returns every machine that held a tier or reported something in a period.
pub(crate) async fn list_annex(tx: &TenantTx, first: Date, last: Date) -> Result<Vec<AnnexRow>, MeteringError> {
    let rows = tx.query(LIST_ANNEX, &[&first, &last]).await?;
    let tier = |row: &granary_db::Row, index: usize| -> Result<Option<Tier>, MeteringError> {
        row.try_get(index).map_err(|error| MeteringError::Corrupt(error.to_string()))
    };
    let read = |row: &granary_db::Row| {
        Ok(AnnexRow {
            machine_id: row.get::<_, Uuid>(0).into(),
            source_system: row.get(1),
            vendor_id: row.get(2),
            name: row.get(3),
            first_on: row.get(4),
            last_on: row.get(5),
            days_in_protection: row.get(6),
            billed_tier: tier(row, 7)?,
            tier_from_on: row.get(8),
            held_tier: tier(row, 9)?,
            runs_completed: row.get(10),
            runs_failed: row.get(11),
            cycles_completed: row.get(12),
            transferred_bytes: row.get(13),
        })
    };
    rows.iter().map(read).collect()
}
