//! The options for traces, the ids of requests, and the form of their lines.

use super::Default::{Is, Unset};
use super::{Opt, Table};

pub(super) const TABLES: &[Table] = &[TRACE];

pub(super) const ACCESS_TEMPLATE: Opt = Opt {
    path: "log.access_template",
    value: "a text with placeholders",
    default: Unset,
    summary: "The form of the access log's lines, in place of `log.format`: `{NAME}` stands for a field of the access log, `{{` and `}}` for braces. What is not there is `-`. What is not in the template is nowhere else: `{fault}`, `{cause}` and `{request_id}` are what explains a refusal.",
    protects: "Quotes, backslashes and control characters in a value are escaped, spaces are not: put quotes around placeholders whose values callers choose, such as `{path}` and `{peer}`, where a program reads the lines.",
    without: "lines have all fields, in the form of `log.format`",
    see: &["log.format", "log.access"],
    example: "'{client} {peer} [{time}] \"{method} {path}\" {status} {bytes_sent} {fault} {request_id}'",
};

pub(super) const REQUEST_ID_HEADER: Opt = Opt {
    path: "log.request_id_header",
    value: "the name of a header field",
    default: Unset,
    summary: "The field in which services are told the id of each request, which is `request_id` in the access log. A sender that is believed (`trusted_proxies` of the listener, or a peer in `accept_assertions_from`) may give an id of its own in it, of 1 to 128 letters, digits and `-._~:/+=@`: that one goes up, and the log has it as `given_id`. What others send in the field is replaced.",
    protects: "Whoever may choose the id of a request may make it look like another one in the logs of services.",
    without: "services are told no id, and what callers send in such fields passes",
    see: &["listeners.NAME.trusted_proxies", "trace.context"],
    example: "\"X-Request-Id\"",
};

const TRACE: Table = Table {
    path: "trace",
    header: "[trace]",
    left_out: true,
    summary: "Traces (W3C Trace Context). Without this table `traceparent` and `tracestate` pass as they came, and no spans are made.",
    options: &[
        Opt {
            path: "trace.context",
            value: "`\"trusted\"` or `\"join\"`",
            default: Is("\"trusted\""),
            summary: "Whose trace is continued: of senders that are believed (`trusted_proxies` of the listener, or a peer in `accept_assertions_from`), or (`join`) of every sender. For the others, and where `traceparent` is malformed or there is none, a new trace begins, and `tracestate` is removed.",
            protects: "Whoever continues a trace decides whether it is recorded, and can have what services do stand in a trace of its own.",
            without: "only the traces of trusted senders are continued",
            see: &["listeners.NAME.trusted_proxies", "trace.sample_one_in"],
            example: "\"trusted\"",
        },
        Opt {
            path: "trace.sample_one_in",
            value: "a whole number from 1 to 1000000",
            default: Is("1"),
            summary: "One in so many of the traces that begin here is recorded, which its `traceparent` says to all who follow. A trace that is continued is recorded if its sender says so.",
            protects: "Each trace that is recorded costs memory and network here, at the services and at the collector.",
            without: "every trace that begins here is recorded",
            see: &["trace.upstream"],
            example: "1",
        },
        Opt {
            path: "trace.upstream",
            value: "the name of an upstream",
            default: Unset,
            summary: "The collector: spans of recorded traces go there, once a second, over OTLP (HTTP with protobuf, `POST /v1/traces`), with the TLS settings and the credential of the upstream. Requests never wait for it: what does not fit into 8192 spans, and what it does not take, is dropped and counted.",
            protects: "Spans hold who called and for which path (never its query, and no header field or body): choose a collector that may know.",
            without: "no spans are made; the context is still handed on",
            see: &["trace.context", "trace.service_name"],
            example: "\"billing\"",
        },
        Opt {
            path: "trace.service_name",
            value: "1 to 255 printable ASCII characters",
            default: Is("\"countersign\""),
            summary: "By what name spans say who made them (`service.name`).",
            protects: "Several installations in one collector are told apart by it.",
            without: "it is `countersign`",
            see: &["trace.upstream"],
            example: "\"countersign\"",
        },
    ],
};
