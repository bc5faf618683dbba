-- Keys for programs are made, followed by others and ended by people; and one that asks in SQL proves itself without being sent.

alter table api_keys
    -- who made it: `user:<id>`, or a command by its name; nobody knows of older ones
    add column created_by text,
    -- the key that follows it; both are good until this one expires
    add column replaced_by uuid references api_keys (id),
    -- SCRAM-SHA-256 (RFC 7677), for keys with the scope sql: it can be made only while the key is known
    add column scram_verifier text,
    add column requests_per_minute int constraint api_keys_rate check (requests_per_minute > 0);
create index api_keys_place on api_keys (msp_id, customer_id, created_at);

alter function control.secure(text) rename to secure_before_api_keys;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    access text := prefix || '_access';
begin
    perform secure_before_api_keys(prefix);
    -- Whoever lets a program in knows how often it may come.
    execute format('grant select (customer_id, api_rate_limit) on control.customer_limits to %I', access);
    execute 'drop policy if exists for_access on control.customer_limits';
    execute format('create policy for_access on control.customer_limits for select to %I using (true)', access);
end
$$;
revoke execute on function control.secure(text) from public;
