//! The options of the admin address.

use super::Default::{Is, Required, Unset};
use super::{Opt, Table};

pub(super) const ADMIN: Table = Table {
    path: "admin",
    header: "[admin]",
    left_out: true,
    summary: "Where the status page, `/healthz`, `/readyz` and `/metrics` are served. Leave the table out for none.",
    options: &[
        Opt {
            path: "admin.bind",
            value: "an address with a port, `\"unix:PATH\"`, or `\"systemd:NAME\"`: a socket that systemd passes under this name",
            default: Required,
            summary: "The address of the admin server. A browser opens the status page at `http://ADDRESS:PORT/`.",
            protects: "Without `[admin.tls]` it is plaintext and asks nobody who they are: bind it to loopback, or to a network that only monitoring reaches.",
            without: "there would be nowhere to serve health and metrics",
            see: &[
                "listeners.NAME.bind",
                "admin.hosts",
                "admin.tls.client_auth",
            ],
            example: "\"127.0.0.1:9901\"",
        },
        Opt {
            path: "admin.hosts",
            value: "a list of host names",
            default: Is("[]"),
            summary: "Names with a dot in them under which the admin address may be asked, beside IP addresses, `localhost` and what ends with it. Names without a dot may ask for everything but changes. With `[admin.tls]` every name may: browsers see to it that the certificate carries it.",
            protects: "A web page can have a name of its own lead to this address and read what it is answered (DNS rebinding); a request under any other name gets 421. Health and readiness are told under every name.",
            without: "a request under a name with a dot is refused, but for health and readiness",
            see: &["admin.bind", "admin.allow_changes"],
            example: "[\"status.example.com\"]",
        },
        Opt {
            path: "admin.allow_changes",
            value: "`true` or `false`",
            default: Is("false"),
            summary: "Whether the status page has buttons: to look at the files now, to accept a trust bundle that is held back, to drain and end the process. Only its own forms are obeyed, and only under an IP address, `localhost` or a name in `hosts`.",
            protects: "With `true` whoever can open the page can lock callers out, or end the process. On an address that others than this machine can reach it is refused, unless `[admin.tls]` demands a certificate.",
            without: "the status page changes nothing; `POST /reload` is there all the same, which no web page can send",
            see: &["admin.bind", "admin.hosts", "trust.NAME.max_shrink"],
            example: "true",
        },
    ],
};

pub(super) const ADMIN_TLS: Table = Table {
    path: "admin.tls",
    header: "[admin.tls]",
    left_out: true,
    summary: "TLS on the admin address, version 1.3. What its files hold follows them as that of listeners does.",
    options: &[
        Opt {
            path: "admin.tls.certificates",
            value: "a list of tables with `chain` and `key`, as in `listeners.NAME.tls.certificates`",
            default: Required,
            summary: "The certificates that the admin address presents.",
            protects: "Nobody between a reader and the admin address reads or changes what it says.",
            without: "no handshake could succeed",
            see: &["listeners.NAME.tls.certificates"],
            example: "[{ chain = \"tls/server.pem\", key = \"tls/server.key\" }]",
        },
        Opt {
            path: "admin.tls.client_auth",
            value: "`\"none\"` or `\"require\"`",
            default: Required,
            summary: "Whether whoever asks must have a certificate, health and readiness included: probes then run `countersign healthcheck --config FILE`, with `--live` for liveness.",
            protects: "With `\"require\"` only whom the bundle trusts reads what countersign tells of its callers, and has anything reloaded.",
            without: "nobody could tell whether everybody may ask",
            see: &["admin.tls.trust", "admin.tls.client", "admin.allow_changes"],
            example: "\"require\"",
        },
        Opt {
            path: "admin.tls.trust",
            value: "the name of a trust bundle",
            default: Unset,
            summary: "What the certificates of those who ask are checked against. Needed for `\"require\"`, refused with `\"none\"`.",
            protects: "Everybody whom the bundle trusts may ask: use a bundle for operators alone, or narrow it with `may_assert`.",
            without: "no certificate is asked for",
            see: &["admin.tls.client_auth", "trust.NAME.may_assert"],
            example: "\"partners\"",
        },
        Opt {
            path: "admin.tls.client",
            value: "a table with `chain` and `key`",
            default: Unset,
            summary: "What countersign's own commands (`healthcheck`, `trust preview`, `explain --reference`) present when they ask the admin address of this config.",
            protects: "They accept no server but one that presents a certificate of `certificates`.",
            without: "those commands are refused where a certificate is demanded",
            see: &["admin.tls.client_auth"],
            example: "{ chain = \"tls/server.pem\", key = \"tls/server.key\" }",
        },
    ],
};
