-- Derived from the above; rebuilt while a period is open.
create table machine_days (
    machine_id uuid not null references machines (id),
    billing_on date not null,
    tier text not null,
    runs_completed int not null,
    runs_failed int not null,
    cycles_completed int not null,
    is_in_protection boolean not null,
    transferred_bytes bigint not null,
    primary key (machine_id, billing_on)
);
create index machine_days_day on machine_days (billing_on);

create table storage_days (
    repository_id uuid not null references repositories (id),
    billing_on date not null,
    used_bytes bigint not null,
    -- carried forward from an earlier day because no sample came
    is_carried boolean not null,
    primary key (repository_id, billing_on)
);

-- The only thing that an invoice is made of.
create table rated_lines (
    id uuid primary key,
    period text not null,
    invoice_id uuid,
    position int not null,
    -- 'machine_backup', 'machine_enterprise', 'machine_replication', 'storage_overage', 'minimum_top_up', 'premium_support',
    -- 'white_label', 'discount'
    item text not null,
    description text not null,
    quantity numeric(18, 4) not null,
    unit_price numeric(18, 8) not null,
    amount_minor bigint not null,
    currency text not null,
    is_recurring boolean not null,
    period_start_on date not null,
    created_at timestamptz not null,
    constraint rated_lines_position unique (period, position)
);
