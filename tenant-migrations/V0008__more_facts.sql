-- What control planes say beyond the end of a run: when it was due, how far it got, that it was told wrongly; single cycles, signs of
-- life and logins beside the summaries of a day; where backups are stored; maintenance; and that an earlier event was wrong.
-- An attempt of which its run says everything has no row of its own any more.
alter table backup_attempts
    add column scheduled_at timestamptz,
    add column progressed_at timestamptz,
    -- a gauge that only grows; never billed
    add column progress_bytes bigint,
    add column corrected_at timestamptz,
    add column phase text;

alter table backup_disks add column corrected_at timestamptz;

alter table backup_runs
    drop constraint backup_runs_state,
    add constraint backup_runs_state check (state in ('scheduled', 'running', 'completed', 'completed_with_warning', 'failed', 'cancelled'));

-- Cycles that were told one by one, added up. A summary of the day, where there is one (summary_at), counts instead of them.
alter table replication_cycles
    add column single_bytes bigint,
    add column single_last_at timestamptz,
    add column summary_at timestamptz,
    add column single_completed int,
    add column single_failed int,
    add column single_lag_seconds_max int;

-- The quarters of an hour of the day in which a sign of life came, as bits; a summary of the day counts instead of them.
alter table heartbeats
    add column heard bytea,
    add column heard_at timestamptz,
    add column summary_at timestamptz;

-- Uses that were told one by one; the amount is at least as many.
alter table activity add column single_amount bigint;

alter table tickets add column rated_at timestamptz;

-- Chains and copies as their source last described them. What is billed is the repositories' gauge: these say what it consists of.
create table stored_backups (
    id uuid primary key,
    repository_id uuid not null,
    machine_id uuid,
    -- the run that a copy is of
    run_id uuid,
    stored_bytes bigint not null,
    oldest_at timestamptz,
    immutable_until timestamptz,
    reported_at timestamptz not null,
    restore_points int not null,
    retention_days int,
    is_verified boolean not null,
    kind text not null constraint stored_backups_kind check (kind in ('chain', 'copy')),
    state text not null constraint stored_backups_state check (state in ('stored', 'failed')),
    source text not null,
    vendor_id text not null
);

-- Agreed maintenance of a machine, or of all of them.
create table maintenance_windows (
    id uuid primary key,
    machine_id uuid,
    starts_at timestamptz not null,
    ends_at timestamptz not null constraint maintenance_windows_order check (ends_at > starts_at),
    said_at timestamptz not null,
    is_cancelled boolean not null,
    source text not null,
    vendor_id text not null,
    reason text not null
);

-- What corrects an event is looked up by the event's name; few events are corrected.
create index usage_events_corrections on usage_events (source, (data ->> 'event_id')) where type like 'event.%';

-- The months are found before they are written out, row by row: a batch of a thousand rows has one or two.
create or replace function mark_dirty() returns trigger language plpgsql as $$
declare
    month_of text := case when tg_nargs = 0 then quote_literal('all')
        else format('to_char(month, ''YYYY-MM'') from (select distinct date_trunc(''month'', %s) as month',
            case when tg_argv[1] = 'date' then format('%I::timestamp', tg_argv[0]) else format('%I at time zone ''UTC''', tg_argv[0]) end) end;
    closing text := case when tg_nargs = 0 then ' limit 1' else ') as changed' end;
begin
    if tg_op <> 'DELETE' then
        execute format('insert into dirty (dataset, month) select %L, %s from new_rows%s', tg_table_name, month_of, closing);
    end if;
    if tg_op <> 'INSERT' then
        execute format('insert into dirty (dataset, month) select %L, %s from old_rows%s', tg_table_name, month_of, closing);
    end if;
    return null;
end
$$;

do $$
declare
    watched record;
begin
    for watched in select * from (values ('stored_backups', null), ('maintenance_windows', 'starts_at')) as listed (name, month_column)
    loop
        execute format('create trigger %1$s_inserted after insert on %1$I referencing new table as new_rows for each statement execute function mark_dirty(%2$s)',
            watched.name, coalesce(quote_literal(watched.month_column) || ', ''instant''', ''));
        execute format('create trigger %1$s_updated after update on %1$I referencing old table as old_rows new table as new_rows for each statement execute function mark_dirty(%2$s)',
            watched.name, coalesce(quote_literal(watched.month_column) || ', ''instant''', ''));
        execute format('create trigger %1$s_deleted after delete on %1$I referencing old table as old_rows for each statement execute function mark_dirty(%2$s)',
            watched.name, coalesce(quote_literal(watched.month_column) || ', ''instant''', ''));
    end loop;
end
$$;
