//! The way in: users and their sessions, keys and their holders, and the scopes that they mint.

use granary_foundation::Boxed;
use granary_foundation::Secret;
use granary_tenants::{AccessTx, Granted, MspScope, TenantScope, Tenants};
use granary_types::{ApiKeyId, CustomerCode, CustomerId, MspId, Role, SessionId, UserId};
use jiff::{Timestamp, ToSpan};

use crate::password::Passwords;
use crate::{AccessError, ApiKeyScope, NewApiKey, Permission, Principal, Who, store, token};

/// A browser session ends after this many hours, used or not.
const SESSION_HOURS: i64 = 12;
const SHORTEST_PASSWORD: usize = 10;

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub email: String,
    pub name: String,
    pub role: Role,
    /// None for the operator only.
    pub msp_id: Option<MspId>,
    /// Set for customer roles only.
    pub customer_id: Option<CustomerId>,
    /// The customers that an operator or analyst of an MSP sees; none for all of them, and for every other role.
    pub granted: Option<Vec<CustomerId>>,
    pub can_read_billing: bool,
    pub password: Secret,
}

/// A browser session that is open.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub principal: Principal,
    /// What every form must send back.
    pub csrf_token: Secret,
    pub expires_at: Timestamp,
}

/// Recognises people and programs.
#[derive(Debug, Clone)]
pub struct Access {
    tenants: Tenants,
    passwords: Passwords,
}

impl Access {
    /// Returns the way in to an installation.
    pub fn new(tenants: Tenants) -> Self {
        Self { tenants, passwords: Passwords::new() }
    }

    /// Makes a user.
    ///
    /// # Errors
    /// When the e-mail address is taken or no address, the password is shorter than ten characters, or the role does not
    /// fit the MSP and customer given.
    pub fn create_user<'a>(&'a self, user: &'a NewUser) -> Boxed<'a, Result<UserId, AccessError>> {
        Box::pin(async move {
            check(user)?;
            let password_hash = self.passwords.hash(&user.password).await?;
            let tx = self.begin().await?;
            let id = UserId::new();
            store::insert_user(&tx, id, user, &password_hash, self.now()).await?;
            for customer in user.granted.iter().flatten() {
                store::insert_user_customer(&tx, id, user.msp_id, *customer).await?;
            }
            tx.commit().await?;
            Ok(id)
        })
    }

    /// Opens a session and returns it with its token, which is nowhere stored.
    ///
    /// # Errors
    /// [`AccessError::WrongPassword`], whatever was wrong.
    pub fn log_in<'a>(&'a self, email: &'a str, password: &'a Secret) -> Boxed<'a, Result<(Session, Secret), AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let found = store::find_user_by_email(&tx, email.trim(), self.now()).await?;
            tx.commit().await?;
            let (principal, stored) = found.map_or((None, None), |(principal, hash)| (Some(principal), Some(hash)));
            let is_right = self.passwords.is_right(password, stored).await?;
            let principal = principal.filter(|_| is_right).ok_or(AccessError::WrongPassword)?;
            let Who::User { id: user_id, .. } = principal.who else { return Err(AccessError::WrongPassword) };

            let token = token::random_token();
            let now = self.now();
            let session = Session {
                id: SessionId::new(),
                principal,
                csrf_token: token::random_token(),
                expires_at: now.checked_add(SESSION_HOURS.hours()).unwrap_or(Timestamp::MAX),
            };
            let tx = self.begin().await?;
            store::insert_session(&tx, &session, user_id, &token::hash(token.reveal()), now).await?;
            tx.commit().await?;
            Ok((session, token))
        })
    }

    /// Returns the user with an e-mail address, for an operator who asks what that user sees.
    ///
    /// # Errors
    /// When there is no such user, or it is disabled.
    pub fn principal_of<'a>(&'a self, email: &'a str) -> Boxed<'a, Result<Principal, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let found = store::find_user_by_email(&tx, email.trim(), self.now()).await?;
            tx.commit().await?;
            found.map(|(principal, _)| principal).ok_or_else(|| AccessError::UnknownUser(email.chars().take(100).collect()))
        })
    }

    /// Returns the session of a token: none when it never was, has expired, was ended, or its user is disabled.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn session<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<Option<Session>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let session = store::find_session(&tx, &token::hash(token), self.now()).await?;
            tx.commit().await?;
            Ok(session)
        })
    }

    /// Ends a session; an unknown token is fine.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn log_out<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            store::update_session_revoked(&tx, &token::hash(token), self.now()).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Makes an API key and returns it; only its hash is kept, so that nobody can show it again.
    ///
    /// # Errors
    /// When a key without a customer is to send usage events, or the customer is unknown.
    pub fn create_api_key<'a>(&'a self, key: &'a NewApiKey) -> Boxed<'a, Result<(ApiKeyId, Secret), AccessError>> {
        Box::pin(async move {
            if key.customer_id.is_none() && key.scopes.contains(&ApiKeyScope::UsageWrite) {
                return Err(AccessError::InvalidKey("usage.write needs a key that belongs to a customer"));
            }
            if key.customer_id.is_some() && key.scopes.contains(&ApiKeyScope::CustomersWrite) {
                return Err(AccessError::InvalidKey("customers.write needs a key of the MSP: no customer manages itself"));
            }
            let secret = token::random_key();
            let id = ApiKeyId::new();
            let tx = self.begin().await?;
            store::insert_api_key(&tx, id, key, &secret, self.now()).await?;
            tx.commit().await?;
            Ok((id, secret))
        })
    }

    /// Ends a key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn revoke_api_key<'a>(&'a self, id: ApiKeyId) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            store::update_api_key_revoked(&tx, id, self.now()).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Returns the principal of an API key.
    ///
    /// # Errors
    /// [`AccessError::InvalidKey`] when it is no key, unknown, expired or revoked.
    pub fn key<'a>(&'a self, text: &'a str) -> Boxed<'a, Result<Principal, AccessError>> {
        Box::pin(async move {
            if !token::is_key(text) {
                return Err(AccessError::InvalidKey("it is mistyped"));
            }
            let tx = self.begin().await?;
            let found = store::find_api_key(&tx, &token::hash(text), self.now()).await?;
            tx.commit().await?;
            found.ok_or(AccessError::InvalidKey("it is unknown, expired or revoked"))
        })
    }

    /// Mints the scope of one customer.
    ///
    /// # Errors
    /// [`AccessError::UnknownCustomer`] when there is none of that code that the principal may see.
    pub fn tenant_scope<'a>(&'a self, principal: &'a Principal, code: &'a CustomerCode) -> Boxed<'a, Result<TenantScope, AccessError>> {
        Box::pin(async move {
            let unknown = || AccessError::UnknownCustomer(code.to_string());
            let scope = self.msp_scope(principal).await?;
            let customer = match self.tenants.get_customer_by_code(scope.msp.id, code).await {
                Ok(customer) if principal.sees(customer.id) => customer,
                Ok(_) => return Err(unknown()),
                Err(error) if granary_types::Classify::kind(&error) == granary_types::ErrorKind::NotFound => return Err(unknown()),
                Err(error) => return Err(error.into()),
            };
            Ok(TenantScope::for_principal(scope.msp, customer, principal.actor()))
        })
    }

    /// Mints the scope of the customer that a key or a customer's user belongs to.
    ///
    /// # Errors
    /// [`AccessError::Denied`] for those who belong to no single customer.
    pub fn own_scope<'a>(&'a self, principal: &'a Principal) -> Boxed<'a, Result<TenantScope, AccessError>> {
        Box::pin(async move {
            let id = principal.only_customer().ok_or(AccessError::Denied(Permission::UsageWrite))?;
            let scope = self.msp_scope(principal).await?;
            let customer = self.tenants.get_customer(id).await?;
            Ok(TenantScope::for_principal(scope.msp, customer, principal.actor()))
        })
    }

    /// Mints the scope of the principal's MSP.
    ///
    /// # Errors
    /// [`AccessError::Denied`] for the operator, who belongs to none.
    pub fn msp_scope<'a>(&'a self, principal: &'a Principal) -> Boxed<'a, Result<MspScope, AccessError>> {
        Box::pin(async move {
            let msp = self.tenants.get_msp(principal.msp.ok_or(AccessError::Denied(Permission::PortfolioRead))?).await?;
            Ok(MspScope::for_principal(msp, principal.actor()))
        })
    }

    fn now(&self) -> Timestamp {
        self.tenants.clock().now()
    }

    pub(crate) async fn begin(&self) -> Result<AccessTx, AccessError> {
        Ok(self.tenants.begin_access().await?)
    }
}

/// Refuses a user whose role, MSP, customer, address or password do not fit together.
fn check(user: &NewUser) -> Result<(), AccessError> {
    let (name, domain) = user.email.trim().split_once('@').unwrap_or_default();
    if name.is_empty() || domain.is_empty() || user.email.len() > 254 {
        return Err(AccessError::InvalidUser("the e-mail address needs a name, an '@' and a domain"));
    }
    if user.password.reveal().chars().count() < SHORTEST_PASSWORD {
        return Err(AccessError::InvalidUser("the password needs ten characters or more"));
    }
    let is_confinable = matches!(user.role, Role::MspOperator | Role::MspAnalyst);
    if user.granted.is_some() && !is_confinable {
        return Err(AccessError::RoleNeeds(user.role, "no list of customers: only msp_operator and msp_analyst are confined to some"));
    }
    match (user.role, user.msp_id, user.customer_id) {
        (Role::OperatorAdmin, None, None) => Ok(()),
        (role @ Role::OperatorAdmin, _, _) => Err(AccessError::RoleNeeds(role, "no MSP and no customer")),
        (role, Some(_), Some(_)) if role.is_customer() => Ok(()),
        (role, _, _) if role.is_customer() => Err(AccessError::RoleNeeds(role, "an MSP and a customer")),
        (_, Some(_), None) => Ok(()),
        (role, _, _) => Err(AccessError::RoleNeeds(role, "an MSP and no customer")),
    }
}

/// What a stored user sees: customers' roles their own, the MSP's admin and finance all, the others what was granted.
pub(crate) fn granted(role: Role, customer: Option<CustomerId>, sees_all: bool, granted: Vec<CustomerId>) -> Granted {
    match (role, customer) {
        (_, Some(customer)) => Granted::Only([customer].into()),
        (Role::MspAdmin | Role::MspFinance, None) => Granted::All,
        (_, None) if sees_all => Granted::All,
        (_, None) => Granted::Only(granted.into_iter().collect()),
    }
}
