//! What somebody should look at, the worst first.

use super::html::Html;
use super::traffic::in_words;
use super::words::ago;
use super::{View, token};
use crate::telemetry::admin::Stage;

/// Something that should not be as it is, or will not stay well.
pub(super) struct Item {
    /// Something is failing now; else it will, or is odd.
    is_bad: bool,
    /// Where the page says more.
    section: &'static str,
    text: String,
    /// A trust bundle that can be accepted from here.
    held_back: Option<String>,
}

/// So many are shown.
const SHOWN: usize = 30;

pub(super) fn items(view: &View<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    let mut add = |is_bad, section, text: String| {
        items.push(Item {
            is_bad,
            section,
            text,
            held_back: None,
        });
    };
    if view.stage == Stage::Draining {
        let open = view.survey.totals().open;
        let text = format!("countersign is draining and will end: {open} connections are left");
        add(false, "traffic", text);
    }
    if view.survey.memory_short {
        let text = "new work is refused, since the process holds more than server.max_memory";
        add(true, "process", text.to_owned());
    }
    for upstream in &view.overview.upstreams {
        let known = upstream.endpoints.iter();
        let troubled: Vec<_> = known.filter(|one| one.is_in_trouble()).collect();
        let Some(first) = troubled.first() else {
            continue;
        };
        let (count, of) = (troubled.len(), upstream.endpoints.len());
        let (name, endpoint) = (&upstream.name, &first.name);
        let why = match (&first.unwell, &first.left_alone) {
            (Some(cause), _) => format!(": its probe: {cause}"),
            (None, Some(left_alone)) => format!(": {}", in_words(left_alone)),
            (None, None) => String::new(),
        };
        let text =
            format!("upstream {name}: {count} of {of} endpoints are failing ({endpoint}{why})");
        add(count == of, "upstreams", text);
    }
    for warning in &view.overview.warnings {
        add(warning.is_bad, "trust", warning.text.clone());
    }
    items.extend(of_reload(view));
    items.sort_by_key(|item| !item.is_bad);
    items
}

/// What is on the disk and not in force.
fn of_reload(view: &View<'_>) -> Vec<Item> {
    let generation = &view.overview.generation;
    let failure = generation.last_failure.as_ref();
    let Some(failure) = failure.filter(|_| generation.failing) else {
        return Vec::new();
    };
    let since = ago(failure.since, view.now.0);
    let problems = failure.problems.iter().map(|problem| Item {
        is_bad: true,
        section: "trust",
        text: format!("what is on the disk is not in force, first tried {since}: {problem}"),
        held_back: None,
    });
    let held_back = failure.held_back.iter().map(|(bundle, loss)| Item {
        is_bad: false,
        section: "trust",
        text: format!("trust bundle {bundle} waits to be confirmed, first seen {since}: {loss}"),
        held_back: Some(bundle.clone()),
    });
    problems.chain(held_back).collect()
}

pub(super) fn draw(html: &mut Html, view: &View<'_>, items: &[Item]) {
    super::section(html, "attention");
    if items.is_empty() {
        html.raw("<p class=\"verdict fine\" role=\"status\"><b>All is well.</b> Nothing needs attention.</p></section>");
        return;
    }
    let is_bad = items.iter().any(|item| item.is_bad);
    html.raw("<p class=\"verdict ")
        .raw(if is_bad { "bad" } else { "warn" });
    html.raw("\" role=\"status\"><b>").text(items.len());
    html.raw(if items.len() == 1 {
        " thing needs attention.</b></p>"
    } else {
        " things need attention.</b></p>"
    });
    html.raw("<ul class=\"items\">");
    for item in items.iter().take(SHOWN) {
        let (class, word) = if item.is_bad {
            ("bad", "failing")
        } else {
            ("warn", "look")
        };
        html.raw("<li><b class=\"badge ")
            .raw(class)
            .raw("\">")
            .raw(word);
        html.raw("</b> <div><p class=\"lines\">")
            .text(&item.text)
            .raw("</p>");
        if let Some(bundle) = &item.held_back {
            accept(html, view, bundle);
        } else {
            html.raw("<a class=\"small\" href=\"#").raw(item.section);
            html.raw("\">more under ").raw(item.section).raw("</a>");
        }
        html.raw("</div></li>");
    }
    html.raw("</ul>");
    if items.len() > SHOWN {
        html.raw("<p class=\"small\">")
            .text(items.len() - SHOWN)
            .raw(" more; the log has all.</p>");
    }
    html.raw("</section>");
}

/// What accepts a bundle that is held back, or says how.
fn accept(html: &mut Html, view: &View<'_>, bundle: &str) {
    if view.token.is_none() {
        html.raw("<p class=\"small\">Put the files right, or confirm with <code>POST /reload?accept_shrink=");
        html.text(bundle).raw("</code>.</p>");
        return;
    }
    html.raw("<form method=\"post\" action=\"/actions\" class=\"action\">");
    token(html, view);
    html.raw("<input type=\"hidden\" name=\"bundle\" value=\"")
        .text(bundle);
    html.raw("\"><details id=\"accept-").text(bundle);
    html.raw("\"><summary>Accept it as it is …</summary><p>Whoever rests on what is dropped is refused from then on, and open connections that rest on it end.</p>");
    html.raw("<button name=\"do\" value=\"accept\" class=\"danger\">Accept the smaller bundle ");
    html.text(bundle).raw("</button></details></form>");
}
