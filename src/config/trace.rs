//! Reads `[trace]`, and the field of `[log]` that names requests.

use std::num::NonZeroU32;

use http::HeaderName;

use super::field_rules;
use super::model::{FieldRules, Located, Trace, TraceContext, UpstreamId};
use super::names::Names;
use super::problem::Problem;
use super::routes::Ends;
use super::section::{Field, Read, Reader, Section};
use super::units::quoted;
use crate::identity::fold_field_name;

/// More than this samples nothing.
const MOST_ONE_IN: usize = 1_000_000;
/// As long as a name of the config may be, and a domain in it.
const LONGEST_NAME: usize = 255;
/// The fields of the trace context itself.
const CONTEXT: [&str; 3] = ["baggage", "traceparent", "tracestate"];

pub(super) fn trace(section: &mut Section<'_>, upstreams: &Names) -> Read<Trace> {
    let context = section.defaulted("context", TraceContext::Trusted, |field| {
        field.choice(&[
            ("trusted", TraceContext::Trusted),
            ("join", TraceContext::Join),
        ])
    });
    let upstream = section.optional("upstream", |field| upstreams.resolve(field).map(UpstreamId));
    let one_in = section.optional("sample_one_in", |field| field.count(MOST_ONE_IN));
    let service_name = section.defaulted("service_name", "countersign", service_name);
    let one_in = one_in?.and_then(|count| u32::try_from(count).ok());
    Ok(Trace {
        context: context?,
        sample_one_in: one_in.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        upstream: upstream?,
        service_name: service_name?.to_owned(),
    })
}

fn service_name<'r>(field: &Field<'r>) -> Read<&'r str> {
    let name = field.text()?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(name);
    }
    let problem = Problem::new(format!("{} cannot name a service", quoted(name)));
    Err(field.refuse(problem.remedy(format!(
        "write 1 to {LONGEST_NAME} printable ASCII characters"
    ))))
}

/// The name of a field that carries the id of a request.
pub(super) fn request_id_header(field: &Field<'_>) -> Read<Located<HeaderName>> {
    let name = field_rules::own_field(field)?;
    if CONTEXT.contains(&fold_field_name(name.as_str()).as_str()) {
        let problem = Problem::new(format!("`{name}` carries the context of a trace"))
            .causes("services could not continue it any more")
            .remedy("write another name, such as \"X-Request-Id\"; [trace] continues traces");
        return Err(field.refuse(problem));
    }
    Ok(field.located(name))
}

/// Sees that what names a request does not name its caller.
pub(super) fn report_clash(
    reader: &Reader<'_>,
    header: Option<&Located<HeaderName>>,
    ends: &Ends<'_>,
) {
    let Some(header) = header else { return };
    let one = FieldRules {
        remove: vec![header.value.clone()],
        ..FieldRules::default()
    };
    if let Some(problem) = field_rules::clash(&one, ends) {
        reader.report(problem.of_key(header.place, "log.request_id_header"));
    }
}
