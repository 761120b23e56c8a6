//! What comes in and what goes up: charts, listeners and upstreams.

use super::html::Html;
use super::table::{Column, Table};
use super::words::{count, plain, span};
use super::{EndpointFacts, LeftAloneFacts, View, charts, section};

/// So many rows a table has.
const MOST: usize = 200;

pub(super) fn charts(html: &mut Html, view: &View<'_>) {
    section(html, "traffic");
    let totals = view.survey.totals();
    let stretches = view.history.stretches(view.now.1, totals);
    let first = view.history.first().unwrap_or_default();
    charts::draw(html, &stretches, (first, totals));
    html.raw("</section>");
}

pub(super) fn listeners(html: &mut Html, view: &View<'_>) {
    const COLUMNS: &[Column] = &[
        ("Listener", "what"),
        ("Address", ""),
        ("Clients", ""),
        ("Open", "num"),
        ("Accepted", "num"),
        ("Handshakes", "num"),
        ("Resumed", "num"),
        ("Refused", "num"),
        ("Limits struck", ""),
    ];
    section(html, "listeners");
    let mut table = Table::begin(html, "Listeners", COLUMNS);
    for listener in view.overview.listeners.iter().take(MOST) {
        let counted = view.survey.listeners.iter();
        let counted = counted.filter(|(name, _)| *name == listener.name);
        let counted = counted.map(|(_, known)| known.clone()).next();
        let counted = counted.unwrap_or_default();
        table.row();
        table.cell().text(&listener.name);
        table.cell().text(&listener.address);
        table.cell().text(&listener.demands);
        let handshakes = counted.full + counted.resumed;
        for number in [
            counted.open,
            counted.accepted,
            handshakes,
            counted.resumed,
            counted.turned_away(),
        ] {
            table.cell().text(count(number));
        }
        words(table.cell(), &counted.strikes);
    }
    table.end();
    html.raw("</section>");
}

pub(super) fn upstreams(html: &mut Html, view: &View<'_>) {
    const COLUMNS: &[Column] = &[
        ("Upstream", "what"),
        ("Speaks", ""),
        ("Endpoints", ""),
        ("Requests", "num"),
        ("Connections", ""),
        ("Limits struck", ""),
    ];
    section(html, "upstreams");
    let mut table = Table::begin(html, "Upstreams", COLUMNS);
    for upstream in view.overview.upstreams.iter().take(MOST) {
        let counted = view.survey.upstreams.iter();
        let counted = counted.filter(|(name, _)| *name == upstream.name);
        let counted = counted.map(|(_, known)| known.clone()).next();
        let counted = counted.unwrap_or_default();
        table.row();
        table.cell().text(&upstream.name);
        table.cell().raw(upstream.protocol);
        endpoints(table.cell(), &upstream.endpoints);
        table.cell().text(count(counted.requests));
        words(table.cell(), &counted.connections);
        words(table.cell(), &counted.strikes);
    }
    table.end();
    html.raw("</section>");
}

/// So many endpoints of one upstream are named, those that are unwell first.
const ENDPOINTS: usize = 12;

fn endpoints(html: &mut Html, endpoints: &[EndpointFacts]) {
    let mut sorted: Vec<_> = endpoints.iter().collect();
    sorted.sort_by_key(|one| (one.well != Some(false), one.left_alone.is_none()));
    html.raw("<ul class=\"plain\">");
    for endpoint in sorted.iter().take(ENDPOINTS) {
        html.raw("<li>");
        html.raw(match (endpoint.well, &endpoint.left_alone) {
            (Some(false), _) => "<b class=\"badge bad\">failing</b> ",
            (_, Some(_)) => "<b class=\"badge warn\">left alone</b> ",
            (Some(true), None) => "<b class=\"badge fine\">well</b> ",
            (None, None) => "<small>not probed</small> ",
        });
        html.text(&endpoint.name);
        if let Some(cause) = &endpoint.unwell {
            html.raw(" <small>its probe: ").text(cause).raw("</small>");
        }
        if let Some(left_alone) = &endpoint.left_alone {
            html.raw(" <small>");
            html.text(in_words(left_alone)).raw("</small>");
        }
        html.raw("</li>");
    }
    if sorted.len() > ENDPOINTS {
        html.raw("<li>and ")
            .text(sorted.len() - ENDPOINTS)
            .raw(" more</li>");
    }
    html.raw("</ul>");
}

/// By whom an endpoint is left alone, for how long, and why.
pub(super) fn in_words(left_alone: &LeftAloneFacts) -> String {
    let (workers, cause) = (left_alone.workers, &left_alone.cause);
    let plural = if workers == 1 { "" } else { "s" };
    // Less than a second is not none.
    let seconds = left_alone.remaining.as_secs().saturating_add(1);
    let time = span(seconds);
    format!("left alone by {workers} worker{plural}, for {time} more at most: {cause}")
}

/// Words with their counts, the most frequent first.
pub(super) fn words(html: &mut Html, counts: &[(&'static str, u64)]) {
    let mut sorted: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    if sorted.is_empty() {
        html.text_or_dash(None);
        return;
    }
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    html.raw("<ul class=\"counts\">");
    for (word, number) in sorted {
        html.raw("<li>")
            .text(plain(word))
            .raw(" <b>")
            .text(count(*number));
        html.raw("</b></li>");
    }
    html.raw("</ul>");
}
