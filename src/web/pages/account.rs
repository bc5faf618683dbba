//! `/account`: one's own login: sessions, password.

use axum::Extension;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use granary_access::{AccessError, OpenSession};
use granary_foundation::Secret;
use granary_types::{Classify, ErrorKind, SessionId};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::factor;
use crate::{AppState, format};

/// Which sessions to end: an id, or `others`.
#[derive(Debug, Deserialize)]
pub(crate) struct EndIn {
    csrf: String,
    session: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PasswordIn {
    csrf: String,
    old: Secret,
    new: Secret,
}

/// `GET /account`
pub(crate) async fn show(State(app): State<AppState>, Extension(visitor): Extension<Visitor>) -> Result<Html<String>, Problem> {
    page(&app, &visitor, None, None).await
}

/// `POST /account/sessions`
pub(crate) async fn end_sessions(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Form(input): Form<EndIn>,
) -> Result<Response, Problem> {
    visitor.check_csrf(&input.csrf)?;
    if input.session == "others" {
        app.access.revoke_other_sessions(&visitor.principal, visitor.session()?).await?;
    } else {
        let id: SessionId = input.session.parse().map_err(|_| AccessError::UnknownSession)?;
        app.access.revoke_session(&visitor.principal, id).await?;
    }
    Ok(Redirect::to("/account").into_response())
}

/// `POST /account/password`
pub(crate) async fn change_password(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Form(input): Form<PasswordIn>,
) -> Result<Response, Problem> {
    visitor.check_csrf(&input.csrf)?;
    match app.access.change_password(&visitor.principal, visitor.session()?, &input.old, &input.new).await {
        Ok(()) => {
            let words = "The password is changed, and every other session has ended.";
            Ok(page(&app, &visitor, Some(Ok(words)), None).await?.into_response())
        }
        Err(error) => refused(&app, &visitor, error).await,
    }
}

/// Shows the page again with what was wrong; what is no mistake of the person's is a problem.
async fn refused(app: &AppState, visitor: &Visitor, error: AccessError) -> Result<Response, Problem> {
    let status = match error.kind() {
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Invalid | ErrorKind::Unauthenticated => StatusCode::UNPROCESSABLE_ENTITY,
        _ => return Err(error.into()),
    };
    let words = if matches!(error, AccessError::WrongPassword) { "the old password is wrong".to_owned() } else { error.to_string() };
    Ok((status, page(app, visitor, Some(Err(&words)), None).await?).into_response())
}

/// The page; what the second factor's card says is left to the caller who is in the middle of changing it.
pub(crate) async fn page(
    app: &AppState,
    visitor: &Visitor,
    outcome: Option<Result<&str, &str>>,
    factor: Option<Markup>,
) -> Result<Html<String>, Problem> {
    let factor = match factor {
        Some(factor) => factor,
        None => factor::card(visitor, app.access.factor_state(&visitor.principal).await?),
    };
    let sessions = app.access.list_sessions(&visitor.principal).await?;
    let note = html! { (layout::role_words(visitor.principal.role())) };
    let zone = visitor.msp.as_ref().map_or(TimeZone::UTC, |msp| msp.time_zone.clone());
    let body = html! {
        (layout::head(&[], visitor.principal.name(), &note, &html! {}))
        (layout::said(outcome))
        div.stack {
            (factor)
            (layout::card("", "Where you are signed in", &html! { "a session ends after an hour without use, and after twelve in any case" },
                &session_list(visitor, &sessions, &zone)))
            (layout::card("", "Password", &html! { "changing it ends all other sessions" }, &password_form(visitor)))
        }
    };
    Ok(layout::page(visitor, Place::Elsewhere, "Your login", &body))
}

fn session_list(visitor: &Visitor, sessions: &[OpenSession], zone: &TimeZone) -> Markup {
    html! {
        ul.plain.rows {
            @for session in sessions {
                li {
                    div {
                        strong { (session.device.as_deref().unwrap_or("Unknown device")) }
                        @if Some(session.id) == visitor.session { " " (layout::chip("good", "this one")) }
                        p.hint {
                            "last used " (format::instant(session.last_used_at, zone))
                            ", signed in " (format::instant(session.created_at, zone))
                        }
                    }
                    @if Some(session.id) != visitor.session {
                        form method="post" action="/account/sessions" {
                            input type="hidden" name="csrf" value=(visitor.csrf_token());
                            input type="hidden" name="session" value=(session.id);
                            button type="submit" aria-label={ "End the session of " (session.device.as_deref().unwrap_or("an unknown device")) } { "End" }
                        }
                    }
                }
            }
        }
        @if sessions.len() > 1 {
            form method="post" action="/account/sessions" {
                input type="hidden" name="csrf" value=(visitor.csrf_token());
                input type="hidden" name="session" value="others";
                button type="submit" { "End all others" }
            }
        }
    }
}

fn password_form(visitor: &Visitor) -> Markup {
    html! {
        form.form method="post" action="/account/password" {
            input type="hidden" name="csrf" value=(visitor.csrf_token());
            div.field {
                label for="old" { "Old password" }
                input id="old" name="old" type="password" autocomplete="current-password" required;
            }
            (new_password("New password"))
            button type="submit" { "Change the password" }
        }
    }
}

/// The field of a new password.
pub(crate) fn new_password(label: &str) -> Markup {
    html! {
        div.field {
            label for="new" { (label) }
            input id="new" name="new" type="password" autocomplete="new-password" minlength="12" maxlength="256" required aria-describedby="new-hint";
            p.hint id="new-hint" { "Twelve characters or more; a few words are easier to keep than signs. Not your address, not what everybody uses." }
        }
    }
}
