//! What a report says, and the charts that it says it with.
//!
//! Owns the shape of the monthly report ([`monthly::MonthlyReport`], plain data), the one renderer of charts for page and
//! print ([`charts`]) and the port through which a report becomes a document ([`Renderer`]).
//! Reports for customers never contain wholesale, margin, health or churn: their shape has no field for them.
//! Not done here: layout on paper (`pdf`), pages (`web`), and any arithmetic on money beyond comparing two months.

pub mod charts;
mod error;
pub mod monthly;
mod renderer;
mod share;
mod store;

pub use error::ReportError;
pub use monthly::MonthlyReport;
pub use renderer::{RenderError, Renderer};
pub use share::{level, share};
