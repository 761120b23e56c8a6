//! The options that say how requests are handed to a service, and its responses
//! taken from it; part of the table of upstreams.

use super::Default::{Is, Unset};
use super::Opt;

pub(super) const MAX_CONNECTIONS: Opt = Opt {
    path: "upstreams.NAME.max_connections",
    value: "a whole number from 1 to 1000000; not with `protocol = \"h2\"`",
    default: Is("1024"),
    summary: "Connections open at one time to each endpoint, by all workers together, WebSockets among them.",
    protects: "A service with few threads sees no more connections than it has threads for: further requests wait, first come, first served.",
    without: "1024 may be open",
    see: &[
        "upstreams.NAME.max_queue",
        "upstreams.NAME.queue_timeout",
        "upstreams.NAME.max_requests",
    ],
    example: "1024",
};

pub(super) const MAX_REQUESTS: Opt = Opt {
    path: "upstreams.NAME.max_requests",
    value: "a whole number from 1 to 1000000",
    default: Unset,
    summary: "Requests under way at one time at each endpoint, by all workers together. Over HTTP/2 many share a connection, so this is what bounds them; else it is the same as `max_connections`, and the lower one counts.",
    protects: "As `max_connections` does: further requests wait.",
    without: "requests over HTTP/2 are bounded by what the service allows on a connection",
    see: &[
        "upstreams.NAME.max_connections",
        "upstreams.NAME.queue_timeout",
    ],
    example: "64",
};

pub(super) const MAX_QUEUE: Opt = Opt {
    path: "upstreams.NAME.max_queue",
    value: "a whole number from 1 to 1000000",
    default: Is("1024"),
    summary: "Requests that wait at one time because `max_connections` or `max_requests` is reached, in the whole upstream.",
    protects: "Memory, and callers' time: the next one gets 503 at once.",
    without: "1024 may wait",
    see: &[
        "upstreams.NAME.queue_timeout",
        "upstreams.NAME.max_connections",
    ],
    example: "1024",
};

pub(super) const QUEUE_TIMEOUT: Opt = Opt {
    path: "upstreams.NAME.queue_timeout",
    value: "a duration",
    default: Is("\"10s\""),
    summary: "How long a request may wait because `max_connections` or `max_requests` is reached.",
    protects: "Callers get 503 while they still listen, and the service is spared requests whose callers have given up.",
    without: "a request waits 10 s at most",
    see: &[
        "upstreams.NAME.max_queue",
        "upstreams.NAME.response_timeout",
    ],
    example: "\"10s\"",
};

pub(super) const BUFFER_REQUEST: Opt = Opt {
    path: "upstreams.NAME.buffer_request",
    value: "a size from `1KiB` to `1GiB`",
    default: Unset,
    summary: "So much of a request's body is taken before the request goes up. A body that is whole by then goes up with its length (`Content-Length`), unless trailers follow it; a larger one goes on as it comes once so much of it has come.",
    protects: "A client that sends slowly does not hold one of the service's threads. What is held whole can be sent again where a request without a body could be.",
    without: "a body goes up as it comes",
    see: &[
        "upstreams.NAME.buffer_memory",
        "upstreams.NAME.require_length",
        "upstreams.NAME.outbound.replay_limit",
    ],
    example: "\"1MiB\"",
};

pub(super) const REQUIRE_LENGTH: Opt = Opt {
    path: "upstreams.NAME.require_length",
    value: "`true` or `false`; not with `protocol = \"h2\"`",
    default: Is("false"),
    summary: "For services that do not understand chunked bodies: a body without a length that does not fit into `buffer_request` is refused with 411. Trailers are left out then.",
    protects: "A service that takes a chunked body for an empty one would read the body as the next request.",
    without: "a body without a length goes up chunked",
    see: &["upstreams.NAME.buffer_request"],
    example: "false",
};

pub(super) const BUFFER_RESPONSE: Opt = Opt {
    path: "upstreams.NAME.buffer_response",
    value: "a size from `1KiB` to `1GiB`",
    default: Unset,
    summary: "So much of a response is read before the client takes it. Each piece is passed on at once when the client takes it.",
    protects: "A client that reads slowly does not hold one of the service's threads: the connection is free when the response has been read. What the sockets' own buffers hold comes on top.",
    without: "a response is read as the client takes it; some 100 KiB are on their way even so",
    see: &["upstreams.NAME.buffer_memory"],
    example: "\"256KiB\"",
};

pub(super) const BUFFER_MEMORY: Opt = Opt {
    path: "upstreams.NAME.buffer_memory",
    value: "a size from `1MiB` to `1024GiB`",
    default: Is("\"64MiB\""),
    summary: "The most that `buffer_request` and `buffer_response` hold at one time, of all messages and by all workers together. Acts beside one of the two.",
    protects: "Memory. When it is used up a request whose body would have to be held gets 503, and a response is read as the client takes it. Responses leave half of it to requests, and the requests of one connection hold a quarter at most, or what two bodies need.",
    without: "64 MiB",
    see: &[
        "upstreams.NAME.buffer_request",
        "upstreams.NAME.buffer_response",
    ],
    example: "\"64MiB\"",
};

pub(super) const RETRY_ON: Opt = Opt {
    path: "upstreams.NAME.retry_on",
    value: "a list of `\"502\"`, `\"503\"`, `\"504\"` (the service answers so) and `\"lost\"` (a connection ends without an answer)",
    default: Unset,
    summary: "After what a request is sent again, to another endpoint if there is one: GET, HEAD, OPTIONS, PUT and DELETE alone, without a body or with one that `buffer_request` holds whole.",
    protects: "A request can be processed twice; these methods mean the same then.",
    without: "a request is sent again only if it cannot have been processed, or if a connection that had been kept was closed under it",
    see: &["upstreams.NAME.retries", "upstreams.NAME.retry_budget"],
    example: "[\"503\"]",
};

pub(super) const RETRIES: Opt = Opt {
    path: "upstreams.NAME.retries",
    value: "a whole number from 1 to 5; with `retry_on` only",
    default: Is("1"),
    summary: "How often one request is sent again for `retry_on`.",
    protects: "The service: each time is one more request for it.",
    without: "it is sent again once",
    see: &["upstreams.NAME.retry_budget"],
    example: "1",
};

pub(super) const RETRY_BUDGET: Opt = Opt {
    path: "upstreams.NAME.retry_budget",
    value: "a share from `\"0%\"` to `\"100%\"`; with `retry_on` only",
    default: Is("\"20%\""),
    summary: "The share of a worker's requests that may be sent again for `retry_on`; one each second may in any case.",
    protects: "An outage is not made worse by requests that are sent twice.",
    without: "every fifth request may be sent again",
    see: &["upstreams.NAME.retry_on", "upstreams.NAME.retries"],
    example: "\"20%\"",
};
