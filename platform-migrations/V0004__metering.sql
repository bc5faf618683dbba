-- Control projections of metering: what pages and closing need across customers, without looping over schemas.
create table periods (
    msp_id uuid not null references msps (id),
    period text not null constraint periods_format check (period ~ '^\d{4}-\d{2}$'),
    state text not null constraint periods_state check (state in ('open', 'drafted', 'closed')),
    closed_at timestamptz,
    closed_by text,
    -- the version of the lake that was current at the close
    lake_version bigint,
    primary key (msp_id, period)
);

-- One row per customer and period, rewritten while the period is open.
create table customer_months (
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    period text not null,
    machines_backup int not null,
    machines_enterprise int not null,
    machines_replication int not null,
    runs_completed bigint not null,
    runs_with_warning bigint not null,
    runs_failed bigint not null,
    transferred_bytes bigint not null,
    stored_bytes_average bigint not null,
    restores_completed bigint not null,
    tickets_opened bigint not null,
    api_calls bigint not null,
    is_estimated boolean not null default false,
    is_closed boolean not null default false,
    -- SHA-256 over the sorted (source, id, content hash) of the events that the period counted
    events_hash text,
    updated_at timestamptz not null,
    primary key (customer_id, period)
);
create index customer_months_msp on customer_months (msp_id, period);
