//! Passwords: Argon2id, computed beside the event loop and never many at once.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use granary_foundation::Secret;
use tokio::sync::Semaphore;

use crate::AccessError;

/// Hashes that are computed at the same time; each holds 19 MiB and one core, so a flood of logins queues here.
const CONCURRENT_HASHES: usize = 2;

/// A hash of nothing in particular: who logs in with an unknown address waits as long as everyone else.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Z3JhbmFyeS1ub2JvZHk$Gk0D7pVtVrZjB5eKxPqXr1w2Gz3cS8mYtqLhN4uVbWc";

/// Computes and checks password hashes with OWASP's parameters for Argon2id (19 MiB, two passes).
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    slots: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(CONCURRENT_HASHES)) }
    }

    /// Hashes a password with a salt of its own.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, AccessError> {
        let password = password.clone();
        self.run(move || {
            let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|error| error.to_string())?;
            Argon2::default()
                .hash_password(password.reveal().as_bytes(), &salt)
                .map(|hash| hash.to_string())
                .map_err(|error| error.to_string())
        })
        .await?
        .map_err(AccessError::Hashing)
    }

    /// Tells whether a password fits a stored hash; without a hash it takes as long and is false.
    pub(crate) async fn is_right(&self, password: &Secret, stored: Option<String>) -> Result<bool, AccessError> {
        let password = password.clone();
        self.run(move || {
            let is_known = stored.is_some();
            let text = stored.unwrap_or_else(|| NOBODY.to_owned());
            let fits =
                PasswordHash::new(&text).is_ok_and(|hash| Argon2::default().verify_password(password.reveal().as_bytes(), &hash).is_ok());
            fits && is_known
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AccessError> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|error| AccessError::Hashing(error.to_string()))?;
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        task.await.map_err(|error| AccessError::Hashing(error.to_string()))
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
        assert!(passwords.is_right(&right, Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(&Secret::new("correct horse"), Some(hash)).await.unwrap());
        assert!(!passwords.is_right(&right, None).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(hash.algorithm.as_str(), "argon2id");
        assert!(hash.hash.is_some());
    }
}
