//! The options of the attribute layer: how an upstream is told who is calling.

use super::Default::{Is, Required, Unset};
use super::{Opt, Table};

pub(super) const TABLES: &[Table] = &[ASSERTION, JWT, HEADERS];

const ASSERTION: Table = Table {
    path: "upstreams.NAME.outbound.assertion",
    header: "[upstreams.orders.outbound.assertion]",
    left_out: false,
    summary: "How the attribute layer says who is calling.",
    options: &[
        Opt {
            path: "upstreams.NAME.outbound.assertion.encode",
            value: "a list of `\"xfcc\"`, `\"client-cert\"`, `\"nginx\"`, `\"ingress-nginx\"`, `\"apache\"`, `\"traefik\"`, `\"webseal\"`, `\"headers\"` and `\"jwt\"` (the tables below)",
            default: Is("[\"xfcc\"]"),
            summary: "The forms in which the identity is written.",
            protects: "No certificate can forge a field: values are escaped. Two encodings that write the same field are refused. All of them together have 16 KiB; a request that would need more gets 431.",
            without: "the identity is in `X-Forwarded-Client-Cert`",
            see: &[
                "upstreams.NAME.outbound.assertion.headers.FIELD",
                "upstreams.NAME.outbound.assertion.xfcc_also",
                "upstreams.NAME.outbound.assertion.jwt.keys",
            ],
            example: "[\"xfcc\"]",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.xfcc_also",
            value: "a list of `\"By\"`, `\"Cert\"` and `\"Chain\"`; with `xfcc` in `encode` only",
            default: Unset,
            summary: "Keys of `X-Forwarded-Client-Cert` beside `Hash`, `Subject`, `URI` and `DNS`: the URI name of the certificate that countersign presents to the service, the caller's leaf, its chain.",
            protects: "Certificates are long: each has about 2 KB in this form.",
            without: "these keys are not sent",
            see: &["upstreams.NAME.outbound.assertion.encode"],
            example: "[\"Cert\"]",
        },
    ],
};

const JWT: Table = Table {
    path: "upstreams.NAME.outbound.assertion.jwt",
    header: "",
    left_out: false,
    summary: "The signed assertion (JWT, RFC 7519) of the `jwt` encoding, which a service verifies with countersign's public keys. See [Signed assertions](#signed-assertions).",
    options: &[
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.keys",
            value: "a list of paths: PEM files with a private key each (EC P-256, Ed25519, or RSA with 2048 bits or more)",
            default: Required,
            summary: "The first signs; the public keys of all stand in the key set (`/jwks.json`).",
            protects: "Whoever reads the first can claim to be anybody. Add the next key as the last, and make it the first when the services have fetched it: no assertion fails meanwhile.",
            without: "there would be nothing to sign with",
            see: &["listeners.NAME.jwks_path", "admin.bind"],
            example: "[\"keys/assertion.pem\"]",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.issuer",
            value: "a name, such as a URL",
            default: Required,
            summary: "Who signs: the claim `iss`, and `act.sub` when it speaks for a caller.",
            protects: "Services accept no other issuer for these keys.",
            without: "the service would not know whose keys to verify it with",
            see: &["upstreams.NAME.outbound.assertion.jwt.audience"],
            example: "\"https://edge.example\"",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.subject",
            value: "a template with [placeholders](#placeholders), as in the table `headers`",
            default: Is("\"{uri}\""),
            summary: "Who is calling: the claim `sub`.",
            protects: "Take one kind of name: with several, one caller could have the name of another. A caller without such a name is refused (403), since an assertion of nobody could be taken for one of anybody.",
            without: "the subject is the caller's URI name",
            see: &["upstreams.NAME.outbound.assertion.headers.FIELD"],
            example: "\"{uri}\"",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.audience",
            value: "a name",
            default: Unset,
            summary: "For whom it is: the claim `aud`.",
            protects: "A service that is shown an assertion for another one refuses it.",
            without: "the audience is the upstream's name",
            see: &["upstreams.NAME.outbound.assertion.jwt.issuer"],
            example: "\"billing\"",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.lifetime",
            value: "a duration from `\"5s\"` to `\"1h\"`",
            default: Is("\"60s\""),
            summary: "From the signature (`iat`) to the end (`exp`). An assertion is used again for half of it.",
            protects: "Whoever comes by an assertion can use it for no longer.",
            without: "an assertion is good for 60 s",
            see: &["upstreams.NAME.outbound.assertion.jwt.keys"],
            example: "\"60s\"",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.header",
            value: "a field name; `\"Authorization\"` needs `scheme`, and `basic_authentication = \"never\"`",
            default: Is("\"X-Client-Assertion\""),
            summary: "The field that carries it.",
            protects: "A field of this name that a caller sends is removed from every request, in every spelling (`Authorization`: from requests to this upstream).",
            without: "it stands in `X-Client-Assertion`",
            see: &["upstreams.NAME.outbound.basic_authentication"],
            example: "\"X-Client-Assertion\"",
        },
        Opt {
            path: "upstreams.NAME.outbound.assertion.jwt.scheme",
            value: "one word",
            default: Unset,
            summary: "What stands before it in the field, as in `Bearer TOKEN`.",
            protects: "Services that read `Authorization` take nothing without it.",
            without: "the field holds the assertion alone",
            see: &["upstreams.NAME.outbound.assertion.jwt.header"],
            example: "\"Bearer\"",
        },
    ],
};

const HEADERS: Table = Table {
    path: "upstreams.NAME.outbound.assertion.headers",
    header: "",
    left_out: false,
    summary: "The fields of the `headers` encoding, under the names that the service reads.",
    options: &[Opt {
        path: "upstreams.NAME.outbound.assertion.headers.FIELD",
        value: "a template such as `\"{subject}\"`, with [placeholders](#placeholders)",
        default: Unset,
        summary: "A header field and what it holds.",
        protects: "A field of this name that a caller sends is removed from every request, in every spelling, also with `identity_assertion = \"never\"`.",
        without: "the field is not sent",
        see: &["upstreams.NAME.outbound.assertion.encode"],
        example: "\"{subject}\"",
    }],
};
