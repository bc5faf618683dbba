-- One customer's silo. search_path is the tenant's schema alone; no name is qualified, no key leaves the schema.
-- A machine is what a source system calls one: the same in backup and in replication. Discovered is not protected.
-- Ids of reported things are derived from (customer, kind, vendor id), so that events may arrive in any order without a
-- look-up, and a second arrival finds the same row.
create table machines (
    id uuid primary key,
    source_system text not null,
    vendor_id text not null,
    name text not null,
    os text,
    discovered_at timestamptz not null,
    protected_on date,
    unprotected_on date,
    -- the machine that goes on under another vendor id; both count as one
    replaced_by uuid,
    constraint machines_vendor_unique unique (source_system, vendor_id)
);

-- Which tier a machine holds on which billing days; half-open, null is "until further notice".
create table tier_assignments (
    machine_id uuid not null references machines (id),
    tier text not null constraint tier_assignments_tier check (tier in ('backup', 'enterprise', 'replication')),
    valid_from date not null,
    valid_to date,
    reason text not null,
    primary key (machine_id, valid_from),
    constraint tier_assignments_order check (valid_to is null or valid_to > valid_from)
);

create table repositories (
    id uuid primary key,
    vendor_id text not null constraint repositories_vendor_unique unique,
    name text not null,
    kind text not null,
    capacity_bytes bigint,
    is_immutable boolean not null default false,
    retention_days int,
    is_copy boolean not null default false,
    updated_at timestamptz not null
);

create table schedules (
    machine_id uuid primary key references machines (id),
    runs_per_day int not null default 1,
    starts_on date not null,
    ends_on date
);

create table skipped_runs (
    machine_id uuid not null references machines (id),
    service_on date not null,
    reason text not null,
    -- the customer cancelled it, or agreed maintenance: excluded from the service level, and listed
    is_excused boolean not null,
    primary key (machine_id, service_on, reason)
);
