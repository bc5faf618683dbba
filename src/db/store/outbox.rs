//! Statements of the outbox and its relay.

pub(crate) const INSERT_MESSAGE: &str = "insert into outbox.messages (id, kind, msp_id, payload, emitted_at) values ($1, $2, $3, $4, $5)";

/// Takes the oldest messages away; whoever else relays at the same time takes others.
pub(crate) const TAKE_MESSAGES: &str = "
    with taken as (
        delete from outbox.messages where id in (
            select id from outbox.messages order by position limit $1 for update skip locked)
        returning id, position, kind, role_name, msp_id, payload, emitted_at
    )
    select t.id, t.kind, coalesce(c.msp_id, t.msp_id) as msp_id, c.id as customer_id, t.payload, t.emitted_at
    from taken t left join control.customers c on c.role_name = t.role_name
    order by t.position";

/// Nothing is inserted when the event arrived before.
pub(crate) const INSERT_EVENT: &str = "
    insert into control.events (id, kind, msp_id, customer_id, payload, emitted_at, relayed_at)
    values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing";
