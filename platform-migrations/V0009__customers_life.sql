-- What an operation on a whole customer (provision, suspend, erase …) is doing and how far it came: it is entered in one
-- transaction, advances step by step, and whoever is killed on the way is followed by somebody who reads this.
create table lifecycle_runs (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    operation text not null,
    -- counts the times that the operation was entered: steps of an earlier time do not count
    run int not null default 1,
    direction text not null default 'forward' constraint lifecycle_runs_direction check (direction in ('forward', 'back')),
    actor text not null,
    reason text,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    ended_at timestamptz,
    last_error text,
    primary key (customer_id, operation)
);
create index lifecycle_runs_open on lifecycle_runs (updated_at) where ended_at is null;
alter table lifecycle_steps add column run int not null default 1;

-- Where a customer's data lies and whose machines it runs on; how it appears to its own people.
alter table customers
    add column deployment text not null default 'shared'
        constraint customers_deployment check (deployment in ('shared', 'dedicated', 'on_premises', 'hybrid')),
    -- null for rows that an older program inserts meanwhile: since it was created
    add column status_changed_at timestamptz,
    add column brand_color text constraint customers_brand_color check (brand_color ~ '^#[0-9a-f]{6}$'),
    add column logo_url text;
update customers set status_changed_at = (select max(changed_at) from status_changes where customer_id = customers.id);

-- People at a customer. Names and addresses are sealed under the customer's key: destroyed with it, they are gone.
create table contacts (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    kind text not null constraint contacts_kind check (kind in ('main', 'billing', 'technical')),
    sealed bytea not null,
    key_version int not null,
    -- HMAC of the address, by which one person's rows are found
    email_index bytea not null,
    created_at timestamptz not null,
    constraint contacts_email_unique unique (customer_id, kind, email_index)
);

create table sites (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    name text not null,
    country text not null,
    city text,
    time_zone text not null,
    created_at timestamptz not null,
    retired_at timestamptz,
    constraint sites_name_unique unique (customer_id, name)
);

alter table control_planes
    add column site_id uuid references sites (id),
    add column retired_at timestamptz;

-- Limits beyond those that the contract prices (machines, storage), and whether each only alerts or also refuses.
create table customer_limits (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    max_concurrent_jobs int constraint customer_limits_jobs check (max_concurrent_jobs >= 0),
    api_rate_limit int constraint customer_limits_api check (api_rate_limit >= 0),
    machines_are_hard boolean not null default false,
    storage_is_hard boolean not null default false,
    updated_at timestamptz not null
);

-- Answers that were given, so that the same request sent twice is done once and answered alike.
create table idempotency_keys (
    msp_id uuid not null references msps (id),
    actor text not null,
    key text not null,
    request_hash bytea not null,
    status int not null,
    body text not null,
    created_at timestamptz not null,
    primary key (msp_id, actor, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
