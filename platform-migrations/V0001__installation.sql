-- The control schema: what the installation knows across customers. The runner has created the schemas `control`,
-- `keystore` and `outbox` before this runs and set search_path to `control`. Roles belong to the whole cluster and carry
-- the installation's id in their names; what they may do is written by `control.secure` in V0008.
create table installations (
    id uuid primary key,
    created_at timestamptz not null,
    -- the demo's clock stands still at this instant; null for the machine's clock
    clock_at timestamptz,
    is_single boolean not null default true constraint installations_is_single check (is_single),
    constraint installations_one unique (is_single)
);

create table msps (
    id uuid primary key,
    code text not null constraint msps_code_unique unique,
    name text not null,
    time_zone text not null,
    currency text not null constraint msps_currency_code check (currency ~ '^[A-Z]{3}$'),
    partner_tier text not null constraint msps_partner_tier check (partner_tier in ('authorized', 'premier', 'elite')),
    counting_rule text not null default 'distinct_in_period'
        constraint msps_counting_rule check (counting_rule in ('distinct_in_period', 'average_daily', 'peak_daily', 'last_day')),
    -- printed on reports and pages; the logo is an object named by its key, null for none
    brand_color text not null default '#0b6e4f' constraint msps_brand_color check (brand_color ~ '^#[0-9a-f]{6}$'),
    logo_svg text,
    created_at timestamptz not null
);

create table customers (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    code text not null,
    name text not null,
    status text not null constraint customers_status check (status in ('trial', 'active', 'suspended', 'closed', 'erased')),
    time_zone text not null,
    country text not null default 'US',
    region text not null default 'local',
    vertical text,
    contact_email text,
    schema_name text not null constraint customers_schema_unique unique,
    role_name text not null,
    -- the cluster that holds the schema; 'local' is the only one until placement is configured
    cluster text not null default 'local',
    schema_version int not null default 0,
    trial_ends_on date,
    activated_on date,
    created_at timestamptz not null,
    constraint customers_code_unique unique (msp_id, code)
);

-- Every change of status, so that a past month knows who was active at its end.
create table status_changes (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    status text not null,
    reason text,
    changed_at timestamptz not null
);
create index status_changes_customer on status_changes (customer_id, changed_at);

create table contracts (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    starts_on date not null,
    months int not null constraint contracts_months check (months between 1 and 120),
    renews boolean not null default true,
    notice_days int not null default 30,
    notice_given_on date,
    ends_on date,
    end_reason text constraint contracts_end_reason check (end_reason in ('voluntary', 'non_payment', 'closed')),
    currency text not null,
    default_tier text not null constraint contracts_default_tier check (default_tier in ('backup', 'enterprise', 'replication')),
    -- the quantity the customer committed to; null when none was agreed
    contracted_machines int,
    machine_limit int,
    storage_limit_gib bigint not null,
    minimum_minor bigint not null default 0,
    discount_percent numeric(5, 2) not null default 0 constraint contracts_discount check (discount_percent between 0 and 100),
    tax_percent numeric(6, 3) not null default 0,
    payment_terms_days int not null default 30,
    billing_channel text not null default 'manual' constraint contracts_billing_channel check (billing_channel in ('stripe', 'psa', 'manual')),
    has_premium_support boolean not null default false,
    has_white_label boolean not null default false,
    rpo_hours int not null default 24,
    backup_sla_percent numeric(5, 2) not null default 99.50,
    restore_target_minutes int not null default 240,
    support_target_minutes int not null default 240,
    created_at timestamptz not null
);
create index contracts_customer on contracts (customer_id, starts_on);

create table control_planes (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    name text not null,
    -- the CloudEvents source that its events carry
    source text not null,
    version text,
    enrolled_at timestamptz not null,
    last_seen_at timestamptz,
    constraint control_planes_source_unique unique (customer_id, source)
);
