//! `GET /`: each visitor's own first page.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use granary_access::Permission;
use maud::html;

use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::overview::{self, PeriodQuery};

/// The portfolio for the MSP, their own page for a customer's people, the list of MSPs for the operator.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Problem> {
    if visitor.may(Permission::PortfolioRead) {
        return Ok(overview::show(&app, &visitor, &query).await?.into_response());
    }
    if visitor.principal.only_customer().is_some() {
        let scope = app.access.own_scope(&visitor.principal).await?;
        return Ok(Redirect::to(&format!("/customers/{}", scope.customer.code)).into_response());
    }
    visitor.principal.require(Permission::InstallationRead)?;
    installation(&app, &visitor).await
}

/// What the operator sees: who is there. What is inside needs a reason and leaves a trace.
async fn installation(app: &AppState, visitor: &Visitor) -> Result<Response, Problem> {
    let msps = app.tenants.list_msps().await?;
    let note = html! { "What an MSP's customers store is not shown here: reading it needs a reason and is written down." };
    let body = html! {
        (layout::head(&[], "Installation", &note, &html! {}))
        section.card {
            div.scroll tabindex="0" {
                table {
                    thead { tr { th scope="col" { "MSP" } th scope="col" { "Code" } th scope="col" { "Time zone" } th scope="col" { "Currency" } th scope="col" { "Partner tier" } } }
                    tbody {
                        @for msp in &msps {
                            tr {
                                th scope="row" { (msp.name) }
                                td { (msp.code) }
                                td { (msp.time_zone.iana_name().unwrap_or("UTC")) }
                                td { (msp.currency) }
                                td { (msp.partner_tier) }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(visitor, Place::Overview, "Installation", &body).into_response())
}
