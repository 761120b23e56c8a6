//! What is in force, since when, and when it ends.

use super::html::Html;
use super::words::{ago, clock};
use super::{View, section, timeline, token};

pub(super) fn draw(html: &mut Html, view: &View<'_>) {
    section(html, "trust");
    let generation = &view.overview.generation;
    html.raw("<div class=\"card\"><h3>Generation ")
        .text(generation.number);
    html.raw("</h3><dl><div><dt>In force since</dt><dd>");
    html.text(clock(generation.published)).raw(" UTC, ");
    html.text(ago(generation.published, view.now.0));
    html.raw("</dd></div><div><dt>Files on the disk</dt><dd>");
    if generation.failing {
        html.raw("<b class=\"badge bad\">not in force</b> they last were ");
    } else {
        html.raw("<b class=\"badge fine\">in force</b> checked or loaded ");
    }
    html.text(ago(generation.last_success, view.now.0))
        .raw("</dd></div>");
    last_failure(html, view);
    html.raw("</dl>");
    if view.token.is_some() {
        html.raw("<form method=\"post\" action=\"/actions\" class=\"action\">");
        token(html, view);
        html.raw("<button name=\"do\" value=\"reload\">Look at the files now</button></form>");
    }
    html.raw("</div><h3>When certificates, anchors and lists run out</h3>");
    timeline::draw(html, &view.overview.ends, view.now.0);
    html.raw("</section>");
}

fn last_failure(html: &mut Html, view: &View<'_>) {
    html.raw("<div><dt>Last failed reload</dt><dd>");
    let Some(failure) = &view.overview.generation.last_failure else {
        html.raw("none since the start</dd></div>");
        return;
    };
    html.text(clock(failure.last)).raw(" UTC, ");
    html.text(ago(failure.last, view.now.0))
        .raw("<ul class=\"plain\">");
    for problem in failure.problems.iter().take(SHOWN) {
        html.raw("<li class=\"lines\">").text(problem).raw("</li>");
    }
    for (bundle, loss) in failure.held_back.iter().take(SHOWN) {
        html.raw("<li>held back: <b>").text(bundle).raw("</b>, ");
        html.text(loss).raw("</li>");
    }
    html.raw("</ul></dd></div>");
}

/// So many problems are told of one by one.
const SHOWN: usize = 20;
