//! The options of what is changed in requests and responses.

use super::Default::{Is, Unset};
use super::{Opt, Table};

pub(super) const TABLES: &[Table] = &[
    COOKIES,
    REQUEST_HEADERS,
    REQUEST_SET,
    REQUEST_ADD,
    RESPONSE_HEADERS,
    RESPONSE_SET,
    RESPONSE_ADD,
];

pub(super) const STRIP_PREFIX: Opt = Opt {
    path: "routes[].strip_prefix",
    value: "`true` or `false`",
    default: Is("false"),
    summary: "Takes the route's `path` off the path that goes up: of `/api/x` goes up `/x`, of `/api` goes up `/`. The query is not touched.",
    protects: "Routes and rules decide on the path as it was sent. Where it does not literally begin with the prefix, or would begin with two slashes without it, the request is refused with 400.",
    without: "the path goes up as it came",
    see: &[
        "routes[].path",
        "routes[].add_prefix",
        "routes[].rewrite_responses",
    ],
    example: "false",
};

pub(super) const ADD_PREFIX: Opt = Opt {
    path: "routes[].add_prefix",
    value: "a path such as `\"/app\"`, without `%`, `//`, dot segments and query",
    default: Unset,
    summary: "What is put before the path that goes up, after `strip_prefix`.",
    protects: "For a service that is installed below a path of its own.",
    without: "nothing is put before the path",
    see: &["routes[].strip_prefix", "routes[].rewrite_responses"],
    example: "\"/app\"",
};

pub(super) const REWRITE_RESPONSES: Opt = Opt {
    path: "routes[].rewrite_responses",
    value: "`true` or `false`",
    default: Unset,
    summary: "Turns `Location`, `Content-Location`, `Refresh` and the `Domain` and `Path` of `Set-Cookie` from the service's hosts and paths into those that the caller used. The service's hosts are its endpoints, the host that it is sent, and the one that the caller asked for; what leads elsewhere is not touched.",
    protects: "A redirect or a cookie that is right for the service would lead its caller nowhere. Write `false` for a service that knows of the prefix itself, and `true` for one that redirects to its own address although nothing is rewritten.",
    without: "responses are rewritten exactly if requests are (`strip_prefix`, `add_prefix`, `host` of the upstream)",
    see: &[
        "routes[].strip_prefix",
        "routes[].add_prefix",
        "upstreams.NAME.host",
    ],
    example: "true",
};

pub(super) const HOST: Opt = Opt {
    path: "upstreams.NAME.host",
    value: "`\"keep\"`, `\"endpoint\"`, or a host such as `\"orders.internal\"`, with or without a port",
    default: Is("\"keep\""),
    summary: "The host that requests name (`Host`, or `:authority` over HTTP/2): the one that the caller asked for, that of the endpoint, or this one.",
    protects: "`Forwarded` and `X-Forwarded-Host` tell the one that the caller asked for in any case. The name in the certificate is `tls.server_name`, whatever stands here. Of several endpoints `countersign explain` shows the first.",
    without: "the service is told the host that the caller asked for",
    see: &[
        "upstreams.NAME.tls.server_name",
        "routes[].rewrite_responses",
    ],
    example: "\"keep\"",
};

const COOKIES: Table = Table {
    path: "routes[].cookies",
    header: "[routes.cookies]",
    left_out: true,
    summary: "What is changed in every cookie that the service sets. A cookie whose name begins with `__Host-` keeps its `Path` and gets no `Domain`; nothing else of a cookie is touched.",
    options: &[
        Opt {
            path: "routes[].cookies.secure",
            value: "`true` or `false`",
            default: Is("false"),
            summary: "Adds `Secure`, so that the cookie is sent over TLS alone.",
            protects: "A service that is spoken to in plaintext does not know that its callers are not.",
            without: "cookies are as secure as the service says",
            see: &["routes[].cookies.http_only"],
            example: "false",
        },
        Opt {
            path: "routes[].cookies.http_only",
            value: "`true` or `false`",
            default: Is("false"),
            summary: "Adds `HttpOnly`, so that scripts in pages do not see the cookie.",
            protects: "A page into which a script was smuggled cannot give the session away.",
            without: "scripts see the cookies that the service lets them see",
            see: &["routes[].cookies.secure"],
            example: "false",
        },
        Opt {
            path: "routes[].cookies.same_site",
            value: "`\"Strict\"`, `\"Lax\"` or `\"None\"`; `\"None\"` with `secure = true` only",
            default: Unset,
            summary: "The value of `SameSite`, whatever the service says.",
            protects: "With `\"Lax\"` and `\"Strict\"` the cookie does not go along with requests that other sites make a browser send.",
            without: "the service says it, or the browser decides",
            see: &["routes[].cookies.secure"],
            example: "\"Lax\"",
        },
        Opt {
            path: "routes[].cookies.domain",
            value: "a host name without a port",
            default: Unset,
            summary: "The value of `Domain`, whatever the service says.",
            protects: "A browser sends the cookie to every host below this name.",
            without: "a domain of the service's own is taken out where responses are rewritten, and another stays",
            see: &["routes[].rewrite_responses"],
            example: "\"example.com\"",
        },
        Opt {
            path: "routes[].cookies.path",
            value: "a path beginning with `/`, without `%`, `;`, `//`, dot segments and query",
            default: Unset,
            summary: "The value of `Path`, whatever the service says.",
            protects: "With `\"/\"` other services of the same host get the cookie too.",
            without: "the service's path becomes the caller's where responses are rewritten",
            see: &["routes[].rewrite_responses"],
            example: "\"/\"",
        },
    ],
};

const REQUEST_HEADERS: Table = Table {
    path: "routes[].request_headers",
    header: "[routes.request_headers]",
    left_out: true,
    summary: "What is changed in the header fields that go up. The fields that frame a message, belong to one connection, say who is calling or where a request came from, `Host` and `Authorization` are countersign's, and refused here.",
    options: &[Opt {
        path: "routes[].request_headers.remove",
        value: "a list of field names",
        default: Unset,
        summary: "Fields that do not go up, in any spelling and in trailers neither.",
        protects: "What a service takes from a field that only its own side should set.",
        without: "the caller's fields go up",
        see: &["routes[].request_headers.set.FIELD"],
        example: "[\"X-Internal\"]",
    }],
};

const REQUEST_SET: Table = Table {
    path: "routes[].request_headers.set",
    header: "[routes.request_headers.set]",
    left_out: true,
    summary: "Fields that go up with this value alone.",
    options: &[Opt {
        path: "routes[].request_headers.set.FIELD",
        value: "a text in printable ASCII, with or without [placeholders](#placeholders); `{{` and `}}` for braces",
        default: Unset,
        summary: "A field and what it holds; what the caller sent under this name, in any spelling, does not go up.",
        protects: "With a placeholder the field says who is calling: it is removed from what callers send on every route, an anonymous caller has none, and a service that others can reach must be able to know that it comes from countersign. All of them together have 16 KiB; a request that would need more gets 431.",
        without: "the field is the caller's",
        see: &[
            "routes[].request_headers.add.FIELD",
            "upstreams.NAME.outbound.assertion.headers.FIELD",
        ],
        example: "\"{uri}\"",
    }],
};

const REQUEST_ADD: Table = Table {
    path: "routes[].request_headers.add",
    header: "[routes.request_headers.add]",
    left_out: true,
    summary: "Fields that go up with this value too.",
    options: &[Opt {
        path: "routes[].request_headers.add.FIELD",
        value: "as in `set`",
        default: Unset,
        summary: "A field and what it holds, beside what the caller sent under this name.",
        protects: "For fields that are lists. With a placeholder the caller's own are removed here too.",
        without: "nothing is added",
        see: &["routes[].request_headers.set.FIELD"],
        example: "\"{uri}\"",
    }],
};

const RESPONSE_HEADERS: Table = Table {
    path: "routes[].response_headers",
    header: "[routes.response_headers]",
    left_out: true,
    summary: "What is changed in the header fields of the service's responses; those that countersign gives itself are as they are. The fields that frame a message or belong to one connection are countersign's, and refused here.",
    options: &[Opt {
        path: "routes[].response_headers.remove",
        value: "a list of field names",
        default: Unset,
        summary: "Fields that do not come down, but for trailers.",
        protects: "Callers need not know which software the service runs on.",
        without: "the service's fields come down",
        see: &["routes[].response_headers.set.FIELD"],
        example: "[\"Server\"]",
    }],
};

const RESPONSE_SET: Table = Table {
    path: "routes[].response_headers.set",
    header: "[routes.response_headers.set]",
    left_out: true,
    summary: "Fields that come down with this value alone.",
    options: &[Opt {
        path: "routes[].response_headers.set.FIELD",
        value: "as in `request_headers.set`",
        default: Unset,
        summary: "A field and what it holds, such as `Strict-Transport-Security`; what the service says under this name does not come down.",
        protects: "Gives an old service the rules that browsers keep today.",
        without: "the field is the service's",
        see: &["routes[].request_headers.set.FIELD"],
        example: "\"max-age=31536000\"",
    }],
};

const RESPONSE_ADD: Table = Table {
    path: "routes[].response_headers.add",
    header: "[routes.response_headers.add]",
    left_out: true,
    summary: "Fields that come down with this value too.",
    options: &[Opt {
        path: "routes[].response_headers.add.FIELD",
        value: "as in `request_headers.set`",
        default: Unset,
        summary: "A field and what it holds, beside those of the service.",
        protects: "For fields that are lists.",
        without: "nothing is added",
        see: &["routes[].response_headers.set.FIELD"],
        example: "\"{uri}\"",
    }],
};
