-- Short-lived tokens for programs are signed by keys of their own, which follow one another.

create table token_keys (
    id uuid primary key,
    public_key bytea not null,
    -- the seed, sealed under a key of the installation
    sealed bytea not null,
    key_version int not null,
    created_at timestamptz not null,
    -- from then on what it signed is no longer taken; none for the one that signs
    retired_at timestamptz
);

alter function control.secure(text) rename to secure_before_token_keys;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    access text := prefix || '_access';
begin
    perform secure_before_token_keys(prefix);
    execute format('grant select, insert, update, delete on control.token_keys to %I', access);
    execute 'drop policy if exists for_access on control.token_keys';
    execute format('create policy for_access on control.token_keys to %I using (true) with check (true)', access);
end
$$;
revoke execute on function control.secure(text) from public;
