//! Statements of the job queue.

pub(crate) const INSERT_JOB: &str = "
    insert into control.jobs (id, kind, msp_id, customer_id, payload, priority, run_at, max_attempts, unique_key, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    on conflict (kind, unique_key) where unique_key is not null and state in ('ready', 'running') do nothing";

/// Claims are made one after another, so that the cap per customer holds across workers.
pub(crate) const LOCK_CLAIMS: &str = "select pg_advisory_xact_lock(4702111234474983746)";

/// A lease that ran out belongs to a worker that died: the job is ready again, or dead when it was the last attempt.
pub(crate) const RECLAIM_EXPIRED: &str = "
    update control.jobs
    set state = case when attempt >= max_attempts then 'dead' else 'ready' end,
        finished_at = case when attempt >= max_attempts then $1::timestamptz end,
        last_error = 'the worker stopped without an answer', lease_token = null, lease_until = null
    where state = 'running' and lease_until < $1";

/// Due jobs in order, at most `$5` running ones a customer; `$4` kinds are the ones that this worker has a handler for.
pub(crate) const CLAIM: &str = "
    with running as (
        select customer_id, count(*) as jobs from control.jobs where state = 'running' and customer_id is not null group by customer_id
    ),
    ranked as (
        select j.id, j.customer_id, j.priority, j.run_at, coalesce(r.jobs, 0) + row_number() over (partition by j.customer_id order by j.priority, j.run_at, j.id) as place
        from control.jobs j left join running r on r.customer_id = j.customer_id
        where j.state = 'ready' and j.run_at <= $1 and j.kind = any ($4)
    ),
    chosen as (
        select id from ranked where customer_id is null or place <= $5 order by priority, run_at, id limit $6
    )
    update control.jobs j
    set state = 'running', attempt = j.attempt + 1, lease_token = $2, lease_until = $3
    from chosen where j.id = chosen.id and j.state = 'ready'
    returning j.id, j.kind, j.msp_id, j.customer_id, j.payload, j.attempt, j.max_attempts, j.priority, j.run_at";

pub(crate) const EXTEND_LEASE: &str = "update control.jobs set lease_until = $3 where id = $1 and lease_token = $2 and state = 'running'";
pub(crate) const COMPLETE: &str = "
    update control.jobs set state = 'done', finished_at = $3, lease_token = null, lease_until = null, last_error = null
    where id = $1 and lease_token = $2 and state = 'running'";
pub(crate) const RETRY_LATER: &str = "
    update control.jobs set state = 'ready', run_at = $3, last_error = $4, lease_token = null, lease_until = null
    where id = $1 and lease_token = $2 and state = 'running'";
pub(crate) const BURY: &str = "
    update control.jobs set state = 'dead', finished_at = $3, last_error = $4, lease_token = null, lease_until = null
    where id = $1 and lease_token = $2 and state = 'running'";

/// A job that was due at once is shown as due when it was queued.
pub(crate) const LIST: &str = "
    select id, kind, msp_id, customer_id, state, priority, greatest(run_at, created_at) as run_at, attempt, max_attempts, last_error, created_at, finished_at
    from control.jobs where $1::text is null or state = $1 order by created_at desc, id desc limit $2";
/// A dead job, or one that waits, is due at once and has all its attempts again.
pub(crate) const RETRY_NOW: &str = "
    update control.jobs set state = 'ready', run_at = $2, attempt = 0, finished_at = null where id = $1 and state in ('dead', 'ready')";
pub(crate) const DELETE_FINISHED: &str = "delete from control.jobs where state = 'done' and finished_at < $1";

pub(crate) const INSERT_CRON_SLOT: &str =
    "insert into control.cron_slots (name, slot_at, created_at) values ($1, $2, $3) on conflict (name, slot_at) do nothing";
