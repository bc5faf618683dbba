-- Prices, invoices (retail, MSP to customer), statements (wholesale, operator to MSP), payments.
-- A price belongs to the operator's list (no MSP), to an MSP's price book, or to one customer's contract.
create table prices (
    id uuid primary key,
    msp_id uuid references msps (id),
    customer_id uuid references customers (id),
    item text not null constraint prices_item check (item in (
        'machine_backup', 'machine_enterprise', 'machine_replication', 'storage_overage', 'premium_support', 'white_label', 'platform_fee')),
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
    tax_percent numeric(6, 3) not null default 0,
    tax_minor bigint not null,
    total_minor bigint not null,
    paid_minor bigint not null default 0,
    payment_terms_days int not null default 30,
    is_estimated boolean not null default false,
    issued_on date,
    due_on date,
    created_at timestamptz not null,
    finalised_at timestamptz,
    constraint invoices_total_adds_up check (total_minor = net_minor + tax_minor),
    constraint invoices_number_when_finalised check ((state = 'finalised') = (number is not null)),
    constraint invoices_number_unique unique (msp_id, number)
);
create unique index invoices_one_per_period on invoices (customer_id, period) where kind = 'invoice';
create index invoices_msp on invoices (msp_id, period);

-- What an invoice's lines add up to by item: the portfolio reads it instead of looping over schemas.
create table invoice_items (
    invoice_id uuid not null references invoices (id),
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    period text not null,
    item text not null,
    is_recurring boolean not null,
    quantity numeric(18, 4) not null,
    amount_minor bigint not null,
    currency text not null,
    primary key (invoice_id, item, is_recurring)
);
create index invoice_items_msp on invoice_items (msp_id, period);

create table statements (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    period text not null,
    currency text not null,
    margin_percent numeric(5, 2) not null,
    total_minor bigint not null,
    created_at timestamptz not null,
    finalised_at timestamptz,
    constraint statements_one_per_period unique (msp_id, period)
);

create table statement_lines (
    id uuid primary key,
    statement_id uuid not null references statements (id),
    msp_id uuid not null references msps (id),
    -- null for lines of the MSP itself, such as the platform fee
    customer_id uuid references customers (id),
    position int not null,
    item text not null,
    description text not null,
    quantity numeric(18, 4) not null,
    unit_price numeric(18, 8) not null,
    amount_minor bigint not null,
    currency text not null,
    constraint statement_lines_position unique (statement_id, position)
);

create table payments (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    -- null: received, and not yet applied to an invoice
    invoice_id uuid references invoices (id),
    amount_minor bigint not null constraint payments_above_zero check (amount_minor > 0),
    currency text not null,
    method text not null,
    -- the payer's or the bank's; the same reference is the same payment
    reference text,
    received_on date not null,
    created_at timestamptz not null
);
create unique index payments_reference on payments (msp_id, method, reference) where reference is not null;
create index payments_invoice on payments (invoice_id);

-- What the open month would bill if it ended now, per customer; never called MRR.
create table run_rates (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    period text not null,
    amount_minor bigint not null,
    currency text not null,
    computed_at timestamptz not null
);

-- A finalised invoice is a legal document: payments are counted on it, nothing else changes.
create function refuse_change_of_finalised_invoice() returns trigger language plpgsql as $$
begin
    if old.state = 'finalised' and (tg_op = 'DELETE' or to_jsonb(new) - 'paid_minor' is distinct from to_jsonb(old) - 'paid_minor') then
        raise exception 'invoice % is finalised', old.number
            using errcode = 'check_violation', constraint = 'invoices_finalised', table = 'invoices';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger invoices_finalised before update or delete on invoices for each row execute function refuse_change_of_finalised_invoice();

create function refuse_change_of_finalised_statement() returns trigger language plpgsql as $$
begin
    if old.finalised_at is not null then
        raise exception 'the statement of % is finalised', old.period
            using errcode = 'check_violation', constraint = 'statements_finalised', table = 'statements';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger statements_finalised before update or delete on statements for each row execute function refuse_change_of_finalised_statement();
