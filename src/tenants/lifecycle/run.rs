//! Advancing and withdrawing operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use granary_foundation::Boxed;
use granary_types::{CustomerId, MspId};
use jiff::{Timestamp, ToSpan};

use super::provision::{KeysStep, OpenStep, SiloStep};
use super::step::{Extent, LifecycleStep, Operation, StepFailure, Subject};
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::store;

/// An operation that was entered and has not ended.
#[derive(Debug, Clone)]
pub struct OpenRun {
    pub customer_id: CustomerId,
    pub msp_id: MspId,
    pub operation: Operation,
    /// Whether it is being withdrawn.
    pub is_back: bool,
    pub reason: Option<String>,
    pub updated_at: Timestamp,
    pub last_error: Option<String>,
}

/// The ordered steps of every operation. The root registers what rooms implement; the tenants' own steps come first.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    tenants: Tenants,
    steps: BTreeMap<Operation, Vec<Arc<dyn LifecycleStep>>>,
}

impl Lifecycle {
    /// Returns the operations with the steps of this room alone.
    pub fn new(tenants: Tenants) -> Self {
        let mut steps: BTreeMap<Operation, Vec<Arc<dyn LifecycleStep>>> = BTreeMap::new();
        steps.insert(Operation::Provision, vec![Arc::new(SiloStep), Arc::new(KeysStep), Arc::new(OpenStep)]);
        Self { tenants, steps }
    }

    /// Adds a step at the end of an operation; of provisioning, before the customer is opened.
    #[must_use]
    pub fn with(mut self, operation: Operation, step: impl LifecycleStep + 'static) -> Self {
        let steps = self.steps.entry(operation).or_default();
        let end = if operation == Operation::Provision { steps.len().saturating_sub(1) } else { steps.len() };
        steps.insert(end, Arc::new(step));
        self
    }

    /// Replaces every step by what `wrap` makes of it: a test stops it, a log times it.
    #[must_use]
    pub fn wrapped(mut self, wrap: impl Fn(Arc<dyn LifecycleStep>) -> Arc<dyn LifecycleStep>) -> Self {
        for steps in self.steps.values_mut() {
            *steps = std::mem::take(steps).into_iter().map(&wrap).collect();
        }
        self
    }

    /// Returns the catalog that the operations work on.
    pub const fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Returns the steps of an operation, in order.
    pub fn steps(&self, operation: Operation) -> &[Arc<dyn LifecycleStep>] {
        self.steps.get(&operation).map_or(&[], Vec::as_slice)
    }

    /// Does what is left of an operation that was entered. Each step is verified before it counts as done.
    ///
    /// # Errors
    /// When a step fails, with its name; or when the operation is being withdrawn.
    pub fn advance<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let done = self.tenants.done_steps(subject).await?;
            for step in self.steps(subject.operation) {
                if done.iter().any(|name| name == step.name()) {
                    continue;
                }
                let outcome = perform(step.as_ref(), subject).await;
                self.tenants.note_failure(subject, outcome.as_ref().err()).await?;
                outcome?;
                if !self.tenants.note_done(subject, step.name()).await? {
                    // It is being withdrawn meanwhile, perhaps past this step already.
                    step.undo(subject).await.map_err(|failure| failed(step.as_ref(), subject, failure))?;
                    return Err(TenantsError::Withdrawn(subject.operation));
                }
            }
            self.tenants.end_run(subject).await
        })
    }

    /// Takes an operation back: from now on nobody advances it, and its steps are undone from the last to the first. A
    /// customer that was being provisioned is struck from the catalog then.
    ///
    /// # Errors
    /// When the operation has ended, is an erasure, or a step cannot be undone; withdrawn again it goes on.
    pub fn withdraw<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            if subject.operation == Operation::Erase {
                return Err(TenantsError::Irrevocable);
            }
            self.tenants.turn_back(subject).await?;
            for step in self.steps(subject.operation).iter().rev() {
                let outcome = undo(step.as_ref(), subject).await;
                self.tenants.note_failure(subject, outcome.as_ref().err()).await?;
                outcome?;
                self.tenants.note_undone(subject, step.name()).await?;
            }
            match subject.operation {
                Operation::Provision => self.tenants.strike(subject.customer.id).await,
                Operation::Suspend | Operation::Resume | Operation::Close | Operation::Erase => self.tenants.end_run(subject).await,
            }
        })
    }

    /// Goes on with every operation that nobody has touched for a minute; returns those that failed again.
    ///
    /// # Errors
    /// When the control schema cannot be read.
    pub fn take_up<'a>(&'a self) -> Boxed<'a, Result<Vec<(OpenRun, TenantsError)>, TenantsError>> {
        Box::pin(async move {
            let before = self.tenants.clock().now().checked_sub(1.minute()).unwrap_or(Timestamp::MIN);
            let mut failed = Vec::new();
            for run in self.tenants.open_runs().await?.into_iter().filter(|run| run.updated_at < before) {
                let outcome = async {
                    let subject = self.subject(&run).await?;
                    if run.is_back { self.withdraw(&subject).await } else { self.advance(&subject).await }
                };
                if let Err(error) = outcome.await {
                    failed.push((run, error));
                }
            }
            Ok(failed)
        })
    }

    async fn subject(&self, run: &OpenRun) -> Result<Subject, TenantsError> {
        let msp = self.tenants.get_msp(run.msp_id).await?;
        let customer = self.tenants.customer_on_its_way(run.customer_id).await?;
        Ok(Subject { tenants: self.tenants.clone(), msp, customer, operation: run.operation, reason: run.reason.clone() })
    }
}

async fn perform(step: &dyn LifecycleStep, subject: &Subject) -> Result<(), TenantsError> {
    let wrap = |failure| failed(step, subject, failure);
    step.perform(subject).await.map_err(wrap)?;
    match step.verify(subject).await.map_err(wrap)? {
        Extent::Whole => Ok(()),
        extent @ (Extent::Nothing | Extent::Part) => {
            Err(TenantsError::StepIncomplete { operation: subject.operation, step: step.name(), extent })
        }
    }
}

async fn undo(step: &dyn LifecycleStep, subject: &Subject) -> Result<(), TenantsError> {
    let wrap = |failure| failed(step, subject, failure);
    step.undo(subject).await.map_err(wrap)?;
    match step.verify(subject).await.map_err(wrap)? {
        Extent::Nothing => Ok(()),
        extent @ (Extent::Whole | Extent::Part) => {
            Err(TenantsError::StepIncomplete { operation: subject.operation, step: step.name(), extent })
        }
    }
}

fn failed(step: &dyn LifecycleStep, subject: &Subject, StepFailure(cause): StepFailure) -> TenantsError {
    TenantsError::Step { operation: subject.operation, step: step.name(), cause }
}

impl Tenants {
    /// Lists the operations that were entered and have not ended, the oldest first.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn open_runs<'a>(&'a self) -> Boxed<'a, Result<Vec<OpenRun>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let runs = store::list_open_runs(&tx).await?;
            tx.commit().await?;
            Ok(runs)
        })
    }

    async fn customer_on_its_way(&self, id: CustomerId) -> Result<Customer, TenantsError> {
        let tx = self.begin_catalog().await?;
        let customer = store::get_customer_on_its_way(&tx, id).await?;
        tx.commit().await?;
        Ok(customer)
    }

    async fn done_steps(&self, subject: &Subject) -> Result<Vec<String>, TenantsError> {
        let tx = self.begin_catalog().await?;
        let done = store::list_steps_done(&tx, subject.customer.id, subject.operation).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// False when the operation is being withdrawn.
    async fn note_done(&self, subject: &Subject, step: &str) -> Result<bool, TenantsError> {
        let tx = self.begin_catalog().await?;
        store::forget_at_worst(&tx).await?;
        let is_forward = store::touch_run_forward(&tx, subject.customer.id, subject.operation).await?;
        if is_forward {
            store::upsert_step(&tx, subject.customer.id, subject.operation, step, "done").await?;
        }
        tx.commit().await?;
        Ok(is_forward)
    }

    async fn note_undone(&self, subject: &Subject, step: &str) -> Result<(), TenantsError> {
        let tx = self.begin_catalog().await?;
        store::upsert_step(&tx, subject.customer.id, subject.operation, step, "undone").await?;
        Ok(tx.commit().await?)
    }

    async fn note_failure(&self, subject: &Subject, failure: Option<&TenantsError>) -> Result<(), TenantsError> {
        let Some(failure) = failure else { return Ok(()) };
        let tx = self.begin_catalog().await?;
        store::update_run_failure(&tx, subject.customer.id, subject.operation, &failure.to_string()).await?;
        Ok(tx.commit().await?)
    }

    async fn end_run(&self, subject: &Subject) -> Result<(), TenantsError> {
        let tx = self.begin_catalog().await?;
        store::forget_at_worst(&tx).await?;
        store::update_run_ended(&tx, subject.customer.id, subject.operation).await?;
        Ok(tx.commit().await?)
    }

    async fn turn_back(&self, subject: &Subject) -> Result<(), TenantsError> {
        let tx = self.begin_catalog().await?;
        if !store::update_run_back(&tx, subject.customer.id, subject.operation).await? {
            return Err(TenantsError::NothingToWithdraw(subject.operation));
        }
        Ok(tx.commit().await?)
    }

    /// Takes a customer that never was opened out of the catalog.
    async fn strike(&self, customer: CustomerId) -> Result<(), TenantsError> {
        let tx = self.begin_catalog().await?;
        store::delete_customer(&tx, customer).await?;
        Ok(tx.commit().await?)
    }
}
