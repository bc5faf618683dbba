-- Whoever edits, deletes, reorders or cuts off records of the audit log is found out: every record carries a keyed digest over
-- itself and the digest before it. There is a chain per MSP, one of the installation (entries without an MSP), and one in every
-- customer's silo. Words are covered through a salted digest, so that an erasure may take them (and the salt) out and the chain holds.
alter table audit_log
    -- the place in the chain; none for what was written before there was one
    add column sequence bigint,
    add column salt bytea,
    add column words_digest bytea,
    add column previous_digest bytea,
    add column digest bytea;
create unique index audit_log_sequence on audit_log (coalesce(msp_id, '00000000-0000-0000-0000-000000000000'), sequence) where sequence is not null;

-- The end of each chain; whoever commits holds its row.
create table audit_heads (
    -- the MSP, or zeros for the installation
    chain_id uuid primary key,
    msp_id uuid,
    sequence bigint not null,
    digest bytea,
    -- entries from before the chain: how many, and a digest over who did what and when
    older bigint not null,
    older_digest bytea
);

-- Row-level security would hide the log from an owner that is no superuser; it is forced again before anybody looks.
alter table audit_log no force row level security;
insert into audit_heads (chain_id, msp_id, sequence, older, older_digest)
select coalesce(msp_id, '00000000-0000-0000-0000-000000000000'), msp_id, 0, count(*),
    sha256(convert_to(string_agg(concat_ws(' ', id, coalesce(customer_id::text, '-'), actor, action, (extract(epoch from happened_at) * 1000000)::bigint), chr(10) order by id), 'UTF8'))
from audit_log group by msp_id;
alter table audit_log force row level security;

-- Where a chain stood at an instant, signed. Whoever cuts off the end of a log and winds its head back is found by these.
create table audit_checkpoints (
    -- a customer's silo, an MSP, or zeros for the installation
    chain_id uuid not null,
    number bigint not null,
    msp_id uuid,
    customer_id uuid,
    sequence bigint not null,
    digest bytea not null,
    made_at timestamptz not null,
    signature bytea not null,
    primary key (chain_id, number)
);

-- The installation has an audit key too, and the key that signs: the key store makes them when they are asked for first.

create or replace function refuse_change_of_audit() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    if to_jsonb(new) - array['subject', 'detail', 'reason', 'salt'] is distinct from to_jsonb(old) - array['subject', 'detail', 'reason', 'salt']
        or new.subject <> 'customer:' || old.customer_id or new.detail <> '{}' or new.reason is not null or new.salt is not null
        or not exists (select from customers where id = old.customer_id and status = 'erased')
    then
        raise exception 'the audit log is only added to'
            using errcode = 'check_violation', constraint = 'audit_log_only_grows', table = 'audit_log';
    end if;
    return new;
end
$$;

alter function control.secure(text) rename to secure_before_audit_chain;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    msp text := prefix || '_msp';
    operator text := prefix || '_operator';
    access text := prefix || '_access';
begin
    perform secure_before_audit_chain(prefix);
    execute format('grant update (salt) on control.audit_log to %I', operator);
    execute format('revoke delete on control.audit_heads from %I, %I', msp, operator);
    execute format('revoke update, delete on control.audit_checkpoints from %I, %I', msp, operator);
    execute format('grant select, insert, update on control.audit_heads to %I', access);
    execute 'drop policy if exists for_access on control.audit_heads';
    execute format('create policy for_access on control.audit_heads to %I using (true) with check (true)', access);
end
$$;
revoke execute on function control.secure(text) from public;
