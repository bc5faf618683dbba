-- What became of each tenant's schema when somebody last tried to migrate it or looked at it. The version itself stands beside
-- the customer; no row here means that nothing happened since it was provisioned.
create table schema_states (
    customer_id uuid primary key references customers (id) on delete cascade,
    -- why the last attempt failed; null when it did not
    error text,
    -- since the last success
    failed_attempts int not null default 0,
    attempted_at timestamptz,
    duration_ms bigint,
    -- what the catalog's columns, constraints, indexes, functions and grants of the schema hash to; null until it was looked at
    fingerprint bigint,
    -- how the schema differs from what its version should be; null when it does not
    drift text,
    checked_at timestamptz
);
