//! All statements of the room, and the reading of their rows.

mod audit;
mod clones;
mod contracts;
mod customers;
mod drift;
mod fleet;
mod hierarchy;
mod inspection;
mod leaving;
mod lifecycle;
mod msps;
mod person;
mod placement;
mod requests;
mod restoring;
mod retention;
mod silo;
mod watch;

use jiff::tz::TimeZone;

pub(crate) use audit::*;
pub(crate) use clones::*;
pub(crate) use contracts::*;
pub(crate) use customers::*;
pub(crate) use drift::*;
pub(crate) use fleet::*;
pub(crate) use hierarchy::*;
pub(crate) use inspection::*;
pub(crate) use leaving::*;
pub(crate) use lifecycle::*;
pub(crate) use msps::*;
pub(crate) use person::*;
pub(crate) use placement::*;
pub(crate) use requests::*;
pub(crate) use restoring::*;
pub(crate) use retention::*;
pub(crate) use silo::*;
pub(crate) use watch::*;

use crate::error::TenantsError;

/// Finds a zone by its name; "local" and the like have none that can be stored.
pub(crate) fn zone(name: &str) -> Result<TimeZone, TenantsError> {
    TimeZone::get(name).map_err(|_| TenantsError::UnknownTimeZone(name.to_owned()))
}

/// Returns the name under which a zone is stored.
pub(crate) fn zone_name(zone: &TimeZone) -> Result<&str, TenantsError> {
    zone.iana_name().ok_or_else(|| TenantsError::UnknownTimeZone("a zone without a name".to_owned()))
}

#[cfg(test)]
mod tests {
    use granary_test_support::TestDatabase;

    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        let test = TestDatabase::new().await;
        let superuser = test.superuser().await;
        superuser.batch_execute("set search_path = control").await.unwrap();
        for statement in [
            super::audit::STATEMENTS,
            super::clones::STATEMENTS,
            super::contracts::STATEMENTS,
            super::customers::STATEMENTS,
            super::drift::STATEMENTS,
            super::fleet::STATEMENTS,
            super::inspection::STATEMENTS,
            super::hierarchy::STATEMENTS,
            super::leaving::STATEMENTS,
            &super::leaving::FORGET,
            &super::leaving::BLANK,
            super::lifecycle::STATEMENTS,
            super::requests::STATEMENTS,
            super::restoring::STATEMENTS,
            super::retention::STATEMENTS,
            super::msps::STATEMENTS,
            super::person::STATEMENTS,
            super::placement::STATEMENTS,
            super::watch::STATEMENTS,
        ]
        .concat()
        {
            superuser.prepare(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
}
