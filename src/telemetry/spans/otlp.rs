//! Writes spans as a collector reads them: an `ExportTraceServiceRequest` of OTLP
//! in protobuf.
//!
//! The few messages that it takes are written by hand: the libraries that would
//! do it bring an HTTP client and a runtime of their own.
//!
//! # Sources
//!
//! opentelemetry-proto 1.9 (`trace/v1/trace.proto`, `common/v1/common.proto`),
//! whose numbers are kept for ever; <https://protobuf.dev/programming-guides/encoding>.

use super::{AttributeValue, Kind, Span};

/// The body of a request that hands over these spans.
pub(super) fn export(service_name: &str, spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |resource| {
            resource.attribute(1, "service.name", &AttributeValue::from(service_name));
            let version = AttributeValue::from(env!("CARGO_PKG_VERSION"));
            resource.attribute(1, "service.version", &version);
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| scope.text(1, "countersign"));
            for span in spans {
                scope_spans.message(2, |message| write(message, span));
            }
        });
    });
    request.0
}

fn write(message: &mut Message, span: &Span) {
    message.bytes(1, &span.trace.bytes());
    message.bytes(2, &span.id.to_be_bytes());
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.to_be_bytes());
    }
    message.text(5, &span.name);
    message.number(6, kind(span.kind));
    message.fixed(7, span.start_nanoseconds);
    message.fixed(8, span.end_nanoseconds);
    for (key, value) in &span.attributes {
        message.attribute(9, key, value);
    }
    if span.failed {
        message.message(15, |status| status.number(3, ERROR));
    }
}

/// `SpanKind`.
fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Server => SERVER,
        Kind::Client => CLIENT,
    }
}

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A `KeyValue` with its `AnyValue`.
    fn attribute(&mut self, field: u64, key: &str, value: &AttributeValue) {
        self.message(field, |pair| {
            pair.text(1, key);
            pair.message(2, |any| match value {
                AttributeValue::Text(text) => any.text(1, text),
                AttributeValue::Number(number) => any.number(3, *number),
            });
        });
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

/// `SPAN_KIND_SERVER`.
const SERVER: u64 = 2;
/// `SPAN_KIND_CLIENT`.
const CLIENT: u64 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    use prost::Message as _;

    use super::super::TraceContext;
    use super::*;

    fn pair(key: &str, value: Value) -> KeyValue {
        let value = Some(AnyValue { value: Some(value) });
        KeyValue {
            key: key.to_owned(),
            value,
            ..KeyValue::default()
        }
    }

    #[test]
    fn the_crates_of_opentelemetry_read_what_is_written() {
        let trace = TraceContext::begin(0x0102, 1, true).trace();
        let duration = Duration::from_millis(1500);
        let mut one = Span::ended((trace, 0xab, Some(0xcd)), "GET all".to_owned(), duration);
        one.with("a.text", "grün");
        one.with("a.number", 300);
        one.with_some("nothing", None::<u64>);
        one.fail();
        let other = Span::ended((trace, 0xef, None), String::new(), Duration::ZERO);

        let request = ExportTraceServiceRequest::decode(&*export("edge", &[one, other])).unwrap();

        let [resource_spans] = &request.resource_spans[..] else {
            panic!("{request:?}");
        };
        let resource = resource_spans.resource.as_ref().unwrap();
        let name = pair("service.name", Value::StringValue("edge".to_owned()));
        assert_eq!(resource.attributes[0], name);
        let [scope_spans] = &resource_spans.scope_spans[..] else {
            panic!("{request:?}");
        };
        assert_eq!(scope_spans.scope.as_ref().unwrap().name, "countersign");
        let [one, other] = &scope_spans.spans[..] else {
            panic!("{request:?}");
        };
        assert_eq!(one.trace_id, [&[0; 14][..], &[1, 2]].concat());
        assert_eq!(one.span_id, [0, 0, 0, 0, 0, 0, 0, 0xab]);
        assert_eq!(one.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 0xcd]);
        assert_eq!(one.name, "GET all");
        assert_eq!(one.kind(), SpanKind::Server);
        let took = one.end_time_unix_nano - one.start_time_unix_nano;
        assert_eq!(u128::from(took), duration.as_nanos());
        assert_eq!(
            one.attributes,
            [
                pair("a.text", Value::StringValue("grün".to_owned())),
                pair("a.number", Value::IntValue(300)),
            ]
        );
        assert_eq!(one.status.as_ref().unwrap().code(), StatusCode::Error);
        assert!(other.parent_span_id.is_empty() && other.status.is_none());
    }

    #[test]
    fn numbers_are_written_as_protobuf_has_them() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.fixed(16, 1);
        let expected = [
            0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g', 0x81, 0x01, 1,
            0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(message.0, expected);
        let mut largest = Message::default();
        largest.varint(u64::MAX);
        assert_eq!(largest.0, [&[0xff; 9][..], &[0x01]].concat());
    }
}
