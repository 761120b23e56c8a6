//! Who is connected.

use super::html::Html;
use super::table::{Column, Table};
use super::words::{ago, clock, count, point};
use super::{Overview, View, section};

const COLUMNS: &[Column] = &[
    ("Identity", "what"),
    ("Anchor", ""),
    ("Bundle", ""),
    ("Connected for", ""),
    ("Connections", "num"),
    ("Requests", "num"),
];

/// So many are shown at once.
const SHOWN: usize = 20;

pub(super) fn draw(html: &mut Html, view: &View<'_>) {
    section(html, "peers");
    let Overview {
        peers,
        peers_connected,
        peers_known,
        ..
    } = view.overview;
    html.raw("<p>").text(count(*peers_connected as u64));
    html.raw(" connected with a certificate, ")
        .text(count(*peers_known as u64));
    html.raw(" seen in the last 24 hours.</p>");
    if peers.is_empty() {
        html.raw("</section>");
        return;
    }
    let mut sorted: Vec<_> = peers.iter().collect();
    sorted.sort_by(|one, other| {
        let busiest = other.requests.cmp(&one.requests);
        busiest.then_with(|| one.name.cmp(&other.name))
    });
    let (busiest, others) = sorted.split_at(sorted.len().min(SHOWN));
    rows(html, "Peers that are connected", busiest, view);
    if !others.is_empty() {
        html.raw("<details id=\"more-peers\" class=\"more\"><summary>");
        html.text(others.len())
            .raw(" that asked for less</summary>");
        rows(html, "Further peers that are connected", others, view);
        html.raw("</details>");
    }
    if *peers_connected > sorted.len() {
        html.raw("<p class=\"small\">")
            .text(count((peers_connected - sorted.len()) as u64));
        html.raw(" more are in <a href=\"/trust/peers\">/trust/peers</a>.</p>");
    }
    html.raw("</section>");
}

fn rows(html: &mut Html, label: &'static str, peers: &[&super::PeerFacts], view: &View<'_>) {
    let mut table = Table::begin(html, label, COLUMNS);
    for peer in peers {
        table.row();
        let cell = table.cell();
        cell.name(&peer.name);
        if !peer.subject.is_empty() && peer.subject != peer.name {
            cell.raw(" <small>").name(&peer.subject).raw("</small>");
        }
        table.cell().name(&peer.anchor);
        table.cell().text(&peer.bundle);
        let since = point(peer.since);
        let past = ago(since, view.now.0);
        let cell = table.cell();
        cell.raw("<time title=\"since ")
            .text(clock(since))
            .raw(" UTC\" datetime=\"");
        cell.text(crate::telemetry::rfc3339(since)).raw("\">");
        cell.text(past.trim_end_matches(" ago")).raw("</time>");
        table.cell().text(count(peer.connections as u64));
        table.cell().text(count(peer.requests));
    }
    table.end();
}
