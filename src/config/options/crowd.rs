//! The options that bound how many clients there are, and what a single one may send.

use super::Default::{Is, Unset};
use super::Opt;

pub(super) const MAX_CONNECTIONS_PER_SOURCE: Opt = Opt {
    path: "listeners.NAME.limits.max_connections_per_source",
    value: "a whole number from 1 to `max_connections`",
    default: Unset,
    summary: "Connections open at one time from one source: an IPv4 address, or an IPv6 network of 64 bits. A further one is closed as soon as it is accepted.",
    protects: "The places of all others (`max_connections`): they cannot be taken from one address. Behind a load balancer that hides addresses all clients are one source; write `max_connections` there. Unix sockets have no source, and no such limit.",
    without: "one source may have half of `max_connections`, and 64 at least",
    see: &[
        "listeners.NAME.limits.max_connections",
        "listeners.NAME.limits.max_connections_per_identity",
    ],
    example: "5000",
};

pub(super) const MAX_CONNECTIONS_PER_IDENTITY: Opt = Opt {
    path: "listeners.NAME.limits.max_connections_per_identity",
    value: "a whole number from 1 to `max_connections`",
    default: Unset,
    summary: "Connections open at one time of one identity: of all certificates with the same first name. The newest is closed in order (close_notify) after its handshake, before it has asked for anything.",
    protects: "The places of all others from one certificate, wherever it connects from. What the client sees is a connection that ends at once; the log says why (`limit.struck`).",
    without: "one identity may have half of `max_connections`, and 64 at least",
    see: &["listeners.NAME.limits.max_connections_per_source"],
    example: "5000",
};

pub(super) const MAX_HANDSHAKES: Opt = Opt {
    path: "listeners.NAME.limits.max_handshakes",
    value: "a whole number from 1 to 10000000",
    default: Is("4000"),
    summary: "Handshakes under way at one time, from the accepted connection to Finished; the next connections wait in the system's queue, and their deadline has not begun.",
    protects: "Processor time for those that are connected: when everybody comes back at one time, after a restart, they come in one after the other, and nobody is turned away. Clients that are silent leave after `handshake_timeout`.",
    without: "4000 may be under way",
    see: &[
        "listeners.NAME.limits.max_handshakes_per_source",
        "listeners.NAME.limits.handshake_timeout",
    ],
    example: "4000",
};

pub(super) const MAX_HANDSHAKES_PER_SOURCE: Opt = Opt {
    path: "listeners.NAME.limits.max_handshakes_per_source",
    value: "a whole number from 1 to `max_handshakes`",
    default: Unset,
    summary: "The same from one source. A further connection of it is closed as soon as it is accepted.",
    protects: "The turns of all others: one source that begins handshakes and does not go on with them cannot have all of them.",
    without: "one source may have half of `max_handshakes`, and 64 at least",
    see: &["listeners.NAME.limits.max_connections_per_source"],
    example: "2000",
};

pub(super) const MAX_FIELDS: Opt = Opt {
    path: "listeners.NAME.limits.max_fields",
    value: "a whole number from 1 to 1000",
    default: Is("100"),
    summary: "Fields in a request head; more are refused with 431.",
    protects: "The service behind: many small fields cost it more than their bytes.",
    without: "a head may have 100 fields",
    see: &["listeners.NAME.limits.max_header_bytes"],
    example: "100",
};

pub(super) const MAX_BODY_BYTES: Opt = Opt {
    path: "listeners.NAME.limits.max_body_bytes",
    value: "a size from `\"1KiB\"` to `\"1024GiB\"`",
    default: Is("\"1GiB\""),
    summary: "The size of a request body. A longer one is refused with 413 before anything goes up, if its length is told; else the request ends where it is exceeded.",
    protects: "The service's memory and disk. It is about requests alone: responses are the service's own.",
    without: "a body may have 1 GiB",
    see: &["listeners.NAME.limits.min_body_rate"],
    example: "\"1GiB\"",
};

pub(super) const MAX_REQUESTS_PER_CONNECTION: Opt = Opt {
    path: "listeners.NAME.limits.max_requests_per_connection",
    value: "a whole number from 1 to 1000000000",
    default: Is("10000"),
    summary: "Requests over one connection: the response to the last one says `Connection: close`, and over HTTP/2 GOAWAY asks the client to go.",
    protects: "Against connections that never end: clients come back, to another instance perhaps, and show their certificate anew.",
    without: "a connection serves 10000 requests",
    see: &["listeners.NAME.limits.idle_timeout"],
    example: "10000",
};

pub(super) const MIN_BODY_RATE: Opt = Opt {
    path: "listeners.NAME.limits.min_body_rate",
    value: "a rate from `\"1B/s\"` to `\"1MiB/s\"`",
    default: Is("\"240B/s\""),
    summary: "The lowest rate over a whole body, either way. Only the time counts in which the client was waited for: that it sends, or takes, the next piece; and only from `body_timeout` on. Too slow a request is answered with 408, too slow a reader's connection is cut.",
    protects: "Against bodies that drip, a byte just before each `body_timeout`. A slow service, server-sent events and long polls are not touched. A client that by its nature sends little and seldom (gRPC streams both ways) is: give it a listener with the lowest rate that it keeps to, such as `\"1B/s\"`, and a `body_timeout` longer than its longest silence.",
    without: "a client that was waited for keeps to 240 bytes a second",
    see: &["listeners.NAME.limits.body_timeout"],
    example: "\"240B/s\"",
};

pub(super) const TUNNEL_IDLE_TIMEOUT: Opt = Opt {
    path: "listeners.NAME.limits.tunnel_idle_timeout",
    value: "a duration",
    default: Is("\"1h\""),
    summary: "How long both sides of a connection that has changed its protocol, such as a WebSocket, may be silent.",
    protects: "Against tunnels that nobody uses any more; each holds a slot and a connection to the service. Give it more than twice the interval of the application's heartbeat.",
    without: "a tunnel that is silent both ways ends after an hour",
    see: &["listeners.NAME.limits.idle_timeout"],
    example: "\"1h\"",
};
