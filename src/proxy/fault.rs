//! Why a request did not go as its caller wished, and what the caller is told.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::StatusCode;

use crate::policy::Denial;
use crate::upstream::{SendFault, SendFaultKind};

/// A request that failed or was refused: who ended it, when, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Who ended it.
    pub side: Side,
    /// How far it had come.
    pub phase: Phase,
    /// What happened.
    pub kind: Kind,
    /// The cause in words, for the log; never for the caller.
    pub cause: String,
    /// What to do about it, where more is known than its kind; see [`Self::remedy`].
    pub(super) own_remedy: Option<String>,
    /// After how many seconds the caller may come again, where that is known.
    pub(super) retry_after: Option<NonZeroU32>,
    /// What the caller is told beside the status and the reference.
    pub(super) told: Option<Arc<str>>,
}

/// Who ended a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client.
    Downstream,
    /// countersign itself.
    Proxy,
    /// The service.
    Upstream,
}

/// How far a request had come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Its head was read and checked.
    RequestHead,
    /// Its route was looked for.
    Route,
    /// Policy decided.
    Policy,
    /// What goes up was put together.
    Outbound,
    /// A connection to the upstream was set up.
    Connect,
    /// Its body was carried up.
    RequestBody,
    /// The response's head was waited for.
    ResponseHead,
    /// The response's body was carried down.
    ResponseBody,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// No identity, where the upstream requires one to be asserted.
    AssertionMissing,
    /// What a peer says of the caller for whom it speaks cannot be taken.
    AssertionRefused,
    /// The assertion would be larger than its budget.
    AssertionTooLarge,
    /// The assertion could not be signed.
    AssertionUnsigned,
    /// The host asked for is not one of this connection's.
    AuthorityNotServed,
    /// The body broke off.
    BodyBroken,
    /// The body is larger than the route, or the listener, takes.
    BodyTooLarge,
    /// The body comes, but more slowly than the listener waits for.
    BodyTooSlow,
    /// No piece of the body came, or was taken, in time.
    BodyTimeout,
    /// The client's certificate is not accepted, and it was let in to be told so.
    CertificateRefused,
    /// A certificate is needed here.
    CertificateRequired,
    /// The client went away before its response was complete.
    ClientGone,
    /// The upstream took no connection.
    ConnectRefused,
    /// The upstream did not answer to a connection attempt in time.
    ConnectTimeout,
    /// No credential, where the upstream requires one.
    CredentialMissing,
    /// The upstream does not accept countersign's own credential.
    CredentialRefused,
    /// This machine has nothing left to connect with.
    Exhausted,
    /// countersign ended it: at its own end, or with the connection it came over.
    Cut,
    /// A `deny` entry matches the caller or the request.
    DeniedByRule,
    /// The body has no length, and the upstream takes none without one.
    LengthRequired,
    /// The route is in maintenance, and not served.
    Maintenance,
    /// The head breaks a rule of HTTP, or could be read in two ways.
    Malformed,
    /// This method is not served (CONNECT, TRACE).
    MethodNotServed,
    /// No `allow` entry matches the caller.
    NoRuleMatched,
    /// No route matches the request.
    NoRoute,
    /// The head has more fields than the listener takes.
    TooManyFields,
    /// Both sides of a changed protocol were silent for too long.
    TunnelIdle,
    /// There is more work than can be taken on.
    Overloaded,
    /// The caller has sent more requests than the rate of the route permits.
    RateExceeded,
    /// The upstream closed before its response was complete.
    UpstreamLost,
    /// The upstream's response is not HTTP.
    UpstreamMalformed,
    /// TLS with the upstream failed.
    UpstreamHandshake,
    /// The upstream did not ask for the certificate that must be presented.
    UpstreamNotAsked,
    /// The upstream's name could not be resolved.
    UpstreamUnresolved,
    /// The response's head did not come in time.
    ResponseTimeout,
    /// The upstream does not know the caller's session any more.
    SessionLost,
    /// Whoever is at the other end of the connection is no longer trusted.
    Withdrawn,
}

impl Fault {
    /// A fault with its cause in words.
    pub(super) fn new(side: Side, phase: Phase, kind: Kind, cause: impl Into<String>) -> Self {
        Self {
            side,
            phase,
            kind,
            cause: cause.into(),
            own_remedy: None,
            retry_after: None,
            told: None,
        }
    }

    /// What to do about it, for the log; never for the caller.
    pub fn remedy(&self) -> &str {
        let own = self.own_remedy.as_deref();
        own.unwrap_or_else(|| self.kind.remedy())
    }

    /// A request head that is refused.
    pub(super) fn malformed(cause: impl Into<String>) -> Self {
        Self::new(Side::Downstream, Phase::RequestHead, Kind::Malformed, cause)
    }

    /// After how many seconds the caller may come again. Whatever is not served
    /// for want of something says so.
    pub fn retry_after(&self) -> Option<NonZeroU32> {
        let unavailable = self.status() == Some(StatusCode::SERVICE_UNAVAILABLE);
        self.retry_after
            .or_else(|| unavailable.then_some(NonZeroU32::MIN))
    }

    /// A denial by policy.
    pub(super) fn denied(denial: &Denial) -> Self {
        let kind = match denial {
            Denial::CertificateRequired { .. } => Kind::CertificateRequired,
            Denial::DeniedByRule { .. } => Kind::DeniedByRule,
            Denial::NoRuleMatched { .. } => Kind::NoRuleMatched,
        };
        Self {
            own_remedy: denial.remedy().map(ToOwned::to_owned),
            ..Self::new(Side::Proxy, Phase::Policy, kind, denial.to_string())
        }
    }

    /// An upstream that gave no response.
    pub(super) fn unanswered(fault: &SendFault) -> Self {
        let (side, phase, kind) = match fault.kind {
            SendFaultKind::Body => (Side::Downstream, Phase::RequestBody, Kind::BodyBroken),
            SendFaultKind::ConnectRefused => (Side::Upstream, Phase::Connect, Kind::ConnectRefused),
            SendFaultKind::ConnectTimeout => (Side::Upstream, Phase::Connect, Kind::ConnectTimeout),
            SendFaultKind::Exhausted => (Side::Proxy, Phase::Connect, Kind::Exhausted),
            SendFaultKind::Handshake => (Side::Upstream, Phase::Connect, Kind::UpstreamHandshake),
            SendFaultKind::Lost => (Side::Upstream, Phase::ResponseHead, Kind::UpstreamLost),
            SendFaultKind::Malformed => {
                (Side::Upstream, Phase::ResponseHead, Kind::UpstreamMalformed)
            }
            SendFaultKind::NoWebSockets => (Side::Proxy, Phase::Outbound, Kind::MethodNotServed),
            SendFaultKind::NotAsked => (Side::Upstream, Phase::Connect, Kind::UpstreamNotAsked),
            SendFaultKind::Overloaded => (Side::Proxy, Phase::Connect, Kind::Overloaded),
            SendFaultKind::Resolve => (Side::Upstream, Phase::Connect, Kind::UpstreamUnresolved),
            SendFaultKind::ResponseTimeout => {
                (Side::Upstream, Phase::ResponseHead, Kind::ResponseTimeout)
            }
        };
        Self {
            own_remedy: fault.remedy.clone(),
            ..Self::new(side, phase, kind, fault.to_string())
        }
    }

    /// The status sent downstream, or `None` once the response's head has left.
    pub fn status(&self) -> Option<StatusCode> {
        if self.phase >= Phase::ResponseBody {
            return None;
        }
        Some(match self.kind {
            Kind::AssertionMissing
            | Kind::CertificateRefused
            | Kind::CertificateRequired
            | Kind::CredentialMissing
            | Kind::DeniedByRule
            | Kind::NoRuleMatched
            | Kind::Withdrawn => StatusCode::FORBIDDEN,
            Kind::AssertionTooLarge | Kind::TooManyFields => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Kind::AuthorityNotServed => StatusCode::MISDIRECTED_REQUEST,
            Kind::AssertionRefused | Kind::BodyBroken | Kind::ClientGone | Kind::Malformed => {
                StatusCode::BAD_REQUEST
            }
            Kind::BodyTimeout | Kind::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Kind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::ConnectTimeout | Kind::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Cut
            | Kind::Exhausted
            | Kind::Maintenance
            | Kind::Overloaded
            | Kind::TunnelIdle => StatusCode::SERVICE_UNAVAILABLE,
            Kind::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Kind::RateExceeded => StatusCode::TOO_MANY_REQUESTS,
            Kind::MethodNotServed => StatusCode::NOT_IMPLEMENTED,
            Kind::NoRoute => StatusCode::NOT_FOUND,
            Kind::AssertionUnsigned
            | Kind::ConnectRefused
            | Kind::CredentialRefused
            | Kind::SessionLost
            | Kind::UpstreamHandshake
            | Kind::UpstreamLost
            | Kind::UpstreamMalformed
            | Kind::UpstreamNotAsked
            | Kind::UpstreamUnresolved => StatusCode::BAD_GATEWAY,
        })
    }

    /// Whether the connection ends with it: nobody can know any more where the
    /// next request begins, or the next one would be refused as well.
    pub fn ends_connection(&self) -> bool {
        self.side == Side::Downstream || self.kind == Kind::Overloaded
    }
}

impl Kind {
    /// The option of the listener or the route that struck, if one did.
    pub(super) fn limit(self) -> Option<&'static str> {
        match self {
            Self::BodyTimeout => Some("body_timeout"),
            Self::BodyTooLarge => Some("max_body_bytes"),
            Self::BodyTooSlow => Some("min_body_rate"),
            Self::RateExceeded => Some("rate"),
            Self::TooManyFields => Some("max_fields"),
            Self::TunnelIdle => Some("tunnel_idle_timeout"),
            _ => None,
        }
    }
}

impl Side {
    /// The stable code in logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Proxy => "proxy",
            Self::Upstream => "upstream",
        }
    }
}

impl Phase {
    /// The stable code in logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::RequestHead => "request_head",
            Self::Route => "route",
            Self::Policy => "policy",
            Self::Outbound => "outbound",
            Self::Connect => "connect",
            Self::RequestBody => "request_body",
            Self::ResponseHead => "response_head",
            Self::ResponseBody => "response_body",
        }
    }
}

impl Kind {
    /// The stable code in logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::AssertionMissing => "assertion_missing",
            Self::AssertionRefused => "assertion_refused",
            Self::AssertionTooLarge => "assertion_too_large",
            Self::AssertionUnsigned => "assertion_unsigned",
            Self::AuthorityNotServed => "authority_not_served",
            Self::BodyBroken => "body_broken",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::CertificateRefused => "certificate_refused",
            Self::CertificateRequired => "certificate_required",
            Self::ClientGone => "client_gone",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialRefused => "credential_refused",
            Self::Cut => "cut",
            Self::DeniedByRule => "denied_by_rule",
            Self::LengthRequired => "length_required",
            Self::Maintenance => "maintenance",
            Self::Malformed => "malformed",
            Self::Exhausted => "exhausted",
            Self::MethodNotServed => "method_not_served",
            Self::NoRuleMatched => "no_rule_matched",
            Self::NoRoute => "no_route",
            Self::Overloaded => "overloaded",
            Self::RateExceeded => "rate_exceeded",
            Self::UpstreamLost => "upstream_lost",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamHandshake => "upstream_handshake",
            Self::UpstreamNotAsked => "upstream_not_asked",
            Self::UpstreamUnresolved => "upstream_unresolved",
            Self::ResponseTimeout => "response_timeout",
            Self::SessionLost => "session_lost",
            Self::TooManyFields => "too_many_fields",
            Self::TunnelIdle => "tunnel_idle",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for Fault {
    /// `side/phase/kind`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}",
            self.side.code(),
            self.phase.code(),
            self.kind.code()
        )
    }
}
