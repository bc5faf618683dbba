//! The way in: users, keys and their holders, and the scopes that they mint.

use std::sync::Arc;

use granary_db::Tx;
use granary_foundation::{Boxed, Outbound, Secret};
use granary_tenants::{AccessTx, Granted, MspScope, TenantScope, Tenants};
use granary_types::{Clock, CustomerCode, CustomerId, MspId, Role, UserId};
use jiff::Timestamp;

use crate::password::{Passwords, check_password};
use crate::sso::Remotes;
use crate::{AccessError, Permission, Principal, jwt, store};

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

/// Recognises people and programs.
#[derive(Debug, Clone)]
pub struct Access {
    tenants: Tenants,
    pub(crate) passwords: Passwords,
    clock: Clock,
    issuer: Arc<str>,
    pub(crate) outbound: Outbound,
    pub(crate) remotes: Remotes,
    home: Arc<str>,
}

impl Access {
    /// Returns the way in to an installation.
    pub fn new(tenants: Tenants) -> Self {
        let clock = tenants.clock().clone();
        Self {
            tenants,
            passwords: Passwords::new(),
            clock,
            issuer: Arc::from("granary"),
            outbound: Outbound::default(),
            remotes: Remotes::default(),
            home: Arc::from("http://127.0.0.1:8080"),
        }
    }

    /// Replaces the clock by which people come and go: attempts, sessions and letters run by the machine's, also where the
    /// business clock stands still.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the name under which this house makes tokens; all replicas have the same.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str) -> Self {
        self.issuer = Arc::from(issuer);
        self
    }

    /// Replaces the way to identity providers.
    #[must_use]
    pub fn with_outbound(mut self, outbound: Outbound) -> Self {
        self.outbound = outbound;
        self
    }

    /// Replaces the address at which people reach this house, to which identity providers send them back.
    #[must_use]
    pub fn with_home(mut self, url: &str) -> Self {
        self.home = Arc::from(url.trim_end_matches('/'));
        self
    }

    pub(crate) fn home(&self) -> &str {
        &self.home
    }

    /// Returns the name under which this house makes tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns whoever a program's key or token stands for.
    ///
    /// # Errors
    /// [`AccessError::KeyRefused`] and [`AccessError::TokenRefused`], with what is wrong.
    pub fn program<'a>(&'a self, text: &'a str) -> Boxed<'a, Result<Principal, AccessError>> {
        if jwt::is_token(text) { self.bearer(text) } else { self.key(text) }
    }

    /// Makes a user.
    ///
    /// # Errors
    /// When the e-mail address is taken or no address, the password is not good enough, or the role does not fit the MSP and
    /// customer given.
    pub fn create_user<'a>(&'a self, user: &'a NewUser) -> Boxed<'a, Result<UserId, AccessError>> {
        Box::pin(async move {
            check(user)?;
            check_password(user.password.reveal(), &user.email)?;
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

    pub(crate) const fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// The business clock: whether a customer's doors are open.
    pub(crate) fn now(&self) -> Timestamp {
        self.tenants.clock().now()
    }

    /// The clock of people and programs.
    pub fn instant(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn begin(&self) -> Result<AccessTx, AccessError> {
        Ok(self.tenants.begin_access().await?)
    }
}

/// Refuses a user whose role, MSP, customer and address do not fit together.
pub(crate) fn check(user: &NewUser) -> Result<(), AccessError> {
    let (name, domain) = user.email.trim().split_once('@').unwrap_or_default();
    let is_odd = user.email.trim().chars().any(|letter| letter.is_whitespace() || letter.is_control() || "<>,;\"".contains(letter));
    if name.is_empty() || domain.is_empty() || domain.contains('@') || is_odd || user.email.len() > 254 {
        return Err(AccessError::InvalidUser("the e-mail address needs a name, an '@' and a domain"));
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

/// Refuses customers that are not the user's MSP's.
pub(crate) async fn check_customers(tx: &Tx, user: &NewUser) -> Result<(), AccessError> {
    let mut named: Vec<CustomerId> = user.granted.iter().flatten().copied().chain(user.customer_id).collect();
    named.sort_unstable();
    if named.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(AccessError::InvalidUser("a customer is granted twice"));
    }
    let known = store::people::count_customers(tx, user.msp_id, &named).await?;
    if usize::try_from(known) == Ok(named.len()) { Ok(()) } else { Err(AccessError::UnknownCustomer("of the list".to_owned())) }
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
