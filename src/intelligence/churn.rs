//! Who is about to give notice, how sure that is, and why.
//!
//! The label is the day of notice within 90 days after the scoring date, which is a period's last day; only customers at
//! risk on that date count, features come only from before it. Models are trained on earlier months and tested on later
//! ones, with 90 days between. How much may be learned depends on how many departures there were: under 20 a fixed rule is
//! in charge and what could be learned stands beside it; from 20 on a logistic model on the five health factors that is
//! *held* to the rule; above 100 a logistic model (linfa) on more features. Probabilities are calibrated; reasons add up to
//! the log-odds.

mod calibration;
mod evaluate;
mod features;
mod held;
mod learned;
mod linear;
mod model;
mod split;
#[cfg(test)]
mod tests;

pub use calibration::Calibration;
pub use evaluate::{Evaluation, ModelQuality, evaluate};
pub use features::{Feature, Row, rows};
pub use linear::{LinearModel, Scale};
pub use model::{Calibrated, ChurnModel, Evidence, ModelKind, NOTHING_STANDS_OUT, Reason, Score, TOLD_FROM_LOG_ODDS, train};
pub use split::{LABEL_DAYS, Split, split};
