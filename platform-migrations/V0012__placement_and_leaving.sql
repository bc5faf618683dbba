-- Silos move between clusters, have copies for support, and in the end leave: what must be remembered across a crash, and
-- what is left of a customer that has gone.

-- A move under way. Where the silo really lies, the schemas' names say; the row only says where it was to go.
create table moves (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    from_cluster text not null,
    to_cluster text not null,
    started_at timestamptz not null
);

-- Copies of a silo for support and staging: not customers, so that nobody bills, reports or exports them. They have a key of
-- their own and die with their parent.
create table clones (
    id uuid primary key,
    parent_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    code text not null,
    schema_name text not null constraint clones_schema_unique unique,
    role_name text not null,
    cluster text not null,
    schema_version int not null default 0,
    has_personal_data boolean not null,
    reason text not null,
    created_at timestamptz not null,
    constraint clones_code_unique unique (msp_id, code)
);
create index clones_parent on clones (parent_id);

-- While a hold stands nothing of the customer is erased, whoever asks.
create table legal_holds (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    reason text not null,
    set_by text not null,
    set_at timestamptz not null,
    released_by text,
    released_at timestamptz
);
create unique index legal_holds_one on legal_holds (customer_id) where released_at is null;

-- What the law wants kept of a customer that was erased: invoices with their lines, sealed under the MSP's key.
create table kept_invoices (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    number text not null,
    period text not null,
    -- the document as JSON, sealed; its key wrapped by the MSP's
    sealed bytea not null,
    wrapped_key bytea not null,
    key_version int not null,
    keep_until date not null,
    created_at timestamptz not null
);
create index kept_invoices_customer on kept_invoices (customer_id);

-- What customers that have gone had billed, month by month, without saying whose it was: totals of the past stay true.
create table erased_totals (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    period text not null,
    period_start_on date not null,
    item text not null,
    is_recurring boolean not null,
    currency text not null,
    amount_minor bigint not null,
    constraint erased_totals_unique unique (msp_id, period, item, is_recurring, currency)
);

-- An erasure under way, and its certificate when it is complete.
create table erasures (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    code text not null,
    reason text not null,
    requested_by text not null,
    started_at timestamptz not null,
    -- what each step destroyed, noted before it did, so that a repetition does not forget it
    findings jsonb not null default '{}',
    certificate jsonb,
    finished_at timestamptz
);

-- How long rows of a dataset are kept, in days; none of an MSP's own is for ever.
create table retention_rules (
    msp_id uuid not null references msps (id),
    dataset text not null,
    keep_days int not null constraint retention_rules_days check (keep_days between 1 and 36500),
    updated_at timestamptz not null,
    primary key (msp_id, dataset)
);
