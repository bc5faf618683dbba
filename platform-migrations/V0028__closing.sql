-- Closing a month: who drafted it and who approved it, what was found in it and who accepted that by name and why, and what its
-- numbers were for good. Later facts never change a closed month: what they would have made of it stands beside it.
alter table msps add column editor_may_approve boolean not null default false;

alter table periods
    add column drafted_at timestamptz,
    add column drafted_by text,
    add column approved_at timestamptz,
    add column approved_by text;

alter table customer_months
    -- the whole measurement of a closed month, day by day; later measurements are compared with it
    add column closed_usage jsonb,
    add column events_count bigint;

-- What was found when the month was drafted last.
create table period_findings (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    period text not null,
    findings jsonb not null,
    examined_at timestamptz not null,
    primary key (customer_id, period)
);

-- A finding blocks the close until somebody accepts it. What is accepted is what stood there then: one more quarantined event, and
-- it is another finding.
create table period_acceptances (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    period text not null,
    finding text not null constraint period_acceptances_finding check (finding in ('incomplete', 'quarantine', 'residual')),
    extent text not null,
    reason text not null,
    accepted_by text not null,
    accepted_at timestamptz not null,
    primary key (customer_id, period, finding, extent)
);

-- Where a closed month would be another one by what is known now, meter by meter.
create table usage_corrections (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    period text not null,
    meter text not null,
    closed_quantity numeric(24, 4) not null,
    now_quantity numeric(24, 4) not null,
    found_at timestamptz not null,
    primary key (customer_id, period, meter)
);
create index usage_corrections_msp on usage_corrections (msp_id, period);

-- The money of it, at the original price and tax: above zero a line on a later invoice, below zero a credit note. A row that was
-- chosen for a later month stays as it is; what comes after it is a difference to it.
create table correction_entries (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    period text not null,
    item text not null,
    description text not null,
    quantity numeric(18, 4) not null,
    unit_price numeric(18, 8) not null,
    amount_minor bigint not null constraint correction_entries_not_zero check (amount_minor <> 0),
    currency text not null,
    tax_percent numeric(6, 3) not null,
    found_at timestamptz not null,
    chosen_for text,
    document_id uuid references invoices (id)
);
create index correction_entries_customer on correction_entries (customer_id, period);

-- A note names the invoice that it corrects.
alter table invoices
    add column cites uuid references invoices (id),
    add constraint invoices_note_cites check (case kind when 'invoice' then cites is null when 'credit_note' then cites is not null else true end);

-- What is closed or finalised does not change, whoever asks; only the erasure of its customer takes it away.
create function refuse_change_of_closed_month() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    if old.is_closed
        and (tg_op = 'UPDATE' or not exists (select from customers where id = old.customer_id and status = 'erased')) then
        raise exception 'the month % is closed', old.period
            using errcode = 'check_violation', constraint = 'customer_months_closed', table = 'customer_months';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger customer_months_closed before update or delete on customer_months
    for each row execute function refuse_change_of_closed_month();

create function refuse_change_of_closed_period() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    if old.state = 'closed' then
        raise exception 'the period % is closed', old.period
            using errcode = 'check_violation', constraint = 'periods_closed', table = 'periods';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger periods_closed before update or delete on periods for each row execute function refuse_change_of_closed_period();

create function refuse_change_of_finalised_items() returns trigger language plpgsql set search_path = control, pg_temp as $$
declare
    item invoice_items := case when tg_op = 'INSERT' then new else old end;
begin
    if exists (select from invoices where id = item.invoice_id and state = 'finalised')
        and not (tg_op = 'DELETE' and exists (select from customers where id = item.customer_id and status = 'erased')) then
        raise exception 'the invoice of these items is finalised'
            using errcode = 'check_violation', constraint = 'invoice_items_finalised', table = 'invoice_items';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger invoice_items_finalised before insert or update or delete on invoice_items
    for each row execute function refuse_change_of_finalised_items();

create function refuse_change_of_settled_correction() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    if old.document_id is not null
        and (tg_op = 'UPDATE' or not exists (select from customers where id = old.customer_id and status = 'erased')) then
        raise exception 'this correction of % stands on a document', old.period
            using errcode = 'check_violation', constraint = 'correction_entries_settled', table = 'correction_entries';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger correction_entries_settled before update or delete on correction_entries
    for each row execute function refuse_change_of_settled_correction();
