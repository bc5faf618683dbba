//! The guard in front of every route: it recognises the visitor and checks the permission that the route's row names.
//!
//! Handlers take a [`Visitor`] and check nothing again, but whose thing it is: that is what scopes are for.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use granary_access::{AccessError, Permission, Principal};
use granary_foundation::Secret;
use granary_tenants::{Msp, TenantScope};
use granary_types::{ErrorKind, SessionId};

use super::pace::Levels;
use super::{Problem, cookie};
use crate::AppState;
use crate::routes::Gate;

/// Whoever was let in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) principal: Principal,
    /// None for the operator.
    pub(crate) msp: Option<Msp>,
    /// The browser session; none for a program.
    pub(crate) session: Option<SessionId>,
    /// What forms send back; none for a program.
    csrf_token: Option<Secret>,
    /// Critical alerts that nobody has taken; the navigation of pages shows them.
    pub(crate) critical_alerts: i64,
}

impl Visitor {
    /// Returns the MSP.
    pub(crate) fn msp(&self) -> Result<&Msp, Problem> {
        self.msp.as_ref().ok_or_else(|| Problem::from(AccessError::Denied(Permission::PortfolioRead)))
    }

    /// Counts the critical alerts that nobody has taken, for those who look after customers.
    pub(crate) async fn count_alerts(&mut self, app: &AppState) -> Result<(), Problem> {
        if self.msp.is_some() && self.may(Permission::PortfolioRead) {
            let tx = app.tenants.begin_msp(&app.access.msp_scope(&self.principal).await?).await?;
            self.critical_alerts = granary_metering::count_alerts(&tx, &self.principal.read_grant()?.customers).await?.critical;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Returns the scope of one of the customers that it sees, and writes down that it was opened; what is no code is nobody's.
    pub(crate) async fn scope(&self, app: &AppState, code: &str) -> Result<TenantScope, Problem> {
        let code = code.parse().map_err(|_| Problem::not_found("such customer"))?;
        let scope = app.access.tenant_scope(&self.principal, &code).await?;
        app.access.note_opening(&self.principal, scope.customer.id).await?;
        Ok(scope)
    }

    /// Tells whether it may do something.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.principal.may(permission)
    }

    /// Returns what forms send back.
    pub(crate) fn csrf_token(&self) -> &str {
        self.csrf_token.as_ref().map_or("", Secret::reveal)
    }

    /// Returns the browser session that a page was asked for with.
    pub(crate) fn session(&self) -> Result<SessionId, Problem> {
        self.session.ok_or_else(|| Problem::from(AccessError::Unauthenticated))
    }

    /// Refuses a form that did not come from one of our pages.
    pub(crate) fn check_csrf(&self, sent: &str) -> Result<(), Problem> {
        if self.csrf_token.as_ref().is_some_and(|token| token.reveal() == sent) {
            Ok(())
        } else {
            Err(Problem::new(ErrorKind::Denied, "csrf_token_wrong", "the form is out of date; load the page again"))
        }
    }
}

/// What control planes deliver are facts: no limit of a customer refuses them, and nobody is charged for telling.
const DELIVERY: Gate = Gate::Api(Permission::UsageWrite);

/// Lets a request through its gate.
pub(crate) async fn check(State((app, gate)): State<(AppState, Gate)>, mut request: Request, next: Next) -> Response {
    if !is_safe(request.method()) && !comes_from_here(request.headers()) {
        return Problem::new(ErrorKind::Denied, "foreign_origin", "this form was sent by another site").into_response();
    }
    let permission = match gate {
        Gate::Open => return next.run(request).await,
        Gate::SignedIn | Gate::Program => None,
        Gate::Page(permission) | Gate::Api(permission) => Some(permission),
    };
    match recognise(&app, gate, permission, request.uri().path(), request.headers()).await {
        Ok(visitor) => {
            // People who look at pages are not counted: they come one click at a time.
            let levels = if gate.takes_programs() { app.pace.admit(&visitor.principal, gate == DELIVERY) } else { Ok(Levels::default()) };
            let (Ok(asked) | Err(asked)) = &levels;
            if let (Some(customer), Some(percent), Some(msp)) =
                (visitor.principal.only_customer(), asked.percent_of_customer(), &visitor.msp)
            {
                app.stir.note_api_use(&app.tenants, (msp, visitor.principal.actor()), customer, percent).await;
            }
            let levels = match levels {
                Ok(levels) => levels,
                Err(levels) => return levels.refusal(),
            };
            count_call(&app, gate, &visitor);
            request.extensions_mut().insert(visitor);
            let mut response = next.run(request).await;
            levels.tell(response.headers_mut());
            response
        }
        Err(Refusal::Stranger) if !gate.takes_programs() => {
            let target = request.uri().path_and_query().map_or("/", |path| path.as_str());
            Redirect::to(&login_for(target)).into_response()
        }
        Err(Refusal::Stranger) => Problem::from(AccessError::Unauthenticated).into_response(),
        Err(Refusal::MustEnrol) if !gate.takes_programs() => Redirect::to("/account").into_response(),
        Err(Refusal::MustEnrol) => {
            Problem::new(ErrorKind::Denied, "second_factor_missing", "this login needs a second factor first: add one at /account")
                .into_response()
        }
        Err(Refusal::Problem(problem)) => problem.into_response(),
    }
}

/// Counts a call of a customer's program. Pages are none, nor are the MSP's own programs; and what a control plane delivers are facts,
/// which nobody is charged for telling.
fn count_call(app: &AppState, gate: Gate, visitor: &Visitor) {
    let is_call = gate.takes_programs() && visitor.session.is_none() && gate != DELIVERY;
    if let (true, Some(msp), Some(customer)) = (is_call, &visitor.msp, visitor.principal.only_customer()) {
        app.api_calls.count(msp, customer, app.clock.now());
    }
}

enum Refusal {
    Stranger,
    /// The MSP asks for a second factor, and there is none.
    MustEnrol,
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// Returns what stands behind the scheme, whose letters are of either case (RFC 9110).
fn bearer(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(rest)
}

async fn recognise(
    app: &AppState,
    gate: Gate,
    permission: Option<Permission>,
    path: &str,
    headers: &HeaderMap,
) -> Result<Visitor, Refusal> {
    let key = headers.get(AUTHORIZATION).map(|value| value.to_str().ok().and_then(bearer).unwrap_or_default());
    let (principal, session) = match (key, cookie::session_token(headers)) {
        (Some(key), _) if gate.takes_programs() => (app.access.program(key.trim()).await?, None),
        (_, None) => return Err(Refusal::Stranger),
        (_, Some(token)) => {
            let session = app.access.session(token).await?.ok_or(Refusal::Stranger)?;
            let may_enrol = path == "/account" || path.starts_with("/account/") || path == "/logout";
            if session.must_enrol && !may_enrol {
                return Err(Refusal::MustEnrol);
            }
            (session.principal, Some((session.id, session.csrf_token)))
        }
    };
    if let Some(permission) = permission {
        principal.require(permission)?;
    }
    let msp = match principal.msp() {
        Some(id) => Some(app.tenants.get_msp(id).await?),
        None => None,
    };
    let (session, csrf_token) = session.unzip();
    let mut visitor = Visitor { principal, msp, session, csrf_token, critical_alerts: 0 };
    if !gate.takes_programs() {
        visitor.count_alerts(app).await?;
    }
    Ok(visitor)
}

/// Returns the address of the login that leads back to `target`.
fn login_for(target: &str) -> String {
    if target == "/" { "/login".to_owned() } else { format!("/login?{}", crate::link::query(&[("next", target)])) }
}

/// Returns an address of ours that a login may lead to: a path, never another site.
pub(crate) fn safe_target(next: &str) -> &str {
    let is_ours = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && !next.chars().any(char::is_control);
    if is_ours { next } else { "/" }
}

const fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Browsers name the origin of a form; programs send none.
fn comes_from_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if let Some(site) = site {
        return matches!(site, "same-origin" | "none");
    }
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    match headers.get(ORIGIN).and_then(|value| value.to_str().ok()) {
        None => true,
        Some(origin) => origin.split_once("://").map(|(_, origin_host)| origin_host) == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_to_another_site() {
        for foreign in ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb"] {
            assert_eq!(safe_target(foreign), "/", "{foreign}");
        }
        assert_eq!(safe_target("/customers/ACME?period=2025-10"), "/customers/ACME?period=2025-10");
    }

    #[test]
    fn a_form_of_another_site_is_known_by_its_origin() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        assert!(comes_from_here(&headers(&[("host", "a:1"), ("origin", "http://a:1")])));
        assert!(comes_from_here(&headers(&[("host", "a:1")])));
        assert!(!comes_from_here(&headers(&[("host", "a:1"), ("origin", "http://b")])));
        assert!(!comes_from_here(&headers(&[("host", "a:1"), ("origin", "null")])));
        assert!(!comes_from_here(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(comes_from_here(&headers(&[("sec-fetch-site", "same-origin")])));
    }
}
