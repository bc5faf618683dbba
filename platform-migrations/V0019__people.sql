-- Logins are counted, sessions are seen by their owners, and people are written to.

-- Attempts at something that could be guessed. All replicas count here. A row says of whom only by a hash: whoever exists has one
-- of its own, everybody else shares a fixed number of places, so that nobody can fill the disk by trying.
create table login_attempts (
    kind text not null constraint login_attempts_kind check (kind in ('account', 'address', 'factor', 'letter', 'letter_address')),
    subject bytea not null,
    attempts int not null,
    began_at timestamptz not null,
    last_at timestamptz not null,
    blocked_until timestamptz not null,
    primary key (kind, subject)
);
create index login_attempts_last on login_attempts (last_at);

-- Null for rows that an older program inserts meanwhile: last used when it was made.
alter table sessions
    add column last_used_at timestamptz,
    add column device text;
create index sessions_user on sessions (user_id);

-- What a letter carries so that a person can choose a password. Only its hash is kept; used means used or replaced.
create table user_tokens (
    id uuid primary key,
    user_id uuid not null references users (id),
    kind text not null constraint user_tokens_kind check (kind in ('invitation', 'reset')),
    token_hash bytea not null constraint user_tokens_hash_unique unique,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index user_tokens_user on user_tokens (user_id);

-- The log of what was sent. To whom and in which words is sealed under the key of the recipient's customer, MSP or installation.
create table mails (
    id uuid primary key,
    msp_id uuid,
    customer_id uuid,
    user_id uuid,
    kind text not null,
    sealed bytea not null,
    key_version int not null,
    state text not null constraint mails_state check (state in ('waiting', 'sent', 'kept', 'failed')),
    attempts int not null,
    last_error text,
    created_at timestamptz not null,
    finished_at timestamptz
);
create index mails_created on mails (created_at);
create index mails_user on mails (user_id);

-- People of the operator belong to no MSP: what is sealed for them is sealed under keys of the installation.
alter table keystore.keys
    drop constraint keys_owner_kind,
    add constraint keys_owner_kind check (owner_kind in ('msp', 'customer', 'installation'));

alter function control.secure(text) rename to secure_before_people;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    access text := prefix || '_access';
    listed record;
begin
    perform secure_before_people(prefix);
    for listed in select unnest(array['login_attempts', 'user_tokens', 'mails']) as name loop
        execute format('grant select, insert, update, delete on control.%I to %I', listed.name, access);
        execute format('drop policy if exists for_access on control.%I', listed.name);
        execute format('create policy for_access on control.%I to %I using (true) with check (true)', listed.name, access);
    end loop;
    -- Whoever finds out who somebody is may have a letter written, and queues nothing else.
    execute format('grant select (kind, unique_key, state), insert on control.jobs to %I', access);
    execute 'drop policy if exists for_access on control.jobs';
    execute format('create policy for_access on control.jobs to %I using (kind = ''access.letter'') with check (kind = ''access.letter'')', access);
end
$$;
revoke execute on function control.secure(text) from public;
