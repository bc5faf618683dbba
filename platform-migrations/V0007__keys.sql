-- The key store. It lies in a schema of its own so that it is backed up apart from the data that it opens.
create table keystore.keys (
    -- 'msp' or 'customer'
    owner_kind text not null constraint keys_owner_kind check (owner_kind in ('msp', 'customer')),
    owner_id uuid not null,
    purpose text not null constraint keys_purpose check (purpose in ('wrap', 'blind_index', 'audit', 'signing')),
    version int not null,
    -- sealed under the master key; null once destroyed
    wrapped bytea,
    created_at timestamptz not null,
    destroyed_at timestamptz,
    primary key (owner_kind, owner_id, purpose, version)
);
