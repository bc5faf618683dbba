//! The document as a page: nothing in it needs a script or a network.

use std::collections::BTreeMap;

use axum::response::Html;
use maud::{Markup, html};
use serde_json::Value;

use super::examples;
use super::operations::{OPERATIONS, Operation, TAGS};
use super::{DOCUMENT, PATH, REFUSALS, path_names, verb};
use crate::layout;

/// `GET /docs/api`
pub(crate) async fn show() -> Html<String> {
    let body = html! {
        (layout::head(&[], "API", &html! { (text(&DOCUMENT["info"]["summary"])) }, &html! { a.button href=(PATH) { "OpenAPI 3.1 document" } }))
        div.docs {
            nav.docs-nav aria-label="Contents" { (contents()) }
            div.docs-body {
                (beginning())
                @for (tag, words) in TAGS {
                    section.card aria-labelledby={ "tag-" (anchor(tag)) } {
                        header { h2 id={ "tag-" (anchor(tag)) } { (tag) } p { (words) } }
                        @for operation in of_tag(tag) { (operation_part(operation)) }
                    }
                }
                section.card aria-labelledby="schemas" {
                    header { h2 id="schemas" { "Schemas" } p { "What the parts of a body are called, and what they may hold." } }
                    @for (name, schema) in DOCUMENT["components"]["schemas"].as_object().into_iter().flatten() { (schema_part(name, schema)) }
                }
            }
        }
    };
    layout::open_page("API", &body)
}

fn of_tag(tag: &str) -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(move |operation| operation.tag == tag)
}

fn contents() -> Markup {
    html! {
        @for (tag, _) in TAGS {
            strong { (tag) }
            ul.plain { @for operation in of_tag(tag) { li { a href={ "#" (operation.id) } { (operation.summary) } } } }
        }
        strong { "Besides" }
        ul.plain { li { a href="#beginning" { "Before the first request" } } li { a href="#schemas" { "Schemas" } } }
    }
}

fn beginning() -> Markup {
    let key = &DOCUMENT["components"]["parameters"]["Idempotency-Key"];
    html! {
        section.card aria-labelledby="beginning" {
            header { h2 id="beginning" { "Before the first request" } }
            p { (prose(text(&DOCUMENT["info"]["description"]))) }
            dl.facts {
                dt { "Who asks" }
                dd { "An API key as " code { "Authorization: Bearer grn_live_…" } ", or the session of somebody who signed in. "
                    (prose(text(&DOCUMENT["components"]["securitySchemes"]["apiKey"]["description"]))) }
                dt { code { "Idempotency-Key" } }
                dd { (text(&key["description"])) }
                dt { "Pages" }
                dd { "Lists are keyset pages: send " code { "next" } " of one as " code { "cursor" } " of the following one." }
                dt { "Failures" }
                dd {
                    "Problem documents, " a href="#schema-Problem" { "Problem" } ":"
                    ul.plain { @for (status, title, words) in REFUSALS { li { strong { (status) " " (title) } " – " (words) } } }
                }
            }
        }
    }
}

fn operation_part(operation: &Operation) -> Markup {
    let described = &DOCUMENT["paths"][operation.path][verb(operation.method).to_lowercase()];
    let example = examples::of(operation.id, operation.status);
    let refusals: Vec<&str> = described["responses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, _)| status.as_str())
        .filter(|status| !status.starts_with('2'))
        .collect();
    html! {
        article.operation id=(operation.id) aria-labelledby={ "name-" (operation.id) } {
            h3 id={ "name-" (operation.id) } { (operation.summary) }
            p.address { span.verb.(verb(operation.method).to_lowercase()) { (verb(operation.method)) } " " code { (operation.path) } }
            @if !operation.description.is_empty() { p { (prose(operation.description)) } }
            p.soft {
                @if described["security"].is_array() { "Open to everybody." }
                @else if described["x-permission"].is_null() { "Needs a session, a key or a token, whatever it may do." }
                @else { "Needs " code { (text(&described["x-permission"])) } ": keys with " (words(&described["x-key-scopes"]))
                "; roles " (words(&described["x-roles"])) "." }
            }
            (parameter_table(operation, described))
            @if let Some(body) = operation.body {
                h4 { "Body" @if operation.is_body_optional { ", which may be left out" } }
                p { (content_of(&described["requestBody"]["content"])) }
                @if matches!(body, super::operations::Shape::Written("UsageEvents")) { p.soft { "Its example has an event of every type." } }
            }
            h4 { "Answer" }
            p { span.chip.good { (operation.status) } " " (content_of(&described["responses"][operation.status.to_string()]["content"])) }
            p.soft { "Refused with " (refusals.join(", ")) "." }
            @if let Some(example) = example { (example_part(operation, example)) }
        }
    }
}

fn parameter_table(operation: &Operation, described: &Value) -> Markup {
    let shared = &DOCUMENT["components"]["parameters"];
    let own = described["parameters"].as_array().into_iter().flatten();
    let parameters: Vec<&Value> = own
        .map(|parameter| parameter["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map_or(parameter, |name| &shared[name]))
        .collect();
    if parameters.is_empty() {
        return html! {};
    }
    debug_assert!(parameters.len() >= path_names(operation.path).count());
    html! {
        (scroll(&format!("Parameters of {}", operation.summary), &html! {
            table {
                thead { tr { th scope="col" { "Parameter" } th scope="col" { "In" } th scope="col" { "Type" } th scope="col" { "What it is" } } }
                tbody {
                    @for parameter in parameters {
                        tr {
                            th scope="row" { code { (text(&parameter["name"])) } @if parameter["required"] == true { " " (required()) } }
                            td { (text(&parameter["in"])) }
                            td { (kind_of(&parameter["schema"])) }
                            td { (prose(text(&parameter["description"]))) }
                        }
                    }
                }
            }
        }))
    }
}

fn required() -> Markup {
    html! { small { "needed" } }
}

/// Media type and schema of a body.
fn content_of(content: &Value) -> Markup {
    html! { @for (kind, media) in content.as_object().into_iter().flatten() { code { (kind) } " " @if kind != "application/pdf" { (kind_of(&media["schema"])) } } }
}

fn example_part(operation: &Operation, example: &examples::Example) -> Markup {
    let sent = example.request.as_ref().map(pretty);
    html! {
        details open[operation.id == "createCustomer"] {
            summary { "Example" }
            (listing("Request", operation, &command(operation, example)))
            @if let Some(sent) = sent { (listing("Body", operation, &sent)) }
            @if let Some(answer) = &example.answer { (listing("Answer", operation, &pretty(answer))) }
        }
    }
}

fn command(operation: &Operation, example: &examples::Example) -> String {
    let mut lines = vec![
        format!("curl -X {} \"$GRANARY{}\"", verb(operation.method), example.path),
        "-H \"Authorization: Bearer $GRANARY_KEY\"".to_owned(),
    ];
    if operation.takes_key() {
        lines.push("-H \"Idempotency-Key: $(uuidgen)\"".to_owned());
    }
    if example.request.is_some() {
        lines.push("-H \"Content-Type: application/json\" --data @body.json".to_owned());
    }
    lines.join(" \\\n    ")
}

/// A text in its own box, which scrolls and can be reached by keyboard.
fn listing(name: &str, operation: &Operation, text: &str) -> Markup {
    let label = format!("{}: {name}", operation.summary);
    html! { figure.listing { figcaption { (name) } pre tabindex="0" role="region" aria-label=(label) { code { (text) } } } }
}

fn schema_part(name: &str, schema: &Value) -> Markup {
    let mut properties = BTreeMap::new();
    gather(schema, &mut properties);
    html! {
        article.operation id={ "schema-" (name) } aria-labelledby={ "name-" (name) } {
            h3 id={ "name-" (name) } { code { (name) } }
            p { (prose(text(&schema["description"]))) }
            @if let Some(items) = schema.get("items") { p { "A list of " (kind_of(items)) "." } }
            @if let Some(choices) = schema["oneOf"].as_array() {
                p { "One of: " @for (index, choice) in choices.iter().enumerate() { @if index > 0 { ", " } (kind_of(choice)) } "." }
            }
            @if !properties.is_empty() { (property_table(name, &properties)) }
            @if schema["type"].is_string() && schema["type"] != "object" && schema.get("items").is_none() { p { (kind_of(schema)) } }
        }
    }
}

/// Collects the properties of a schema and of those that it is made of.
fn gather<'a>(schema: &'a Value, out: &mut BTreeMap<&'a str, (&'a Value, bool)>) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(resolved(part), out);
    }
    let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        out.insert(name, (property, needed.contains(&name.as_str())));
    }
}

fn resolved(schema: &Value) -> &Value {
    schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map_or(schema, |name| &DOCUMENT["components"]["schemas"][name])
}

fn property_table(name: &str, properties: &BTreeMap<&str, (&Value, bool)>) -> Markup {
    scroll(
        &format!("Fields of {name}"),
        &html! {
            table {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Type" } th scope="col" { "What it is" } } }
                tbody {
                    @for (field, (property, is_needed)) in properties {
                        tr {
                            th scope="row" { code { (field) } @if *is_needed { " " (required()) } }
                            td { (kind_of(property)) }
                            td { (prose(text(&property["description"]))) }
                        }
                    }
                }
            }
        },
    )
}

/// What a value may be, in words.
fn kind_of(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return html! { a href={ "#schema-" (name) } { code { (name) } } };
    }
    if let Some(constant) = schema.get("const") {
        return html! { code { (constant) } };
    }
    if let Some(words) = schema["enum"].as_array() {
        return html! { (words_of(words)) };
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let (nothing, said): (Vec<&Value>, Vec<&Value>) = choices.iter().partition(|choice| choice["type"] == "null");
        return html! {
            @for (index, choice) in said.iter().enumerate() { @if index > 0 { " or " } (kind_of(choice)) }
            @if !nothing.is_empty() { " or null" }
        };
    }
    if let Some(fields) = schema["properties"].as_object() {
        return html! {
            ul.plain { @for (name, field) in fields { li { code { (name) } ": " (kind_of(field)) } } }
        };
    }
    if let Some(items) = schema.get("items") {
        return html! { "list of " (kind_of(items)) };
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).map(|kind| if kind == "null" { "or null" } else { kind }).collect::<Vec<_>>().join(" ")
        }
        kind => text(kind).to_owned(),
    };
    let limits = [
        ("format", ""),
        ("pattern", "like "),
        ("minimum", "from "),
        ("maximum", "to "),
        ("minLength", "from "),
        ("maxLength", "to "),
        ("default", "unless told "),
    ];
    html! {
        (kinds)
        @for (name, word) in limits { @if let Some(limit) = schema.get(name) { " " small { (word) code { (limit.as_str().map_or_else(|| limit.to_string(), str::to_owned)) } } } }
    }
}

fn words_of(words: &[Value]) -> Markup {
    let said = words.iter().filter(|word| !word.is_null());
    html! { @for (index, word) in said.enumerate() { @if index > 0 { ", " } code { (text(word)) } } }
}

fn words(list: &Value) -> Markup {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    html! { @if list.is_empty() { "none" } @else { (words_of(list)) } }
}

fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (table) } }
}

/// Sets what stands between backticks as code.
fn prose(words: &str) -> Markup {
    html! { @for (index, part) in words.split('`').enumerate() { @if index % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn anchor(words: &str) -> String {
    words.to_lowercase().replace(' ', "-")
}
