-- What control planes report, in typed form. A multi-disk backup is one run with disks; a retry is an attempt of its run.
-- These tables grow with every event and have one writer, the projection, which writes the machine and the run with the
-- rows that name them: foreign keys would only repeat that, at the price of the insert itself. An id is a hash of
-- (customer, kind, source, vendor id): it is the unique key, no second index repeats it.
create table backup_runs (
    id uuid primary key,
    machine_id uuid not null,
    started_at timestamptz not null,
    -- completion, or the end of the last failed attempt
    ended_at timestamptz not null,
    -- bytes of completed disks; never those of the parent
    transferred_bytes bigint not null,
    protected_bytes bigint not null,
    -- from the start of the first attempt to the end
    duration_ms bigint not null,
    -- the customer's day and the MSP's day on which it ended
    service_on date not null,
    billing_on date not null,
    attempt_count int not null,
    kind text not null constraint backup_runs_kind check (kind in ('full', 'incremental', 'differential', 'log')),
    state text not null constraint backup_runs_state check (state in ('running', 'completed', 'completed_with_warning', 'failed', 'cancelled')),
    source text not null,
    vendor_id text not null,
    error text
);
create index backup_runs_billing on backup_runs (billing_on, machine_id);
-- Rows come nearly in order of time: an index of page ranges costs the writer next to nothing and finds a month.
create index backup_runs_ended on backup_runs using brin (ended_at) with (pages_per_range = 16, autosummarize = on);

create table backup_attempts (
    run_id uuid not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    attempt int not null,
    kind text not null,
    state text not null,
    error text,
    primary key (run_id, attempt)
);

create table backup_disks (
    run_id uuid not null,
    size_bytes bigint not null,
    transferred_bytes bigint not null,
    -- that of the run, so that a disk goes into the same file of the lake
    ended_at timestamptz not null,
    disk_index int not null,
    -- the attempt that this state of the disk comes from
    attempt int not null,
    state text not null,
    primary key (run_id, disk_index)
);
create index backup_disks_ended on backup_disks using brin (ended_at) with (pages_per_range = 16, autosummarize = on);

create table restore_runs (
    id uuid primary key,
    source text not null,
    vendor_id text not null,
    machine_id uuid,
    kind text not null constraint restore_runs_kind check (kind in ('full_vm', 'file_level', 'test')),
    state text not null constraint restore_runs_state check (state in ('completed', 'failed')),
    requested_at timestamptz not null,
    ended_at timestamptz not null,
    duration_ms bigint not null,
    restored_bytes bigint not null default 0
);

-- One summary a machine and day of the customer; it is billed on the MSP's day of its last cycle.
create table replication_cycles (
    machine_id uuid not null,
    transferred_bytes bigint not null,
    last_cycle_at timestamptz not null,
    service_on date not null,
    billing_on date not null,
    cycles_completed int not null,
    cycles_failed int not null,
    lag_seconds_max int not null,
    primary key (machine_id, service_on)
);
create index replication_cycles_billing on replication_cycles (billing_on);

create table storage_samples (
    repository_id uuid not null references repositories (id),
    sampled_at timestamptz not null,
    billing_on date not null,
    used_bytes bigint not null constraint storage_samples_used check (used_bytes >= 0),
    primary key (repository_id, sampled_at)
);
