-- A second factor beside the password, and who opened a customer's data.

-- The secret of an authenticator (RFC 6238), sealed under the key of its owner's customer, MSP or installation. Unconfirmed until a
-- first code was right; a code at or before the last step that was used is refused.
create table second_factors (
    user_id uuid primary key references users (id),
    sealed bytea not null,
    key_version int not null,
    last_step bigint not null default 0,
    created_at timestamptz not null,
    confirmed_at timestamptz
);

-- For whoever loses the authenticator; each works once, and only its hash is kept.
create table recovery_codes (
    user_id uuid not null references users (id),
    code_hash bytea not null,
    used_at timestamptz,
    primary key (user_id, code_hash)
);

-- The password was right and the code is still to come: such a session opens nothing.
alter table sessions add column is_pending boolean not null default false;

-- What an MSP asks of everybody who logs in, its customers' people among them; without a row, nothing.
create table login_rules (
    msp_id uuid primary key references msps (id),
    requires_second_factor boolean not null
);

create index audit_log_customer on audit_log (customer_id, happened_at) where customer_id is not null;

alter function control.secure(text) rename to secure_before_second_factor;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    access text := prefix || '_access';
    listed record;
begin
    perform secure_before_second_factor(prefix);
    for listed in select unnest(array['second_factors', 'recovery_codes', 'login_rules']) as name loop
        execute format('grant select, insert, update, delete on control.%I to %I', listed.name, access);
        execute format('drop policy if exists for_access on control.%I', listed.name);
        execute format('create policy for_access on control.%I to %I using (true) with check (true)', listed.name, access);
    end loop;
    -- A customer is shown who opened its data, and nobody is written down twice an hour.
    execute format('grant select on control.audit_log to %I', access);
    execute 'drop policy if exists for_access_reads on control.audit_log';
    execute format('create policy for_access_reads on control.audit_log for select to %I using (action = ''customer.open'')', access);
end
$$;
revoke execute on function control.secure(text) from public;
