//! Statements that prepare and watch a cluster: a Postgres that holds silos, but not the control schema.

/// `$1` the installation's prefix. The outbox is the only thing beside silos; it is the home's, to the letter.
pub(crate) const CREATE: &str = "
    set client_min_messages = warning;
    create schema if not exists outbox;
    revoke all on schema public from public;
    create table if not exists outbox.membership (
        installation_id uuid not null,
        cluster text not null,
        is_single boolean primary key default true constraint membership_is_single check (is_single)
    );
    create table if not exists outbox.messages (
        id uuid primary key,
        position bigint generated always as identity,
        kind text not null,
        role_name text not null default current_user,
        msp_id uuid,
        payload jsonb not null constraint messages_payload_size check (pg_column_size(payload) < 65536),
        emitted_at timestamptz not null
    );
    create index if not exists messages_position on outbox.messages (position);
    alter table outbox.messages enable row level security;
    alter table outbox.messages force row level security;";
pub(crate) const SECURE: &str = "
    select format('
        grant usage on schema outbox to %1$I, %2$I;
        grant insert on outbox.messages to %1$I;
        grant select, insert, update, delete on outbox.messages to %2$I;
        drop policy if exists own_name on outbox.messages;
        create policy own_name on outbox.messages for insert to %1$I with check (role_name = current_user and msp_id is null);
        drop policy if exists every_row on outbox.messages;
        create policy every_row on outbox.messages to %2$I using (true) with check (true)', $1::text, $2::text)";
pub(crate) const JOIN: &str = "insert into outbox.membership (installation_id, cluster) values ($1, $2) on conflict (is_single) do nothing";
pub(crate) const MEMBERSHIP: &str = "select installation_id, cluster from outbox.membership";
/// A home has the control schema: it is nobody's cluster.
pub(crate) const IS_HOME: &str = "select to_regclass('control.installations') is not null";

/// As the home's relay does, but who wrote a message is known at home only.
pub(crate) const TAKE_MESSAGES: &str = "
    with taken as (
        delete from outbox.messages where id in (
            select id from outbox.messages order by position limit $1 for update skip locked)
        returning id, position, kind, role_name, payload, emitted_at
    )
    select t.id, t.kind, t.role_name, t.payload, t.emitted_at from taken t order by t.position";
pub(crate) const LIST_WRITERS: &str = "select role_name, id, msp_id from control.customers where role_name = any($1)";
