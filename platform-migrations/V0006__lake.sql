-- The manifest of the lake: which immutable files make up which version. A version belongs to an MSP and is assigned
-- under the MSP's head row, so that a reader sees all of a commit or nothing of it.
create table lake_heads (
    msp_id uuid primary key references msps (id),
    version bigint not null
);

create table lake_versions (
    msp_id uuid not null references msps (id),
    version bigint not null,
    -- whose data changed; null for control data and published rows
    customer_id uuid references customers (id),
    reason text not null,
    label text,
    created_at timestamptz not null,
    primary key (msp_id, version)
);

create table lake_files (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    -- null: sealed with the MSP's key
    customer_id uuid references customers (id),
    dataset text not null,
    -- UTC month, or 'all' for a dataset that is written whole
    month text not null,
    path text not null constraint lake_files_path_unique unique,
    size_bytes bigint not null,
    footer_bytes bigint not null,
    row_count bigint not null,
    -- per column: {"min": text, "max": text, "nulls": n}
    statistics jsonb not null,
    -- of the rows as Postgres sent them, so that an unchanged month is not written again
    source_hash bytea not null,
    wrapped_key bytea not null,
    key_version int not null,
    added_version bigint not null,
    removed_version bigint
);
create unique index lake_files_current on lake_files (
    msp_id, coalesce(customer_id, '00000000-0000-0000-0000-000000000000'), dataset, month) where removed_version is null;
create index lake_files_msp on lake_files (msp_id, dataset, month);

-- What a night did, tenant by tenant: one bad tenant never blocks the fleet.
create table nights (
    night_on date not null,
    msp_id uuid not null references msps (id),
    -- the MSP's own id for its control data
    owner_id uuid not null,
    outcome text not null constraint nights_outcome check (outcome in ('done', 'unchanged', 'failed')),
    files_written int not null,
    rows_written bigint not null,
    error text,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    primary key (night_on, owner_id)
);

-- Which export of an owner is the newest. Whoever begins takes a token before its snapshot; only the holder of the last
-- token may commit, so that an older snapshot never replaces a newer one.
create table lake_exports (
    -- a customer, or the MSP itself for its control data
    owner_id uuid primary key,
    msp_id uuid not null references msps (id),
    token uuid not null,
    -- "<dataset> <hash of its schema>" of what has been exported: a dataset that is new or changed goes out whole
    datasets text[] not null default '{}',
    started_at timestamptz not null
);

-- Control rows that changed since the last export. Rows are only added, so that writers never wait for one another; the
-- export removes the very rows that its snapshot saw. Control data is small: a change concerns every month.
create table dirty (
    id bigint generated always as identity primary key,
    msp_id uuid not null,
    dataset text not null,
    month text not null
);
create index dirty_msp on dirty (msp_id);

create function mark_dirty() returns trigger language plpgsql as $$
begin
    if tg_op <> 'DELETE' then
        insert into dirty (msp_id, dataset, month) select distinct msp_id, tg_table_name, 'all' from new_rows where msp_id is not null;
    end if;
    if tg_op <> 'INSERT' then
        insert into dirty (msp_id, dataset, month) select distinct msp_id, tg_table_name, 'all' from old_rows where msp_id is not null;
    end if;
    return null;
end
$$;

do $$
declare
    watched text;
begin
    foreach watched in array array[
        'customers', 'status_changes', 'contracts', 'control_planes', 'periods', 'customer_months', 'prices', 'invoices', 'invoice_items', 'statements',
        'statement_lines', 'payments', 'run_rates']
    loop
        execute format('create trigger %1$s_inserted after insert on %1$I referencing new table as new_rows for each statement execute function mark_dirty()', watched);
        execute format('create trigger %1$s_updated after update on %1$I referencing old table as old_rows new table as new_rows for each statement execute function mark_dirty()', watched);
        execute format('create trigger %1$s_deleted after delete on %1$I referencing old table as old_rows for each statement execute function mark_dirty()', watched);
    end loop;
end
$$;

-- An MSP is its own: its id stands where the others name theirs.
create function mark_msp_dirty() returns trigger language plpgsql as $$
begin
    insert into dirty (msp_id, dataset, month) select id, 'msps', 'all' from new_rows;
    return null;
end
$$;
create trigger msps_inserted after insert on msps referencing new table as new_rows for each statement execute function mark_msp_dirty();
create trigger msps_updated after update on msps referencing new table as new_rows for each statement execute function mark_msp_dirty();
