//! The options of the PROXY protocol.

use super::Default::{Is, Unset};
use super::Opt;

pub(super) const FROM: Opt = Opt {
    path: "listeners.NAME.proxy_protocol_from",
    value: "a list of networks (`\"10.0.0.0/8\"`) and addresses; on a unix socket `[\"unix\"]`; may be empty",
    default: Is("[]"),
    summary: "Senders that begin every connection with a header of the PROXY protocol, version 1 or 2, such as a balancer for TCP in front. The address that it tells is the client's from then on: in logs, rules (`from`), forwarding fields and `trusted_proxies`; the sender stands in the log as `via`.",
    protects: "Whoever is listed can claim any client address, so list the sender alone, not its network. A listed sender must write the header: its connections without one, or with one that is malformed, are refused, since with a header that may be left out every client behind the sender could write its own. A header from anybody else is refused too. Where the header says `UNKNOWN` the client has no address, and no network matches; `LOCAL` (the sender's own health checks) leaves the sender's. The header comes before TLS, within `handshake_timeout`, in at most 107 bytes (version 1) or 16 KiB (version 2); its checksum is checked, other values are not read.",
    without: "the client is whoever the socket is connected to",
    see: &[
        "listeners.NAME.trusted_proxies",
        "listeners.NAME.limits.handshake_timeout",
    ],
    example: "[]",
};

pub(super) const TO: Opt = Opt {
    path: "upstreams.NAME.proxy_protocol",
    value: "`\"v1\"` or `\"v2\"`",
    default: Unset,
    summary: "Has each connection to it begin with a header of the PROXY protocol, before TLS: the addresses of the client and of what it connected to; with `\"v2\"` also TLS version, cipher suite, ALPN and SNI, the client certificate (`PP2_SUBTYPE_SSL_CLIENT_CERT`) and its common name, and a checksum. Such a connection carries requests of one downstream connection alone, as with `pool_per = \"connection\"`.",
    protects: "Certificates are told as `identity_assertion` and `run_as` say: with `\"never\"`, or where another peer speaks for the caller, none. The service must take the header from countersign alone. A certificate that does not fit (64 KiB) is left out; the log says so (`limit.struck`).",
    without: "connections begin with no header, and are shared",
    see: &[
        "upstreams.NAME.outbound.identity_assertion",
        "upstreams.NAME.outbound.pool_per",
        "upstreams.NAME.allow_plaintext",
    ],
    example: "\"v1\"",
};
