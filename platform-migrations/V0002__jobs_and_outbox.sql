-- Work that must survive a crash. One queue for the whole cluster: a thousand tenant queues would be a thousand polls.
create table jobs (
    id uuid primary key,
    kind text not null,
    -- the customer on whose behalf it runs; null for work of the MSP or the installation
    msp_id uuid,
    customer_id uuid,
    payload jsonb not null constraint jobs_payload_size check (pg_column_size(payload) < 65536),
    state text not null default 'ready' constraint jobs_state check (state in ('ready', 'running', 'done', 'dead')),
    priority int not null default 100,
    run_at timestamptz not null,
    attempt int not null default 0,
    max_attempts int not null default 10,
    -- two live jobs with the same key are one
    unique_key text,
    lease_token uuid,
    lease_until timestamptz,
    last_error text,
    created_at timestamptz not null,
    finished_at timestamptz
);
create unique index jobs_unique_live on jobs (kind, unique_key) where unique_key is not null and state in ('ready', 'running');
create index jobs_ready on jobs (priority, run_at, id) where state = 'ready';
create index jobs_running on jobs (lease_until) where state = 'running';

-- A schedule's slot is claimed by whoever inserts it first; no leader is needed.
create table cron_slots (
    name text not null,
    slot_at timestamptz not null,
    created_at timestamptz not null,
    primary key (name, slot_at)
);

-- Where a transaction leaves news that must travel if and only if it commits. Every role may add, only the operator reads;
-- a row says which role wrote it, and the policy sees to it that it says so truly: the customer is found from the role.
create table outbox.messages (
    id uuid primary key,
    position bigint generated always as identity,
    kind text not null,
    role_name text not null default current_user,
    msp_id uuid,
    payload jsonb not null constraint messages_payload_size check (pg_column_size(payload) < 65536),
    emitted_at timestamptz not null
);
create index messages_position on outbox.messages (position);

-- Events that arrived from outboxes, exactly once by their id.
create table events (
    id uuid primary key,
    kind text not null,
    msp_id uuid,
    customer_id uuid,
    payload jsonb not null,
    emitted_at timestamptz not null,
    relayed_at timestamptz not null
);

create table lifecycle_steps (
    customer_id uuid not null references customers (id),
    operation text not null,
    step text not null,
    state text not null constraint lifecycle_steps_state check (state in ('started', 'done', 'undone')),
    updated_at timestamptz not null,
    primary key (customer_id, operation, step)
);

create table audit_log (
    id bigint generated always as identity primary key,
    msp_id uuid,
    customer_id uuid,
    actor text not null,
    action text not null,
    subject text not null,
    detail jsonb not null default '{}',
    reason text,
    happened_at timestamptz not null
);
create index audit_log_msp on audit_log (msp_id, happened_at);
