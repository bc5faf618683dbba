-- The master key can be changed: every wrapped key says which master wrapped it, and exactly one master is current. While the
-- wrappers are rewritten two stand side by side; a process that still holds an old one alone can wrap nothing new with it.
create table keystore.masters (
    -- a digest of the key, that tells nothing of it
    fingerprint text primary key,
    source text not null constraint masters_source check (source in ('file', 'environment', 'kms')),
    -- of a KMS: what it opens to the key; elsewhere nothing
    wrapped bytea,
    is_current boolean not null,
    created_at timestamptz not null,
    retired_at timestamptz
);
create unique index masters_current on keystore.masters (is_current) where is_current;

-- null until the first process that has the key says which it is
alter table keystore.keys add column master text;
create index keys_master on keystore.keys (master) where wrapped is not null;
