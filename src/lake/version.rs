//! Versions of an MSP's lake: named, found by time, and let go of.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use granary_foundation::Boxed;
use granary_tenants::Msp;
use granary_types::MspId;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::LakeError;
use crate::lake::Lake;
use crate::step::Step;
use crate::store::{self, versions};

/// A version that was replaced can be read for so long at least, whoever lets go of it: a session that began with it reads it to its
/// end, and no query may take that long.
const GRACE: SignedDuration = SignedDuration::from_hours(1);
/// The longest name of a version, in characters.
const LONGEST_LABEL: usize = 100;

/// A version of an MSP's lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    pub version: i64,
    pub label: Option<String>,
    pub reason: String,
    pub created_at: Timestamp,
    /// Whether it can still be read.
    pub is_kept: bool,
}

/// What an owner has in the lake, and how its last night ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// None for the MSP's own data.
    pub customer: Option<String>,
    /// None before the first night.
    pub night_on: Option<Date>,
    pub outcome: Option<String>,
    pub finished_at: Option<Timestamp>,
    pub error: Option<String>,
    /// Of the newest version.
    pub files: i64,
    pub rows: i64,
    pub size_bytes: i64,
    /// In files that only past versions show.
    pub past_bytes: i64,
}

/// Which version somebody wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// The one that was current at an instant: `2025-11-01T00:00:00Z`.
    Time(Timestamp),
    /// By its number: `v12`.
    Version(i64),
    /// By its name: `2025-10`, the close of that month.
    Label(String),
}

impl FromStr for AsOf {
    type Err = Infallible;

    /// An instant with its offset is a time, `v` and digits a number, everything else a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('v').and_then(|digits| digits.parse().ok());
        Ok(match (text.parse(), number) {
            (Ok(at), _) => Self::Time(at),
            (Err(_), Some(version)) => Self::Version(version),
            (Err(_), None) => Self::Label(text.to_owned()),
        })
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(at) => write!(f, "{at}"),
            Self::Version(version) => write!(f, "v{version}"),
            Self::Label(label) => f.write_str(label),
        }
    }
}

/// What was let go of, of one MSP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetGoOf {
    pub msp: String,
    /// Every version from here on is kept, and the labelled ones before it.
    pub kept_from: i64,
    pub files: usize,
    pub size_bytes: i64,
}

impl Lake {
    /// Returns the number of the version that somebody wants to read.
    ///
    /// # Errors
    /// When there is none, or it is no longer kept.
    pub fn find_version<'a>(&'a self, msp: MspId, wanted: &'a AsOf) -> Boxed<'a, Result<i64, LakeError>> {
        Box::pin(async move {
            let tx = self.begin(&self.tenants().get_msp(msp).await?).await?;
            let found = match wanted {
                AsOf::Time(at) => versions::find_at(&tx, msp, *at).await?,
                AsOf::Version(version) => (1..=store::find_head(&tx, msp).await?).contains(version).then_some(*version),
                AsOf::Label(label) => versions::find_labelled(&tx, msp, label).await?,
            };
            let version = found.ok_or_else(|| LakeError::NothingAsOf(wanted.to_string()))?;
            let is_kept = versions::is_kept(&tx, msp, version).await?;
            tx.commit().await?;
            if is_kept { Ok(version) } else { Err(LakeError::VersionGone(version)) }
        })
    }

    /// Lists versions, newest first; only those with a name, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub fn list_versions<'a>(&'a self, msp: &'a Msp, is_labelled: bool, most: u16) -> Boxed<'a, Result<Vec<Version>, LakeError>> {
        Box::pin(async move {
            let tx = self.begin(msp).await?;
            let listed = versions::list(&tx, msp.id, is_labelled, most.into()).await?;
            tx.commit().await?;
            Ok(listed)
        })
    }

    /// Lists what an MSP and its customers have in the lake.
    ///
    /// # Errors
    /// When the database fails.
    pub fn list_holdings<'a>(&'a self, msp: &'a Msp) -> Boxed<'a, Result<Vec<Holding>, LakeError>> {
        Box::pin(async move {
            let tx = self.begin(msp).await?;
            let listed = versions::list_holdings(&tx, msp.id).await?;
            tx.commit().await?;
            Ok(listed)
        })
    }

    /// Gives what the lake shows now a name, as a version of its own that is kept for good; a name that is taken stays where it is.
    /// Returns the version that has it.
    ///
    /// # Errors
    /// When the name is empty, too long, or could be read as a time or a number; when the database fails.
    pub fn label<'a>(&'a self, msp: &'a Msp, label: &'a str, reason: &'a str) -> Boxed<'a, Result<i64, LakeError>> {
        Box::pin(async move {
            let is_name = matches!(label.parse(), Ok(AsOf::Label(_)));
            let is_short = (1..=LONGEST_LABEL).contains(&label.chars().count());
            if !is_name || !is_short || label.trim() != label || label.chars().any(char::is_control) {
                return Err(LakeError::InvalidLabel(label.chars().take(LONGEST_LABEL).collect()));
            }
            let tx = self.begin(msp).await?;
            let head = store::lock_head(&tx, msp.id).await?;
            let version = match versions::find_labelled(&tx, msp.id, label).await? {
                Some(version) => version,
                None => {
                    versions::insert_labelled(&tx, msp.id, head + 1, reason, label).await?;
                    head + 1
                }
            };
            tx.commit().await?;
            Ok(version)
        })
    }

    /// Lets go of versions that were replaced before an instant, and of the files that no version shows any more which is kept.
    /// Labelled versions stay. May be killed anywhere and run again.
    ///
    /// Backups of Postgres name the files that were current when they were made: `before` should not be younger than the oldest
    /// of them. A query reads the version that it began with to its end: what was replaced within the last hour stays, whatever
    /// `before` says.
    ///
    /// # Errors
    /// When the manifest or the object store fails.
    pub fn let_go_of_versions<'a>(&'a self, msp: &'a Msp, before: Timestamp) -> Boxed<'a, Result<LetGoOf, LakeError>> {
        Box::pin(async move {
            let tx = self.begin(msp).await?;
            let before = before.min(tx.now().saturating_sub(GRACE).unwrap_or(Timestamp::MIN));
            let kept_from = versions::keep_from(&tx, msp.id, before).await?;
            let unseen = versions::list_unseen(&tx, msp.id, kept_from).await?;
            tx.commit().await?;
            self.snapshots().clear();
            self.reach(Step::LetGo, None).await;
            let size_bytes = unseen.iter().map(|(_, bytes)| bytes).sum();
            let paths: Vec<String> = unseen.into_iter().map(|(path, _)| path).collect();
            // Objects first: a row without its object is found again, an object without its row is not.
            for path in &paths {
                self.objects().delete(path).await?;
                self.reach(Step::Deleted, None).await;
            }
            self.reach(Step::Emptied, None).await;
            let tx = self.begin(msp).await?;
            versions::delete_unseen(&tx, msp.id, &paths).await?;
            tx.commit().await?;
            Ok(LetGoOf { msp: msp.code.clone(), kept_from, files: paths.len(), size_bytes })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_a_time_a_number_or_a_name() {
        let wanted = |text: &str| text.parse::<AsOf>().unwrap();
        assert_eq!(wanted("2025-11-01T00:00:00Z"), AsOf::Time("2025-11-01T00:00:00Z".parse().unwrap()));
        assert_eq!(wanted("v12"), AsOf::Version(12));
        for label in ["2025-10", "v", "v1.2", "12", "before the audit"] {
            assert_eq!(wanted(label), AsOf::Label(label.to_owned()));
            assert_eq!(wanted(label).to_string(), label);
        }
    }
}
