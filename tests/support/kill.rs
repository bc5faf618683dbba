//! Kills an operation before, in and after a step, as a process that ends there would.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use granary_foundation::Boxed;
use granary_tenants::{Extent, Lifecycle, LifecycleStep, StepFailure, Subject};
use tokio::sync::Notify;

/// Where in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    Before,
    /// After this many polls of its future, wherever that is.
    In(u32),
    After,
}

impl Kill {
    /// Before, after, and ever further inside.
    pub const EVERYWHERE: [Self; 9] =
        [Self::Before, Self::In(1), Self::In(2), Self::In(3), Self::In(5), Self::In(8), Self::In(13), Self::In(21), Self::After];
}

/// A step that lets nobody past a place.
#[derive(Debug)]
struct Deadly {
    inner: Arc<dyn LifecycleStep>,
    kill: Kill,
    reached: Arc<Notify>,
}

impl Deadly {
    async fn run<'a>(&'a self, mut work: Boxed<'a, Result<(), StepFailure>>) -> Result<(), StepFailure> {
        match self.kill {
            Kill::Before => {}
            Kill::After => {
                work.await?;
            }
            Kill::In(polls) => {
                let mut left = polls;
                let ended = poll_fn(|context| {
                    if left == 0 {
                        return Poll::Ready(None);
                    }
                    left -= 1;
                    work.as_mut().poll(context).map(Some)
                })
                .await;
                if let Some(outcome) = ended {
                    outcome?;
                }
            }
        }
        self.reached.notify_one();
        // Whatever was begun lies there, unfinished, until the whole operation is dropped.
        pending().await
    }
}

impl LifecycleStep for Deadly {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(self.run(self.inner.perform(subject)))
    }

    fn undo<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(self.run(self.inner.undo(subject)))
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        self.inner.verify(subject)
    }
}

fn deadly(lifecycle: &Lifecycle, step: &'static str, kill: Kill) -> (Lifecycle, Arc<Notify>) {
    let reached = Arc::new(Notify::new());
    let at = Arc::clone(&reached);
    let wrapped = lifecycle
        .clone()
        .wrapped(move |inner| if inner.name() == step { Arc::new(Deadly { inner, kill, reached: Arc::clone(&at) }) } else { inner });
    (wrapped, reached)
}

/// Advances an operation and kills it at a step.
pub async fn advance_killed(lifecycle: &Lifecycle, subject: &Subject, step: &'static str, kill: Kill) {
    let (deadly, reached) = deadly(lifecycle, step, kill);
    let advance = deadly.advance(subject);
    tokio::select! {
        outcome = advance => panic!("'{step}' was never reached: {outcome:?}"),
        () = reached.notified() => {}
    }
}

/// Withdraws an operation and kills that at a step.
pub async fn withdraw_killed(lifecycle: &Lifecycle, subject: &Subject, step: &'static str, kill: Kill) {
    let (deadly, reached) = deadly(lifecycle, step, kill);
    let withdraw = deadly.withdraw(subject);
    tokio::select! {
        outcome = withdraw => panic!("'{step}' was never reached: {outcome:?}"),
        () = reached.notified() => {}
    }
}

/// Looks what of an operation is there, step by step, without trusting its progress.
pub async fn extents(lifecycle: &Lifecycle, subject: &Subject) -> Vec<(&'static str, Extent)> {
    let mut found = Vec::new();
    for step in lifecycle.steps(subject.operation) {
        let extent = step.verify(subject).await.unwrap();
        found.push((step.name(), extent));
    }
    found
}
