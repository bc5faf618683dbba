//! Login and logout.

use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::response::{Html, IntoResponse, Redirect, Response};
use granary_access::AccessError;
use granary_foundation::Secret;
use maud::{Markup, html};
use serde::Deserialize;

use crate::AppState;
use crate::http::guard::safe_target;
use crate::http::{Asker, Problem, Visitor, cookie};
use crate::layout;

#[derive(Debug, Deserialize)]
pub(crate) struct LoginQuery {
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LoginIn {
    email: String,
    password: Secret,
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CodeIn {
    code: String,
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LogoutIn {
    csrf: String,
}

/// `GET /login`
pub(crate) async fn show(Query(query): Query<LoginQuery>) -> Html<String> {
    Html(form(&query.next, "", None).into_string())
}

/// `POST /login`
pub(crate) async fn log_in(State(app): State<AppState>, Asker(client): Asker, Form(input): Form<LoginIn>) -> Result<Response, Problem> {
    match app.access.log_in(&input.email, &input.password, &client).await {
        Ok((session, token)) => {
            let cookie = cookie::keep(token.reveal(), app.is_https);
            let target = safe_target(&input.next);
            let next =
                if session.is_pending { format!("/login/code?{}", crate::link::query(&[("next", target)])) } else { target.to_owned() };
            Ok(([(SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
        }
        Err(AccessError::WrongPassword) => {
            let page = form(&input.next, &input.email, Some("The e-mail address or the password is wrong."));
            Ok((StatusCode::UNAUTHORIZED, Html(page.into_string())).into_response())
        }
        Err(error @ AccessError::TooManyAttempts { seconds }) => {
            let page = form(&input.next, &input.email, Some(&layout::sentence(&error.to_string())));
            Ok((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())], Html(page.into_string())).into_response())
        }
        Err(error @ AccessError::SsoRequired) => {
            let page = form(&input.next, &input.email, Some(&layout::sentence(&error.to_string())));
            Ok((StatusCode::FORBIDDEN, Html(page.into_string())).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /login/code`
pub(crate) async fn ask_code(Query(query): Query<LoginQuery>) -> Html<String> {
    Html(code_form(&query.next, None).into_string())
}

/// `POST /login/code`
pub(crate) async fn give_code(
    State(app): State<AppState>,
    Asker(client): Asker,
    headers: axum::http::HeaderMap,
    Form(input): Form<CodeIn>,
) -> Result<Response, Problem> {
    let pending = cookie::session_token(&headers).unwrap_or_default();
    match app.access.pass_factor(pending, &input.code, &client).await {
        Ok((_, token)) => {
            let cookie = cookie::keep(token.reveal(), app.is_https);
            Ok(([(SET_COOKIE, cookie)], Redirect::to(safe_target(&input.next))).into_response())
        }
        Err(error @ AccessError::TooManyAttempts { seconds }) => {
            let page = code_form(&input.next, Some(&error.to_string()));
            Ok((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())], Html(page.into_string())).into_response())
        }
        Err(error @ AccessError::WrongCode) => {
            Ok((StatusCode::UNAUTHORIZED, Html(code_form(&input.next, Some(&error.to_string())).into_string())).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

fn code_form(next: &str, wrong: Option<&str>) -> Markup {
    let body = html! {
        div.panel {
            div { span.brand { (layout::mark()) span { "Granary" } } }
            div { h1 { "One more step" } p.soft { "The code of your authenticator, or a recovery code." } }
            (layout::said(wrong.map(Err)))
            form method="post" action="/login/code" {
                div.field {
                    label for="code" { "Code" }
                    input id="code" name="code" autocomplete="one-time-code" required maxlength="40" autofocus;
                }
                input type="hidden" name="next" value=(safe_target(next));
                button.primary type="submit" { "Sign in" }
            }
            p { a href="/login" { "Sign in as somebody else" } }
        }
    };
    layout::centred("One more step · Granary", None, &body)
}

/// `POST /logout`
pub(crate) async fn log_out(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    headers: axum::http::HeaderMap,
    Form(input): Form<LogoutIn>,
) -> Result<Response, Problem> {
    visitor.check_csrf(&input.csrf)?;
    if let Some(token) = cookie::session_token(&headers) {
        app.access.log_out(token).await?;
    }
    Ok(([(SET_COOKIE, cookie::drop(app.is_https))], Redirect::to("/login")).into_response())
}

fn form(next: &str, email: &str, wrong: Option<&str>) -> Markup {
    let body = html! {
        div.panel {
            div { span.brand { (layout::mark()) span { "Granary" } } }
            div { h1 { "Sign in" } p.soft { "Backup and disaster recovery, seen whole." } }
            form method="post" action="/login" {
                @if let Some(words) = wrong { p.alert role="alert" id="wrong" { (words) } }
                div.field {
                    label for="email" { "E-mail" }
                    input id="email" name="email" type="email" autocomplete="username" required value=(email)
                        autofocus[email.is_empty()] aria-describedby=[wrong.map(|_| "wrong")];
                }
                div.field {
                    label for="password" { "Password" }
                    input id="password" name="password" type="password" autocomplete="current-password" required
                        autofocus[!email.is_empty()] aria-describedby=[wrong.map(|_| "wrong")];
                }
                input type="hidden" name="next" value=(safe_target(next));
                button.primary type="submit" { "Sign in" }
            }
            p { a href={ "/login/sso" (crate::pages::sso_login::with_next(next)) } { "Sign in with your organisation" } }
            p { a href="/forgot" { "Forgot your password?" } }
        }
    };
    layout::centred("Sign in · Granary", None, &body)
}
