//! The files that pages load: our own, from the binary, named by their content so that browsers keep them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use granary_reports::charts::{self, Color};

use crate::http::Problem;

/// The style sheet of every page.
pub(crate) static STYLE: LazyLock<String> = LazyLock::new(|| format!("{}\n{}", charts::STYLE, include_str!("assets/granary.css")));
const SCRIPT: &str = include_str!("assets/granary.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Part of every address, so that a new binary is never shown with an old style sheet.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hash = [STYLE.as_str(), SCRIPT, ICON]
        .iter()
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
});

/// Returns the address of a file.
pub(crate) fn href(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// `GET /assets/{version}/{name}`
pub(crate) async fn file(Path((version, name)): Path<(String, String)>) -> Result<Response, Problem> {
    if version == "brand" {
        return brand(&name);
    }
    let (kind, body) = match name.as_str() {
        "granary.css" => ("text/css; charset=utf-8", STYLE.as_str()),
        "granary.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return Err(Problem::not_found("such file")),
    };
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-cache" };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, keep)], body).into_response())
}

/// An MSP's accent, made readable on light and on dark.
fn brand(name: &str) -> Result<Response, Problem> {
    let color = name.strip_suffix(".css").and_then(|hex| format!("#{hex}").parse::<Color>().ok());
    let color = color.ok_or_else(|| Problem::not_found("such colour"))?;
    let (light, dark) = (color.readable(), color.readable_on_dark());
    let css = format!(":root {{ --accent: light-dark({light}, {dark}); --on-accent: light-dark(#ffffff, #101413); }}\n");
    Ok(([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=86400")], css).into_response())
}
