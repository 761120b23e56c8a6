//! The options of listeners that lead to others.

use super::Default::{Is, Unset};
use super::{Opt, Table};

pub(super) const TO_HTTPS: Opt = Opt {
    path: "listeners.NAME.redirect_to_https",
    value: "`true`, `false`, or a table with `host`, `port` and `status`; on plaintext listeners only",
    default: Is("false"),
    summary: "Answers every request with 308 and a `Location` of the same host, path and query at `https://`; nothing goes to a service. Such a listener has no routes, and may be bound where other machines reach it without `allow_plaintext`.",
    protects: "Only to hosts that a certificate of a TLS listener carries or that a route names (others get 421), or to `host`: so nobody can have a cache or a client led elsewhere.",
    without: "requests are served, by the routes",
    see: &[
        "listeners.NAME.redirect_to_https.host",
        "listeners.NAME.allow_plaintext",
    ],
    example: "false",
};

pub(super) const REDIRECT: Table = Table {
    path: "listeners.NAME.redirect_to_https",
    header: "",
    left_out: false,
    summary: "Where a plaintext listener leads to, where it is not the same host at port 443.",
    options: &[
        Opt {
            path: "listeners.NAME.redirect_to_https.host",
            value: "a host name",
            default: Unset,
            summary: "The host, whatever was asked for.",
            protects: "Whoever asks for another host is led to this one.",
            without: "it is the one that was asked for, if it is one of this config",
            see: &["listeners.NAME.redirect_to_https"],
            example: "\"www.example.com\"",
        },
        Opt {
            path: "listeners.NAME.redirect_to_https.port",
            value: "a port",
            default: Is("443"),
            summary: "The port that clients reach the TLS listener at; 443 is not written.",
            protects: "Behind a mapping of ports it is the outer one.",
            without: "443",
            see: &["listeners.NAME.bind"],
            example: "8443",
        },
        Opt {
            path: "listeners.NAME.redirect_to_https.status",
            value: "`301`, `302`, `307` or `308`",
            default: Is("308"),
            summary: "The status.",
            protects: "With 301 and 302 many clients send a POST on as a GET. 301 and 308 are kept by clients and caches for long.",
            without: "308: for good, with the same method",
            see: &["listeners.NAME.redirect_to_https"],
            example: "307",
        },
    ],
};

/// For the reference: there, the listener that all the rest is about speaks TLS.
pub(super) const SECOND_LISTENER: &str = "
# A second listener, which leads plain HTTP to https://.
[listeners.plain]
bind = \"0.0.0.0:8080\"

# Where it leads to: `true`, or this.
[listeners.plain.redirect_to_https]
# The host, whatever was asked for. Without it, the one that was, if it is one of this config.
host = \"www.example.com\"
# The port that clients reach the TLS listener at.
# Default: 443
port = 443
# Default: 308
status = 308
";
