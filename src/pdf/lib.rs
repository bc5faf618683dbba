//! Documents: the rendering port of `reports`, by Typst in this process.
//!
//! Owns the templates, the fonts and the conformance of what comes out (PDF/A-3a and PDF/UA-1 at once, tagged, all fonts
//! embedded). A template sees one file, the report as JSON, and its charts: there is no file system, no package and no
//! network behind it, and data is never formatted into markup. The same report gives the same bytes.
//! Not done here: what a report says (`reports`).

mod view;
mod words;
mod world;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use granary_reports::{MonthlyReport, RenderError, Renderer};
use typst::diag::SourceDiagnostic;
use typst::foundations::{Datetime, Smart};
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards, Timestamp};

use crate::view::MonthlyView;
use crate::words::Letters;
use crate::world::{Shared, TemplateWorld};

const MONTHLY: &str = include_str!("templates/monthly.typ");
/// For so many documents after its last use a layout is remembered.
const MEMORY: usize = 4;

/// Renders reports with Typst; clones share fonts and library.
#[derive(Debug, Clone)]
pub struct TypstRenderer {
    shared: Arc<Shared>,
}

impl TypstRenderer {
    /// Loads the fonts and the library, a few milliseconds of work.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared::new()) }
    }

    /// Renders many reports on a bounded number of threads; results stand in the order of the reports.
    pub fn render_all(&self, reports: &[MonthlyReport], threads: NonZeroUsize) -> Vec<Result<Vec<u8>, RenderError>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(reports.len()));
        std::thread::scope(|scope| {
            for _ in 0..threads.get().min(reports.len()) {
                scope.spawn(|| {
                    while let Some((index, report)) = take(&next, reports) {
                        let rendered = self.render_monthly(report);
                        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, rendered));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_unstable_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, rendered)| rendered).collect()
    }

    fn compile(&self, report: &MonthlyReport, view: &MonthlyView) -> Result<Vec<u8>, RenderError> {
        let name = || format!("{} {}", report.customer.code, report.period);
        let data = serde_json::to_vec(view).map_err(|error| RenderError::Data { report: name(), detail: error.to_string() })?;
        let world = TemplateWorld::new(Arc::clone(&self.shared), MONTHLY, data);
        let layout = |errors: &[SourceDiagnostic]| RenderError::Layout { report: name(), detail: summary(errors) };
        let document = typst::compile(&world).output.map_err(|errors| layout(&errors))?;
        let standards = PdfStandards::new(&[PdfStandard::A_3a, PdfStandard::Ua_1])
            .map_err(|error| RenderError::Layout { report: name(), detail: error.message().to_string() })?;
        let options = PdfOptions {
            ident: Smart::Custom(format!("granary monthly {} {} {}", report.msp.name, report.customer.code, report.period)),
            creator: Smart::Custom(Some("Granary".to_owned())),
            timestamp: created_at(report.as_of),
            standards,
            ..PdfOptions::default()
        };
        typst_pdf::pdf(&document, &options).map_err(|errors| layout(&errors))
    }
}

impl Default for TypstRenderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer for TypstRenderer {
    fn render_monthly(&self, report: &MonthlyReport) -> Result<Vec<u8>, RenderError> {
        let mut rendered = self.compile(report, &MonthlyView::of(report, &self.shared, Letters::Drawable));
        // A logo is foreign markup, and some scripts cannot be shaped: a plainer report is better than none.
        if rendered.is_err() {
            rendered = self.compile(report, &MonthlyView::of(report, &self.shared, Letters::Plain)).or(rendered);
        }
        // Typst remembers every layout; without this each document leaves some 6 MB behind. What the next few use again is kept.
        comemo::evict(MEMORY);
        rendered
    }
}

fn take<'a>(next: &AtomicUsize, reports: &'a [MonthlyReport]) -> Option<(usize, &'a MonthlyReport)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    reports.get(index).map(|report| (index, report))
}

/// The document's date is the report's, so that the same report gives the same bytes.
fn created_at(at: jiff::Timestamp) -> Option<Timestamp> {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let unsigned = |value: i8| u8::try_from(value).ok();
    let (month, day) = (unsigned(at.month())?, unsigned(at.day())?);
    let (hour, minute, second) = (unsigned(at.hour())?, unsigned(at.minute())?, unsigned(at.second())?);
    Datetime::from_ymd_hms(at.year().into(), month, day, hour, minute, second).map(Timestamp::new_utc)
}

fn summary(errors: &[SourceDiagnostic]) -> String {
    let messages: Vec<_> = errors.iter().take(3).map(|error| error.message.to_string()).collect();
    messages.join("; ")
}
