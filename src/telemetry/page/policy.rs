//! What became of requests, by route and rule, and which ones were refused.

use serde_json::Value;

use super::html::Html;
use super::refusals::{from, list, listed, text};
use super::table::{Column, Table};
use super::words::count;
use super::{View, section};

/// So many rows a table has.
const MOST: usize = 200;

const ROUTES: &[Column] = &[
    ("Route", "what"),
    ("Below 400", "num"),
    ("400 to 499", "num"),
    ("500 and more", "num"),
    ("Decisions of its rules", ""),
];

pub(super) fn draw(html: &mut Html, view: &View<'_>) {
    section(html, "policy");
    html.raw("<h3>Requests since the start, by route</h3>");
    let mut table = Table::begin(html, "Requests by route", ROUTES);
    let routes = view.survey.routes.iter();
    let seen = |(name, route): &&(String, crate::telemetry::metrics::RouteSurvey)| {
        name != "none" || route.fine + route.refused + route.failed > 0
    };
    for (name, route) in routes.filter(seen).take(MOST) {
        table.row();
        let cell = table.cell();
        if name == "none" {
            cell.raw("<i>no route</i>");
        } else {
            cell.text(name);
        }
        for number in [route.fine, route.refused, route.failed] {
            table.cell().text(count(number));
        }
        decisions(table.cell(), &route.decisions);
    }
    table.end();
    html.raw("<h3>Requests that were refused or failed last, and what each would need</h3>");
    let last = listed(view.refusals, "requests");
    list(html, last, ("older-requests", request));
    html.raw("</section>");
}

fn decisions(html: &mut Html, decisions: &[(String, &'static str, u64)]) {
    if decisions.is_empty() {
        html.text_or_dash(None);
        return;
    }
    html.raw("<ul class=\"counts\">");
    for (rule, decision, number) in decisions.iter().take(MOST) {
        let class = match *decision {
            "denied" => "<b class=\"badge warn\">",
            _ => "<b class=\"badge\">",
        };
        html.raw("<li>")
            .raw(class)
            .text(super::words::plain(decision));
        html.raw("</b> ")
            .text(rule)
            .raw(" <b>")
            .text(count(*number));
        html.raw("</b></li>");
    }
    html.raw("</ul>");
}

/// What was asked for, and by whom.
fn request(html: &mut Html, known: &Value) {
    if let Some(status) = known.get("status").and_then(Value::as_u64) {
        html.raw("<b>").text(status).raw("</b> ");
    }
    if let Some(method) = text(known, "method") {
        html.name(method).raw(" ");
    }
    if let Some(path) = text(known, "path") {
        html.raw("<code>").name(path).raw("</code> ");
    }
    if let Some(peer) = text(known, "peer") {
        html.raw("by ").name(peer).raw(" ");
    }
    from(html, known);
}
