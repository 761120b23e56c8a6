//! Requests of countersign's own: over a new connection each, and only the head of
//! the answer counts.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;

use super::UploadBody;
use super::announcement::own_header;
use super::body::Tracked;
use super::connect::connect;
use super::fault::{SendFault, SendFaultKind};
use super::gate::Placed;
use super::h1::{H1, Unanswered};
use super::h2;
use super::host;
use super::owner::Owner;
use super::plan::Plan;
use crate::config::{Endpoint, Protocol};

/// Sends a request to the endpoint at `index` of a plan, and waits so long for the
/// head of the answer.
pub(super) async fn ask<B: UploadBody>(
    plan: &Plan,
    index: usize,
    mut request: Box<Request<Tracked<B>>>,
    limit: Duration,
) -> Result<Response<()>, SendFault> {
    let first = own_header(plan);
    let stream = connect(plan, index, first.as_deref()).await?;
    if plan.is_http10() {
        *request.version_mut() = Version::HTTP_10;
    }
    match plan.protocol() {
        Protocol::Http1 => {
            let connection = H1::<B>::begin(Placed::new(stream, None), Owner::Shared);
            let answer = connection.exchange(request, false, limit).await;
            answer.map_err(|unanswered| match unanswered {
                Unanswered::Unsent(_, fault) | Unanswered::Lost(fault, _) => {
                    SendFault::of_link(&fault)
                }
                Unanswered::Timeout => SendFault::timeout(limit),
            })
        }
        Protocol::Http2 => {
            let sender = h2::begin::<B>(stream, ()).await;
            let mut sender = sender.map_err(|e| SendFault::of_link(&e.into()))?;
            let answer = tokio::time::timeout(limit, sender.try_send_request(*request)).await;
            let answer = answer.map_err(|_| SendFault::timeout(limit))?;
            let answer = answer.map_err(|e| SendFault::of_link(&e.into_error().into()))?;
            Ok(answer.map(drop))
        }
    }
}

/// Makes a request one for this path at an endpoint. `host`: for which host;
/// `None`: for the endpoint's own.
pub(super) fn address<B>(
    request: &mut Request<B>,
    protocol: Protocol,
    (endpoint, path): (&Endpoint, &PathAndQuery),
    host: Option<&Authority>,
) -> Result<(), SendFault> {
    let illegal = |e: http::Error| SendFault::new(SendFaultKind::Malformed, &e);
    let authority = match host {
        Some(host) => host.clone(),
        None => authority_of(endpoint).map_err(illegal)?,
    };
    let headers = request.headers_mut();
    if protocol == Protocol::Http1 {
        let host = HeaderValue::from_str(authority.as_str());
        headers.insert(HOST, host.map_err(|e| illegal(e.into()))?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        *request.uri_mut() = Uri::from(path.clone());
    } else {
        let scheme = if endpoint.tls { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(authority);
        let uri = uri.path_and_query(path.clone()).build();
        *request.uri_mut() = uri.map_err(illegal)?;
        *request.version_mut() = Version::HTTP_2;
    }
    Ok(())
}

/// The endpoint's own; a unix socket has none.
fn authority_of(endpoint: &Endpoint) -> Result<Authority, http::Error> {
    let own = host::authority(endpoint);
    Ok(Authority::try_from(
        own.unwrap_or_else(|| "localhost".to_owned()),
    )?)
}

impl UploadBody for Full<Bytes> {
    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn go_on(&mut self) {}
}

/// Posts a message of countersign's own, with the TLS settings and the credential
/// of the upstream, to its endpoints in turn until one answers. What it answers
/// beside the status is not read.
///
/// # Errors
///
/// The [`SendFault`] of the last endpoint, where none answers.
pub async fn post(
    plan: &Plan,
    path: &'static str,
    (body, media_type): (&Bytes, &'static str),
) -> Result<StatusCode, SendFault> {
    let path = PathAndQuery::from_static(path);
    let mut last = SendFault::plain(SendFaultKind::ConnectRefused, "there is no endpoint");
    for (index, endpoint) in plan.endpoints().iter().enumerate() {
        let mut request = Box::new(Request::new(Tracked::new(Full::new(body.clone()))));
        *request.method_mut() = Method::POST;
        address(&mut request, plan.protocol(), (endpoint, &path), None)?;
        if let Some(host) = plan.host().filter(|_| plan.protocol() == Protocol::Http1) {
            request.headers_mut().insert(HOST, host.clone());
        }
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("countersign"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(CONTENT_LENGTH, body.len().into());
        if let Some(credential) = plan.credential().for_caller(None) {
            headers.insert(http::header::AUTHORIZATION, credential.clone());
        }
        match ask(plan, index, request, plan.response_timeout()).await {
            Ok(response) => return Ok(response.status()),
            Err(fault) => last = fault.at(&endpoint.text),
        }
    }
    Err(last)
}
