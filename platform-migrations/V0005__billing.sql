-- Prices, invoices (retail, MSP to customer), statements (wholesale, operator to MSP), payments.
-- A price belongs to the operator's list (no MSP), to an MSP's price book, or to one customer's contract.
create table prices (
    id uuid primary key,
    msp_id uuid references msps (id),
    customer_id uuid references customers (id),
    item text not null,
    unit_price numeric(18, 8) not null constraint prices_not_negative check (unit_price >= 0),
    currency text not null,
    valid_from date not null constraint prices_first_of_month check (extract(day from valid_from) = 1),
    created_at timestamptz not null,
    constraint prices_customer_has_msp check (customer_id is null or msp_id is not null)
);
create unique index prices_version on prices (
    coalesce(msp_id, '00000000-0000-0000-0000-000000000000'), coalesce(customer_id, '00000000-0000-0000-0000-000000000000'), item, currency, valid_from);

create table invoice_series (
    msp_id uuid not null references msps (id),
    series text not null,
    next_number bigint not null default 1,
    primary key (msp_id, series)
);

create table invoices (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    period text not null,
    kind text not null default 'invoice' constraint invoices_kind check (kind in ('invoice', 'credit_note', 'debit_note')),
    state text not null constraint invoices_state check (state in ('draft', 'approved', 'finalised')),
    -- gapless per MSP and series; given when the invoice is finalised
    number text,
    currency text not null,
    net_minor bigint not null,
    tax_minor bigint not null,
    total_minor bigint not null,
    paid_minor bigint not null default 0,
    issued_on date,
    due_on date,
    created_at timestamptz not null,
    finalised_at timestamptz,
    constraint invoices_total_adds_up check (total_minor = net_minor + tax_minor),
    constraint invoices_number_when_finalised check ((state = 'finalised') = (number is not null)),
    constraint invoices_number_unique unique (msp_id, number)
);
create unique index invoices_one_per_period on invoices (customer_id, period) where kind = 'invoice';

create table statements (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    period text not null,
    currency text not null,
    total_minor bigint not null,
    created_at timestamptz not null,
    constraint statements_one_per_period unique (msp_id, period)
);

create table statement_lines (
    id uuid primary key,
    statement_id uuid not null references statements (id),
    msp_id uuid not null references msps (id),
    -- null for lines of the MSP itself, such as the platform fee
    customer_id uuid references customers (id),
    item text not null,
    description text not null,
    quantity numeric(18, 4) not null,
    unit_price numeric(18, 8) not null,
    amount_minor bigint not null,
    currency text not null
);

create table payments (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    invoice_id uuid references invoices (id),
    amount_minor bigint not null,
    currency text not null,
    method text not null,
    reference text,
    received_on date not null,
    created_at timestamptz not null
);

-- What the open month would bill if it ended now, per customer; never called MRR.
create table run_rates (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    period text not null,
    amount_minor bigint not null,
    currency text not null,
    computed_at timestamptz not null
);
