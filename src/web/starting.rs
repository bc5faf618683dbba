//! The page that is shown while the house is being set up: what is done, what is going on, what is still to come.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{Html, IntoResponse, Response};
use maud::html;

use crate::http::headers::secure;
use crate::layout;

/// A step of the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, as a line of a list.
    pub name: String,
    pub state: StepState,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    Waiting,
    /// `total` is zero when nobody knows how much there is.
    Running {
        done: u64,
        total: u64,
    },
    Done,
    Failed,
}

/// Returns the page; it reloads itself every second, without a script.
pub fn page(steps: &[Step]) -> Html<String> {
    let done = steps.iter().filter(|step| step.state == StepState::Done).count();
    let body = html! {
        div.panel.wide {
            div { a.brand href="/" { (layout::mark()) span { "Granary" } } }
            div { h1 { "Getting ready" } p.soft { (done) @if done == 1 { " step is" } @else { " steps are" } " done. This page reloads by itself." } }
            ol.steps aria-label="Steps" { @for step in steps { (line(step)) } }
        }
    };
    Html(layout::centred("Getting ready · Granary", Some(1), &body).into_string())
}

/// Answers a style sheet, script or icon of the starting page, or the page itself with status 503.
pub async fn answer(path: &str, steps: &[Step]) -> Response {
    let mut response = match path.strip_prefix("/assets/").and_then(|rest| rest.split_once('/')) {
        Some((version, name)) => crate::assets::file(Path((version.to_owned(), name.to_owned()))).await.into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], page(steps)).into_response(),
    };
    secure(response.headers_mut(), false);
    response
}

fn line(step: &Step) -> maud::Markup {
    let (class, sign, words) = match step.state {
        StepState::Waiting => ("waiting", "○", String::new()),
        StepState::Running { done, total: 0 } => ("", "◐", if done == 0 { String::new() } else { done.to_string() }),
        StepState::Running { done, total } => ("", "◐", format!("{done} of {total}")),
        StepState::Done => ("done", "✓", "done".to_owned()),
        StepState::Failed => ("failed", "✕", "failed".to_owned()),
    };
    html! {
        li class=(class) {
            span aria-hidden="true" { (sign) }
            span { (step.name) }
            small { (words) }
            @if let StepState::Running { done, total } = step.state {
                @if total > 0 { progress aria-label=(step.name) max=(total) value=(done.min(total)) {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_how_far_it_is_and_reloads() {
        let step = |name: &str, state| Step { name: name.to_owned(), state };
        let steps = [step("Start Postgres", StepState::Done), step("Ingest <events>", StepState::Running { done: 3, total: 10 })];
        let Html(text) = page(&steps);
        assert!(text.contains("http-equiv=\"refresh\""));
        assert!(text.contains("1 step is done") && text.contains("Ingest &lt;events&gt;") && text.contains("3 of 10"));
        assert!(!text.contains(" style=") && !text.contains("<style"));
    }
}
