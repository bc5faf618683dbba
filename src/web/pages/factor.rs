//! `/account/factor`: the second factor of one's own login.

use axum::Extension;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use granary_access::{Enrolment, FactorState};
use granary_foundation::Secret;
use granary_types::{Classify, ErrorKind};
use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};
use serde::Deserialize;

use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::layout;
use crate::pages::account::page;

#[derive(Debug, Deserialize)]
pub(crate) struct FactorIn {
    csrf: String,
    action: String,
    #[serde(default)]
    code: String,
    #[serde(default = "nothing")]
    password: Secret,
}

fn nothing() -> Secret {
    Secret::new("")
}

/// Begins, confirms or removes.
pub(crate) async fn act(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Form(input): Form<FactorIn>,
) -> Result<Response, Problem> {
    visitor.check_csrf(&input.csrf)?;
    let (access, principal) = (&app.access, &visitor.principal);
    let issuer = visitor.msp.as_ref().map_or("Granary", |msp| msp.name.as_str());
    let done = match input.action.as_str() {
        "begin" => access.begin_factor(principal, issuer).await.map(|enrolment| (None, Some(enrolling(&visitor, &enrolment)))),
        "confirm" => access
            .confirm_factor(principal, &input.code)
            .await
            .map(|codes| (Some("The second factor is on. Keep the recovery codes: they are shown once."), Some(recovery(&codes)))),
        "remove" => access.remove_factor(principal, &input.password).await.map(|()| (Some("The second factor is off."), None)),
        _ => return Err(Problem::invalid("this form is not known here")),
    };
    match done {
        Ok((words, card)) => Ok(page(&app, &visitor, words.map(Ok), card).await?.into_response()),
        Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) => Err(error.into()),
        Err(error) => {
            let words = match error {
                granary_access::AccessError::WrongPassword => "the password is wrong".to_owned(),
                other => other.to_string(),
            };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&app, &visitor, Some(Err(&words)), None).await?).into_response())
        }
    }
}

fn form(visitor: &Visitor, action: &str, fields: &Markup) -> Markup {
    html! {
        form.form method="post" action="/account/factor" {
            input type="hidden" name="csrf" value=(visitor.csrf_token());
            input type="hidden" name="action" value=(action);
            (fields)
        }
    }
}

/// Says where it stands, and what can be done.
pub(crate) fn card(visitor: &Visitor, state: FactorState) -> Markup {
    let note = html! { "a code of an authenticator, beside the password" };
    let body = if state.is_on {
        let fields = html! {
            div.field {
                label for="factor-password" { "Your password" }
                input id="factor-password" name="password" type="password" autocomplete="current-password" required;
            }
            button type="submit" { "Turn it off" }
        };
        html! {
            p { (layout::chip("good", "on")) " " (state.recovery_codes) " recovery codes are left." }
            (form(visitor, "remove", &fields))
        }
    } else {
        let fields = html! { button.primary type="submit" { "Add an authenticator" } };
        html! {
            p { (layout::chip("warn", "off")) " Whoever finds out the password comes in." }
            (form(visitor, "begin", &fields))
        }
    };
    layout::card("", "Second factor", &note, &body)
}

fn enrolling(visitor: &Visitor, enrolment: &Enrolment) -> Markup {
    let fields = html! {
        div.field {
            label for="code" { "The code that it shows now" }
            input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" required maxlength="10";
        }
        button.primary type="submit" { "Turn it on" }
    };
    let body = html! {
        p { "Let your authenticator read this picture, or type the secret." }
        (picture(enrolment.uri.reveal()))
        p { code.address { (enrolment.secret.reveal()) } }
        (form(visitor, "confirm", &fields))
    };
    layout::card("", "Second factor", &html! { "nothing has changed yet" }, &body)
}

fn recovery(codes: &[Secret]) -> Markup {
    let body = html! {
        p { "Each of these works once, when the authenticator is lost. They are not shown again." }
        ul.plain { @for code in codes { li { code { (code.reveal()) } } } }
    };
    layout::card("", "Recovery codes", &html! { "print them, or keep them where passwords are kept" }, &body)
}

/// The secret as a picture: dark on light in both themes, because cameras want it so.
fn picture(text: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return html! {} };
    let size = code.size();
    let dark = (0..size).flat_map(|y| (0..size).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
    let path: String = dark.map(|(x, y)| format!("M{x} {y}h1v1h-1z")).collect();
    let frame = format!("-4 -4 {0} {0}", size + 8);
    html! {
        svg.qr viewBox=(frame) role="img" aria-label="The secret as a QR code" shape-rendering="crispEdges" {
            rect x="-4" y="-4" width=(size + 8) height=(size + 8) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}
