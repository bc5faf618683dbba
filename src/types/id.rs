//! Identifiers: one type a noun, so that a machine's id never passes for a customer's.

use std::fmt;
use std::str::FromStr;

use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new identifier that sorts by time.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Returns the bare UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self, ty: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
                self.0.to_sql(ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                <Uuid as ToSql>::accepts(ty)
            }

            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $name {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
                Uuid::from_sql(ty, raw).map(Self)
            }

            fn accepts(ty: &Type) -> bool {
                <Uuid as FromSql>::accepts(ty)
            }
        }
    )*};
}

ids! {
    /// A managed service provider.
    MspId;
    /// A customer of an MSP: the tenant.
    CustomerId;
    /// A customer's terms.
    ContractId;
    /// Something at a customer that needs somebody.
    AlertId;
    /// A backup system at a customer.
    ControlPlaneId;
    /// A place where a customer's machines stand.
    SiteId;
    /// Somebody at a customer.
    ContactId;
    /// A protected or discovered machine.
    MachineId;
    /// A place where backups are stored.
    RepositoryId;
    /// A backup, restore or replication run.
    RunId;
    /// One delivery of usage events.
    BatchId;
    /// A rated line.
    LineId;
    /// An invoice from an MSP to a customer.
    InvoiceId;
    /// A statement from the operator to an MSP.
    StatementId;
    /// A payment for an invoice.
    PaymentId;
    /// A person who logs in.
    UserId;
    /// A browser session.
    SessionId;
    /// A program's key.
    ApiKeyId;
    /// A queued piece of work.
    JobId;
    /// A file in the lake.
    FileId;
}

/// The short name of a customer, unique within its MSP and never changed: `ACME`, `GLOBEX-2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CustomerCode(String);

/// A text that is not a customer code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a customer code: 1 to 50 of A-Z, 0-9, '-' and '_', beginning with a letter or digit")]
pub struct InvalidCode(String);

impl CustomerCode {
    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CustomerCode {
    type Err = InvalidCode;

    /// Parses a code; lower case is accepted and raised.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = text.to_ascii_uppercase();
        let is_valid = (1..=50).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
            && code.as_bytes()[0].is_ascii_alphanumeric();
        if is_valid { Ok(Self(code)) } else { Err(InvalidCode(text.chars().take(60).collect())) }
    }
}

/// The short name of an MSP, unique in the installation and never changed: `NORTH`. It begins the numbers of its invoices.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct MspCode(String);

/// A text that is not an MSP's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an MSP code: 1 to 50 of A-Z, 0-9, '-' and '_', beginning with a letter or digit")]
pub struct InvalidMspCode(String);

impl MspCode {
    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MspCode {
    type Err = InvalidMspCode;

    /// Parses a code by the rules of a customer's; lower case is accepted and raised.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code: CustomerCode = text.parse().map_err(|InvalidCode(text)| InvalidMspCode(text))?;
        Ok(Self(code.0))
    }
}

impl fmt::Display for MspCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for CustomerCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for CustomerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_short_words_in_capitals() {
        assert_eq!("north-1".parse::<MspCode>().unwrap().as_str(), "NORTH-1");
        for text in ["", " ", "bad code;", "-A", "Ä", &"A".repeat(51)] {
            assert!(text.parse::<MspCode>().is_err() && text.parse::<CustomerCode>().is_err(), "{text}");
        }
        assert!("bad code;".parse::<MspCode>().unwrap_err().to_string().starts_with("'bad code;' is not an MSP code"));
    }
}
