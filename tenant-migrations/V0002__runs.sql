-- What control planes report, in typed form. A multi-disk backup is one run with disks; a retry is an attempt of its run.
create table backup_runs (
    id uuid primary key,
    source text not null,
    vendor_id text not null,
    machine_id uuid not null references machines (id),
    kind text not null constraint backup_runs_kind check (kind in ('full', 'incremental', 'differential', 'log')),
    state text not null constraint backup_runs_state check (state in ('running', 'completed', 'completed_with_warning', 'failed', 'cancelled')),
    started_at timestamptz not null,
    -- completion, or the end of the last failed attempt
    ended_at timestamptz not null,
    -- the customer's day and the MSP's day on which it ended
    service_on date not null,
    billing_on date not null,
    attempt_count int not null,
    -- bytes of completed disks; never those of the parent
    transferred_bytes bigint not null,
    protected_bytes bigint not null,
    duration_ms bigint not null,
    error text,
    constraint backup_runs_vendor_unique unique (source, vendor_id)
);
create index backup_runs_billing on backup_runs (billing_on, machine_id);
create index backup_runs_ended on backup_runs (ended_at);

create table backup_attempts (
    run_id uuid not null references backup_runs (id),
    attempt int not null,
    state text not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    error text,
    primary key (run_id, attempt)
);

create table backup_disks (
    run_id uuid not null references backup_runs (id),
    disk_index int not null,
    state text not null,
    size_bytes bigint not null,
    transferred_bytes bigint not null,
    -- denormalised so that a disk goes into the same file of the lake as its run
    ended_at timestamptz not null,
    primary key (run_id, disk_index)
);

create table restore_runs (
    id uuid primary key,
    source text not null,
    vendor_id text not null,
    machine_id uuid references machines (id),
    kind text not null constraint restore_runs_kind check (kind in ('full_vm', 'file_level', 'test')),
    state text not null constraint restore_runs_state check (state in ('completed', 'failed')),
    requested_at timestamptz not null,
    ended_at timestamptz not null,
    duration_ms bigint not null,
    restored_bytes bigint not null default 0,
    constraint restore_runs_vendor_unique unique (source, vendor_id)
);

-- One summary a machine and day.
create table replication_cycles (
    machine_id uuid not null references machines (id),
    billing_on date not null,
    service_on date not null,
    cycles_completed int not null,
    cycles_failed int not null,
    transferred_bytes bigint not null,
    lag_seconds_max int not null,
    last_cycle_at timestamptz not null,
    primary key (machine_id, billing_on)
);

create table storage_samples (
    repository_id uuid not null references repositories (id),
    sampled_at timestamptz not null,
    billing_on date not null,
    used_bytes bigint not null constraint storage_samples_used check (used_bytes >= 0),
    primary key (repository_id, sampled_at)
);
