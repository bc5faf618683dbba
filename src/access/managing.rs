//! Managing logins: who may invite, change and stop whom. Nobody gives or takes more than they hold.
//!
//! Changes at one MSP are made one after another under its lock, and whoever makes one is looked at again under it: two
//! administrators who stop each other at the same instant do not both succeed, and nobody can stop themselves, so that somebody
//! who can let others in is always left.

use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::{Boxed, Secret};
use granary_types::{CustomerId, LONGEST_TEXT, MspId, Role, UserId, is_printable};
use serde_json::{Value, json};

use crate::users::{check, check_customers};
use crate::{Access, AccessError, NewUser, Permission, Person, Principal, store};

/// Who manages a login.
#[derive(Debug, Clone, Copy)]
pub enum Manager<'a> {
    Principal(&'a Principal),
    /// A command of whoever runs the installation, by its name.
    Command(&'static str),
}

/// What somebody's login may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub role: Role,
    /// The customers that an operator or analyst of an MSP sees; none for all of them, and for every other role.
    pub granted: Option<Vec<CustomerId>>,
    pub can_read_billing: bool,
}

/// A login to be made for somebody, who chooses the password by the letter.
#[derive(Debug, Clone)]
pub struct Invitation {
    pub email: String,
    pub name: String,
    /// None for the operator only.
    pub msp_id: Option<MspId>,
    /// Set for customer roles only.
    pub customer_id: Option<CustomerId>,
    pub grant: Grant,
}

impl Manager<'_> {
    pub(crate) fn actor(&self) -> String {
        match self {
            Self::Principal(principal) => principal.actor().to_string(),
            Self::Command(name) => (*name).to_owned(),
        }
    }

    fn name(&self) -> Option<String> {
        match self {
            Self::Principal(principal) => Some(principal.name().to_owned()),
            Self::Command(_) => None,
        }
    }
}

impl Access {
    /// Makes a login and has its owner invited by letter; whoever was invited there and has not answered is written to again.
    ///
    /// # Errors
    /// When the manager holds less than is given, the role does not fit, or the address is taken.
    pub fn invite<'a>(&'a self, manager: Manager<'a>, new: &'a Invitation) -> Boxed<'a, Result<Person, AccessError>> {
        Box::pin(async move {
            let user = NewUser {
                email: new.email.trim().to_owned(),
                name: check_name(&new.name)?,
                role: new.grant.role,
                msp_id: new.msp_id,
                customer_id: new.customer_id,
                granted: new.grant.granted.clone(),
                can_read_billing: new.grant.can_read_billing,
                // Fits no password.
                password: Secret::new(""),
            };
            check(&user)?;
            let (id, (letter, token)) = (UserId::new(), self.invitation_token(new.msp_id, new.customer_id).await?);
            let tx = self.begin().await?;
            self.authorise(&tx, manager, new.msp_id, new.customer_id, &new.grant).await?;
            check_customers(&tx, &user).await?;
            let at = Place { msp: new.msp_id, customer: new.customer_id };
            if let Some(person) = self.still_invited(&tx, manager, at, &user.email).await? {
                self.queue_invitation(&tx, letter, &token, person.id, (at.msp, at.customer), manager.name()).await?;
                return self.done(tx, manager, person, "user.invite_again", json!({}), None).await;
            }
            store::insert_user(&tx, id, &user, "", self.now()).await?;
            for customer in user.granted.iter().flatten() {
                store::insert_user_customer(&tx, id, user.msp_id, *customer).await?;
            }
            self.queue_invitation(&tx, letter, &token, id, (new.msp_id, new.customer_id), manager.name()).await?;
            let person = store::people::get_person(&tx, id).await?;
            record_audit(&tx, &entry(manager, &person, "user.invite", json!({"role": new.grant.role}), None)).await?;
            tx.commit().await?;
            Ok(person)
        })
    }

    /// Finds somebody of a place who has not answered an invitation.
    async fn still_invited(&self, tx: &Tx, manager: Manager<'_>, at: Place, email: &str) -> Result<Option<Person>, AccessError> {
        let Some(msp) = at.msp else { return Ok(None) };
        let found = store::people::find_person(tx, msp, email).await?;
        let Some(person) = found.filter(|person| person.is_invited && !person.is_disabled && person.customer_id == at.customer) else {
            return Ok(None);
        };
        self.authorise(tx, manager, at.msp, at.customer, &person.grant()).await?;
        Ok(Some(person))
    }

    /// Writes the invitation again; the link of the one before is void.
    ///
    /// # Errors
    /// When the manager may not, or the person has chosen a password.
    pub fn invite_again<'a>(&'a self, manager: Manager<'a>, at: Place, id: UserId) -> Boxed<'a, Result<Person, AccessError>> {
        Box::pin(async move {
            let (letter, token) = self.invitation_token(at.msp, at.customer).await?;
            let (tx, person) = self.take(manager, at, id).await?;
            if !person.is_invited {
                return Err(AccessError::NotInState("this login has a password already"));
            }
            self.queue_invitation(&tx, letter, &token, id, (at.msp, at.customer), manager.name()).await?;
            self.done(tx, manager, person, "user.invite_again", json!({}), None).await
        })
    }

    /// Gives a login another role, or other customers.
    ///
    /// # Errors
    /// When the manager holds less than the login has or gets.
    pub fn set_role<'a>(&'a self, manager: Manager<'a>, at: Place, id: UserId, grant: &'a Grant) -> Boxed<'a, Result<Person, AccessError>> {
        Box::pin(async move {
            let (tx, person) = self.take(manager, at, id).await?;
            self.authorise(&tx, manager, at.msp, at.customer, grant).await?;
            let user = NewUser {
                email: person.email.clone(),
                name: person.name.clone(),
                role: grant.role,
                msp_id: at.msp,
                customer_id: at.customer,
                granted: grant.granted.clone(),
                can_read_billing: grant.can_read_billing,
                password: Secret::new(""),
            };
            check(&user)?;
            check_customers(&tx, &user).await?;
            store::people::update_role(&tx, id, &user).await?;
            for customer in user.granted.iter().flatten() {
                store::insert_user_customer(&tx, id, at.msp, *customer).await?;
            }
            let detail = json!({"from": person.role, "to": grant.role});
            self.done(tx, manager, person, "user.set_role", detail, None).await
        })
    }

    /// Stops a login: its sessions end, and no password opens another.
    ///
    /// # Errors
    /// When the manager holds less than the login.
    pub fn disable_user<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        id: UserId,
        reason: &'a str,
    ) -> Boxed<'a, Result<Person, AccessError>> {
        Box::pin(async move {
            let reason = check_reason(reason)?;
            let (tx, person) = self.take(manager, at, id).await?;
            store::people::update_disabled(&tx, id, true).await?;
            store::sessions::update_sessions_revoked(&tx, id, None, self.instant()).await?;
            store::tokens::void_all(&tx, id, self.instant()).await?;
            self.done(tx, manager, person, "user.disable", json!({}), Some(reason)).await
        })
    }

    /// Lets a stopped login in again.
    ///
    /// # Errors
    /// When the manager holds less than the login.
    pub fn enable_user<'a>(&'a self, manager: Manager<'a>, at: Place, id: UserId) -> Boxed<'a, Result<Person, AccessError>> {
        Box::pin(async move {
            let (tx, person) = self.take(manager, at, id).await?;
            store::people::update_disabled(&tx, id, false).await?;
            self.done(tx, manager, person, "user.enable", json!({}), None).await
        })
    }

    /// Lists the MSP's own people, or one customer's, by address.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_people<'a>(&'a self, at: Place) -> Boxed<'a, Result<Vec<Person>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let people = store::people::list_people(&tx, at).await?;
            tx.commit().await?;
            Ok(people)
        })
    }

    /// Takes the MSP's lock and finds a login that the manager may change.
    pub(crate) async fn take(
        &self,
        manager: Manager<'_>,
        at: Place,
        id: UserId,
    ) -> Result<(granary_tenants::AccessTx, Person), AccessError> {
        let tx = self.begin().await?;
        store::people::lock_msp(&tx, at.msp).await?;
        let person = store::people::find_person_at(&tx, at, id).await?.ok_or_else(|| AccessError::UnknownUser(id.to_string()))?;
        if let Manager::Principal(principal) = manager
            && principal.user() == Some(id)
        {
            return Err(AccessError::OwnLogin);
        }
        self.authorise(&tx, manager, at.msp, at.customer, &person.grant()).await?;
        Ok((tx, person))
    }

    /// Refuses a manager who holds less than a grant, as things stand now.
    async fn authorise(
        &self,
        tx: &Tx,
        manager: Manager<'_>,
        msp: Option<MspId>,
        customer: Option<CustomerId>,
        grant: &Grant,
    ) -> Result<(), AccessError> {
        let Manager::Principal(principal) = manager else { return Ok(()) };
        store::people::lock_msp(tx, msp).await?;
        let fresh = store::people::find_principal(tx, principal.require_user()?).await?.ok_or(AccessError::Unauthenticated)?;
        covers(&fresh, msp, customer, grant)
    }

    pub(crate) async fn done(
        &self,
        tx: granary_tenants::AccessTx,
        manager: Manager<'_>,
        person: Person,
        action: &str,
        detail: Value,
        reason: Option<&str>,
    ) -> Result<Person, AccessError> {
        record_audit(&tx, &entry(manager, &person, action, detail, reason)).await?;
        let person = store::people::get_person(&tx, person.id).await?;
        tx.commit().await?;
        Ok(person)
    }
}

/// Where a login belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub msp: Option<MspId>,
    /// None for the MSP's own people.
    pub customer: Option<CustomerId>,
}

/// Tells whether a principal holds all that a grant gives: every permission, and every customer.
pub(crate) fn covers(principal: &Principal, msp: Option<MspId>, customer: Option<CustomerId>, grant: &Grant) -> Result<(), AccessError> {
    principal.require(Permission::UserWrite)?;
    if principal.msp != msp || customer.is_some_and(|customer| !principal.sees(customer)) {
        return Err(AccessError::UnknownUser("here".to_owned()));
    }
    let margin = grant.can_read_billing.then_some(Permission::MarginRead);
    if let Some(missing) = Permission::of_role(grant.role).iter().copied().chain(margin).find(|permission| !principal.may(*permission)) {
        return Err(AccessError::Denied(missing));
    }
    let sees_enough = match &grant.granted {
        Some(granted) => granted.iter().all(|customer| principal.sees(*customer)),
        None => grant.role.is_customer() || principal.sees_all(),
    };
    if sees_enough { Ok(()) } else { Err(AccessError::Denied(Permission::UserWrite)) }
}

fn entry(manager: Manager<'_>, person: &Person, action: &str, detail: Value, reason: Option<&str>) -> AuditEntry {
    AuditEntry {
        msp: person.msp_id,
        customer: person.customer_id,
        actor: manager.actor(),
        action: action.to_owned(),
        subject: format!("user:{}", person.id),
        detail,
        reason: reason.map(str::to_owned),
    }
}

pub(crate) fn check_name(name: &str) -> Result<String, AccessError> {
    let name = name.trim();
    if is_printable(name, 100) { Ok(name.to_owned()) } else { Err(AccessError::InvalidUser("the name needs 1 to 100 characters")) }
}

pub(crate) fn check_reason(reason: &str) -> Result<&str, AccessError> {
    let reason = reason.trim();
    if is_printable(reason, LONGEST_TEXT) {
        Ok(reason)
    } else {
        Err(AccessError::InvalidUser("the reason needs 1 to 200 characters on one line"))
    }
}

#[cfg(test)]
mod tests {
    use granary_tenants::Granted;

    use super::*;
    use crate::Who;
    use crate::principal::Quotas;

    fn principal(role: Role, msp: MspId, customers: Granted) -> Principal {
        let permissions = Permission::of_role(role).to_vec();
        let can_read_billing = permissions.contains(&Permission::MarginRead);
        let who = Who::User { id: UserId::new(), name: "Somebody".to_owned() };
        Principal {
            who,
            role,
            msp: Some(msp),
            customers,
            can_read_billing,
            permissions,
            source: None,
            quotas: Quotas::default(),
            is_by_token: false,
        }
    }

    #[test]
    fn nobody_gives_more_than_they_hold() {
        let (msp, other, acme, globex) = (MspId::new(), MspId::new(), CustomerId::new(), CustomerId::new());
        let grant = |role| Grant { role, granted: None, can_read_billing: false };
        for giver in Role::ALL.iter().copied().filter(|role| *role != Role::OperatorAdmin) {
            let customers = if giver.is_customer() { Granted::Only([acme].into()) } else { Granted::All };
            let giver = principal(giver, msp, customers);
            for role in Role::ALL.iter().copied() {
                let customer = role.is_customer().then_some(acme);
                let may = covers(&giver, Some(msp), customer, &grant(role)).is_ok();
                let wanted = match giver.role() {
                    Role::MspAdmin => role != Role::OperatorAdmin,
                    Role::CustomerAdmin => role.is_customer(),
                    _ => false,
                };
                assert_eq!(may, wanted, "{} gives {role}", giver.role());
                assert!(covers(&giver, Some(other), customer, &grant(role)).is_err(), "at another MSP");
            }
            assert!(!giver.role().is_customer() || covers(&giver, Some(msp), Some(globex), &grant(Role::CustomerViewer)).is_err());
        }
        let customer_admin = principal(Role::CustomerAdmin, msp, Granted::Only([acme].into()));
        let with_margin = Grant { can_read_billing: true, ..grant(Role::CustomerViewer) };
        assert!(covers(&customer_admin, Some(msp), Some(acme), &with_margin).is_err());
    }
}
