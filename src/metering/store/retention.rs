//! Letting old rows go. Each statement takes the first day that is kept and the most rows that go at once; instants are counted in
//! UTC, as the lake's months are.

macro_rules! before {
    (instant $table:literal, $column:literal) => {
        concat!("from ", $table, " where ", $column, " < ($1::date)::timestamp at time zone 'UTC'")
    };
    (day $table:literal, $column:literal) => {
        concat!("from ", $table, " where ", $column, " < $1::date")
    };
}

macro_rules! count {
    ($kind:tt $table:literal, $column:literal) => {
        concat!("select count(*) ", before!($kind $table, $column))
    };
}

macro_rules! delete {
    ($kind:tt $table:literal, $column:literal) => {
        concat!(
            "delete from ", $table, " where ctid = any(array(select ctid ", before!($kind $table, $column), " limit $2::bigint))"
        )
    };
}

macro_rules! statements {
    ($($name:ident: $kind:tt $table:literal, $column:literal;)*) => {$(
        pub(crate) mod $name {
            pub(crate) const COUNT: &str = count!($kind $table, $column);
            pub(crate) const DELETE: &str = delete!($kind $table, $column);
        }
    )*};
}

statements! {
    backup_disks: instant "backup_disks", "ended_at";
    restore_runs: instant "restore_runs", "ended_at";
    replication_cycles: day "replication_cycles", "billing_on";
    storage_samples: instant "storage_samples", "sampled_at";
    tickets: instant "tickets", "opened_at";
    heartbeats: day "heartbeats", "service_on";
    activity: day "activity", "service_on";
    machine_days: day "machine_days", "billing_on";
    storage_days: day "storage_days", "billing_on";
    quarantined_events: instant "quarantined_events", "received_at";
}

pub(crate) const COUNT_RUNS: &str = count!(instant "backup_runs", "ended_at");

/// A run goes with its attempts and disks.
pub(crate) const DELETE_RUNS: &str = "
    with gone as (
        select id from backup_runs where ended_at < ($1::date)::timestamp at time zone 'UTC' order by ended_at limit $2::bigint
    ),
    attempts as (delete from backup_attempts where run_id in (select id from gone)),
    disks as (delete from backup_disks where run_id in (select id from gone))
    delete from backup_runs where id in (select id from gone)";

/// What was ever said of a machine is read again whenever something is said of it, and what corrects an event whenever that comes.
pub(crate) const COUNT_EVENTS: &str = "
    select count(*) from usage_events
    where occurred_at < ($1::date)::timestamp at time zone 'UTC' and type not like 'machine.%' and type not like 'event.%'
        and data::text <> 'null'";

/// The body goes; the key and the hash of the content stay, so that the event still counts once for ever.
pub(crate) const EMPTY_EVENTS: &str = "
    update usage_events set data = 'null', subject = null
    where (source, id) in (
        select source, id from usage_events
        where occurred_at < ($1::date)::timestamp at time zone 'UTC' and type not like 'machine.%' and type not like 'event.%'
        and data::text <> 'null'
        limit $2::bigint)";
