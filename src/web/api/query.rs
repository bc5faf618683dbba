//! `POST /api/v1/msp/query`: a question in SQL, answered as it comes.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use granary_lake::AsOf;
use granary_warehouse::{AnswerFormat, WarehouseError};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::exchange::Sent;
use crate::AppState;
use crate::http::{Problem, Visitor};

/// As much of a question as the audit log keeps.
const SQL_SHOWN: usize = 2_000;
/// Which version of the lake the answer is of.
const VERSION: HeaderName = HeaderName::from_static("granary-lake-version");

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryIn {
    /// One `select`.
    sql: String,
    /// An instant, a version such as `v12`, or a name; a closed month's is the month. Left out for the newest.
    #[schema(example = "2025-10")]
    as_of: Option<String>,
}

/// Answers a question within what the caller may read, and writes down that it was asked.
pub(crate) async fn ask(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Problem> {
    let QueryIn { sql, as_of } = sent.read()?;
    let grant = visitor.principal.read_grant()?;
    let msp = grant.msp;
    let as_of = as_of.map(|wanted| {
        let Ok(wanted) = wanted.parse::<AsOf>();
        wanted
    });
    let session = app.warehouse.session_as_of(&grant, as_of.as_ref()).await?;
    let asked: String = sql.chars().filter(|letter| !letter.is_control() || letter.is_whitespace()).take(SQL_SHOWN).collect();
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    granary_tenants::note(&tx, None, "warehouse.query", &format!("msp:{}", visitor.msp()?.code), &json!({"sql": asked})).await?;
    tx.commit().await?;
    let format = wanted(&headers);
    let answer = match app.warehouse.answer(msp, &session, &sql, format).await {
        Err(busy @ WarehouseError::Busy(_)) => return Ok(([(RETRY_AFTER, "5")], Problem::from(busy)).into_response()),
        answer => answer?,
    };
    let version = HeaderValue::from(session.version());
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(format.media_type())), (VERSION, version)], Body::from_stream(answer)).into_response())
}

/// Finds the format that the caller likes best of ours; JSON for who likes none, or does not say.
fn wanted(headers: &HeaderMap) -> AnswerFormat {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut best = (AnswerFormat::Json, 0);
    for wish in accepted {
        let mut parts = wish.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, thousandths);
        if let Some(format) = AnswerFormat::ALL.into_iter().find(|format| format.media_type().eq_ignore_ascii_case(kind))
            && weight > best.1
        {
            best = (format, weight);
        }
    }
    best.0
}

/// Reads a weight of at most three decimals (RFC 9110, 12.4.2).
fn thousandths(weight: &str) -> u32 {
    let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
    let rest: u32 = format!("{rest:0<3}").get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    whole.parse::<u32>().map_or(0, |whole| (whole.min(1) * 1_000 + rest).min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_chooses_the_format() {
        let chosen = |accept: &'static str| wanted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        assert_eq!(wanted(&HeaderMap::new()), AnswerFormat::Json);
        assert_eq!(chosen("*/*"), AnswerFormat::Json);
        assert_eq!(chosen("text/html, TEXT/CSV;q=0.5"), AnswerFormat::Csv);
        assert_eq!(chosen("text/csv; q=0.5, application/vnd.apache.parquet; q=0.75"), AnswerFormat::Parquet);
        assert_eq!(chosen("application/json;q=0, application/vnd.apache.arrow.stream;q=0.001"), AnswerFormat::ArrowStream);
    }
}
