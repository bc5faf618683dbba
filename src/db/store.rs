//! All statements of the room.

pub(crate) mod cluster;
pub(crate) mod embedded;
pub(crate) mod installation;
pub(crate) mod jobs;
pub(crate) mod outbox;

/// Adds a row to the audit log of the control schema.
pub(crate) const INSERT_AUDIT: &str = "
    insert into control.audit_log (msp_id, customer_id, actor, action, subject, detail, reason, happened_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";
