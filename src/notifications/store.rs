//! The SQL of the log of mails.

use granary_db::{DbError, Row, Tx};
use granary_types::{CustomerId, MspId};
use granary_vault::Wrapped;
use jiff::Timestamp;
use uuid::Uuid;

use crate::delivery::{LoggedMail, MailState, Recipient};

/// Nothing comes back when it was sent or kept before.
const CLAIM_MAIL: &str = "
    insert into mails as m (id, msp_id, customer_id, user_id, kind, sealed, key_version, state, attempts, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, 'waiting', 1, $8)
    on conflict (id) do update
    set attempts = m.attempts + 1, sealed = $6, key_version = $7
    where m.state in ('waiting', 'failed')
    returning attempts";

const UPDATE_MAIL: &str = "
    update mails
    set state = $2, last_error = $3, finished_at = case when $2 = 'waiting' then null else $4::timestamptz end
    where id = $1";

macro_rules! mails {
    ($rest:literal) => {
        concat!(
            "select id, msp_id, customer_id, kind, sealed, key_version, state, attempts, last_error, created_at, finished_at from mails ",
            $rest
        )
    };
}

const LIST_MAILS: &str = mails!("order by created_at desc, id desc limit $1");
const FIND_MAIL: &str = mails!("where id = $1");

const DELETE_OLD: &str = "delete from mails where created_at < $1";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[CLAIM_MAIL, UPDATE_MAIL, LIST_MAILS, FIND_MAIL, DELETE_OLD];

/// A stored mail; address and subject are still sealed.
pub(crate) struct MailRow {
    pub(crate) msp: Option<MspId>,
    pub(crate) customer: Option<CustomerId>,
    pub(crate) sealed: Wrapped,
    pub(crate) mail: LoggedMail,
}

impl From<&Row> for MailRow {
    fn from(row: &Row) -> Self {
        Self {
            msp: row.get("msp_id"),
            customer: row.get("customer_id"),
            sealed: Wrapped { bytes: row.get("sealed"), key_version: row.get("key_version") },
            mail: LoggedMail {
                id: row.get("id"),
                kind: row.get("kind"),
                to: String::new(),
                subject: String::new(),
                state: MailState::parse(row.get("state")),
                attempts: row.get("attempts"),
                last_error: row.get("last_error"),
                created_at: row.get("created_at"),
                finished_at: row.get("finished_at"),
            },
        }
    }
}

/// Notes that a mail is about to be sent; false when it was already.
pub(crate) async fn claim_mail(tx: &Tx, id: Uuid, to: &Recipient, kind: &str, sealed: &Wrapped) -> Result<bool, DbError> {
    let Recipient { user, msp, customer, .. } = to;
    let now = tx.now();
    let row = tx.query_opt(CLAIM_MAIL, &[&id, msp, customer, user, &kind, &sealed.bytes, &sealed.key_version, &now]).await?;
    Ok(row.is_some())
}

/// Notes what became of it.
pub(crate) async fn update_mail(tx: &Tx, id: Uuid, state: MailState, error: Option<&str>) -> Result<(), DbError> {
    let error: Option<String> = error.map(|error| error.chars().take(1_000).collect());
    tx.execute(UPDATE_MAIL, &[&id, &state.as_str(), &error, &tx.now()]).await?;
    Ok(())
}

/// Lists the newest.
pub(crate) async fn list_mails(tx: &Tx, limit: i64) -> Result<Vec<MailRow>, DbError> {
    Ok(tx.query(LIST_MAILS, &[&limit]).await?.iter().map(MailRow::from).collect())
}

/// Finds one.
pub(crate) async fn find_mail(tx: &Tx, id: Uuid) -> Result<Option<MailRow>, DbError> {
    Ok(tx.query_opt(FIND_MAIL, &[&id]).await?.as_ref().map(MailRow::from))
}

/// Forgets what is old.
pub(crate) async fn delete_old(tx: &Tx, before: Timestamp) -> Result<(), DbError> {
    tx.execute(DELETE_OLD, &[&before]).await?;
    Ok(())
}
