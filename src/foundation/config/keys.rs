//! Where the master key comes from.

use serde::Deserialize;

use crate::Secret;

/// `[keys]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// The master key: 64 hexadecimal digits; two with a comma between them, the new one last, while it is changed. None, like
    /// `[keys.kms]`: it lies in `<data_dir>/keys/master`, where it is made. Given only as `GRANARY_MASTER_KEY`.
    #[serde(skip)]
    pub master: Option<Secret>,
    /// `[keys.kms]`: a key management service that opens the master key. Default none.
    pub kms: Option<KmsConfig>,
}

/// `[keys.kms]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsConfig {
    /// The key's id, ARN or alias (`alias/granary`).
    pub key_id: String,
    /// The service, when it is not Amazon's own in the region: `http://127.0.0.1:5000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Default `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// None, like the secret: the role that the machine runs as. Overridden by `GRANARY_KEYS_KMS_ACCESS_KEY_ID`.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// Overridden by `GRANARY_KEYS_KMS_SECRET_ACCESS_KEY`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
}

impl KeysConfig {
    /// Reads what the environment says.
    pub(super) fn overridden(&mut self, environment: impl Fn(&str) -> Option<String>) {
        if let Some(master) = environment("GRANARY_MASTER_KEY") {
            self.master = Some(Secret::new(master));
        }
        let Some(kms) = &mut self.kms else { return };
        if let Some(id) = environment("GRANARY_KEYS_KMS_ACCESS_KEY_ID") {
            kms.access_key_id = Some(id);
        }
        if let Some(secret) = environment("GRANARY_KEYS_KMS_SECRET_ACCESS_KEY") {
            kms.secret_access_key = Some(Secret::new(secret));
        }
    }
}
