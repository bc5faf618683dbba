//! Statements of the audit chains.

/// Whoever commits holds the head; the first one makes it.
pub(crate) const LOCK_HEAD: &str = "
    insert into control.audit_heads as h (chain_id, msp_id, sequence, older) values ($1, $2, 0, 0)
    on conflict (chain_id) do update set sequence = h.sequence
    returning sequence, digest, older, older_digest";
pub(crate) const LOCK_SILO_HEAD: &str = "
    insert into audit_head as h (id, sequence, older) values (1, 0, 0)
    on conflict (id) do update set sequence = h.sequence
    returning sequence, digest, older, older_digest";

/// Records and the head that follows from them, in one statement.
pub(crate) const APPEND: &str = "
    with head as (
        update control.audit_heads set sequence = $12, digest = $13 where chain_id = $14
    )
    insert into control.audit_log
        (msp_id, customer_id, actor, action, subject, detail, reason, happened_at, sequence, salt, words_digest, previous_digest, digest)
    select $15::uuid, t.customer_id, t.actor, t.action, t.subject, t.detail, t.reason, t.happened_at, t.sequence, t.salt, t.words, t.previous, t.digest
    from unnest($16::uuid[], $1::text[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::timestamptz[], $7::bigint[], $8::bytea[],
        $9::bytea[], $10::bytea[], $11::bytea[]) as t (customer_id, actor, action, subject, detail, reason, happened_at, sequence, salt, words, previous, digest)
    order by t.sequence";
pub(crate) const APPEND_IN_SILO: &str = "
    with head as (
        update audit_head set sequence = $12, digest = $13
    )
    insert into audit_log (actor, action, subject, detail, reason, happened_at, sequence, salt, words_digest, previous_digest, digest)
    select t.actor, t.action, t.subject, t.detail, t.reason, t.happened_at, t.sequence, t.salt, t.words, t.previous, t.digest
    from unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::timestamptz[], $7::bigint[], $8::bytea[],
        $9::bytea[], $10::bytea[], $11::bytea[]) as t (actor, action, subject, detail, reason, happened_at, sequence, salt, words, previous, digest)
    order by t.sequence";

/// A silo from before the chain has no head; its log is locked against the migration that brings one.
pub(crate) const HAS_HEAD: &str = "select to_regclass('audit_head') is not null";
pub(crate) const LOCK_SILO_LOG: &str = "lock table audit_log in row exclusive mode";
pub(crate) const INSERT_UNCHAINED: &str = "
    insert into audit_log (actor, action, subject, detail, reason, happened_at) values ($1, $2, $3, $4, $5, $6)";
