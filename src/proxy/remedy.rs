//! What can be done about a request that failed or was refused.
//!
//! A table of the kinds of [`Kind`]; where the cause itself knows better, the
//! fault carries its own.

use super::fault::Kind;

impl Kind {
    /// What the operator, or the caller's owner, can do about it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::AssertionMissing => {
                "have the caller present a certificate whose names can be told, or write identity_assertion = \"supported\" in the outbound table of the upstream"
            }
            Self::AssertionRefused => {
                "correct what the peer says of its caller, or take the peer out of accept_assertions_from"
            }
            Self::AssertionTooLarge => {
                "choose a shorter form in encode of the upstream's outbound.assertion, or a certificate with fewer names"
            }
            Self::AssertionUnsigned => "make another key for the upstream's assertions",
            Self::AuthorityNotServed => {
                "have the client ask in the handshake (SNI) for the host that it means; add a certificate for that host to the listener, if there is none"
            }
            Self::CertificateRefused => "see handshake.refused in the log, with the same reference",
            Self::CertificateRequired => {
                "have the client present a certificate; the listener must ask for one (client_auth = \"want\" or \"require\")"
            }
            Self::CredentialMissing => {
                "provide a credential for this caller, or write basic_authentication = \"supported\" in the outbound table of the upstream"
            }
            Self::DeniedByRule => {
                "if the caller is meant to be served, narrow the rule of `deny` that is named, or take it out"
            }
            Self::LengthRequired => {
                "have the client send Content-Length, or raise buffer_request of the upstream; with protocol = \"http/1.0\", see whether the service speaks HTTP/1.1"
            }
            Self::Malformed => "send a request that can be read in one way only",
            Self::MethodNotServed => "use another method",
            Self::NoRoute => {
                "add a route for this host and path, or correct the request; `countersign check` lists the routes"
            }
            Self::NoRuleMatched => {
                "add an entry that matches one of the caller's names to `allow` of the route, or give the caller a certificate with another name"
            }
            Self::Withdrawn => "have the client connect again, with a certificate that is trusted",
            Self::BodyBroken
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::ClientGone
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::CredentialRefused
            | Self::Cut
            | Self::Exhausted
            | Self::Maintenance
            | Self::Overloaded
            | Self::RateExceeded
            | Self::ResponseTimeout
            | Self::SessionLost
            | Self::TooManyFields
            | Self::TunnelIdle
            | Self::UpstreamHandshake
            | Self::UpstreamLost
            | Self::UpstreamMalformed
            | Self::UpstreamNotAsked
            | Self::UpstreamUnresolved => self.remedy_on_the_way(),
        }
    }

    /// The same for what befalls a request that was permitted.
    fn remedy_on_the_way(self) -> &'static str {
        match self {
            Self::BodyBroken => "see the client's own log: its request ended before it was whole",
            Self::BodyTimeout => {
                "see what holds the body up; body_timeout of the route, or of the limits of the listener, is the bound"
            }
            Self::BodyTooLarge => {
                "have the client send less at one time, or raise max_body_bytes of the route, or of the limits of the listener"
            }
            Self::BodyTooSlow => {
                "see what holds the client up; if it sends little and seldom by its nature, give it a listener with a lower limits.min_body_rate and a longer limits.body_timeout"
            }
            Self::ClientGone => "see the client's own log, and its timeouts",
            Self::ConnectRefused => "start the service, or correct endpoints of the upstream",
            Self::ConnectTimeout => {
                "see whether the service and its network answer; correct endpoints of the upstream, or raise its connect_timeout"
            }
            Self::CredentialRefused => {
                "compare the credential in the outbound table of the upstream with what the service expects"
            }
            Self::Cut => "send it again; more time to end is given by server.drain_timeout",
            Self::Exhausted => "allow the process more open files (LimitNOFILE, ulimit -n)",
            Self::Maintenance => {
                "send it again later; take maintenance out of the route when the work is done"
            }
            Self::Overloaded => {
                "send it again later; see what holds the work up, and why the service is slow; raise the limit that the cause names, if there is room"
            }
            Self::RateExceeded => {
                "send fewer, and again when Retry-After is over; or raise rate or burst of the route"
            }
            Self::ResponseTimeout => {
                "see what the service waits for, or raise response_timeout of the route or the upstream"
            }
            Self::TooManyFields => {
                "have the client send fewer fields, or raise limits.max_fields of the listener"
            }
            Self::TunnelIdle => {
                "have the application send a heartbeat, or raise limits.tunnel_idle_timeout of the listener"
            }
            Self::SessionLost => "send it again: it will be authenticated in full",
            Self::UpstreamHandshake => {
                "compare the service's certificate with trust and server_name in the tls table of the upstream"
            }
            Self::UpstreamLost => {
                "see the service's own log: it closed the connection; see also whether it speaks what endpoints, protocol and proxy_protocol of the upstream say"
            }
            Self::UpstreamMalformed => {
                "compare endpoints and protocol of the upstream with what the service speaks"
            }
            Self::UpstreamNotAsked => {
                "have the service ask for client certificates, or write client_certificate_authentication = \"supported\" in the outbound table of the upstream"
            }
            Self::UpstreamUnresolved => {
                "correct the host in endpoints of the upstream, or the resolver of this machine"
            }
            _ => "see the cause",
        }
    }
}
