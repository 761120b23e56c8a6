//! The options that bound what a client can hold.

use super::Default::Is;
use super::{Opt, Table};

pub(super) const LIMITS: Table = Table {
    path: "listeners.NAME.limits",
    header: "[listeners.public.limits]",
    left_out: false,
    summary: "Bounds on what a client can hold. Each has a default, and none can be switched off.",
    options: &[
        Opt {
            path: "listeners.NAME.limits.handshake_timeout",
            value: "a duration",
            default: Is("\"10s\""),
            summary: "From the ClientHello to Finished: one deadline for the whole handshake.",
            protects: "Against clients that connect and say nothing, or a byte at a time.",
            without: "a handshake has 10 s",
            see: &["listeners.NAME.limits.max_connections"],
            example: "\"10s\"",
        },
        Opt {
            path: "listeners.NAME.limits.header_timeout",
            value: "a duration",
            default: Is("\"30s\""),
            summary: "For a request head, from its first byte (or the connection's start) to its last.",
            protects: "Against slowloris: heads that never end.",
            without: "a head has 30 s",
            see: &["listeners.NAME.limits.max_header_bytes"],
            example: "\"30s\"",
        },
        Opt {
            path: "listeners.NAME.limits.idle_timeout",
            value: "a duration",
            default: Is("\"60s\""),
            summary: "Between two requests on a connection, HTTP/1.1 and HTTP/2.",
            protects: "Against connections that are kept for nothing; each holds a slot.",
            without: "an idle connection is closed after 60 s",
            see: &[
                "listeners.NAME.limits.max_connections",
                "upstreams.NAME.idle_timeout",
            ],
            example: "\"60s\"",
        },
        Opt {
            path: "listeners.NAME.limits.body_timeout",
            value: "a duration",
            default: Is("\"30s\""),
            summary: "Between two pieces of a body, either way; a body that moves may take as long as it likes.",
            protects: "Against peers that stop reading or writing in the middle. Streams that fall silent, such as server-sent events, need a longer one than their longest silence. A WebSocket has no such limit until one of its sides has ended; then the other has this long.",
            without: "a body that does not move for 30 s ends its request",
            see: &["upstreams.NAME.response_timeout"],
            example: "\"30s\"",
        },
        Opt {
            path: "listeners.NAME.limits.max_connections",
            value: "a whole number from 1 to 10000000",
            default: Is("10000"),
            summary: "Connections open at one time on this listener; the next ones wait in the system's queue.",
            protects: "Memory and file descriptors (`LimitNOFILE=`): one for each, and more for their requests, of which HTTP/2 allows 200 at one time. Clients beyond it get no answer until a place is free.",
            without: "10000 may be open",
            see: &["listeners.NAME.limits.idle_timeout"],
            example: "10000",
        },
        Opt {
            path: "listeners.NAME.limits.max_header_bytes",
            value: "a size from `\"8KiB\"` to `\"1MiB\"`",
            default: Is("\"32KiB\""),
            summary: "The size of a request head.",
            protects: "Memory: each connection can hold this much before anything is known of the request.",
            without: "a head larger than 32 KiB is refused",
            see: &["listeners.NAME.limits.header_timeout"],
            example: "\"32KiB\"",
        },
    ],
};
