-- Overage is what lies above the average limit of a period's days, so a limit has a history. A contract's own columns say what
-- was set last, these rows from which billing day on; the first row of a contract speaks for the days before it as well.
create table contract_limits (
    contract_id uuid not null references contracts (id),
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    valid_from date not null,
    machine_limit int,
    storage_limit_gib bigint not null,
    created_at timestamptz not null,
    primary key (contract_id, valid_from)
);
create index contract_limits_customer on contract_limits (customer_id);

-- Row-level security would hide the contracts from an owner that is no superuser; it is forced again before anybody looks.
alter table contracts no force row level security;
insert into contract_limits (contract_id, msp_id, customer_id, valid_from, machine_limit, storage_limit_gib, created_at)
select id, msp_id, customer_id, starts_on, machine_limit, storage_limit_gib, created_at from contracts;
alter table contracts force row level security;

-- Whoever agrees on a contract, also an older program, begins its history.
create function begin_contract_limits() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    insert into contract_limits (contract_id, msp_id, customer_id, valid_from, machine_limit, storage_limit_gib, created_at)
    values (new.id, new.msp_id, new.customer_id, new.starts_on, new.machine_limit, new.storage_limit_gib, new.created_at);
    return null;
end
$$;
create trigger contracts_begin_limits after insert on contracts for each row execute function begin_contract_limits();

create trigger contract_limits_inserted after insert on contract_limits referencing new table as new_rows
    for each statement execute function mark_dirty();
create trigger contract_limits_updated after update on contract_limits referencing old table as old_rows new table as new_rows
    for each statement execute function mark_dirty();
create trigger contract_limits_deleted after delete on contract_limits referencing old table as old_rows
    for each statement execute function mark_dirty();
