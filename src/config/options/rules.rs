//! The options of rules, and of all lists of peers: the names by which they are known.

use super::Default::{Is, Unset};
use super::{Opt, Table};

/// A table whose first options are the names of a peer.
macro_rules! patterns {
    ($path:literal, $summary:literal, $of:literal, [$($more:expr),* $(,)?]) => {
        Table {
            path: $path,
            header: "",
            left_out: false,
            summary: $summary,
            options: &[
                Opt {
                    path: concat!($path, ".uri"),
                    value: "a pattern for a URI name",
                    default: Unset,
                    summary: concat!("Matches a URI in the subject alternative names of ", $of, ", such as a SPIFFE ID."),
                    protects: "`*` stops at `/`: `spiffe://prod.example/*` does not match `spiffe://prod.example/a/b`.",
                    without: "URI names make no difference",
                    see: &["routes[].allow"],
                    example: "\"spiffe://prod.example/*\"",
                },
                Opt {
                    path: concat!($path, ".dns"),
                    value: "a pattern for a DNS name",
                    default: Unset,
                    summary: concat!("Matches a DNS name in the subject alternative names of ", $of, "."),
                    protects: "`*` stops at `.`: `*.partners.example` does not match `a.b.partners.example`.",
                    without: "DNS names make no difference",
                    see: &["routes[].allow"],
                    example: "\"*.partners.example\"",
                },
                Opt {
                    path: concat!($path, ".email"),
                    value: "a pattern for an email address, with its `@`",
                    default: Unset,
                    summary: concat!("Matches an email address in the subject alternative names of ", $of, "."),
                    protects: "`*` stops at `@`, and behind it at `.`: `*@example.com` matches `a.b@example.com` and no address of another host. Case counts before the `@` only. An address in the subject (`emailAddress=`) is none of these.",
                    without: "email addresses make no difference",
                    see: &["routes[].allow"],
                    example: "\"*@example.com\"",
                },
                Opt {
                    path: concat!($path, ".subject"),
                    value: "a pattern for a distinguished name in the form of RFC 4514",
                    default: Unset,
                    summary: concat!("Matches the whole subject of ", $of, "."),
                    protects: "Authorities check alternative names more carefully than subjects: prefer `uri` and `dns`.",
                    without: "the subject makes no difference",
                    see: &["routes[].allow"],
                    example: "\"CN=billing,O=Example\"",
                },
                Opt {
                    path: concat!($path, ".cn"),
                    value: "a pattern for a text",
                    default: Unset,
                    summary: concat!("Matches a common name (CN) in the subject of ", $of, "; any one, if there are several."),
                    protects: "`*` stays within the one value. A comma or a plus in it needs no escape, and none that a certificate holds makes another attribute of it.",
                    without: "common names make no difference",
                    see: &["routes[].allow"],
                    example: "\"billing\"",
                },
                Opt {
                    path: concat!($path, ".ou"),
                    value: "a pattern for a text",
                    default: Unset,
                    summary: concat!("Matches an organizational unit (OU) in the subject of ", $of, "; any one, if there are several."),
                    protects: "Every authority of the trust bundle can write it: write `o`, `issuer` or `anchor` beside it where not all of them may.",
                    without: "organizational units make no difference",
                    see: &["routes[].allow"],
                    example: "\"Engineering\"",
                },
                Opt {
                    path: concat!($path, ".o"),
                    value: "a pattern for a text",
                    default: Unset,
                    summary: concat!("Matches an organization (O) in the subject of ", $of, "; any one, if there are several."),
                    protects: "Every authority of the trust bundle can write it: write `issuer` or `anchor` beside it where not all of them may.",
                    without: "organizations make no difference",
                    see: &["routes[].allow"],
                    example: "\"Example\"",
                },
                Opt {
                    path: concat!($path, ".issuer"),
                    value: "a pattern for a distinguished name in the form of RFC 4514",
                    default: Unset,
                    summary: concat!("Matches the issuer of ", $of, ", the authority directly above it."),
                    protects: "It is a name and no key: an authority of the trust bundle could give an intermediate any name. `anchor` tells authorities apart by their keys.",
                    without: "the issuer makes no difference",
                    see: &["routes[].allow"],
                    example: "\"CN=Example Issuing CA,O=Example\"",
                },
                Opt {
                    path: concat!($path, ".fingerprint"),
                    value: "the SHA-256 fingerprint of a certificate, 64 hexadecimal digits",
                    default: Unset,
                    summary: concat!("Matches this one certificate, if it is ", $of, "."),
                    protects: "Its successor is not matched until the config names it too. Where another peer speaks for the caller, it is the certificate of which that peer says that it is the caller's.",
                    without: "the fingerprint makes no difference",
                    see: &["routes[].allow"],
                    example: "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
                },
                Opt {
                    path: concat!($path, ".spki"),
                    value: "the SHA-256 fingerprint of a public key (its SubjectPublicKeyInfo in DER), 64 hexadecimal digits",
                    default: Unset,
                    summary: concat!("Matches every certificate with this key, if it is ", $of, "."),
                    protects: "A certificate that is issued again for the same key is still matched. `openssl x509 -in c.pem -noout -pubkey \\| openssl pkey -pubin -outform DER \\| sha256sum` prints it.",
                    without: "the key makes no difference",
                    see: &["routes[].allow"],
                    example: "\"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"",
                },
                Opt {
                    path: concat!($path, ".anchor"),
                    value: "the SHA-256 fingerprint of a trust anchor, or a pattern for its subject in the form of RFC 4514",
                    default: Unset,
                    summary: concat!("Matches if ", $of, " was verified up to this trust anchor."),
                    protects: "It goes by what was verified under the bundle in force, also for resumed sessions and open connections. A caller for whom another peer speaks has none.",
                    without: "the anchor makes no difference",
                    see: &["routes[].allow"],
                    example: "\"CN=Example Root,O=Example\"",
                },
                $($more),*
            ],
        }
    };
}

pub(super) const TABLES: &[Table] = &[RULES, ALLOW, VIA];
pub(super) const SPEAKERS: Table = patterns!(
    "listeners.NAME.accept_assertions_from[]",
    "One pattern, as in [`allow`](#routesallow-1); where it has several names, all must match. Write out as much as you can: each peer that matches can claim to be anybody.",
    "the peer's certificate",
    []
);
pub(super) const MAY_ASSERT: Table = patterns!(
    "trust.NAME.may_assert[]",
    "One pattern, as in [`allow`](#routesallow-1); where it has several names, all must match, and only `uri`, `dns` and `email` vouch for names; with `fingerprint` for every name in that certificate. Where routes go by the subject, each entry needs `subject`, or the anchors may vouch for every subject. `anchor` says whose word it is.",
    "the certificate",
    []
);

const RULES: Table = Table {
    path: "rules",
    header: "[rules]",
    left_out: true,
    summary: "Lists of rules under names, for what several routes share. See [Rules](#rules).",
    options: &[Opt {
        path: "rules.NAME",
        value: "a list of rules, of which one must match; as in `allow`, but without `rule` and `enforce`; never empty",
        default: Unset,
        summary: "Rules that those of routes refer to by this name (`rule = \"NAME\"`): both must hold.",
        protects: "Who is meant stands in one place. A list that no route refers to is warned about.",
        without: "every route says for itself who may",
        see: &["routes[].allow[].rule"],
        example: "[{ ou = \"Engineering\", o = \"Example\" }, { email = \"*@example.com\" }]",
    }],
};

const ALLOW: Table = patterns!(
    "routes[].allow[]",
    "One rule: where it has several conditions, all must hold. `*` stands for anything up to the next separator. The rules of `deny` and of `[rules]` have the same keys. See [Rules](#rules).",
    "the caller's certificate",
    [
        Opt {
            path: "routes[].allow[].name",
            value: "1 to 64 letters, digits, `-` and `_`; different from those of the route's other rules",
            default: Unset,
            summary: "What the rule is called in logs and metrics.",
            protects: "A name keeps dashboards right when rules are moved.",
            without: "it is called by its place: `allow[0]`, `deny[2]`",
            see: &["routes[].allow", "routes[].deny"],
            example: "\"night-batch\"",
        },
        Opt {
            path: "routes[].allow[].via",
            value: "a table of names, of which all must match",
            default: Unset,
            summary: "Matches a caller for whom another peer speaks (`accept_assertions_from`), if that peer matches this.",
            protects: "A caller that comes by itself is not matched.",
            without: "it makes no difference whether a caller comes by itself, or which of the accepted peers speaks for it",
            see: &["listeners.NAME.accept_assertions_from"],
            example: "{ uri = \"spiffe://edge.example/*\" }",
        },
        Opt {
            path: "routes[].allow[].anonymous",
            value: "`true`; with no name of a caller beside it",
            default: Unset,
            summary: "Matches callers without an identity, and nobody else.",
            protects: "In `allow` nothing else lets an anonymous caller in.",
            without: "a rule of `allow` is for callers with an identity; a rule of `deny` that names nobody is for all",
            see: &["listeners.NAME.tls.client_auth"],
            example: "true",
        },
        Opt {
            path: "routes[].allow[].methods",
            value: "a list of methods in upper case",
            default: Unset,
            summary: "Matches requests with one of these methods, exactly: `GET` is not `HEAD`.",
            protects: "A service that takes another method from a field such as `X-HTTP-Method-Override` gets around it: turn that off there.",
            without: "the method makes no difference",
            see: &["routes[].allow[].path"],
            example: "[\"GET\", \"HEAD\"]",
        },
        Opt {
            path: "routes[].allow[].path",
            value: "a path as in `routes[].path`, within that of the route",
            default: Unset,
            summary: "Matches requests whose path begins with these whole segments.",
            protects: "A path that a service could read in another way (`%2f`, `//`, `;`) is refused with 400 where the other reading would be decided otherwise.",
            without: "the path makes no difference",
            see: &["routes[].path"],
            example: "\"/\"",
        },
        Opt {
            path: "routes[].allow[].from",
            value: "a list of networks (`\"10.0.0.0/8\"`) and addresses",
            default: Unset,
            summary: "Matches requests whose connection comes from one of these networks.",
            protects: "It is the address at the other end of the connection, whatever `X-Forwarded-For` says: behind a load balancer that does not keep it, all callers come from one place. Connections over a unix socket come from no network.",
            without: "the source makes no difference",
            see: &["listeners.NAME.trusted_proxies"],
            example: "[\"10.0.0.0/8\", \"fd00::/8\"]",
        },
        Opt {
            path: "routes[].allow[].when",
            value: "a condition in CEL, of at most 4096 bytes; see [Conditions](#conditions)",
            default: Unset,
            summary: "Matches requests of which this is true.",
            protects: "It is checked when the config is loaded. What it needs and a request does not have is no match in `allow`, and a match in `deny`.",
            without: "nothing else must be true",
            see: &["routes[].allow[].rule"],
            example: "'caller.o.exists(o, request.path.startsWith(\"/tenants/\" + o + \"/\"))'",
        },
        Opt {
            path: "routes[].allow[].rule",
            value: "the name of a list in `[rules]`",
            default: Unset,
            summary: "Matches if a rule of that list does, and everything else in this rule holds too.",
            protects: "It can only narrow: a list never permits by itself.",
            without: "the rule stands for itself",
            see: &["rules.NAME"],
            example: "\"staff\"",
        },
        Opt {
            path: "routes[].allow[].enforce",
            value: "`true` or `false`",
            default: Is("true"),
            summary: "With `false` the rule is decided, counted and logged, and does nothing: one of `deny` is noted as `would_deny`, one of `allow` as `would_allow` where nothing else permits.",
            protects: "Shows whom a rule would concern before it does.",
            without: "the rule is in force",
            see: &["routes[].enforce"],
            example: "true",
        },
    ]
);

const VIA: Table = patterns!(
    "routes[].allow[].via",
    "The peer that speaks for the caller. It has proved its own names in the handshake.",
    "the speaker's certificate",
    []
);
