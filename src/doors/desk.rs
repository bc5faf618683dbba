//! The desk behind every door: who may ask, within what, and what was asked.

use std::fmt;
use std::sync::Arc;

use granary_access::{Access, Permission, Principal};
use granary_foundation::Boxed;
use granary_tenants::Tenants;
use granary_warehouse::{AsOf, Question, RowStream, Session, Warehouse};
use serde_json::json;

use crate::DoorError;

/// As much of a question as the audit log keeps.
const SQL_SHOWN: usize = 2_000;

/// Where every door asks. Cheap to clone.
///
/// What it is made of stands behind a trait, and what takes time is boxed: else the compiler would prove anew, for every call of every
/// protocol, that all of the engine can go from thread to thread, and take two minutes for it.
#[derive(Debug, Clone)]
pub struct Desk(Arc<dyn House>);

trait House: fmt::Debug + Send + Sync {
    fn rooms(&self) -> &Rooms;
}

#[derive(Debug)]
struct Rooms {
    access: Access,
    tenants: Tenants,
    warehouse: Warehouse,
}

impl House for Rooms {
    fn rooms(&self) -> &Rooms {
        self
    }
}

impl Desk {
    /// Makes the desk of a house.
    pub fn new(access: Access, tenants: Tenants, warehouse: Warehouse) -> Self {
        Self(Arc::new(Rooms { access, tenants, warehouse }))
    }

    /// Returns who recognises people and programs.
    pub fn access(&self) -> &Access {
        &self.0.rooms().access
    }

    /// Returns what is said of the models.
    pub fn models(&self) -> &granary_warehouse::Models {
        self.0.rooms().warehouse.models()
    }

    /// Returns the code of a principal's MSP.
    ///
    /// # Errors
    /// When the principal belongs to none.
    pub fn msp_code<'a>(&'a self, principal: &'a Principal) -> Boxed<'a, Result<String, DoorError>> {
        Box::pin(async move { Ok(self.access().msp_scope(principal).await?.msp.code) })
    }

    /// Opens a session within what a principal may read, on the newest version of the lake or as of what is wanted.
    ///
    /// # Errors
    /// When the principal may not ask, or there is no such version.
    pub fn session<'a>(&'a self, principal: &'a Principal, as_of: Option<&'a AsOf>) -> Boxed<'a, Result<Session, DoorError>> {
        Box::pin(async move {
            principal.require(Permission::Sql)?;
            let grant = principal.read_grant()?;
            Ok(self.0.rooms().warehouse.session_as_of(&grant, as_of).await?)
        })
    }

    /// Writes down that a principal asks, and by which door, before anything is answered.
    ///
    /// # Errors
    /// When the audit log cannot be written.
    pub fn note<'a>(&'a self, principal: &'a Principal, door: &'static str, sql: &'a str) -> Boxed<'a, Result<(), DoorError>> {
        Box::pin(async move {
            let asked: String = sql.chars().filter(|letter| !letter.is_control() || letter.is_whitespace()).take(SQL_SHOWN).collect();
            let scope = self.access().msp_scope(principal).await?;
            let tx = self.0.rooms().tenants.begin_msp(&scope).await?;
            let detail = json!({"sql": asked, "door": door});
            granary_tenants::note(&tx, None, "warehouse.query", &format!("msp:{}", scope.msp.code), &detail).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Answers a question of a session that was opened for the same principal; the rows come as they are found, and the query ends
    /// with whoever takes them.
    ///
    /// # Errors
    /// When a budget is exceeded, or too many questions of the MSP are being answered.
    pub fn answer<'a>(
        &'a self,
        principal: &'a Principal,
        session: &'a Session,
        question: Question,
    ) -> Boxed<'a, Result<RowStream, DoorError>> {
        Box::pin(async move {
            principal.require(Permission::Sql)?;
            Ok(self.0.rooms().warehouse.rows(principal.read_grant()?.msp, session, question).await?)
        })
    }
}
