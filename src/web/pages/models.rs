//! `GET /warehouse` and `GET /warehouse/{model}`: what the models of the warehouse say, and which is made of which.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Html;
use granary_warehouse::{Lineage, Model};
use maud::{Markup, html};

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::{AppState, assets, format, lineage};

/// How the pages reach one another: over the server, or within one file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Links {
    Server,
    File,
}

impl Links {
    pub(crate) fn to(self, model: &str) -> String {
        match self {
            Self::Server => format!("/warehouse/{model}"),
            Self::File => format!("#{model}"),
        }
    }
}

/// All models that the visitor sees.
pub(crate) async fn list(State(app): State<AppState>, Extension(visitor): Extension<Visitor>) -> Result<Html<String>, Problem> {
    let grant = visitor.principal.read_grant()?;
    let lineage = app.warehouse.models().seen_by(&grant);
    let note = html! { (format::counted(lineage.models().len() as i64, "model", "models")) " that this login may query" };
    let body = html! {
        (layout::head(&[("/", "Overview")], "Warehouse", &note, &html! {}))
        (overview(&lineage, Links::Server))
    };
    Ok(layout::page(&visitor, Place::Warehouse, "Warehouse", &body))
}

/// One model; one that the visitor does not see is not there.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Result<Html<String>, Problem> {
    let grant = visitor.principal.read_grant()?;
    let lineage = app.warehouse.models().seen_by(&grant);
    let model = lineage.get(&name).ok_or_else(|| Problem::not_found("such model"))?;
    let note = html! { (model.description.description) };
    let body = html! {
        (layout::head(&[("/", "Overview"), ("/warehouse", "Warehouse")], &model.name, &note, &html! {}))
        (layout::card("wide", "Lineage", &html! { "What it is made of, and what is made of it" }, &lineage::picture(&lineage.around(&name), &name, Links::Server)))
        (description(model, &lineage, Links::Server))
    };
    Ok(layout::page(&visitor, Place::Warehouse, &model.name, &body))
}

/// Writes all of it as one file that needs no server.
pub fn document(lineage: &Lineage<'_>) -> String {
    let body = html! {
        main id="main" {
            h1 { "The models of the warehouse" }
            (overview(lineage, Links::File))
            @for model in lineage.models() {
                section id=(model.name) { h2 { (model.name) } p { (model.description.description) } (description(model, lineage, Links::File)) }
            }
        }
    };
    let page = html! {
        (maud::DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "The models of the warehouse · Granary" }
                style { (maud::PreEscaped(assets::STYLE.as_str())) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// The picture and the list, by layer.
fn overview(lineage: &Lineage<'_>, links: Links) -> Markup {
    let layers = [
        ("", "Marts", "What people read"),
        ("int_", "Intermediate", "Steps on the way"),
        ("stg_", "Staging", "Raw rows under the house's names"),
    ];
    let layer_of = |model: &Model| ["int_", "stg_"].into_iter().find(|prefix| model.name.starts_with(prefix)).unwrap_or("");
    html! {
        (layout::card("wide", "Lineage", &html! { "Who reads whom, from raw rows on the left to marts on the right" }, &lineage::picture(lineage, "", links)))
        @for (prefix, title, note) in layers {
            @let models: Vec<_> = lineage.models().iter().filter(|model| layer_of(model) == prefix).collect();
            @if !models.is_empty() {
                (layout::card("wide", title, &html! { (note) }, &html! {
                    div.scroll tabindex="0" role="region" aria-label=(title) {
                        table {
                            thead { tr { th scope="col" { "Model" } th scope="col" { "One row" } th scope="col" { "What it says" } th scope="col" { "Owner" } } }
                            tbody {
                                @for model in models {
                                    tr {
                                        th scope="row" { a href=(links.to(&model.name)) { (model.name) } }
                                        td { (model.description.grain.trim_start_matches("one row ")) }
                                        td { (model.description.description) }
                                        td { (model.description.owner) }
                                    }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// Everything that stands beside a model.
fn description(model: &Model, lineage: &Lineage<'_>, links: Links) -> Markup {
    let about = &model.description;
    let names = |names: std::collections::BTreeSet<&str>| {
        html! {
            @if names.is_empty() { "–" }
            @for (position, name) in names.iter().enumerate() { @if position > 0 { ", " } a href=(links.to(name)) { (name) } }
        }
    };
    let raw: Vec<&str> = model.datasets().collect();
    let roles: Vec<String> = about.roles.iter().map(ToString::to_string).collect();
    let needs: Vec<&str> = about.needs.iter().map(|need| need.words()).collect();
    html! {
        (layout::card("wide", "Facts", &html! {}, &html! {
            dl.sum {
                div { dt { "Grain" } dd { (about.grain) } }
                div { dt { "Owner" } dd { (about.owner) } }
                div { dt { "Read by" } dd { (roles.join(", ")) @if !needs.is_empty() { ", with " (needs.join(" and ")) } } }
                @if let Some(fresh) = &about.freshness {
                    div { dt { "Fresh" } dd { (fresh.column) " at most " (format::counted(i64::from(fresh.warn_after_days), "day", "days")) " old" } }
                }
                div { dt { "Made of" } dd { (names(lineage.reads(model))) @if !raw.is_empty() { " " code { (raw.join(", ")) } } } }
                div { dt { "Part of" } dd { (names(lineage.read_by(&model.name))) } }
            }
        }))
        (layout::card("wide", "Columns", &html! { (format::counted(about.columns.len() as i64, "column", "columns")) }, &html! {
            div.scroll tabindex="0" role="region" aria-label={ "Columns of " (model.name) } {
                table {
                    thead { tr { th scope="col" { "Column" } th scope="col" { "What it means" } } }
                    tbody {
                        @for (name, column) in &about.columns {
                            tr {
                                th scope="row" { code { (name) } @if column.personal { " " (layout::chip("warn", "personal")) } }
                                td { (column.description) }
                            }
                        }
                    }
                }
            }
        }))
        (layout::card("wide", "Tests", &html! { "What " code { "granary warehouse test" } " asks of every row" }, &html! {
            ul { @for promise in about.promises() { li { (promise) } } }
        }))
    }
}
