//! What a transaction may see: the two walls, and how long it may take.

use std::fmt;
use std::time::Duration;

use granary_types::MspId;

/// A name of a schema or role, made only of lower-case letters, digits and underscores, so that it can stand in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identifier(String);

/// A text that may not stand in SQL as a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a name of a schema or role")]
pub struct InvalidIdentifier(String);

impl Identifier {
    /// Vets a name.
    ///
    /// # Errors
    /// When it is empty, longer than 63 bytes, or has any other character than `a-z`, `0-9` and `_`.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidIdentifier> {
        let name = name.into();
        let is_valid = (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && !name.as_bytes()[0].is_ascii_digit();
        if is_valid { Ok(Self(name)) } else { Err(InvalidIdentifier(name.chars().take(70).collect())) }
    }

    /// Returns the bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    /// Writes the name quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Through which door a transaction enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    Tenant { schema: Identifier, role: Identifier, bucket: i32 },
    Msp(MspId),
    Operator,
    Access,
    Keystore,
}

/// What a transaction sees and how long it may take. There is no setting without a role.
#[derive(Debug, Clone)]
pub struct TxSettings {
    pub(crate) door: Door,
    /// A table that the transaction holds open from its first statement on; it cannot begin where there is none.
    pub(crate) gate: Option<Identifier>,
    /// The version of the schema's tables; statements that were planned for another are not used.
    pub(crate) version: i32,
    pub(crate) is_snapshot: bool,
    pub(crate) statement_timeout: Duration,
}

impl TxSettings {
    const fn through(door: Door) -> Self {
        Self { door, gate: None, version: 0, is_snapshot: false, statement_timeout: Duration::from_secs(300) }
    }

    /// One tenant's schema, alone, as the tenant's role, by the login of the tenant's bucket.
    pub const fn tenant(schema: Identifier, role: Identifier, bucket: i32) -> Self {
        Self::through(Door::Tenant { schema, role, bucket })
    }

    /// The control schema under row-level security: the rows of one MSP.
    pub const fn msp(id: MspId) -> Self {
        Self::through(Door::Msp(id))
    }

    /// The whole control schema.
    pub const fn operator() -> Self {
        Self::through(Door::Operator)
    }

    /// Users, sessions and API keys of the control schema, to find out who somebody is before a scope exists; read-only
    /// for MSPs and customers, and blind for everything else.
    pub const fn access() -> Self {
        Self::through(Door::Access)
    }

    /// The key store's schema and nothing else.
    pub const fn keystore() -> Self {
        Self::through(Door::Keystore)
    }

    /// Enters through a table's shared lock: whoever holds that table exclusively keeps the transaction waiting, and where the
    /// table has gone the transaction does not begin.
    #[must_use]
    pub fn through_gate(mut self, table: Identifier) -> Self {
        self.gate = Some(table);
        self
    }

    /// Tells which version the schema has. While a fleet is migrated a connection serves schemas of two versions, and a
    /// statement that was planned for one need not fit the other.
    #[must_use]
    pub const fn at_version(mut self, version: i32) -> Self {
        self.version = version;
        self
    }

    /// Makes it one consistent, read-only view (repeatable read).
    #[must_use]
    pub const fn snapshot(mut self) -> Self {
        self.is_snapshot = true;
        self
    }

    /// Bounds each statement; 5 minutes unless told.
    #[must_use]
    pub const fn statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = limit;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_stand_in_sql() {
        assert_eq!(Identifier::new("t_0190").unwrap().to_string(), "\"t_0190\"");
        for name in ["", "T_1", "t-1", "t\"; drop schema control; --", "1t", "t_1, public", "tä", &"a".repeat(64)] {
            assert!(Identifier::new(name).is_err(), "{name}");
        }
    }
}
