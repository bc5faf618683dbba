-- People come in through the identity provider of their own company (OpenID Connect).

-- One for an MSP's own people and one for each customer's, under the id of the place whose people they are.
create table identity_providers (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid references customers (id),
    issuer text not null,
    client_id text not null,
    -- the client's secret, under the key of the customer or the MSP
    sealed bytea not null,
    key_version int not null,
    groups_claim text not null,
    -- whether addresses are believed that the provider does not call verified
    trusts_email boolean not null,
    is_on boolean not null,
    is_forced boolean not null,
    -- who of the MSP may come in by password all the same
    break_glass uuid references users (id),
    updated_at timestamptz not null,
    constraint identity_providers_place check (id = coalesce(customer_id, msp_id))
);

create table identity_provider_groups (
    provider_id uuid not null references identity_providers (id),
    group_name text not null,
    role text not null,
    primary key (provider_id, group_name)
);

-- For whose addresses a provider speaks: one for each domain, so that an address leads to one place.
create table identity_provider_domains (
    domain text constraint identity_provider_domains_taken primary key,
    provider_id uuid not null references identity_providers (id)
);
create index identity_provider_domains_provider on identity_provider_domains (provider_id);

-- Who somebody is at a provider. An address may change hands there; the subject never does.
create table user_identities (
    provider_id uuid not null references identity_providers (id),
    issuer text not null,
    subject text not null,
    user_id uuid not null references users (id),
    linked_at timestamptz not null,
    last_login_at timestamptz not null,
    primary key (provider_id, issuer, subject),
    constraint user_identities_one_each unique (provider_id, issuer, user_id)
);
create index user_identities_user on user_identities (user_id);

-- Somebody who was sent to a provider and is to come back: once, soon, and by the same browser.
create table sso_logins (
    state_hash bytea primary key,
    provider_id uuid not null references identity_providers (id),
    browser_hash bytea not null,
    issuer text not null,
    next text not null,
    created_at timestamptz not null,
    used_at timestamptz
);
create index sso_logins_created on sso_logins (created_at);
create index sso_logins_provider on sso_logins (provider_id);

-- The provider by which a session was opened; none for a password.
alter table sessions add column provider_id uuid;

alter table login_attempts
    drop constraint login_attempts_kind,
    add constraint login_attempts_kind
        check (kind in ('account', 'address', 'factor', 'letter', 'letter_address', 'sso_address'));

alter function control.secure(text) rename to secure_before_single_sign_on;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    access text := prefix || '_access';
    listed record;
begin
    perform secure_before_single_sign_on(prefix);
    for listed in
        select unnest(array[
            'identity_providers', 'identity_provider_groups', 'identity_provider_domains', 'user_identities', 'sso_logins'
        ]) as name
    loop
        execute format('grant select, insert, update, delete on control.%I to %I', listed.name, access);
        execute format('drop policy if exists for_access on control.%I', listed.name);
        execute format('create policy for_access on control.%I to %I using (true) with check (true)', listed.name, access);
    end loop;
end
$$;
revoke execute on function control.secure(text) from public;
