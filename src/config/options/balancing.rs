//! The options of the choice among the endpoints of an upstream.

use super::Default::{Is, Required, Unset};
use super::{Opt, Table};

pub(super) const TABLES: &[Table] = &[HEALTH, EJECTION];

pub(super) const BALANCE: Opt = Opt {
    path: "upstreams.NAME.balance",
    value: "`\"least_requests\"`, `\"round_robin\"`, `\"ip_hash\"` or `\"identity_hash\"`",
    default: Is("\"least_requests\""),
    summary: "By what an endpoint is chosen: the fewest requests under way, one after the other, or the same one for the same client address or caller.",
    protects: "With a hash only the callers of an endpoint that leaves move. `\"identity_hash\"` goes by the caller's primary name, for the anonymous by their address; behind another proxy `\"ip_hash\"` sees that proxy's address.",
    without: "the endpoint with the fewest requests under way gets the next one",
    see: &["upstreams.NAME.endpoints", "upstreams.NAME.slow_start"],
    example: "\"least_requests\"",
};

pub(super) const SLOW_START: Opt = Opt {
    path: "upstreams.NAME.slow_start",
    value: "a duration; not with a `balance` that hashes",
    default: Unset,
    summary: "For how long an endpoint that came back has less than its share: a tenth at first, then more and more.",
    protects: "A service that has just started, with cold caches, is not met by all requests at once.",
    without: "an endpoint that came back has its whole share at once",
    see: &["upstreams.NAME.balance", "upstreams.NAME.health.path"],
    example: "\"30s\"",
};

pub(super) const RESOLVE_INTERVAL: Opt = Opt {
    path: "upstreams.NAME.resolve_interval",
    value: "a duration from `\"1s\"` to `\"1h\"`",
    default: Is("\"30s\""),
    summary: "How often the names of endpoints are resolved again.",
    protects: "All addresses of a name are used, in turn; connections to one that is gone are closed after their response. While the resolver fails, its last answer holds for 10 minutes.",
    without: "names are resolved every 30 s",
    see: &["upstreams.NAME.endpoints"],
    example: "\"30s\"",
};

const HEALTH: Table = Table {
    path: "upstreams.NAME.health",
    header: "[upstreams.orders.health]",
    left_out: true,
    summary: "Asks each endpoint again and again whether it is well, with a GET over a connection of its own, with the TLS settings and the certificate of the upstream. One that is not gets no requests while another one is.",
    options: &[
        Opt {
            path: "upstreams.NAME.health.path",
            value: "a path that begins with `/`, with a query if need be",
            default: Required,
            summary: "What is asked for.",
            protects: "Have it answered by what the service needs to work, and by nothing that is slow.",
            without: "there would be nothing to ask for",
            see: &["upstreams.NAME.health.status"],
            example: "\"/health\"",
        },
        Opt {
            path: "upstreams.NAME.health.host",
            value: "a host, with a port if need be",
            default: Unset,
            summary: "The `Host` of the probe.",
            protects: "Services that serve several hosts answer others with an error.",
            without: "the endpoint's own host is sent, with its port where that is not the usual one",
            see: &["upstreams.NAME.health.path"],
            example: "\"orders.internal\"",
        },
        Opt {
            path: "upstreams.NAME.health.interval",
            value: "a duration from `\"100ms\"` to `\"1h\"`",
            default: Is("\"5s\""),
            summary: "From one probe of an endpoint to the next, give or take a tenth.",
            protects: "The whole process sends one, however many workers it has.",
            without: "each endpoint is asked every 5 s",
            see: &["upstreams.NAME.health.timeout"],
            example: "\"5s\"",
        },
        Opt {
            path: "upstreams.NAME.health.timeout",
            value: "a duration, at most `interval`",
            default: Is("\"2s\""),
            summary: "For a whole probe, from the connection to the head of the answer.",
            protects: "An endpoint that hangs counts as one that fails.",
            without: "a probe has 2 s, or the interval if that is shorter",
            see: &["upstreams.NAME.health.interval"],
            example: "\"2s\"",
        },
        Opt {
            path: "upstreams.NAME.health.healthy",
            value: "a whole number from 1 to 1000",
            default: Is("2"),
            summary: "So many probes in a row that succeed bring an endpoint back.",
            protects: "Against endpoints that come and go.",
            without: "2 bring it back",
            see: &[
                "upstreams.NAME.health.unhealthy",
                "upstreams.NAME.slow_start",
            ],
            example: "2",
        },
        Opt {
            path: "upstreams.NAME.health.unhealthy",
            value: "a whole number from 1 to 1000",
            default: Is("3"),
            summary: "So many probes in a row that fail take an endpoint out; the very first one decides alone.",
            protects: "A single lost packet takes nothing out. When no endpoint is well, all are tried all the same.",
            without: "3 take it out",
            see: &["upstreams.NAME.health.healthy"],
            example: "3",
        },
        Opt {
            path: "upstreams.NAME.health.status",
            value: "a list of statuses such as `204` and classes such as `\"2xx\"`",
            default: Is("[\"2xx\"]"),
            summary: "The statuses that say that an endpoint is well.",
            protects: "Redirects do not count unless they are listed: they are not followed.",
            without: "every 2xx does",
            see: &["upstreams.NAME.health.path"],
            example: "[\"2xx\"]",
        },
    ],
};

const EJECTION: Table = Table {
    path: "upstreams.NAME.ejection",
    header: "[upstreams.orders.ejection]",
    left_out: false,
    summary: "When an endpoint is left alone for a while, judged by the requests that it gets. Each worker judges for itself.",
    options: &[
        Opt {
            path: "upstreams.NAME.ejection.consecutive_failures",
            value: "a whole number from 1 to 1000",
            default: Is("5"),
            summary: "An endpoint that fails so many requests in a row is left alone.",
            protects: "Answers that do not come in time, connections that are lost and what is not HTTP are failures, and what `failure_status` lists. An endpoint that takes no connection is left alone at once.",
            without: "5 in a row are enough",
            see: &[
                "upstreams.NAME.ejection.failure_status",
                "upstreams.NAME.ejection.max_share",
            ],
            example: "5",
        },
        Opt {
            path: "upstreams.NAME.ejection.failure_status",
            value: "a list of statuses such as `503` and classes such as `\"5xx\"`",
            default: Unset,
            summary: "The service's own answers that count as failures.",
            protects: "Who can have the service answer so can have its endpoints left alone, up to `max_share`: list what no caller can provoke.",
            without: "whatever the service answers is no failure",
            see: &["upstreams.NAME.ejection.consecutive_failures"],
            example: "[502, 503, 504]",
        },
        Opt {
            path: "upstreams.NAME.ejection.base",
            value: "a duration",
            default: Is("\"1s\""),
            summary: "For how long an endpoint is left alone at first; each time in a row doubles it.",
            protects: "It has time to recover, and requests do not wait for it.",
            without: "it is left alone for 1 s at first",
            see: &["upstreams.NAME.ejection.longest"],
            example: "\"1s\"",
        },
        Opt {
            path: "upstreams.NAME.ejection.longest",
            value: "a duration, at least `base`",
            default: Is("\"30s\""),
            summary: "The longest that it is left alone.",
            protects: "An endpoint that is well again is found soon enough.",
            without: "it is tried again after 30 s at the latest",
            see: &["upstreams.NAME.ejection.base"],
            example: "\"30s\"",
        },
        Opt {
            path: "upstreams.NAME.ejection.max_share",
            value: "a share from `\"0%\"` to `\"100%\"`",
            default: Is("\"50%\""),
            summary: "No endpoint is left alone for failed requests where more than this share of them would be.",
            protects: "A fault that all have does not put all load on the last one; `\"0%\"` leaves none alone for failed requests. Endpoints that take no connection are left alone in any case, and count.",
            without: "half of them stay",
            see: &["upstreams.NAME.ejection.consecutive_failures"],
            example: "\"50%\"",
        },
    ],
};
