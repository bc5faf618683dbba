//! The rows of what the warehouse is asked, and of what there is to ask about.

use axum::routing::{get, post};
use granary_access::Permission;

use super::{Gate, Route, act, read};
use crate::{api, pages};

pub(super) const ROWS: &[Route] = &[
    act("/api/v1/msp/query", Gate::Api(Permission::Sql), r#"{"sql": "show tables"}"#, || post(api::query::ask)),
    read("/warehouse", Gate::Page(Permission::Sql), "/warehouse", None, || get(pages::models::list)),
    read("/warehouse/{model}", Gate::Page(Permission::Sql), "/warehouse/customer_months", None, || get(pages::models::show)),
];
