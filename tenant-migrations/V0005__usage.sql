-- Derived from the above; rebuilt while a period is open. A machine that was replaced counts under the one that goes on.
create table machine_days (
    machine_id uuid not null,
    transferred_bytes bigint not null,
    billing_on date not null,
    runs_completed int not null,
    runs_failed int not null,
    cycles_completed int not null,
    -- the tier is in force, and a run or cycle completed on this day or one of the six before
    is_in_protection boolean not null,
    -- the highest tier in force; null for a machine that ran without one
    tier text,
    primary key (machine_id, billing_on)
);
create index machine_days_day on machine_days (billing_on);

create table storage_days (
    repository_id uuid not null,
    used_bytes bigint not null,
    billing_on date not null,
    -- carried forward from an earlier day because no sample came; at most seven days
    is_carried boolean not null,
    primary key (repository_id, billing_on)
);

-- The only thing that an invoice is made of.
create table rated_lines (
    id uuid primary key,
    period text not null,
    invoice_id uuid,
    position int not null,
    -- 'machine_backup', 'machine_enterprise', 'machine_replication', 'storage_overage', 'minimum_top_up', 'premium_support',
    -- 'white_label', 'discount'
    item text not null,
    description text not null,
    quantity numeric(18, 4) not null,
    unit_price numeric(18, 8) not null,
    amount_minor bigint not null,
    currency text not null,
    is_recurring boolean not null,
    period_start_on date not null,
    created_at timestamptz not null,
    -- set when the invoice gets its number; from then on the period's lines are as they are
    finalised_at timestamptz,
    constraint rated_lines_position unique (period, position)
);

create function refuse_change_of_finalised_lines() returns trigger language plpgsql as $$
begin
    if (tg_op <> 'INSERT' and old.finalised_at is not null)
        or (tg_op = 'INSERT' and exists (select from rated_lines where period = new.period and finalised_at is not null)) then
        raise exception 'the lines of % are finalised', case when tg_op = 'INSERT' then new.period else old.period end
            using errcode = 'check_violation', constraint = 'rated_lines_finalised', table = 'rated_lines';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger rated_lines_finalised before insert or update or delete on rated_lines
    for each row execute function refuse_change_of_finalised_lines();
