//! Who was refused in the handshake, why, and what would have made it pass.

use serde_json::Value;

use super::html::Html;
use super::{View, section, traffic};

/// So many are shown.
const MOST: usize = 50;
/// And so many without being asked for.
const AT_ONCE: usize = 5;

pub(super) fn draw(html: &mut Html, view: &View<'_>) {
    section(html, "refusals");
    let mut by_reason: Vec<(&'static str, u64)> = Vec::new();
    for (_, listener) in &view.survey.listeners {
        for (reason, count) in listener.refused.iter().chain(&listener.not_tls) {
            match by_reason.iter_mut().find(|(known, _)| known == reason) {
                Some((_, sum)) => *sum += count,
                None => by_reason.push((reason, *count)),
            }
        }
    }
    let last = listed(view.refusals, "handshakes");
    if by_reason.is_empty() && last.is_empty() {
        html.raw(
            "<p class=\"quiet\">No handshake was refused since the process started.</p></section>",
        );
        return;
    }
    html.raw("<h3>Handshakes refused by listeners since the start, by reason</h3>");
    traffic::words(html, &by_reason);
    html.raw("<h3>The last ones, and what each would need</h3>");
    list(html, last, ("older-handshakes", handshake));
    html.raw("</section>");
}

/// Refusals of one kind, as they are kept.
pub(super) fn listed<'v>(refusals: &'v Value, kind: &str) -> &'v [Value] {
    let known = refusals.get(kind).and_then(Value::as_array);
    known.map_or(&[], Vec::as_slice)
}

/// Lists refusals, the newest first; all but a few are folded away. `each`
/// writes the first line of one.
pub(super) fn list(
    html: &mut Html,
    refusals: &[Value],
    (older_id, each): (&'static str, fn(&mut Html, &Value)),
) {
    if refusals.is_empty() {
        html.raw("<p class=\"quiet\">None is kept.</p>");
        return;
    }
    let shown = refusals.get(..refusals.len().min(MOST)).unwrap_or(refusals);
    let (newest, older) = shown.split_at(shown.len().min(AT_ONCE));
    entries(html, newest, each);
    if !older.is_empty() {
        html.raw("<details class=\"more\" id=\"")
            .raw(older_id)
            .raw("\"><summary>");
        html.text(older.len()).raw(" older</summary>");
        entries(html, older, each);
        html.raw("</details>");
    }
}

fn entries(html: &mut Html, refusals: &[Value], each: fn(&mut Html, &Value)) {
    html.raw("<ol class=\"entries\">");
    for known in refusals {
        html.raw("<li><p class=\"first\"><time datetime=\"");
        let at = text(known, "at").unwrap_or_default();
        html.text(at)
            .raw("\">")
            .text(to_the_second(at))
            .raw("</time> ");
        html.raw("<b class=\"badge warn\">");
        let reason = text(known, "reason").unwrap_or_default();
        html.text(super::words::plain(reason)).raw("</b> ");
        each(html, known);
        html.raw("</p><p>")
            .name(text(known, "cause").unwrap_or_default());
        if let Some(miss) = text(known, "nearest_miss") {
            html.raw("</p><p>Nearest miss: ").name(miss);
        }
        html.raw("</p><p class=\"need\"><b>Needs:</b> ");
        html.name(text(known, "remedy").unwrap_or_default())
            .raw("</p>");
        details(html, known);
        html.raw("</li>");
    }
    html.raw("</ol>");
}

/// Who knocked, and where.
fn handshake(html: &mut Html, known: &Value) {
    let certificate = known.get("certificate");
    let subject = certificate.and_then(|known| text(known, "subject"));
    if let Some(name) = first_name(certificate).or(subject) {
        html.name(name).raw(" ");
    }
    from(html, known);
}

/// From which address, and to which listener.
pub(super) fn from(html: &mut Html, known: &Value) {
    if let Some(client) = text(known, "client") {
        html.raw("from ").name(client).raw(" ");
    }
    if let Some(listener) = text(known, "listener") {
        html.raw("at <b>").text(listener).raw("</b>");
    }
}

fn first_name(certificate: Option<&Value>) -> Option<&str> {
    let names = certificate?.get("names")?.as_array()?;
    names.first()?.as_str()
}

/// All that is kept of one, under its reference.
fn details(html: &mut Html, known: &Value) {
    let reference = text(known, "reference").unwrap_or_default();
    html.raw("<details id=\"r-").text(reference);
    html.raw("\"><summary>reference ")
        .text(reference)
        .raw("</summary><dl>");
    for key in OF_REFUSAL {
        if let Some(value) = known.get(*key) {
            line(html, key, value);
        }
    }
    if let Some(certificate) = known.get("certificate") {
        for key in OF_CERTIFICATE {
            if let Some(value) = certificate.get(*key) {
                line(html, key, value);
            }
        }
    }
    html.raw("</dl></details>");
}

fn line(html: &mut Html, key: &'static str, value: &Value) {
    let shown = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(all) => {
            let all: Vec<_> = all.iter().filter_map(Value::as_str).collect();
            all.join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => return,
    };
    if shown.is_empty() || shown == "0" {
        return;
    }
    html.raw("<div><dt>")
        .text(super::words::plain(key))
        .raw("</dt><dd>");
    html.name(&shown).raw("</dd></div>");
}

/// The text under a key; `None`: there is none.
pub(super) fn text<'v>(known: &'v Value, key: &str) -> Option<&'v str> {
    known.get(key).and_then(Value::as_str)
}

/// RFC 3339 without what comes after the seconds, and in two words.
fn to_the_second(at: &str) -> String {
    let at = at.split('.').next().unwrap_or(at);
    at.replace('T', " ")
}

/// What is told of a refusal beside its first lines, as it is kept.
const OF_REFUSAL: &[&str] = &[
    "client",
    "via",
    "sni",
    "peer",
    "for",
    "method",
    "host",
    "path",
    "status",
    "route",
    "fault",
    "outcome",
    "step",
    "bundle",
    "list",
    "sent",
    "generation",
];
/// What is told of the certificate that was presented.
const OF_CERTIFICATE: &[&str] = &[
    "subject",
    "names",
    "more_names",
    "issuer",
    "serial",
    "fingerprint",
    "not_before",
    "not_after",
];
