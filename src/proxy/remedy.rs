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
            | Self::ClientGone
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::CredentialRefused
            | Self::Cut
            | Self::Exhausted
            | Self::LengthRequired
            | Self::Overloaded
            | Self::ResponseTimeout
            | Self::SessionLost
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
                "see what holds the body up; limits.body_timeout of the listener is the bound"
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
            Self::LengthRequired => {
                "have the client send Content-Length, or raise buffer_request of the upstream"
            }
            Self::Overloaded => {
                "see why the service is slow; raise the limit of the upstream that the cause names, if the service can take more"
            }
            Self::ResponseTimeout => {
                "see what the service waits for, or raise response_timeout of the upstream"
            }
            Self::SessionLost => "send it again: it will be authenticated in full",
            Self::UpstreamHandshake => {
                "compare the service's certificate with trust and server_name in the tls table of the upstream"
            }
            Self::UpstreamLost => "see the service's own log: it closed the connection",
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
