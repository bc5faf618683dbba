-- Answers of requests that carried an idempotency key.
create table idempotency_keys (
    key text primary key,
    request_hash bytea not null,
    status int not null,
    body jsonb not null,
    created_at timestamptz not null
);

create table audit_log (
    id bigint generated always as identity primary key,
    actor text not null,
    action text not null,
    subject text not null,
    detail jsonb not null default '{}',
    reason text,
    happened_at timestamptz not null
);

-- Which months of which dataset changed since the last export. Rows are only added, so that writers never wait for one
-- another; the export removes the very rows that its snapshot saw.
create table dirty (
    id bigint generated always as identity primary key,
    dataset text not null,
    month text not null
);

-- One trigger function for all tables: argument 1 is the column whose UTC month counts, none for a table written whole.
create function mark_dirty() returns trigger language plpgsql as $$
declare
    month_of text := case when tg_nargs = 0 then quote_literal('all')
        else format('to_char(%s, ''YYYY-MM'')', case when tg_argv[1] = 'date' then format('%I', tg_argv[0]) else format('%I at time zone ''UTC''', tg_argv[0]) end) end;
begin
    if tg_op <> 'DELETE' then
        execute format('insert into dirty (dataset, month) select distinct %L, %s from new_rows', tg_table_name, month_of);
    end if;
    if tg_op <> 'INSERT' then
        execute format('insert into dirty (dataset, month) select distinct %L, %s from old_rows', tg_table_name, month_of);
    end if;
    return null;
end
$$;

do $$
declare
    watched record;
begin
    for watched in
        select * from (values
            ('machines', null, null), ('tier_assignments', null, null), ('repositories', null, null), ('schedules', null, null),
            ('skipped_runs', 'service_on', 'date'), ('backup_runs', 'ended_at', 'instant'), ('backup_disks', 'ended_at', 'instant'),
            ('restore_runs', 'ended_at', 'instant'), ('replication_cycles', 'billing_on', 'date'), ('storage_samples', 'sampled_at', 'instant'),
            ('tickets', 'opened_at', 'instant'), ('heartbeats', 'service_on', 'date'), ('activity', 'service_on', 'date'),
            ('machine_days', 'billing_on', 'date'), ('storage_days', 'billing_on', 'date'), ('rated_lines', 'period_start_on', 'date')
        ) as listed (name, month_column, month_kind)
    loop
        execute format('create trigger %1$s_inserted after insert on %1$I referencing new table as new_rows for each statement execute function mark_dirty(%2$s)',
            watched.name, coalesce(quote_literal(watched.month_column) || ', ' || quote_literal(watched.month_kind), ''));
        execute format('create trigger %1$s_updated after update on %1$I referencing old table as old_rows new table as new_rows for each statement execute function mark_dirty(%2$s)',
            watched.name, coalesce(quote_literal(watched.month_column) || ', ' || quote_literal(watched.month_kind), ''));
        execute format('create trigger %1$s_deleted after delete on %1$I referencing old table as old_rows for each statement execute function mark_dirty(%2$s)',
            watched.name, coalesce(quote_literal(watched.month_column) || ', ' || quote_literal(watched.month_kind), ''));
    end loop;
end
$$;
