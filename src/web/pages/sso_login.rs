//! `/login/sso`: to one's own organisation's login, and back.

use axum::extract::{Form, Path, Query, State};
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use granary_access::{AccessError, Arrival};
use granary_types::{Classify, ErrorKind};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use crate::AppState;
use crate::http::guard::safe_target;
use crate::http::{Asker, Problem, cookie};
use crate::layout;

#[derive(Debug, Deserialize)]
pub(crate) struct SsoQuery {
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SsoIn {
    email: String,
    #[serde(default)]
    next: String,
}

/// Carries the page along that a login is to lead to.
pub(crate) fn with_next(next: &str) -> String {
    match safe_target(next) {
        "/" => String::new(),
        next => format!("?{}", crate::link::query(&[("next", next)])),
    }
}

/// `GET /login/sso`
pub(crate) async fn ask(Query(query): Query<SsoQuery>) -> Html<String> {
    Html(asking(&query.next, "", None).into_string())
}

/// `POST /login/sso`: the domain of the address decides where to, and whether anybody has the address makes no difference.
pub(crate) async fn depart(State(app): State<AppState>, Asker(client): Asker, Form(input): Form<SsoIn>) -> Result<Response, Problem> {
    let shown =
        |status: StatusCode, words: &str| (status, Html(asking(&input.next, &input.email, Some(words)).into_string())).into_response();
    match app.access.depart(&input.email, safe_target(&input.next), &client).await {
        Ok(Some(departure)) => {
            let cookie = cookie::keep_sso(departure.browser.reveal(), app.is_https);
            let page = leaving(&departure.host, &departure.url).into_string();
            Ok(([(SET_COOKIE, cookie)], Html(page)).into_response())
        }
        Ok(None) => Ok(shown(StatusCode::OK, "No organisation signs in here with this address; sign in with your password.")),
        Err(error @ AccessError::TooManyAttempts { seconds }) => {
            let page = asking(&input.next, &input.email, Some(&error.to_string())).into_string();
            Ok((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())], Html(page)).into_response())
        }
        Err(error) => Ok(shown(told(&error)?, &words_of(&error))),
    }
}

/// `GET /login/sso/{place}/callback`: back from the provider of a place.
pub(crate) async fn arrive(
    State(app): State<AppState>,
    Asker(client): Asker,
    Path(place): Path<String>,
    Query(arrival): Query<Arrival>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = place.parse::<Uuid>().map_err(|_| Problem::not_found("such place"))?;
    let browser = cookie::sso_token(&headers).unwrap_or_default();
    let ended = (SET_COOKIE, cookie::drop_sso(app.is_https));
    match app.access.arrive(place, &arrival, browser, &client).await {
        Ok((_, token, next)) => {
            let kept = (SET_COOKIE, cookie::keep(token.reveal(), app.is_https));
            Ok((AppendHeaders([kept, ended]), Redirect::to(safe_target(&next))).into_response())
        }
        Err(error) => {
            Ok((told(&error)?, AppendHeaders([ended]), Html(asking("", "", Some(&words_of(&error))).into_string())).into_response())
        }
    }
}

/// The status of a page that tells what went wrong; a fault of ours is told elsewhere.
fn told(error: &AccessError) -> Result<StatusCode, Problem> {
    match error.kind() {
        ErrorKind::Denied => Ok(StatusCode::FORBIDDEN),
        // The provider's fault, in whatever way.
        ErrorKind::Unavailable | ErrorKind::Invalid => {
            tracing::warn!(code = error.code(), error = %error, "an identity provider cannot be used");
            Ok(StatusCode::BAD_GATEWAY)
        }
        _ => Err(Problem::fault(error)),
    }
}

fn words_of(error: &AccessError) -> String {
    match error.kind() {
        ErrorKind::Denied => error.to_string(),
        _ => "your organisation's login cannot be reached; try again in a moment, or ask your administrator".to_owned(),
    }
}

fn leaving(host: &str, url: &str) -> Markup {
    let body = html! {
        div.panel {
            div { span.brand { (layout::mark()) span { "Granary" } } }
            div { h1 { "To your organisation" } p.soft { "You sign in at " strong { (host) } " and come back." } }
            p { a.button.primary href=(url) rel="noreferrer" { "Go on" } }
        }
    };
    layout::departing("To your organisation · Granary", url, &body)
}

fn asking(next: &str, email: &str, wrong: Option<&str>) -> Markup {
    let body = html! {
        div.panel {
            div { a.brand href="/login" { (layout::mark()) span { "Granary" } } }
            div { h1 { "Sign in with your organisation" } p.soft { "Your address tells where your login is." } }
            (layout::said(wrong.map(Err)))
            form method="post" action="/login/sso" {
                div.field {
                    label for="email" { "E-mail" }
                    input id="email" name="email" type="email" autocomplete="username" required maxlength="254" value=(email) autofocus;
                }
                input type="hidden" name="next" value=(safe_target(next));
                button.primary type="submit" { "Go on" }
            }
            p { a href="/login" { "Sign in with a password" } }
        }
    };
    layout::centred("Sign in with your organisation · Granary", None, &body)
}
