//! The port through which a report becomes a document.

use granary_types::{Classify, ErrorKind};

use crate::monthly::MonthlyReport;

/// Turns reports into documents; adapters live in rooms of their own.
pub trait Renderer: Send + Sync {
    /// Renders a monthly report as a PDF.
    ///
    /// # Errors
    /// When the report cannot be laid out or breaks a rule of the document standard.
    fn render_monthly(&self, report: &MonthlyReport) -> Result<Vec<u8>, RenderError>;
}

/// Why a report did not become a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The report does not serialise.
    #[error("the report of '{report}' cannot be passed on: {detail}")]
    Data { report: String, detail: String },
    /// The engine refused it.
    #[error("the report of '{report}' cannot be laid out: {detail}")]
    Layout { report: String, detail: String },
}

impl Classify for RenderError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Data { .. } => "report_data",
            Self::Layout { .. } => "report_layout",
        }
    }
}
