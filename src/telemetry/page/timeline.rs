//! Everything that ceases to be valid one day, on a time line.

use std::time::SystemTime;

use super::html::Html;
use super::overview::{End, EndKind};
use super::table::{Column, Table};
use super::words::{clock, point, span, unix};

/// Where the parts of the line begin, in seconds from now. Each is as wide as the
/// others: what ends soon has as much room as what lives for years.
const PARTS: [(i64, &str); 8] = [
    (0, "now"),
    (3_600, "1 h"),
    (86_400, "1 d"),
    (7 * 86_400, "1 wk"),
    (30 * 86_400, "1 mo"),
    (91 * 86_400, "3 mo"),
    (365 * 86_400, "1 y"),
    (5 * 365 * 86_400, "5 y"),
];
/// Where the line ends: later than almost everything.
const LAST: i64 = 25 * 365 * 86_400;
/// The width of a part in the drawing.
const WIDTH: f64 = 100.0;
/// So many rows are shown at once; those that end last are folded away.
const SHOWN: usize = 40;
/// And so many at all.
const MOST: usize = 500;

/// The class of the column with the lines, whose heading has the scale.
pub(super) const CLASS: &str = "line";

const COLUMNS: &[Column] = &[
    ("What ends", "what"),
    ("Of", ""),
    ("Time left", "left"),
    ("On a time line", CLASS),
    ("At (UTC)", "at"),
];

/// Writes the time line, what ends first at the top.
pub(super) fn draw(html: &mut Html, ends: &[End], now: SystemTime) {
    if ends.is_empty() {
        html.raw("<p class=\"quiet\">Nothing in force has an end: there is no certificate, anchor or list.</p>");
        return;
    }
    let mut ends: Vec<_> = ends.iter().collect();
    ends.sort_by_key(|end| end.at.unwrap_or(i64::MAX));
    let total = ends.len();
    ends.truncate(MOST);
    let (first, later) = ends.split_at(ends.len().min(SHOWN));
    rows(
        html,
        "Certificates, anchors and revocation lists by their end",
        first,
        now,
    );
    if !later.is_empty() {
        html.raw("<details id=\"later-ends\" class=\"more\"><summary>")
            .text(later.len());
        html.raw(" that end later</summary>");
        rows(html, "Those that end later", later, now);
        html.raw("</details>");
    }
    if total > MOST {
        html.raw("<p class=\"small\">").text(total - MOST);
        html.raw(" more are in <a href=\"/trust\">/trust</a>.</p>");
    }
}

fn rows(html: &mut Html, label: &'static str, ends: &[&End], now: SystemTime) {
    html.raw("<div class=\"ends\">");
    let mut table = Table::begin(html, label, COLUMNS);
    for end in ends {
        let left = end.at.map(|at| at.saturating_sub(unix(now)));
        table.row();
        let cell = table.cell();
        cell.raw("<small>")
            .raw(kind(end.kind))
            .raw("</small> ")
            .name(&end.name);
        if !end.note.is_empty() {
            cell.raw(" <small>").text(&end.note).raw("</small>");
        }
        table.cell().text(&end.of);
        time_left(table.cell(), left, end.soon);
        line(table.cell(), left, end.soon);
        let at = end.at.map(|at| clock(point(at)));
        table.cell().text_or_dash(at.as_deref());
    }
    table.end();
    html.raw("</div>");
}

fn kind(kind: EndKind) -> &'static str {
    match kind {
        EndKind::Own => "own certificate",
        EndKind::Anchor => "anchor",
        EndKind::List => "revocation list",
    }
}

fn time_left(html: &mut Html, left: Option<i64>, soon: bool) {
    match left {
        None => html.raw("never ends"),
        Some(left) if left < 0 => {
            let past = span(left.unsigned_abs());
            html.raw("<b class=\"badge bad\">over</b> ")
                .text(past)
                .raw(" ago")
        }
        Some(left) => {
            if soon {
                html.raw("<b class=\"badge warn\">soon</b> ");
            }
            html.text(span(left.unsigned_abs()))
        }
    };
}

fn line(html: &mut Html, left: Option<i64>, soon: bool) {
    let class = match left {
        Some(..0) => "bad",
        _ if soon => "warn",
        _ => "fine",
    };
    // Where rows are cards, the scale of the heading is not to be seen.
    scale(html);
    html.raw("<svg class=\"bar\" viewBox=\"0 0 800 12\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    html.raw("<path class=\"grid\" d=\"M100 0V12M200 0V12M300 0V12M400 0V12M500 0V12M600 0V12M700 0V12\"/>");
    let width = place(left.unwrap_or(LAST)).max(4.0);
    html.raw("<rect class=\"").raw(class);
    html.raw("\" x=\"0\" y=\"2\" height=\"8\" width=\"");
    html.text(format_args!("{width:.0}")).raw("\"/></svg>");
}

/// The scale, below the heading of the lines.
pub(super) fn scale(html: &mut Html) {
    html.raw("<span class=\"ticks\" aria-hidden=\"true\">");
    for (_, name) in PARTS {
        html.raw("<i>").raw(name).raw("</i>");
    }
    html.raw("</span>");
}

/// How far along the line a point is that is `left` seconds away.
fn place(left: i64) -> f64 {
    if left <= 0 {
        return 0.0;
    }
    let part = PARTS.partition_point(|(start, _)| *start <= left);
    let part = part.saturating_sub(1);
    let start = PARTS.get(part).map_or(0, |(start, _)| *start);
    let end = PARTS.get(part + 1).map_or(LAST, |(start, _)| *start);
    let within = (left - start) as f64 / (end - start) as f64;
    (part as f64 + within.min(1.0)) * WIDTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_ascend_from_now_to_the_end_of_the_line() {
        for (left, expected) in [
            (-1, 0.0),
            (0, 0.0),
            (1_800, 50.0),
            (3_600, 100.0),
            (7 * 86_400, 300.0),
            (LAST, 800.0),
            (i64::MAX, 800.0),
        ] {
            assert!(
                (place(left) - expected).abs() < 0.01,
                "{left}: {}",
                place(left)
            );
        }
    }

    #[test]
    fn what_ends_first_stands_first_and_says_how_long_it_lasts() {
        let now = point(1_000_000);
        let end = |name: &str, at| End {
            kind: EndKind::Anchor,
            of: "partners".to_owned(),
            name: name.to_owned(),
            at,
            soon: false,
            note: String::new(),
        };
        let ends = [
            end("endless", None),
            end("later", Some(1_007_200)),
            end("past", Some(999_940)),
        ];
        let mut html = Html::default();
        draw(&mut html, &ends, now);
        let html = html.into_string();
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}: {html}"));
        assert!(at("past") < at("later") && at("later") < at("endless"));
        assert!(at("over</b> 1 min ago") < at("2 h"), "{html}");
        at("never ends");
    }
}
