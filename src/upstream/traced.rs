//! What the trace of a request is told of the attempts to have it answered.

use http::{HeaderName, HeaderValue, Request};

use super::UploadBody;
use super::attempt::{Attempt, Manner};
use super::body::Tracked;
use super::endpoint::Endpoint;
use super::send::Upstream;
use crate::config::{EndpointAddress, Protocol};
use crate::telemetry::spans::{AttemptSpan, Service};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl<B: UploadBody> Upstream<B> {
    /// The span of an attempt at `endpoint`, under which the service is told to
    /// stand; `None`: there is none.
    pub(super) fn begin_span(
        &self,
        endpoint: &Endpoint<B>,
        request: &mut Request<Tracked<B>>,
        manner: &Manner,
    ) -> Option<Box<AttemptSpan>> {
        let attempts = manner.attempts.as_ref()?;
        let plan = self.plan();
        let (address, port) = match &plan.endpoints().get(endpoint.index)?.address {
            EndpointAddress::Tcp { host, port } => (host.as_str().into(), Some(*port)),
            EndpointAddress::Unix(path) => (path.to_string_lossy(), None),
        };
        let service = Service {
            upstream: plan.name(),
            endpoint: &endpoint.text,
            address: &address,
            port,
            version: match plan.protocol() {
                Protocol::Http2 => "2",
                Protocol::Http1 if plan.is_http10() => "1.0",
                Protocol::Http1 => "1.1",
            },
        };
        let asked = (request.method().as_str(), request.uri().path());
        let span = attempts.begin(asked, service);
        // A route may have it removed, or write another one.
        if let Some(written) = request.headers_mut().get_mut(TRACEPARENT)
            && let Some(context) = span.context(written.as_bytes())
            && let Ok(value) = HeaderValue::try_from(context.to_string())
        {
            *written = value;
        }
        Some(Box::new(span))
    }
}

impl<B: UploadBody> Attempt<B> {
    /// Says what came of it.
    pub(super) fn end_span(&self, span: AttemptSpan) {
        match self {
            Self::Answered(response) => span.answered(response.status().as_u16()),
            Self::Again { fault, .. } | Self::Failed(fault) => span.failed(fault.kind.code()),
            Self::Elsewhere(_) => span.never_began(),
        }
    }
}
