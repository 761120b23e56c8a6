//! The status page on the admin address, and what its reader may do there.

use std::cell::{Cell, RefCell};
use std::time::SystemTime;

use aws_lc_rs::{digest, rand};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::actions::{self, Action, NotDone};
use super::command::{ANSWER_TIMEOUT, AdminRequest, Desk};
use super::host::Asked;
use super::{AdminState, response, text};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::page::{self, History, View};

/// What the page needs beside what the program says.
#[derive(Debug)]
pub(super) struct StatusPage {
    history: RefCell<History>,
    /// What its forms are signed with, anew in each process; `None`: the system
    /// gives no randomness, so nothing can be signed.
    token: Option<String>,
    policy: Option<HeaderValue>,
}

impl StatusPage {
    pub(super) fn new() -> Self {
        let mut token = [0; 32];
        let random = rand::fill(&mut token).is_ok();
        Self {
            history: RefCell::default(),
            token: random.then(|| HEXLOWER.encode(&token)),
            policy: HeaderValue::from_str(&policy()).ok(),
        }
    }

    /// Takes samples of the counters for as long as it runs.
    pub(super) async fn keep_history(&self, metrics: &Metrics) {
        let mut pace = tokio::time::interval(History::INTERVAL);
        loop {
            let now = pace.tick().await;
            let totals = metrics.survey().totals();
            self.history.borrow_mut().sample(now, totals);
        }
    }

    /// The page as it is now.
    pub(super) fn show<B>(
        &self,
        request: &Request<B>,
        state: &AdminState,
    ) -> Response<Full<Bytes>> {
        let access = &state.access;
        let is_sure = state.asked(request) == Asked::Sure;
        let may_change = access.allow_changes && is_sure;
        let drawn = page::draw(&View {
            now: (SystemTime::now(), Instant::now()),
            started: state.metrics.started(),
            stage: state.readiness.stage(),
            overview: &state.program.overview(),
            sections: &state.sections,
            survey: &state.metrics.survey(),
            history: &self.history.borrow(),
            refusals: &state.refusals.describe(),
            token: self.token.as_deref().filter(|_| may_change),
            read_only: match access.allow_changes {
                false => "This page changes nothing: admin.allow_changes is not set.",
                true => {
                    "This page changes nothing when it is asked for under this name: ask by IP address, as localhost, or under a name in admin.hosts."
                }
            },
            done: done(request),
        });
        self.guarded(response(
            StatusCode::OK,
            "text/html; charset=utf-8",
            drawn.into(),
        ))
    }

    /// Does what a form of the page asks for, and leads back to it.
    pub(super) async fn act(
        &self,
        request: Request<Incoming>,
        state: &AdminState,
        (desk, deadline): (&Desk, &Cell<Instant>),
    ) -> Response<Full<Bytes>> {
        let wanted = match self.wanted(request, state).await {
            Ok(wanted) => wanted,
            Err(cause) => return text(cause.status(), format!("{cause}; nothing was done\n")),
        };
        deadline.set(deadline.get() + ANSWER_TIMEOUT);
        let word = match wanted {
            Action::Drain => match state.drain.try_send(()) {
                // Who wishes it again is told that it has begun.
                Ok(()) | Err(TrySendError::Full(())) => "draining",
                Err(TrySendError::Closed(())) => "unanswered",
            },
            Action::Reload => actions::outcome(desk.ask(reload(None)).await),
            Action::Accept(bundle) => actions::outcome(desk.ask(reload(Some(bundle))).await),
        };
        let mut response = self.guarded(text(StatusCode::SEE_OTHER, "done\n"));
        if let Ok(back) = HeaderValue::from_str(&format!("/?done={word}")) {
            response.headers_mut().insert(LOCATION, back);
        }
        response
    }

    async fn wanted(
        &self,
        request: Request<Incoming>,
        state: &AdminState,
    ) -> Result<Action, NotDone> {
        if !state.access.allow_changes {
            return Err(NotDone::ReadOnly);
        }
        if state.asked(&request) != Asked::Sure {
            return Err(NotDone::Foreign);
        }
        actions::is_from_the_page(request.headers())?;
        let body = Limited::new(request.into_body(), actions::MAX_FORM);
        let form = body.collect().await.map_err(|_| NotDone::Form)?;
        let token = self.token.as_deref().ok_or(NotDone::Token)?;
        Action::read(&form.to_bytes(), token)
    }

    /// What keeps a browser from letting others use the page.
    fn guarded(&self, mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        let headers = response.headers_mut();
        let nothing = HeaderValue::from_static("default-src 'none'");
        let policy = self.policy.clone().unwrap_or(nothing);
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        for (name, value) in GUARDS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// A reload, with a bundle that is accepted as it is.
fn reload(bundle: Option<String>) -> AdminRequest {
    AdminRequest::Reload {
        accept_shrink: bundle.into_iter().collect(),
    }
}

/// What the reader is told of what they did: one of a few sentences, whatever
/// the address says.
fn done<B>(request: &Request<B>) -> Option<&'static str> {
    let word = request.uri().query()?.strip_prefix("done=")?;
    actions::sentence(word)
}

/// The content security policy of the page: its own style and script, by their
/// hashes, and requests to where it came from; nothing else.
fn policy() -> String {
    let hash =
        |text: &str| BASE64.encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let (style, script) = (hash(page::STYLE), hash(page::SCRIPT));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Fields of every answer of the page. The referrer is kept from others, and
/// not left out altogether: a form would come without its origin.
const GUARDS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];
