//! Retention: rows that are older than a rule keeps them go, in Postgres and in the lake.
//!
//! A mark in the control schema says what goes before anything does. Rows go by the day, so many in a transaction that notes it
//! in the customer's audit log; a month of the lake goes when it is wholly past, first from the current version, then for ever.
//! The month in which the day lies is written anew by the next export. Killed anywhere, the next run goes on.
//!
//! A legal hold stops it for the customer, between any two transactions; a move under way likewise. Whatever a rule says, nothing
//! goes that a period needs which is not closed.

use std::sync::Arc;

use granary_db::{AuditEntry, record_audit};
use granary_foundation::{Boxed, SharedProgress};
use granary_tenants::{LettingGo, Msp, MspTx, TenantScope, list_retention_rules, put_retention_rule};
use granary_types::{CustomerCode, CustomerStatus, Least, LetGo, Period, Retained, day_of};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::lake::{ACTOR, Lake};
use crate::manifest::FileOwner;
use crate::{LakeError, store};

/// Rows that go in one transaction.
const ROWS_AT_ONCE: u32 = 10_000;
/// No rule keeps longer; what should stay longer stays for ever.
const MOST_DAYS: i32 = 36_600;
/// What proves invoices is needed for a year's reports and scores, however short the law is.
const LEAST_DAYS: i32 = 400;
/// No year has more.
const DAYS_OF_A_YEAR: i32 = 366;

/// The rules of retention and whoever follows them; clones share everything.
#[derive(Debug, Clone)]
pub struct Retention {
    lake: Lake,
    retained: Arc<[Retained]>,
    /// As long as the law wants invoices.
    invoice_days: i32,
}

/// How long a dataset is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    pub dataset: &'static str,
    /// None for ever.
    pub keep_days: Option<i32>,
    /// No rule keeps less, because of `because`.
    pub least_days: i32,
    pub because: &'static str,
}

/// Whether anything really goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letting {
    /// Only what would go is counted.
    Counted,
    Done,
}

/// What went of a customer's dataset, would go, or was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WentOrHeld {
    pub customer_code: CustomerCode,
    pub dataset: &'static str,
    /// The first day that is kept.
    pub kept_from: Date,
    pub rows: u64,
    /// Files of the lake, of all versions.
    pub files: u64,
    /// A legal hold stands, or the silo is on its way to another place: what is counted stays.
    pub is_held: bool,
    /// Why it could not be finished; it goes on next time.
    pub error: Option<String>,
}

impl Retention {
    /// Returns the retention of a lake; `retained` are the datasets of all rooms for which there may be rules.
    pub fn new(lake: Lake, retained: &[Retained], invoice_years: i16) -> Self {
        Self { lake, retained: retained.into(), invoice_days: (i32::from(invoice_years) * DAYS_OF_A_YEAR).clamp(LEAST_DAYS, MOST_DAYS) }
    }

    fn find(&self, dataset: &str) -> Result<&Retained, LakeError> {
        let known = || self.retained.iter().map(|retained| retained.dataset).collect::<Vec<_>>().join(", ");
        let found = self.retained.iter().find(|retained| retained.dataset == dataset);
        found.ok_or_else(|| LakeError::NoRetention(dataset.chars().take(60).collect(), known()))
    }

    fn kept(&self, retained: &Retained, keep_days: Option<i32>) -> Kept {
        let (least_days, because) = match retained.least {
            Least::Days(days, because) => (days, because),
            Least::AsInvoices => (self.invoice_days, "it proves invoices, and the law wants those so long"),
        };
        Kept { dataset: retained.dataset, keep_days, least_days, because }
    }

    /// Lists every dataset for which there may be a rule, and the rule.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list<'a>(&'a self, tx: &'a MspTx) -> Boxed<'a, Result<Vec<Kept>, LakeError>> {
        Box::pin(async move {
            let rules = list_retention_rules(tx).await?;
            let days = |dataset: &str| rules.iter().find(|rule| rule.dataset == dataset).map(|rule| rule.keep_days);
            Ok(self.retained.iter().map(|retained| self.kept(retained, days(retained.dataset))).collect())
        })
    }

    /// Sets for how many days an MSP keeps a dataset; none for ever.
    ///
    /// # Errors
    /// When nobody lets rows of the dataset go, or somebody needs them longer.
    pub fn put<'a>(&'a self, tx: &'a MspTx, dataset: &'a str, keep_days: Option<i32>) -> Boxed<'a, Result<Kept, LakeError>> {
        Box::pin(async move {
            let kept = self.kept(self.find(dataset)?, keep_days);
            let (dataset, least_days) = (kept.dataset, kept.least_days);
            if let Some(keep_days) = keep_days.filter(|days| *days < least_days) {
                return Err(LakeError::KeepsTooShort { dataset, keep_days, least_days, because: kept.because });
            }
            if let Some(keep_days) = keep_days.filter(|days| *days > MOST_DAYS) {
                return Err(LakeError::KeepsTooLong { dataset, keep_days, most_days: MOST_DAYS });
            }
            put_retention_rule(tx, dataset, keep_days).await?;
            Ok(kept)
        })
    }

    /// Follows an MSP's rules; from `open_from` on everything is kept, because a period needs it that is not closed. A customer
    /// whose rows cannot go stops nobody else's.
    ///
    /// # Errors
    /// When the rules or the catalog cannot be read.
    pub fn run<'a>(
        &'a self,
        msp: &'a Msp,
        open_from: Date,
        letting: Letting,
        progress: SharedProgress,
    ) -> Boxed<'a, Result<Vec<WentOrHeld>, LakeError>> {
        Box::pin(async move {
            let tx = self.lake.begin(msp).await?;
            let kept = self.list(&tx).await?;
            tx.commit().await?;
            let today = day_of(self.lake.tenants().clock().now(), &TimeZone::UTC);
            // A rule may be older than what its dataset is needed for now.
            let due = kept.iter().filter_map(|kept| Some((kept.dataset, kept.keep_days?.max(kept.least_days))));
            let due: Vec<_> = due.map(|(dataset, days)| (dataset, today.saturating_sub(days.days()).min(open_from))).collect();
            if due.is_empty() {
                return Ok(Vec::new());
            }
            let customers = self.lake.tenants().list_customers(msp.id).await?;
            progress.begin("retention", customers.len() as u64);
            let mut went = Vec::new();
            for customer in customers.into_iter().filter(|customer| customer.status != CustomerStatus::Erased) {
                let scope = TenantScope::for_job(msp.clone(), customer, ACTOR);
                for (dataset, kept_from) in &due {
                    went.extend(self.follow(&scope, self.find(dataset)?, *kept_from, letting).await);
                }
                progress.advance(1);
            }
            progress.end();
            Ok(went)
        })
    }

    /// Follows one rule for one customer; none when there was nothing to do.
    async fn follow(&self, scope: &TenantScope, retained: &Retained, kept_from: Date, letting: Letting) -> Option<WentOrHeld> {
        let mut went = WentOrHeld {
            customer_code: scope.customer.code.clone(),
            dataset: retained.dataset,
            kept_from,
            rows: 0,
            files: 0,
            is_held: false,
            error: None,
        };
        let outcome = match letting {
            Letting::Counted => self.count(scope, retained, &mut went).await,
            Letting::Done => self.let_go(scope, retained, &mut went).await,
        };
        if let Err(error) = outcome {
            tracing::error!(tenant.id = %scope.customer.id, dataset = retained.dataset, %error, "old rows could not go");
            went.error = Some(error.to_string());
        }
        (went.rows > 0 || went.files > 0 || went.error.is_some()).then_some(went)
    }

    async fn count(&self, scope: &TenantScope, retained: &Retained, went: &mut WentOrHeld) -> Result<(), LakeError> {
        let tx = self.lake.tenants().begin_tenant(scope).await?;
        let rows: i64 = tx.query_one(retained.count, &[&went.kept_from]).await?.get(0);
        tx.commit().await?;
        let tx = self.lake.begin(&scope.msp).await?;
        went.files = store::list_old(&tx, scope.customer.id, retained.dataset, Period::of(went.kept_from)).await?.len() as u64;
        tx.commit().await?;
        went.rows = rows.cast_unsigned();
        went.is_held = self.lake.tenants().hold_on(scope.customer.id).await?.is_some();
        Ok(())
    }

    async fn let_go(&self, scope: &TenantScope, retained: &Retained, went: &mut WentOrHeld) -> Result<(), LakeError> {
        let tenants = self.lake.tenants();
        self.count(scope, retained, went).await?;
        if went.rows == 0 && went.files == 0 {
            return Ok(());
        }
        let (statement, is_owner) = match retained.let_go {
            LetGo::ByTenant(statement) => (statement, false),
            LetGo::ByOwner(statement) => (statement, true),
        };
        let what = LettingGo { dataset: retained.dataset, statement, kept_from: went.kept_from, most: ROWS_AT_ONCE.into() };
        let mut gone = 0;
        loop {
            if !tenants.mark_retention(scope.customer.id, retained.dataset, went.kept_from).await? {
                went.is_held = true;
                return Ok(());
            }
            let batch = if is_owner {
                tenants.let_go_as_owner(scope, what).await?
            } else {
                let tx = tenants.begin_tenant(scope).await?;
                let batch = tx.let_go(what).await?;
                tx.commit().await?;
                batch
            };
            gone += batch;
            if batch < u64::from(ROWS_AT_ONCE) {
                break;
            }
        }
        (went.rows, went.files) = (gone, 0);
        went.files = self.drop_months(scope, retained.dataset, Period::of(went.kept_from)).await?;
        Ok(())
    }

    /// Drops the months of a customer's dataset before one: from the current version, then their files of all versions.
    async fn drop_months(&self, scope: &TenantScope, dataset: &str, before: Period) -> Result<u64, LakeError> {
        let (msp, customer) = (&scope.msp, scope.customer.id);
        let owner = FileOwner { msp: msp.id, customer: Some(customer) };
        let tx = self.lake.begin(msp).await?;
        if store::list_old(&tx, customer, dataset, before).await?.is_empty() {
            tx.commit().await?;
            return Ok(0);
        }
        // An export that looked before the rows went may no longer commit: it would bring the months back.
        store::begin_export(&tx, owner.id(), msp.id, Uuid::now_v7(), tx.now()).await?;
        let version = store::lock_head(&tx, msp.id).await? + 1;
        let paths = store::list_old(&tx, customer, dataset, before).await?;
        if store::remove_old(&tx, customer, dataset, before, version).await? > 0 {
            store::insert_version(&tx, msp.id, version, Some(customer), "retention").await?;
        }
        let entry = AuditEntry {
            msp: Some(msp.id),
            customer: Some(customer),
            actor: scope.actor.to_string(),
            action: "retention.files".to_owned(),
            subject: format!("customer:{}", scope.customer.code),
            detail: json!({"dataset": dataset, "months_before": before, "files": paths.len()}),
            reason: None,
        };
        record_audit(&tx, &entry).await?;
        tx.commit().await?;
        // Objects first: a row without its object is found again, an object without its row is not.
        for path in &paths {
            self.lake.objects().delete(path).await?;
        }
        let tx = self.lake.begin(msp).await?;
        store::delete_old(&tx, customer, &paths).await?;
        tx.commit().await?;
        self.lake.snapshots().clear();
        Ok(paths.len() as u64)
    }
}
