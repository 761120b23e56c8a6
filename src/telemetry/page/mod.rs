//! Draws the status page: one HTML document with all that it needs.
//!
//! # Rules
//!
//! * The page is whole without its script, which only takes the place of the
//!   browser's reload: it fetches the same page and exchanges what has changed.
//! * It asks for nothing from elsewhere, and its policy (CSP) lets it ask for
//!   nothing but itself; style and script are named by their hashes.
//! * Whatever is not the program's own text goes through `html`, which escapes
//!   it: names of certificates, of hosts and of paths are chosen by strangers.
//! * Everything that is listed has a bound.
//! * Nothing is told by colour alone, and every drawing is told in words or
//!   figures too.

mod attention;
mod charts;
mod history;
mod html;
mod overview;
mod peers;
mod policy;
mod refusals;
mod table;
mod timeline;
mod traffic;
mod trust;
mod words;

use std::time::SystemTime;

use serde_json::Value;
use tokio::time::Instant;

pub(super) use history::History;
use html::Html;
pub use overview::{
    End, EndKind, EndpointFacts, Facts, FailureFacts, GenerationFacts, LeftAloneFacts,
    ListenerFacts, Overview, PeerFacts, Program, UpstreamFacts, Warned,
};

use super::admin::Stage;
use super::metrics::Survey;

/// All that the page shows.
pub(super) struct View<'a> {
    /// The moment that it shows.
    pub(super) now: (SystemTime, Instant),
    /// Since when the process runs, in seconds since 1970.
    pub(super) started: u64,
    /// Whether traffic is welcome.
    pub(super) stage: Stage,
    /// What the program says.
    pub(super) overview: &'a Overview,
    /// Further names and values.
    pub(super) sections: &'a [Facts],
    /// What was counted.
    pub(super) survey: &'a Survey,
    /// What was counted in the last hour.
    pub(super) history: &'a History,
    /// The last refusals, as they are kept.
    pub(super) refusals: &'a Value,
    /// What its forms are signed with; `None`: it changes nothing.
    pub(super) token: Option<&'a str>,
    /// Why it changes nothing.
    pub(super) read_only: &'static str,
    /// What came of what the reader has just asked for.
    pub(super) done: Option<&'static str>,
}

/// Its style.
pub(super) const STYLE: &str = include_str!("status.css");
/// Its script.
pub(super) const SCRIPT: &str = include_str!("status.js");

/// The sections, by their names in links.
const SECTIONS: [(&str, &str); 9] = [
    ("attention", "Attention"),
    ("traffic", "Traffic"),
    ("listeners", "Listeners"),
    ("upstreams", "Upstreams"),
    ("refusals", "Refusals"),
    ("policy", "Policy"),
    ("trust", "Trust"),
    ("peers", "Peers"),
    ("process", "Process"),
];

/// Draws the page.
pub(super) fn draw(view: &View<'_>) -> String {
    let mut html = Html::default();
    let items = attention::items(view);
    head(&mut html, view, &items);
    html.raw("<main id=\"main\" tabindex=\"-1\">");
    if let Some(done) = view.done {
        html.raw("<p class=\"banner done\" role=\"status\">")
            .raw(done)
            .raw("</p>");
    }
    attention::draw(&mut html, view, &items);
    traffic::charts(&mut html, view);
    traffic::listeners(&mut html, view);
    traffic::upstreams(&mut html, view);
    refusals::draw(&mut html, view);
    policy::draw(&mut html, view);
    trust::draw(&mut html, view);
    peers::draw(&mut html, view);
    process(&mut html, view);
    html.raw("</main>");
    foot(&mut html, view);
    html.into_string()
}

fn head(html: &mut Html, view: &View<'_>, items: &[attention::Item]) {
    html.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">");
    html.raw("<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>");
    html.raw("<link rel=\"icon\" href=\"")
        .raw(ICON)
        .raw("\"><title>");
    if !items.is_empty() {
        html.raw("(").text(items.len()).raw(") ");
    }
    html.raw("countersign</title><style>").raw(STYLE);
    html.raw("</style></head><body><a class=\"skip\" href=\"#main\">Skip to the content</a>");
    html.raw("<header id=\"top\"><div class=\"brand\"><h1>countersign</h1>");
    let (class, stage) = match view.stage {
        Stage::Starting => ("warn", "starting"),
        Stage::Ready => ("fine", "ready"),
        Stage::Draining => ("warn", "draining"),
    };
    html.raw("<b id=\"stage\" class=\"badge ")
        .raw(class)
        .raw("\">")
        .raw(stage);
    html.raw("</b></div><p class=\"when\" id=\"when\">As of <time datetime=\"");
    html.text(super::rfc3339(view.now.0)).raw("\">");
    html.text(words::clock(view.now.0)).raw("</time> UTC</p>");
    html.raw("<p class=\"live\"><button type=\"button\" id=\"pause\" hidden aria-pressed=\"false\">Pause</button></p></header>");
    html.raw("<p id=\"stale\" class=\"banner\" role=\"alert\" hidden></p>");
    html.raw("<nav aria-label=\"Sections\"><ul>");
    for (id, name) in SECTIONS {
        html.raw("<li><a href=\"#")
            .raw(id)
            .raw("\">")
            .raw(name)
            .raw("</a></li>");
    }
    html.raw("</ul></nav>");
}

/// Begins a section under its heading.
fn section(html: &mut Html, id: &'static str) {
    let name = SECTIONS.iter().find(|(known, _)| *known == id);
    let name = name.map_or("", |(_, name)| *name);
    html.raw("<section id=\"")
        .raw(id)
        .raw("\" aria-labelledby=\"h-")
        .raw(id);
    html.raw("\"><h2 id=\"h-")
        .raw(id)
        .raw("\">")
        .raw(name)
        .raw("</h2>");
}

/// What the process is made of, and what else the program has to say.
fn process(html: &mut Html, view: &View<'_>) {
    section(html, "process");
    html.raw("<div class=\"cards\">");
    let up = words::unix(view.now.0);
    let up = u64::try_from(up).unwrap_or(0).saturating_sub(view.started);
    let own = Facts {
        title: "This process".to_owned(),
        lines: vec![
            ("Version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("Process".to_owned(), std::process::id().to_string()),
            ("Running for".to_owned(), words::span(up)),
        ],
    };
    let memory = (view.survey.memory > 0).then(|| words::size(view.survey.memory));
    let memory = memory.map(|memory| ("Resident memory".to_owned(), memory));
    let own = [own];
    let all = own
        .iter()
        .chain(&view.overview.sections)
        .chain(view.sections);
    for (index, facts) in all.into_iter().enumerate() {
        html.raw("<div class=\"card\"><h3>")
            .text(&facts.title)
            .raw("</h3><dl>");
        let more = memory.iter().filter(|_| index == 0);
        for (name, value) in facts.lines.iter().chain(more) {
            html.raw("<div><dt>")
                .text(name)
                .raw("</dt><dd>")
                .text(value)
                .raw("</dd></div>");
        }
        html.raw("</dl></div>");
    }
    html.raw("</div></section>");
}

fn foot(html: &mut Html, view: &View<'_>) {
    html.raw("<footer><p>The same for machines: <a href=\"/metrics\">metrics</a>, ");
    html.raw("<a href=\"/trust\">trust</a>, <a href=\"/trust/peers\">peers</a>, ");
    html.raw("<a href=\"/refusals\">refusals</a>, <a href=\"/healthz\">health</a>, ");
    html.raw("<a href=\"/readyz\">readiness</a>.</p>");
    if view.token.is_some() {
        html.raw("<form method=\"post\" action=\"/actions\" class=\"action\">");
        token(html, view);
        html.raw("<details id=\"drain\"><summary>Drain and end …</summary><p>As on SIGTERM: the process is not ready any more; connections are still accepted through <code>server.drain_delay</code>, where that is set, and then none; what is under way is finished, and the process ends. Whatever supervises it may start it again.</p>");
        html.raw("<button name=\"do\" value=\"drain\" class=\"danger\">Drain and end this process</button></details></form>");
    } else {
        html.raw("<p class=\"small\">")
            .raw(view.read_only)
            .raw("</p>");
    }
    html.raw("</footer><script>")
        .raw(SCRIPT)
        .raw("</script></body></html>\n");
}

/// What says that a form is one of this page.
fn token(html: &mut Html, view: &View<'_>) {
    if let Some(token) = view.token {
        html.raw("<input type=\"hidden\" name=\"token\" value=\"");
        html.text(token).raw("\">");
    }
}

/// A shield, in the page itself so that nothing else is asked for.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%232563a8' d='M8 0l6 2v6c0 4-3 7-6 8-3-1-6-4-6-8V2z'/%3E%3Cpath fill='none' stroke='%23fff' stroke-width='2' d='M5 8l2 2 4-4'/%3E%3C/svg%3E";

#[cfg(test)]
mod tests;
