//! What a base consists of: in the open what is needed to find it, sealed what is nobody's business.

use granary_vault::{BackupEnvelope, BackupKey, MasterKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::RecoveryError;
use crate::golden::GoldenLine;

/// What the file is.
const KIND: &str = "granary backup manifest 1";

/// One base of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    kind: String,
    pub installation: Uuid,
    pub series: String,
    pub base: String,
    /// The program's version.
    pub granary: String,
    /// The control schema's version.
    pub schema_version: i32,
    pub postgres: u32,
    pub started_at: Timestamp,
    /// The first instant that can be restored.
    pub from_at: Timestamp,
    /// The first segment of the log that is needed; none when the base brings its log and stands for its end alone.
    pub first_segment: Option<String>,
    pub segment_bytes: u64,
    pub parts: Vec<Part>,
    /// Clusters of silos that are not in it.
    pub not_covered: Vec<String>,
    pub envelope: BackupEnvelope,
    /// [`Kept`], sealed, in hexadecimal digits.
    kept: String,
}

/// A piece of a base, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub name: String,
    pub size_bytes: u64,
    pub sha256: String,
}

/// What goes along and is read by nobody who lacks the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub superuser: String,
    pub database: String,
    pub is_embedded: bool,
    /// Where the lake lies, which stays.
    pub lake_url: String,
    /// The description of a demo, word by word.
    pub demo: Option<String>,
    /// At which instant the sums were taken.
    pub golden_at: Option<Timestamp>,
    pub golden: Vec<GoldenLine>,
}

/// What a manifest says before anything is sealed.
pub(crate) struct Outline {
    pub(crate) installation: Uuid,
    pub(crate) series: String,
    pub(crate) base: String,
    pub(crate) schema_version: i32,
    pub(crate) postgres: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) from_at: Timestamp,
    pub(crate) first_segment: Option<String>,
    pub(crate) segment_bytes: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) not_covered: Vec<String>,
}

impl Outline {
    /// Seals what is kept.
    pub(crate) fn seal(self, path: &str, kept: &Kept, key: &BackupKey) -> Result<Manifest, RecoveryError> {
        let text = serde_json::to_vec(kept).map_err(|error| RecoveryError::Packing(error.to_string()))?;
        let kept = hex::encode(key.seal(path, &text)?);
        Ok(Manifest {
            kind: KIND.to_owned(),
            installation: self.installation,
            series: self.series,
            base: self.base,
            granary: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: self.schema_version,
            postgres: self.postgres,
            started_at: self.started_at,
            from_at: self.from_at,
            first_segment: self.first_segment,
            segment_bytes: self.segment_bytes,
            parts: self.parts,
            not_covered: self.not_covered,
            envelope: key.envelope().clone(),
            kept,
        })
    }
}

impl Manifest {
    /// Returns what the base weighs in the store.
    pub fn size_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.size_bytes).sum()
    }

    /// Writes the manifest in one line, and in a second one the code over it.
    pub(crate) fn encode(&self, key: &BackupKey) -> Result<Vec<u8>, RecoveryError> {
        let mut text = serde_json::to_vec(self).map_err(|error| RecoveryError::Packing(error.to_string()))?;
        let code = key.code(&text)?;
        text.push(b'\n');
        text.extend(code.as_bytes());
        text.push(b'\n');
        Ok(text)
    }

    /// Reads what anybody may read; whether it is true only [`Self::verify`] tells.
    pub(crate) fn decode(path: &str, content: &[u8]) -> Result<Self, RecoveryError> {
        let refused = || RecoveryError::damaged(path, "is no manifest, or was cut off");
        let (text, _) = lines(content).ok_or_else(refused)?;
        let manifest: Self = serde_json::from_slice(text).map_err(|_| refused())?;
        if manifest.kind == KIND { Ok(manifest) } else { Err(refused()) }
    }

    /// Checks the code, and opens what is kept.
    pub(crate) async fn verify(&self, path: &str, content: &[u8], master: &MasterKey) -> Result<Kept, RecoveryError> {
        let key = master.open_backup_key(&self.envelope).await.map_err(RecoveryError::sealed(path))?;
        let changed = || RecoveryError::damaged(path, "was changed: its code does not cover it");
        let (text, code) = lines(content).ok_or_else(changed)?;
        let is_its_own = path.split('/').collect::<Vec<_>>() == [self.series.as_str(), "base", &self.base, "manifest"];
        if !key.covers(text, code)? || !is_its_own {
            return Err(changed());
        }
        let sealed = hex::decode(&self.kept).map_err(|_| changed())?;
        let kept = key.open(path, &sealed).ok_or_else(changed)?;
        serde_json::from_slice(&kept).map_err(|_| changed())
    }
}

fn lines(content: &[u8]) -> Option<(&[u8], &str)> {
    let at = content.iter().position(|byte| *byte == b'\n')?;
    let code = std::str::from_utf8(content.get(at + 1..)?).ok()?;
    Some((&content[..at], code.trim_end()))
}
