//! The master in escrow: in a file that only a passphrase opens, to be kept where the installation is not.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use granary_foundation::{Boxed, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::Keys;
use crate::master::{Bytes, MasterKey, fingerprint};
use crate::{VaultError, seal};

/// What the file is, and what its seal is for.
const KIND: &str = "granary master key escrow 1";
/// The shortest passphrase: the file may lie where others find it.
const SHORTEST: usize = 16;
/// Memory in KiB and passes: slow for whoever tries passphrases out, a second for whoever knows it.
const COST: (u32, u32) = (256 << 10, 4);

/// A master that a passphrase opens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escrow {
    kind: String,
    pub fingerprint: String,
    salt: String,
    memory_kib: u32,
    passes: u32,
    sealed: String,
}

impl Keys {
    /// Seals the current master under a passphrase.
    ///
    /// # Errors
    /// When the passphrase has less than 16 characters, or this process does not have the master.
    pub fn export_escrow<'a>(&'a self, passphrase: &'a Secret) -> Boxed<'a, Result<Escrow, VaultError>> {
        Box::pin(async move {
            if passphrase.reveal().chars().count() < SHORTEST {
                return Err(VaultError::Escrow(format!("the passphrase has less than {SHORTEST} characters")));
            }
            let (name, master) = self.current_master().await?;
            let salt = seal::random_key()?;
            let key = stretched(passphrase, &salt, COST)?;
            let sealed = hex::encode(seal::seal(&key, master.as_slice(), aad(&name).as_bytes())?);
            let (memory_kib, passes) = COST;
            Ok(Escrow { kind: KIND.to_owned(), fingerprint: name, salt: hex::encode(salt), memory_kib, passes, sealed })
        })
    }
}

impl Escrow {
    /// Opens the escrow and puts the master into the file that installations read it from, in front of those that are there.
    ///
    /// # Errors
    /// When the passphrase is wrong, the escrow was changed, or the file cannot be written.
    pub fn restore(&self, passphrase: &Secret, file: &Path) -> Result<(), VaultError> {
        MasterKey::import(file, self.open(passphrase)?)
    }

    fn open(&self, passphrase: &Secret) -> Result<Bytes, VaultError> {
        let no = |why: &str| VaultError::Escrow(why.to_owned());
        // Whoever wrote the file does not say how much memory this machine spends on it.
        if self.kind != KIND || (self.memory_kib, self.passes) != COST {
            return Err(no("it is none of this program's"));
        }
        let (salt, sealed) = (hex::decode(&self.salt), hex::decode(&self.sealed));
        let (salt, sealed) = salt.ok().zip(sealed.ok()).ok_or_else(|| no("it was cut off or changed"))?;
        let key = stretched(passphrase, &salt, COST)?;
        let plain = seal::open(&key, &sealed, aad(&self.fingerprint).as_bytes()).map(Zeroizing::new);
        let plain = plain.ok_or_else(|| no("the passphrase is another one, or the file was changed"))?;
        let master = <[u8; 32]>::try_from(plain.as_slice()).map(Zeroizing::new).map_err(|_| no("it holds no key"))?;
        if fingerprint(&master)? == self.fingerprint { Ok(master) } else { Err(no("it holds another key than it says")) }
    }
}

fn aad(fingerprint: &str) -> String {
    format!("{KIND} {fingerprint}")
}

fn stretched(passphrase: &Secret, salt: &[u8], (memory_kib, passes): (u32, u32)) -> Result<Bytes, VaultError> {
    let failed = |_| VaultError::Cipher("the passphrase cannot be stretched");
    let params = Params::new(memory_kib, passes, 1, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.reveal().as_bytes(), salt, key.as_mut_slice()).map_err(failed)?;
    Ok(key)
}
