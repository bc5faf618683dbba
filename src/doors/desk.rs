//! The desk behind every door: who may ask, within what, and what was asked.

use granary_access::{Access, Permission, Principal};
use granary_tenants::Tenants;
use granary_warehouse::{AsOf, Question, RowStream, Session, Warehouse};
use serde_json::json;

use crate::DoorError;

/// As much of a question as the audit log keeps.
const SQL_SHOWN: usize = 2_000;

/// Where every door asks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    access: Access,
    tenants: Tenants,
    warehouse: Warehouse,
}

impl Desk {
    /// Makes the desk of a house.
    pub const fn new(access: Access, tenants: Tenants, warehouse: Warehouse) -> Self {
        Self { access, tenants, warehouse }
    }

    /// Returns who recognises people and programs.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Returns what is said of the models.
    pub fn models(&self) -> &granary_warehouse::Models {
        self.warehouse.models()
    }

    /// Returns the code of a principal's MSP.
    ///
    /// # Errors
    /// When the principal belongs to none.
    pub async fn msp_code(&self, principal: &Principal) -> Result<String, DoorError> {
        Ok(self.access.msp_scope(principal).await?.msp.code)
    }

    /// Opens a session within what a principal may read, on the newest version of the lake or as of what is wanted.
    ///
    /// # Errors
    /// When the principal may not ask, or there is no such version.
    pub async fn session(&self, principal: &Principal, as_of: Option<&AsOf>) -> Result<Session, DoorError> {
        principal.require(Permission::Sql)?;
        let grant = principal.read_grant()?;
        Ok(self.warehouse.session_as_of(&grant, as_of).await?)
    }

    /// Writes down that a principal asks, and by which door, before anything is answered.
    ///
    /// # Errors
    /// When the audit log cannot be written.
    pub async fn note(&self, principal: &Principal, door: &'static str, sql: &str) -> Result<(), DoorError> {
        let asked: String = sql.chars().filter(|letter| !letter.is_control() || letter.is_whitespace()).take(SQL_SHOWN).collect();
        let scope = self.access.msp_scope(principal).await?;
        let tx = self.tenants.begin_msp(&scope).await?;
        let detail = json!({"sql": asked, "door": door});
        granary_tenants::note(&tx, None, "warehouse.query", &format!("msp:{}", scope.msp.code), &detail).await?;
        Ok(tx.commit().await?)
    }

    /// Answers a question of a session that was opened for the same principal; the rows come as they are found, and the query ends
    /// with whoever takes them.
    ///
    /// # Errors
    /// When a budget is exceeded, or too many questions of the MSP are being answered.
    pub async fn answer(&self, principal: &Principal, session: &Session, question: Question) -> Result<RowStream, DoorError> {
        principal.require(Permission::Sql)?;
        Ok(self.warehouse.rows(principal.read_grant()?.msp, session, question).await?)
    }
}
