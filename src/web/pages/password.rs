//! A forgotten password, and the page that a letter leads to.

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::response::{Html, IntoResponse, Redirect, Response};
use granary_access::AccessError;
use granary_foundation::Secret;
use maud::{Markup, html};
use serde::Deserialize;

use crate::AppState;
use crate::http::{Asker, Problem, cookie};
use crate::layout;
use crate::pages::account::new_password;

#[derive(Debug, Deserialize)]
pub(crate) struct ForgotIn {
    email: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TokenQuery {
    #[serde(default)]
    token: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChooseIn {
    token: String,
    new: Secret,
}

/// `GET /forgot`
pub(crate) async fn ask() -> Html<String> {
    Html(asking(None).into_string())
}

/// `POST /forgot`: the same answer whether anybody has the address.
pub(crate) async fn forgot(State(app): State<AppState>, Asker(client): Asker, Form(input): Form<ForgotIn>) -> Result<Response, Problem> {
    match app.access.forgot_password(&input.email, &client).await {
        Ok(()) => {
            let words = "If a login has this address, a letter is on its way. Its link works for one hour.";
            Ok(Html(asking(Some(Ok(words))).into_string()).into_response())
        }
        Err(error @ AccessError::TooManyAttempts { seconds }) => {
            let page = asking(Some(Err(&error.to_string()))).into_string();
            Ok((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())], Html(page)).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /password`: looking uses nothing up, because mail programs look as well.
pub(crate) async fn show(State(app): State<AppState>, Query(query): Query<TokenQuery>) -> Result<Html<String>, Problem> {
    if query.token.is_empty() {
        return Ok(Html(asking(None).into_string()));
    }
    let email = app.access.password_token(&query.token).await?;
    Ok(Html(choosing(&query.token, &email, None).into_string()))
}

/// `POST /password`
pub(crate) async fn choose(State(app): State<AppState>, Asker(client): Asker, Form(input): Form<ChooseIn>) -> Result<Response, Problem> {
    match app.access.choose_password(&input.token, &input.new, &client).await {
        Ok((session, token)) => {
            let cookie = cookie::keep(token.reveal(), app.is_https);
            let next = if session.is_pending { "/login/code" } else { "/" };
            Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
        }
        Err(error @ AccessError::WeakPassword(_)) => {
            let email = app.access.password_token(&input.token).await?;
            let page = choosing(&input.token, &email, Some(&error.to_string())).into_string();
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page)).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

fn asking(outcome: Option<Result<&str, &str>>) -> Markup {
    let body = html! {
        div.panel {
            div { a.brand href="/login" { (layout::mark()) span { "Granary" } } }
            div { h1 { "A new password" } p.soft { "A letter with a link comes to your address." } }
            (layout::said(outcome))
            form method="post" action="/forgot" {
                div.field {
                    label for="email" { "E-mail" }
                    input id="email" name="email" type="email" autocomplete="username" required maxlength="254";
                }
                button.primary type="submit" { "Send the letter" }
            }
            p { a href="/login" { "Back to the login" } }
        }
    };
    layout::centred("A new password · Granary", None, &body)
}

fn choosing(token: &str, email: &str, wrong: Option<&str>) -> Markup {
    let body = html! {
        div.panel {
            div { span.brand { (layout::mark()) span { "Granary" } } }
            div { h1 { "Choose a password" } p.soft { "For " (email) } }
            (layout::said(wrong.map(Err)))
            form method="post" action="/password" {
                // Password managers keep the two together.
                input type="hidden" name="email" autocomplete="username" value=(email);
                input type="hidden" name="token" value=(token);
                (new_password("Password"))
                button.primary type="submit" { "Use this password" }
            }
        }
    };
    layout::centred("Choose a password · Granary", None, &body)
}
