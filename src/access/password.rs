//! Passwords: Argon2id, computed on threads of their own that step back behind other work, and never many at once.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use granary_foundation::Secret;
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::AccessError;

/// Hashes that may wait for their turn; more are refused, so that a flood of logins holds no memory.
const WAITING_HASHES: usize = 64;
/// NIST SP 800-63B asks for 15 where the password is all there is, for 8 beside a second factor, and for no rules of composition.
const SHORTEST_PASSWORD: usize = 12;
const LONGEST_PASSWORD: usize = 256;
/// A password with fewer different characters is a pattern.
const FEWEST_CHARACTERS: usize = 5;
/// The niceness 10 of POSIX, on a scale from 0 to 99.
const NICE_10: u8 = 22;
/// What everybody thinks of first, among passwords that are long enough.
const COMMON: &[&str] = &[
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789012345",
    "1234567890123456",
    "0123456789012",
    "abcdefghijkl",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiop1234",
    "qwertyuiop[]",
    "qwertyuiopasdf",
    "qwertyuiopasdfghjkl",
    "1qaz2wsx3edc",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u8i",
    "asdfghjkl123",
    "passwordpassword",
    "password1234",
    "password12345",
    "password123456",
    "administrator",
    "administrator1",
    "letmeinletmein",
    "welcomewelcome",
    "welcome12345",
    "changemechangeme",
    "changeme1234",
    "iloveyou1234",
    "trustno1trustno1",
    "correcthorsebatterystaple",
    "granarygranary",
    "granary12345",
];

/// Refuses a password that is short, endless, a pattern, one that everybody uses, or the address itself.
pub(crate) fn check_password(password: &str, email: &str) -> Result<(), AccessError> {
    let refuse = |why| Err(AccessError::WeakPassword(why));
    let (lower, email) = (password.to_lowercase(), email.trim().to_lowercase());
    let length = password.chars().count();
    if length < SHORTEST_PASSWORD {
        return refuse("it needs twelve characters or more");
    }
    if length > LONGEST_PASSWORD {
        return refuse("it may have 256 characters at most");
    }
    let name = email.split('@').next().unwrap_or_default();
    if lower.contains(&email) || lower.trim_matches(|letter: char| !letter.is_alphabetic()) == name {
        return refuse("it must not be the e-mail address");
    }
    if lower.chars().collect::<std::collections::BTreeSet<_>>().len() < FEWEST_CHARACTERS || COMMON.contains(&lower.as_str()) {
        return refuse("it is one of those that are tried first");
    }
    Ok(())
}

/// A hash of nothing in particular: who logs in with an unknown address waits as long as everyone else.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Z3JhbmFyeS1ub2JvZHk$Gk0D7pVtVrZjB5eKxPqXr1w2Gz3cS8mYtqLhN4uVbWc";

/// Computes and checks password hashes with OWASP's parameters for Argon2id (19 MiB, two passes).
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        // Each holds 19 MiB and one core; the other half of the cores is for those who are in.
        let slots = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 8));
        Self { slots: Arc::new(Semaphore::new(slots)), waiting: Arc::new(Semaphore::new(WAITING_HASHES)) }
    }

    /// Hashes a password with a salt of its own.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, AccessError> {
        let password = password.clone();
        self.run(self.place()?, move || {
            let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|error| error.to_string())?;
            Argon2::default()
                .hash_password(password.reveal().as_bytes(), &salt)
                .map(|hash| hash.to_string())
                .map_err(|error| error.to_string())
        })
        .await?
        .map_err(AccessError::Hashing)
    }

    /// Takes a place among those who wait, before anything is done for them: whoever finds none has cost nothing.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, AccessError> {
        Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| AccessError::Busy)
    }

    /// Tells whether a password fits a stored hash; without a hash it takes as long and is false.
    pub(crate) async fn is_right(
        &self,
        place: OwnedSemaphorePermit,
        password: &Secret,
        stored: Option<String>,
    ) -> Result<bool, AccessError> {
        let password = password.clone();
        self.run(place, move || {
            let is_known = stored.is_some();
            let text = stored.unwrap_or_else(|| NOBODY.to_owned());
            let fits =
                PasswordHash::new(&text).is_ok_and(|hash| Argon2::default().verify_password(password.reveal().as_bytes(), &hash).is_ok());
            fits && is_known
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        _place: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccessError> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|error| AccessError::Hashing(error.to_string()))?;
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("password".to_owned()).spawn(move || {
            let _slot = slot;
            step_back();
            // Whoever asked may have gone.
            let _ = tell.send(work());
        });
        thread.map_err(|error| AccessError::Hashing(error.to_string()))?;
        told.await.map_err(|error| AccessError::Hashing(error.to_string()))
    }
}

/// Lets the work of those who are in go first: a thread of its own takes what they leave, and a tenth beside them.
fn step_back() {
    let outcome = ThreadPriorityValue::try_from(NICE_10).map(|value| set_current_thread_priority(ThreadPriority::Crossplatform(value)));
    if !matches!(outcome, Ok(Ok(()))) {
        tracing::debug!("a thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits_and_only_for_a_known_user() {
        let passwords = Passwords::new();
        let right = Secret::new("correct horse battery staple");
        let hash = passwords.hash(&right).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.is_right(passwords.place().unwrap(), &right, Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(passwords.place().unwrap(), &Secret::new("correct horse"), Some(hash)).await.unwrap());
        assert!(!passwords.is_right(passwords.place().unwrap(), &right, None).await.unwrap());
    }

    #[tokio::test]
    async fn a_flood_of_hashes_is_refused_beyond_a_bound() {
        let passwords = Passwords { slots: Arc::new(Semaphore::new(1)), waiting: Arc::new(Semaphore::new(1)) };
        let _held = passwords.waiting.try_acquire().unwrap();
        assert!(matches!(passwords.hash(&Secret::new("whatever")).await, Err(AccessError::Busy)));
    }

    #[test]
    fn a_password_is_long_and_neither_a_pattern_nor_the_address() {
        let email = "Administrator@North.example";
        for (password, words) in [
            ("eleven char", "twelve"),
            ("zwölf Zeich", "twelve"),
            (&"long".repeat(100), "256"),
            ("administrator@north.example", "address"),
            ("my administrator@north.example!", "address"),
            ("Administrator1", "address"),
            ("aaaaaaaaaaaaaaaa", "first"),
            ("121212121212121212", "first"),
            ("Password123456", "first"),
        ] {
            let error = check_password(password, email).unwrap_err().to_string();
            assert!(error.contains(words), "{password}: {error}");
        }
        for password in ["granary-demo", "correct horse battery", "ein schönes Wort mehr"] {
            check_password(password, email).unwrap();
        }
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(hash.algorithm.as_str(), "argon2id");
        assert!(hash.hash.is_some());
    }
}
