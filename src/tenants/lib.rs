//! The room `tenants`: who the MSPs and their customers are, on what terms, and how their data is reached.
//!
//! It owns the catalog (MSPs, customers, contracts, control planes), the life of a tenant's silo (schema, role, grants, keys,
//! migrations), and the three kinds of transaction: [`TenantTx`] (one customer's schema), [`MspTx`] (the control schema
//! under row-level security) and [`OperatorTx`] (audited, with a reason). Each is opened from a scope, a scope comes from
//! `access` or from a job, and there is no other way in.
//!
//! Not here: who somebody is (`access`), and what lies inside a tenant's tables (`metering`, `billing`).

mod audit;
mod catalog;
mod contract;
mod customer;
mod datasets;
mod error;
mod fleet;
mod grant;
mod hierarchy;
mod inspection;
mod leaving;
mod lifecycle;
mod listing;
mod msp;
mod person;
mod placement;
mod request;
mod retention;
mod scope;
mod silo;
mod store;
mod transaction;
mod watch;

pub use audit::{AuditFault, AuditFilter, AuditLine, AuditReport, Checkpoint, Cursor, list_audit, note};
pub use catalog::Tenants;
pub use contract::{Contract, ContractLimits, NewContract};
pub use customer::{ControlPlane, Customer, NewCustomer, StatusChange};
pub use datasets::DATASETS;
pub use error::TenantsError;
pub use fleet::{DriftReport, Drifted, FailedTenant, Fleet, FleetOptions, FleetReport, PlannedMigration, SchemaState, plan};
pub use grant::{Granted, ReadGrant};
pub use hierarchy::{
    Contact, ContactKind, Enforcement, Limits, NewContact, NewControlPlane, NewSite, Site, add_control_plane, add_site, agree_contract,
    get_limits, list_contracts_of, list_control_planes, list_sites, put_limits, retire_control_plane, retire_site,
};
pub use inspection::{Finding, Inspected, Inspection, Severity};
pub use leaving::{
    BeginErasure, BuryCustomer, Certificate, CertificateFault, DestroyKeys, DropSilo, Erasure, IssueCertificate, LegalHold, list_holds,
    release_hold, set_hold,
};
pub use lifecycle::{
    Change, CustomerActivated, CustomerClosed, CustomerErased, CustomerProvisioned, CustomerResumed, CustomerSuspended, Door, Extent,
    Lifecycle, LifecycleStep, OpenRun, Operation, Rule, Standing, StepFailure, Subject, TRANSITIONS, TRIAL_DAYS, Transition,
};
pub use listing::{CustomerFilter, list_customers};
pub use msp::{Msp, NewMsp};
pub use person::{Mention, PersonAddress, forget_contact_email, list_mentions};
pub use placement::{
    CloneAnswer, CloneSource, Cluster, ClusterStanding, Clusters, Drops, HOME, MoveReport, NewClone, PersonalData, Residency, Restored,
    SiloClone, Swap,
};
pub use request::{KeptAnswer, KeyedRequest};
pub use retention::{LettingGo, RetentionMark, RetentionRule, list_retention_rules, put_retention_rule};
pub use scope::{Actor, MspScope, OperatorScope, TenantScope};
pub use transaction::{AccessTx, MspTx, OperatorTx, TenantTx};
pub use watch::{ClusterWatch, DeadJob, JobCount, LastNight, MailCount, Outbox, Schemas, Trouble, TroubleKind, Watch};
