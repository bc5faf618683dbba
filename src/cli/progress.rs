//! Shows progress: a bar on a terminal, lines otherwise, and steps for the page that is served while the demo starts.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use granary_foundation::{Progress, SharedProgress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One phase of long work, as the starting page shows it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) is_finished: bool,
}

#[derive(Debug)]
struct Phase {
    name: String,
    done: u64,
    total: u64,
    started: Instant,
    finished_after: Option<f64>,
    bar: ProgressBar,
}

/// Draws on standard error and remembers every phase.
#[derive(Debug)]
pub(crate) struct Reporter {
    is_terminal: bool,
    is_quiet: bool,
    phases: Mutex<Vec<Phase>>,
}

impl Reporter {
    /// Returns a reporter for people: bars on a terminal, one line a phase otherwise.
    pub(crate) fn shared() -> Arc<Self> {
        Arc::new(Self { is_terminal: std::io::stderr().is_terminal(), is_quiet: false, phases: Mutex::default() })
    }

    /// Returns the phases so far, for the starting page.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        phases
            .iter()
            .map(|phase| Step {
                name: phase.name.clone(),
                done: phase.done,
                total: phase.total,
                is_finished: phase.finished_after.is_some(),
            })
            .collect()
    }

    /// Returns this reporter as the port that rooms know.
    pub(crate) fn port(self: &Arc<Self>) -> SharedProgress {
        Arc::<Self>::clone(self)
    }

    fn line(&self, text: &str) {
        if !self.is_terminal && !self.is_quiet {
            say!("{text}");
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:<34} {bar:30} {pos:>9}/{len} {elapsed:>4}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Reporter {
    fn begin(&self, name: &str, total: u64) {
        self.end();
        let target = if self.is_terminal && !self.is_quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style()).with_message(name.to_owned());
        let phase = Phase { name: name.to_owned(), done: 0, total, started: Instant::now(), finished_after: None, bar };
        self.phases.lock().unwrap_or_else(PoisonError::into_inner).push(phase);
    }

    fn advance(&self, steps: u64) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = phases.last_mut() {
            phase.done += steps;
            phase.bar.inc(steps);
        }
    }

    fn end(&self) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(phase) = phases.last_mut().filter(|phase| phase.finished_after.is_none()) else { return };
        let seconds = phase.started.elapsed().as_secs_f64();
        phase.finished_after = Some(seconds);
        phase.bar.finish();
        let text = match phase.total {
            0 => format!("{:<34} {seconds:7.1} s", phase.name),
            _ => format!("{:<34} {seconds:7.1} s  {}", phase.name, phase.done),
        };
        self.line(&text);
    }
}
