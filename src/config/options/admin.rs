//! The options of the admin address.

use super::Default::{Is, Required};
use super::{Opt, Table};

pub(super) const ADMIN: Table = Table {
    path: "admin",
    header: "[admin]",
    left_out: true,
    summary: "Where the status page, `/healthz`, `/readyz` and `/metrics` are served. Leave the table out for none.",
    options: &[
        Opt {
            path: "admin.bind",
            value: "an address with a port, or `\"unix:PATH\"`",
            default: Required,
            summary: "The address of the admin server. A browser opens the status page at `http://ADDRESS:PORT/`.",
            protects: "It is plaintext and asks nobody who they are: bind it to loopback, or to a network that only monitoring reaches.",
            without: "there would be nowhere to serve health and metrics",
            see: &["listeners.NAME.bind", "admin.hosts"],
            example: "\"127.0.0.1:9901\"",
        },
        Opt {
            path: "admin.hosts",
            value: "a list of host names",
            default: Is("[]"),
            summary: "Names with a dot in them under which the admin address may be asked, beside IP addresses, `localhost` and what ends with it. Names without a dot may ask for everything but changes.",
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
            protects: "With `true` whoever can open the page can lock callers out, or end the process. It is refused on an address that others than this machine can reach.",
            without: "the status page changes nothing; `POST /reload` is there all the same, which no web page can send",
            see: &["admin.bind", "admin.hosts", "trust.NAME.max_shrink"],
            example: "true",
        },
    ],
};
