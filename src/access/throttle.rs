//! How often something may be tried that could be guessed: counted in Postgres, so that all replicas count together.
//!
//! An attempt is counted before the secret is looked at, and taken back when it was right: a hundred attempts at once are a
//! hundred, not one. A known account has a count of its own; unknown ones share 65,536 counts and client addresses a million, so
//! that the table is bounded and an unknown account answers like a known one.

use std::net::IpAddr;

use granary_db::Tx;
use granary_types::UserId;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::AccessError;
use crate::store::attempts as store;

/// After so many wrong passwords in a row the account is locked for a while, and its owner is told.
pub(crate) const LOCKED_AFTER: i32 = 10;
/// After so many, only a new password opens it (NIST SP 800-63B: no more than 100 in a row).
const CLOSED_AFTER: i32 = 100;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const FOR_EVER: i64 = 36_500 * DAY;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Wrong passwords for an account, in a row.
    Account,
    /// Wrong passwords from a client address.
    Address,
    /// Wrong codes of a second factor, in a row.
    Factor,
    /// Letters to an account.
    Letter,
    /// Letters that a client address asked for.
    LetterAddress,
    /// Logins by an identity provider that a client address began and did not finish.
    SsoAddress,
}

impl Counted {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Address => "address",
            Self::Factor => "factor",
            Self::Letter => "letter",
            Self::LetterAddress => "letter_address",
            Self::SsoAddress => "sso_address",
        }
    }

    /// Returns for how many seconds nothing more is tried after the how manieth attempt.
    pub(crate) fn pause_seconds(self, attempts: i32) -> i64 {
        match self {
            Self::Account | Self::Factor if attempts >= CLOSED_AFTER => FOR_EVER,
            Self::Account | Self::Factor if attempts >= LOCKED_AFTER => 15 * MINUTE,
            // 30 s, 1, 2, 4, 8 minutes
            Self::Account | Self::Factor if attempts >= 5 => 30 << (attempts - 5),
            Self::Address if attempts >= 50 => 15 * MINUTE,
            Self::Letter if attempts >= 3 => HOUR,
            Self::LetterAddress if attempts >= 20 => HOUR,
            // A whole office begins its day behind one address.
            Self::SsoAddress if attempts >= 300 => 15 * MINUTE,
            Self::Account | Self::Address | Self::Factor | Self::Letter | Self::LetterAddress | Self::SsoAddress => 0,
        }
    }

    /// Returns since when attempts count: for an account those in a row without a day's pause, for the others those of a window.
    fn counted_since(self, now: Timestamp) -> (Timestamp, Timestamp) {
        let before = |seconds: i64| now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::UNIX_EPOCH);
        match self {
            Self::Account | Self::Factor => (Timestamp::UNIX_EPOCH, before(DAY)),
            Self::Address | Self::SsoAddress => (before(15 * MINUTE), Timestamp::UNIX_EPOCH),
            Self::Letter | Self::LetterAddress => (before(HOUR), Timestamp::UNIX_EPOCH),
        }
    }
}

/// Whose attempts, by a hash.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) counted: Counted,
    hash: Vec<u8>,
}

impl Subject {
    /// A user's account, or the place that an address nobody has shares with others.
    pub(crate) fn account(counted: Counted, user: Option<UserId>, email: &str) -> Self {
        let hash = match user {
            Some(user) => Sha256::digest(user.uuid()).to_vec(),
            None => Sha256::digest(email.trim().to_lowercase()).iter().take(2).copied().collect(),
        };
        Self { counted, hash }
    }

    /// A client's network: an IPv4 address, or the /64 that a household has.
    pub(crate) fn address(counted: Counted, address: Option<IpAddr>) -> Self {
        let digest = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Sha256::digest(address.octets()),
            Some(IpAddr::V6(address)) => Sha256::digest(&address.octets()[..8]),
            None => Sha256::digest(b"unknown"),
        };
        Self { counted, hash: vec![digest[0], digest[1], digest[2] & 0x0f] }
    }

    fn key(&self) -> (&'static str, &[u8]) {
        (self.counted.as_str(), &self.hash)
    }

    /// Counts an attempt and returns the how manieth it is.
    ///
    /// # Errors
    /// [`AccessError::TooManyAttempts`] when the subject must wait; then nothing was counted.
    pub(crate) async fn claim(&self, tx: &Tx, now: Timestamp) -> Result<i32, AccessError> {
        let Some(attempts) = store::claim_attempt(tx, self.key(), now, self.counted.counted_since(now)).await? else {
            let until = store::find_blocked(tx, self.key()).await?.unwrap_or(now);
            return Err(AccessError::TooManyAttempts { seconds: until.duration_since(now).as_secs().max(1) });
        };
        let pause = self.counted.pause_seconds(attempts);
        if pause > 0 {
            let until = now.checked_add(SignedDuration::from_secs(pause)).unwrap_or(now);
            store::update_blocked(tx, self.key(), until).await?;
        }
        Ok(attempts)
    }

    /// Forgets all attempts: the secret was known.
    pub(crate) async fn clear(&self, tx: &Tx) -> Result<(), AccessError> {
        store::delete_attempts(tx, self.key()).await
    }

    /// Takes back one attempt, which was right.
    pub(crate) async fn give_back(&self, tx: &Tx) -> Result<(), AccessError> {
        store::return_attempt(tx, self.key()).await
    }
}

/// Removes some counts of long ago.
pub(crate) async fn sweep(tx: &Tx, now: Timestamp) -> Result<(), AccessError> {
    store::delete_old(tx, now.checked_sub(SignedDuration::from_secs(DAY)).unwrap_or(now), now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_a_hundred_guesses_are_all_there_are() {
        let pauses: Vec<_> = [1, 4, 5, 6, 7, 8, 9, 10, 99, 100].map(|n| Counted::Account.pause_seconds(n)).to_vec();
        assert_eq!(pauses, [0, 0, 30, 60, 120, 240, 480, 900, 900, FOR_EVER]);
    }

    #[test]
    fn unknown_accounts_and_addresses_share_a_bounded_number_of_places() {
        let unknown = Subject::account(Counted::Account, None, "Nobody@North.example ");
        assert_eq!(unknown.hash, Subject::account(Counted::Account, None, "nobody@north.example").hash);
        assert_eq!(unknown.hash.len(), 2);
        assert_eq!(Subject::account(Counted::Account, Some(UserId::new()), "").hash.len(), 32);
        let address = |text: &str| Subject::address(Counted::Address, Some(text.parse().unwrap())).hash;
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"), "one household");
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert!(address("192.0.2.1")[2] < 16);
    }
}
