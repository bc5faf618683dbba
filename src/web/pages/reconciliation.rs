//! `GET /reconciliation`: usage counted a second time, against what was rated, invoiced and paid.

use axum::Extension;
use axum::response::Html;

use crate::http::{Problem, Visitor};

/// The page.
pub(crate) async fn show(Extension(_visitor): Extension<Visitor>) -> Result<Html<String>, Problem> {
    Err(Problem::not_found("reconciliation yet"))
}
