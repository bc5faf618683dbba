//! Chains, copies and maintenance windows, as events tell of them.

use jiff::Timestamp;

use super::{MAX_COUNT, MachineKey, machine, optional_machine};
use crate::fields::{Fields, Misfit};

/// A chain of restore points, or a copy of a run, and where it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredFact<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) machine: Option<MachineKey<'a>>,
    pub(crate) run: Option<&'a str>,
    /// The repository, by its vendor id.
    pub(crate) repository: &'a str,
    pub(crate) state: &'static str,
    pub(crate) restore_points: i32,
    pub(crate) stored_bytes: i64,
    pub(crate) oldest_at: Option<Timestamp>,
    pub(crate) retention_days: Option<i32>,
    pub(crate) immutable_until: Option<Timestamp>,
    pub(crate) is_verified: bool,
    pub(crate) reported_at: Timestamp,
}

/// Agreed maintenance, of one machine or of all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowFact<'a> {
    pub(crate) window: &'a str,
    pub(crate) machine: Option<MachineKey<'a>>,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) reason: &'a str,
    pub(crate) is_cancelled: bool,
}

impl<'a> StoredFact<'a> {
    pub(super) fn read_chain(data: &Fields<'a, '_>) -> Result<Self, Misfit> {
        Ok(Self {
            name: data.name("chain_id")?,
            machine: Some(machine(data, "machine")?),
            run: None,
            restore_points: data.count("restore_points", MAX_COUNT)?,
            oldest_at: data.optional_instant("oldest_at")?,
            reported_at: data.instant("sampled_at")?,
            ..Self::read_common(data, "chain", "stored")?
        })
    }

    pub(super) fn read_copy(data: &Fields<'a, '_>, state: &'static str) -> Result<Self, Misfit> {
        Ok(Self {
            name: data.name("copy_id")?,
            machine: optional_machine(data)?,
            run: Some(data.name("run_id")?),
            reported_at: data.instant("ended_at")?,
            ..Self::read_common(data, "copy", state)?
        })
    }

    fn read_common(data: &Fields<'a, '_>, kind: &'static str, state: &'static str) -> Result<Self, Misfit> {
        Ok(Self {
            kind,
            name: "",
            machine: None,
            run: None,
            repository: data.name("repository_id")?,
            state,
            restore_points: i32::from(state == "stored"),
            stored_bytes: if state == "stored" { data.bytes("stored_bytes")? } else { 0 },
            oldest_at: None,
            retention_days: data.optional_count("retention_days", MAX_COUNT)?,
            immutable_until: data.optional_instant("immutable_until")?,
            is_verified: data.flag("is_verified")?,
            reported_at: Timestamp::UNIX_EPOCH,
        })
    }
}

impl<'a> WindowFact<'a> {
    pub(super) fn read(data: &Fields<'a, '_>, is_cancelled: bool) -> Result<Self, Misfit> {
        let (starts_at, ends_at) = (data.instant("starts_at")?, data.instant("ends_at")?);
        if ends_at <= starts_at {
            return Err(data.misfit("ends_at", "must be after starts_at"));
        }
        Ok(Self {
            window: data.name("window_id")?,
            machine: optional_machine(data)?,
            starts_at,
            ends_at,
            reason: data.name("reason")?,
            is_cancelled,
        })
    }
}
