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

-- Control rows that changed since the last export, by dataset and UTC month.
create table dirty (
    id bigint generated always as identity primary key,
    msp_id uuid not null,
    dataset text not null,
    month text not null
);
