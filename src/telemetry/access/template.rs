//! Lines of the access log in a form of the operator's own.
//!
//! What a value holds can end neither the line nor quotes that stand around its
//! placeholder: quotes, backslashes, control characters and all that is not ASCII
//! are escaped, as they are in the other forms. What is not there is `-`.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::{AccessRecord, HOST_LIMIT, PATH_LIMIT, TEXT_LIMIT, wire, word};
use crate::telemetry::line::{Line, Value};

/// A line with placeholders, such as `{client} "{method} {path}" {status}`.
#[derive(Clone, Eq, PartialEq)]
pub struct AccessTemplate(Arc<[Piece]>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// Why a text is no template of a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AccessTemplateError {
    /// A brace has no partner.
    #[error("a brace has no partner; write `{{{{` and `}}}}` for braces that are meant as such")]
    Brace,
    /// The text around the placeholders cannot stand in a line.
    #[error("the text may have printable ASCII, spaces and tabs, and at most {MOST_BYTES} bytes")]
    IllegalText,
    /// There is no placeholder.
    #[error(
        "there is no placeholder, so all lines would be the same; write one such as `{{path}}`"
    )]
    Constant,
    /// A placeholder is not known.
    #[error("`{{{0}}}` is not known")]
    Unknown(String),
}

macro_rules! fields {
    ($($field:ident $name:literal $says:literal,)*) => {
        /// What can be said of a request.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        enum Field {
            $($field,)*
        }

        impl Field {
            const ALL: &[(Self, &'static str, &'static str)] =
                &[$((Self::$field, $name, $says),)*];
        }
    };
}

fields! {
    Time "time" "when it ended, in UTC (RFC 3339)",
    Listener "listener" "where it came in",
    Client "client" "from which address; `unix`: a socket; `unknown`: a sender of the PROXY protocol does not know it",
    Via "via" "the sender that has told that address in a header of the PROXY protocol",
    Peer "peer" "who proved to be at the other end: the first URI, else DNS, email or UPN name of the certificate, else its subject, else its serial number; none is an anonymous caller",
    For "for" "for whom the peer speaks, where the listener accepts that: this is the caller",
    Method "method" "the method",
    Host "host" "the host that was asked for",
    Path "path" "path and query as they came, up to 2048 bytes",
    Protocol "protocol" "`HTTP/1.0`, `HTTP/1.1` or `HTTP/2`",
    Status "status" "the status that was sent; 0: none was",
    Route "route" "the route that was taken",
    Upstream "upstream" "where it leads",
    Endpoint "endpoint" "the endpoint that was reached or tried, as the config writes it",
    Rule "rule" "the rule that permitted or denied: its name or its place, `none matched`, `certificate required`",
    WouldAllow "would_allow" "the rule that would have permitted it, were it enforced",
    WouldDeny "would_deny" "the rule that would have denied it, were everything enforced",
    WouldDenyCause "would_deny_cause" "and why",
    Asserted "asserted" "which layer told the service who is calling: `assertion`, `session`, `credential`, `certificate` or `none`",
    Fault "fault" "who ended it, in which phase and why: `side/phase/kind`; none when all went well, which a 404 or 500 of the service is, too",
    Cause "cause" "the cause in words",
    Remedy "remedy" "what to do about it",
    BytesReceived "bytes_received" "bytes of the request's body",
    BytesSent "bytes_sent" "bytes of the response's body",
    DurationMs "duration_ms" "milliseconds from the request's head to the end of the response; of a WebSocket to its end",
    RequestId "request_id" "the reference that the caller is given with an error, and services in `log.request_id_header`",
    GivenId "given_id" "the id that a believed sender has given it in `log.request_id_header`, which goes up in place of that",
    TraceId "trace_id" "the trace that it belongs to, where there is a table `[trace]`",
    Generation "generation" "under which set of trust, certificates and policy it was decided",
}

impl AccessTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AccessTemplateError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        if text.len() > MOST_BYTES || !text.bytes().all(is_plain) {
            return Err(AccessTemplateError::IllegalText);
        }
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{").or(brace.strip_prefix("}}")) {
                literal.push_str(brace.get(..1).unwrap_or_default());
                rest = after;
                continue;
            }
            let inner = brace
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'));
            let (name, after) = inner.ok_or(AccessTemplateError::Brace)?;
            let known = Field::ALL.iter().find(|(_, known, _)| *known == name);
            let (field, ..) = known.ok_or_else(|| AccessTemplateError::Unknown(name.to_owned()))?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Field(*field));
            rest = after;
        }
        if pieces.is_empty() {
            return Err(AccessTemplateError::Constant);
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        Ok(Self(pieces.into()))
    }

    /// The names of all placeholders.
    pub fn placeholders() -> impl Iterator<Item = &'static str> {
        Field::ALL.iter().map(|(_, name, _)| *name)
    }

    /// Every field of a line of the access log and what it says, as a table in
    /// Markdown.
    pub fn table() -> String {
        let row = |(_, name, says): &(Field, &str, &str)| format!("| `{name}` | {says} |\n");
        let rows: String = Field::ALL.iter().map(row).collect();
        format!("| field | says |\n|---|---|\n{rows}")
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>, at: SystemTime) {
        let mut line = Line::bare(out);
        for piece in self.0.iter() {
            match piece {
                Piece::Text(text) => line.literal(text),
                Piece::Field(Field::Time) => line.time(at),
                Piece::Field(field) => line.unquoted(record.value(*field)),
            }
        }
        line.end();
    }
}

impl fmt::Debug for AccessTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

impl AccessRecord<'_> {
    fn value(&self, field: Field) -> Value<'_> {
        match field {
            // It is not the record's: see `AccessTemplate::append`.
            Field::Time => Value::Absent,
            Field::Listener => Value::Word(self.listener),
            Field::Client => Value::Shown(self.client),
            Field::Via => self.via.map_or(Value::Absent, Value::Shown),
            Field::Peer => wire(self.peer, TEXT_LIMIT),
            Field::For => wire(self.spoken_for, TEXT_LIMIT),
            Field::Method => Value::Word(self.method),
            Field::Host => wire(self.host, HOST_LIMIT),
            Field::Path => Value::Quoted(self.path, PATH_LIMIT),
            Field::Protocol => Value::Word(self.protocol),
            Field::Status => Value::Unsigned(self.status.into()),
            Field::Route => word(self.route),
            Field::Upstream => word(self.upstream),
            Field::Endpoint => word(self.endpoint),
            Field::Rule => wire(self.rule, TEXT_LIMIT),
            Field::WouldAllow => wire(self.would_allow, TEXT_LIMIT),
            Field::WouldDeny => wire(self.would_deny.map(|(rule, _)| rule), TEXT_LIMIT),
            Field::WouldDenyCause => wire(self.would_deny.map(|(_, why)| why), TEXT_LIMIT),
            Field::Asserted => wire(self.asserted, TEXT_LIMIT),
            Field::Fault => self.fault.map_or(Value::Absent, Value::Shown),
            Field::Cause => wire(self.cause, TEXT_LIMIT),
            Field::Remedy => wire(self.remedy, TEXT_LIMIT),
            Field::BytesReceived => Value::Unsigned(self.bytes_received),
            Field::BytesSent => Value::Unsigned(self.bytes_sent),
            Field::DurationMs => Value::Milliseconds(self.duration),
            Field::RequestId => Value::Shown(&self.request_id),
            Field::GivenId => wire(self.given_id, TEXT_LIMIT),
            Field::TraceId => {
                let trace = self.trace.as_ref();
                trace.map_or(Value::Absent, |trace| Value::Shown(trace))
            }
            Field::Generation => Value::Unsigned(self.generation),
        }
    }
}

/// Of a template.
const MOST_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
