//! The SQL of attempts that are counted.

use granary_db::Tx;
use jiff::Timestamp;

use crate::AccessError;

/// Counts one more, unless the subject must wait; counting begins anew when the window or the pause without attempts is over.
const CLAIM_ATTEMPT: &str = "
    insert into login_attempts as a (kind, subject, attempts, began_at, last_at, blocked_until)
    values ($1, $2, 1, $3, $3, to_timestamp(0))
    on conflict (kind, subject) do update
    set attempts = case when a.began_at < $4 or a.last_at < $5 then 1 else a.attempts + 1 end,
        began_at = case when a.began_at < $4 or a.last_at < $5 then $3 else a.began_at end,
        last_at = $3
    where a.blocked_until <= $3
    returning attempts";

const UPDATE_BLOCKED: &str = "update login_attempts set blocked_until = $3 where kind = $1 and subject = $2";

const FIND_BLOCKED: &str = "select blocked_until from login_attempts where kind = $1 and subject = $2";

const DELETE_ATTEMPTS: &str = "delete from login_attempts where kind = $1 and subject = $2";

const RETURN_ATTEMPT: &str = "
    update login_attempts set attempts = attempts - 1, blocked_until = to_timestamp(0)
    where kind = $1 and subject = $2 and attempts > 0";

/// A few at a time, and none that somebody is counting.
const DELETE_OLD: &str = "
    delete from login_attempts a using (
        select kind, subject from login_attempts where last_at < $1 and blocked_until < $2 limit 20 for update skip locked
    ) old
    where a.kind = old.kind and a.subject = old.subject";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[CLAIM_ATTEMPT, UPDATE_BLOCKED, FIND_BLOCKED, DELETE_ATTEMPTS, RETURN_ATTEMPT, DELETE_OLD];

/// Counts an attempt and returns the how manieth it is; none when the subject must wait.
pub(crate) async fn claim_attempt(
    tx: &Tx,
    (kind, subject): (&str, &[u8]),
    now: Timestamp,
    (began, last): (Timestamp, Timestamp),
) -> Result<Option<i32>, AccessError> {
    Ok(tx.query_opt(CLAIM_ATTEMPT, &[&kind, &subject, &now, &began, &last]).await?.map(|row| row.get(0)))
}

/// Lets the subject wait.
pub(crate) async fn update_blocked(tx: &Tx, (kind, subject): (&str, &[u8]), until: Timestamp) -> Result<(), AccessError> {
    tx.execute(UPDATE_BLOCKED, &[&kind, &subject, &until]).await?;
    Ok(())
}

/// Finds until when the subject waits.
pub(crate) async fn find_blocked(tx: &Tx, (kind, subject): (&str, &[u8])) -> Result<Option<Timestamp>, AccessError> {
    Ok(tx.query_opt(FIND_BLOCKED, &[&kind, &subject]).await?.map(|row| row.get(0)))
}

/// Forgets what was counted.
pub(crate) async fn delete_attempts(tx: &Tx, (kind, subject): (&str, &[u8])) -> Result<(), AccessError> {
    tx.execute(DELETE_ATTEMPTS, &[&kind, &subject]).await?;
    Ok(())
}

/// Takes back one attempt that turned out well.
pub(crate) async fn return_attempt(tx: &Tx, (kind, subject): (&str, &[u8])) -> Result<(), AccessError> {
    tx.execute(RETURN_ATTEMPT, &[&kind, &subject]).await?;
    Ok(())
}

/// Removes some of those that nobody will ask about.
pub(crate) async fn delete_old(tx: &Tx, before: Timestamp, now: Timestamp) -> Result<(), AccessError> {
    tx.execute(DELETE_OLD, &[&before, &now]).await?;
    Ok(())
}
