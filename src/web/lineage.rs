//! The picture of who reads whom: models in columns from raw rows to marts, every one a link, as SVG without a script.

use std::collections::HashMap;

use granary_warehouse::Lineage;
use maud::{Markup, html};

use crate::format;
use crate::pages::models::Links;

const WIDTH: usize = 232;
const HEIGHT: usize = 28;
/// From one column to the next, and from one row to the next.
const STEP: (usize, usize) = (300, 40);

/// Draws models and the arrows between them; the chosen one stands out.
pub(crate) fn picture(lineage: &Lineage<'_>, chosen: &str, links: Links) -> Markup {
    let levels = lineage.levels();
    let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
    for (column, models) in levels.iter().enumerate() {
        for (row, model) in models.iter().enumerate() {
            places.insert(&model.name, (column * STEP.0 + 4, row * STEP.1 + 4));
        }
    }
    let width = levels.len() * STEP.0;
    let height = levels.iter().map(Vec::len).max().unwrap_or(0) * STEP.1 + 8;
    let arrows: Vec<(&str, &str)> =
        lineage.models().iter().flat_map(|model| lineage.reads(model).into_iter().map(|parent| (parent, model.name.as_str()))).collect();
    let id = if chosen.is_empty() { "all" } else { chosen };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Lineage" {
            svg.lineage width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group" aria-labelledby={ "lineage-" (id) " lineage-words-" (id) } {
                title id={ "lineage-" (id) } { @if chosen.is_empty() { "Lineage of the models" } @else { "Lineage of " (chosen) } }
                desc id={ "lineage-words-" (id) } {
                    (format::counted(lineage.models().len() as i64, "model", "models")) " in " (levels.len()) " columns, joined by "
                    (format::counted(arrows.len() as i64, "arrow", "arrows")) "; the page lists the same in words."
                }
                g aria-hidden="true" {
                    @for (from, to) in &arrows {
                        @if let (Some(start), Some(end)) = (places.get(from), places.get(to)) {
                            path class=[(*from == chosen || *to == chosen).then_some("near")] d=(curve(*start, *end)) {}
                        }
                    }
                }
                @for model in lineage.models() {
                    @if let Some((x, y)) = places.get(model.name.as_str()) {
                        a href=(links.to(&model.name)) class=[(model.name == chosen).then_some("chosen")] aria-current=[(model.name == chosen).then_some("page")] {
                            title { (model.name) ": " (model.description.description) }
                            rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="6" {}
                            text x=(x + 10) y=(y + 19) { (shortened(&model.name)) }
                        }
                    }
                }
            }
        }
    }
}

fn curve((from_x, from_y): (usize, usize), (to_x, to_y): (usize, usize)) -> String {
    let (start_x, start_y, end_y) = (from_x + WIDTH, from_y + HEIGHT / 2, to_y + HEIGHT / 2);
    let middle = usize::midpoint(start_x, to_x);
    format!("M{start_x} {start_y}C{middle} {start_y} {middle} {end_y} {to_x} {end_y}")
}

/// A name as long as its box; the title has all of it.
fn shortened(name: &str) -> String {
    const LETTERS: usize = 29;
    if name.chars().count() <= LETTERS { name.to_owned() } else { name.chars().take(LETTERS - 1).chain(['…']).collect() }
}
