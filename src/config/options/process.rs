//! The options of the whole process and of trust bundles.

use super::Default::{Is, Required, Unset};
use super::{Opt, Table};

pub(super) const TABLES: &[Table] = &[SERVER, LOG, ADMIN, TRUST];

const SERVER: Table = Table {
    path: "server",
    header: "[server]",
    left_out: false,
    summary: "What concerns the whole process.",
    options: &[
        Opt {
            path: "server.workers",
            value: "a whole number from 1 to 1024",
            default: Unset,
            summary: "How many threads carry requests; each has its own connections and pools.",
            protects: "More than there are cores costs memory and gains nothing; fewer leaves cores to others.",
            without: "there is one thread for each core that the process may use",
            see: &["listeners.NAME.limits.max_connections"],
            example: "2",
        },
        Opt {
            path: "server.drain_timeout",
            value: "a duration",
            default: Is("\"30s\""),
            summary: "From the first SIGTERM to the end of the last request.",
            protects: "Keep it below what the system waits before it kills: `terminationGracePeriodSeconds` in Kubernetes, `TimeoutStopSec=` in systemd.",
            without: "requests in flight have 30 s to finish",
            see: &["trust.NAME.on_withdrawal"],
            example: "\"30s\"",
        },
    ],
};

const LOG: Table = Table {
    path: "log",
    header: "[log]",
    left_out: false,
    summary: "What is written where: requests to standard output, all else to standard error.",
    options: &[
        Opt {
            path: "log.format",
            value: "`\"text\"` for people, `\"json\"` for machines",
            default: Is("\"text\""),
            summary: "How log lines look.",
            protects: "In both forms a value that a peer sent cannot begin a new line.",
            without: "lines are `key=value` text",
            see: &["log.access"],
            example: "\"text\"",
        },
        Opt {
            path: "log.access",
            value: "`true` or `false`",
            default: Is("true"),
            summary: "One line for each request on standard output.",
            protects: "Without these lines nobody can tell later who called what; requests that are refused or fail have a shorter line on standard error instead. They hold query strings: secrets do not belong there.",
            without: "each request has its line",
            see: &["log.level"],
            example: "true",
        },
        Opt {
            path: "log.level",
            value: "`\"error\"`, `\"warn\"`, `\"info\"` or `\"debug\"`",
            default: Is("\"info\""),
            summary: "The least important diagnostic that is written to standard error.",
            protects: "Refused handshakes are `info`: `\"warn\"` hides why a client could not connect. The access log is not concerned.",
            without: "refused handshakes and faults of connections are written, with their causes",
            see: &["log.access"],
            example: "\"info\"",
        },
    ],
};

const ADMIN: Table = Table {
    path: "admin",
    header: "[admin]",
    left_out: true,
    summary: "Where `/healthz`, `/readyz` and `/metrics` are served. Leave the table out for none.",
    options: &[Opt {
        path: "admin.bind",
        value: "an address with a port, or `\"unix:PATH\"`",
        default: Required,
        summary: "The address of the admin server.",
        protects: "It is plaintext and asks nobody who they are: bind it to loopback, or to a network that only monitoring reaches.",
        without: "there would be nowhere to serve health and metrics",
        see: &["listeners.NAME.bind"],
        example: "\"127.0.0.1:9901\"",
    }],
};

const TRUST: Table = Table {
    path: "trust.NAME",
    header: "[trust.partners]",
    left_out: false,
    summary: "A trust bundle: a named set of trust anchors, which listeners and upstreams refer to. The name `system` is taken.",
    options: &[
        Opt {
            path: "trust.NAME.ca",
            value: "a list of paths: PEM files, or directories of PEM files",
            default: Required,
            summary: "The certificate authorities of this bundle.",
            protects: "Whoever holds the key of one of them can be anybody. A file that is missing, empty or holds something other than certificates refuses the start.",
            without: "the bundle would trust nobody, and every certificate would be refused",
            see: &[
                "trust.NAME.crl",
                "listeners.NAME.tls.trust",
                "upstreams.NAME.tls.trust",
            ],
            example: "[\"trust/partners/\"]",
        },
        Opt {
            path: "trust.NAME.crl",
            value: "a list of paths: revocation lists, PEM or DER; files or directories",
            default: Unset,
            summary: "The revocation lists that certificates are checked against.",
            protects: "A stolen key is good until its certificate expires, unless a list names it. With lists, every certificate of a chain needs a current one from its issuer: an unknown or a stale status is a refusal.",
            without: "revocation is not checked",
            see: &["trust.NAME.ca"],
            example: "[\"trust/crl/\"]",
        },
        Opt {
            path: "trust.NAME.on_withdrawal",
            value: "`\"drain\"`: requests in flight finish; `\"cut\"`: at once; `\"keep\"`: they stay",
            default: Is("\"drain\""),
            summary: "Accepted and without effect in this version: what becomes of open connections whose peer is no longer trusted, once trust can change while they are open.",
            protects: "With `\"keep\"` a peer whose anchor was removed will stay for as long as it keeps its connection busy. A certificate that expires drains its connections in any case.",
            without: "such connections will be drained",
            see: &["server.drain_timeout"],
            example: "\"drain\"",
        },
    ],
};
