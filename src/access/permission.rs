//! Who may do what: one table.

use std::fmt;

use granary_tenants::Transition;
use granary_types::Role;

/// Something that a principal may do. Every page and route names the one it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// See the list of MSPs and the state of the installation.
    InstallationRead,
    /// Give the installation's dead jobs another life.
    InstallationWrite,
    /// See the MSP's portfolio: overview, customers, revenue, service levels.
    PortfolioRead,
    /// See the usage, machines and service levels of the granted customers.
    UsageRead,
    /// Download the monthly reports of the granted customers.
    ReportRead,
    /// See the invoices of the granted customers.
    InvoiceRead,
    /// See health, churn risk and expansion.
    IntelligenceRead,
    /// See wholesale, margin, statements.
    MarginRead,
    /// Compare usage, rated lines, invoices and payments.
    ReconciliationRead,
    /// Draft, approve and close months, and accept what stands against it.
    PeriodClose,
    /// Make customers, change their limits, contacts, sites and control planes, and look after their alerts.
    CustomerWrite,
    /// Agree on contracts.
    ContractWrite,
    /// Make a trial a customer, suspend and resume.
    CustomerSuspend,
    /// Close a customer.
    CustomerClose,
    /// Invite people, give and take roles, stop logins; never more than one holds oneself.
    UserWrite,
    /// Make keys for programs, replace and end them; never with more than one holds oneself.
    KeyWrite,
    /// Say which identity provider people come in through, and which of its groups have which role.
    SsoWrite,
    /// See who of the MSP and the operator opened a customer's data.
    AccessRead,
    /// Have a closed customer erased, and forbid and allow it.
    CustomerErase,
    /// Say how long rows are kept.
    RetentionWrite,
    /// Send usage events.
    UsageWrite,
    /// Ask the warehouse anything that the grant covers.
    Sql,
}

impl Permission {
    /// Every permission, in order.
    pub const ALL: &'static [Self] = &[
        Self::InstallationRead,
        Self::InstallationWrite,
        Self::PortfolioRead,
        Self::UsageRead,
        Self::ReportRead,
        Self::InvoiceRead,
        Self::IntelligenceRead,
        Self::MarginRead,
        Self::ReconciliationRead,
        Self::PeriodClose,
        Self::CustomerWrite,
        Self::ContractWrite,
        Self::CustomerSuspend,
        Self::CustomerClose,
        Self::UserWrite,
        Self::KeyWrite,
        Self::SsoWrite,
        Self::AccessRead,
        Self::CustomerErase,
        Self::RetentionWrite,
        Self::UsageWrite,
        Self::Sql,
    ];

    /// Returns the stable name, `usage.read`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InstallationRead => "installation.read",
            Self::InstallationWrite => "installation.write",
            Self::PortfolioRead => "portfolio.read",
            Self::UsageRead => "usage.read",
            Self::ReportRead => "reports.read",
            Self::InvoiceRead => "invoices.read",
            Self::IntelligenceRead => "intelligence.read",
            Self::MarginRead => "billing.read",
            Self::ReconciliationRead => "reconciliation.read",
            Self::PeriodClose => "periods.close",
            Self::CustomerWrite => "customers.write",
            Self::ContractWrite => "contracts.write",
            Self::CustomerSuspend => "customers.suspend",
            Self::CustomerClose => "customers.close",
            Self::UserWrite => "users.write",
            Self::KeyWrite => "keys.write",
            Self::SsoWrite => "sso.write",
            Self::AccessRead => "access.read",
            Self::CustomerErase => "customers.erase",
            Self::RetentionWrite => "retention.write",
            Self::UsageWrite => "usage.write",
            Self::Sql => "sql",
        }
    }

    /// Tells whether it belongs to the MSP or the operator, so that nobody of a customer ever has it.
    pub const fn is_an_msps(self) -> bool {
        match self {
            Self::InstallationRead
            | Self::InstallationWrite
            | Self::PortfolioRead
            | Self::IntelligenceRead
            | Self::MarginRead
            | Self::ReconciliationRead
            | Self::PeriodClose
            | Self::CustomerWrite
            | Self::ContractWrite
            | Self::CustomerSuspend
            | Self::CustomerClose
            | Self::CustomerErase
            | Self::RetentionWrite => true,
            Self::UsageRead
            | Self::ReportRead
            | Self::InvoiceRead
            | Self::UserWrite
            | Self::KeyWrite
            | Self::SsoWrite
            | Self::AccessRead
            | Self::UsageWrite
            | Self::Sql => false,
        }
    }

    /// Returns what a change of a customer's status asks for.
    pub const fn of_transition(transition: Transition) -> Self {
        match transition {
            Transition::Activate | Transition::Suspend | Transition::Resume => Self::CustomerSuspend,
            Transition::Close => Self::CustomerClose,
            Transition::Erase => Self::CustomerErase,
        }
    }

    /// Returns the permissions of a role. Margin is also given to a person by `can_read_billing`.
    pub const fn of_role(role: Role) -> &'static [Self] {
        match role {
            Role::OperatorAdmin => &[Self::InstallationRead, Self::InstallationWrite],
            Role::MspAdmin => &[
                Self::PortfolioRead,
                Self::UsageRead,
                Self::ReportRead,
                Self::InvoiceRead,
                Self::IntelligenceRead,
                Self::MarginRead,
                Self::ReconciliationRead,
                Self::PeriodClose,
                Self::CustomerWrite,
                Self::ContractWrite,
                Self::CustomerSuspend,
                Self::CustomerClose,
                Self::UserWrite,
                Self::KeyWrite,
                Self::SsoWrite,
                Self::AccessRead,
                Self::CustomerErase,
                Self::RetentionWrite,
                Self::Sql,
            ],
            Role::MspOperator => &[Self::PortfolioRead, Self::UsageRead, Self::ReportRead, Self::IntelligenceRead, Self::CustomerWrite],
            Role::MspAnalyst => &[Self::PortfolioRead, Self::UsageRead, Self::ReportRead, Self::IntelligenceRead, Self::Sql],
            Role::MspFinance => &[
                Self::PortfolioRead,
                Self::UsageRead,
                Self::ReportRead,
                Self::InvoiceRead,
                Self::MarginRead,
                Self::ReconciliationRead,
                Self::PeriodClose,
                Self::ContractWrite,
                Self::CustomerSuspend,
            ],
            Role::CustomerAdmin => {
                &[Self::UsageRead, Self::ReportRead, Self::InvoiceRead, Self::UserWrite, Self::KeyWrite, Self::SsoWrite, Self::AccessRead]
            }
            Role::CustomerBilling | Role::CustomerViewer => &[Self::UsageRead, Self::ReportRead, Self::InvoiceRead],
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_role_never_meets_what_belongs_to_the_msp() {
        for role in Role::ALL.iter().copied().filter(|role| role.is_customer()) {
            assert!(!Permission::of_role(role).iter().any(|permission| permission.is_an_msps()), "{role}");
        }
    }

    #[test]
    fn the_operator_reads_no_tenants_data_by_role() {
        assert_eq!(Permission::of_role(Role::OperatorAdmin), [Permission::InstallationRead, Permission::InstallationWrite]);
    }

    #[test]
    fn the_table_of_transitions_and_the_roles_say_the_same() {
        for rule in granary_tenants::TRANSITIONS {
            let permission = Permission::of_transition(rule.transition);
            for role in Role::ALL {
                let may = Permission::of_role(*role).contains(&permission);
                assert_eq!(may, rule.roles.contains(role), "{role} and {}", rule.transition.as_str());
            }
        }
    }

    #[test]
    fn no_person_sends_usage_events() {
        assert!(Role::ALL.iter().all(|role| !Permission::of_role(*role).contains(&Permission::UsageWrite)));
    }
}
