//! Making the head that came into the head that goes on, both ways.

use std::hint::black_box;

use countersign::config::UpstreamId;
use countersign::identity::IdentityFields;
use countersign::inside::{request_head, response_head};
use countersign::proxy::{Destination, Rehearsal};
use http::header::{CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Request, Version, request};

use super::Part;
use super::pki::{CLIENT_URI, PROXY_NAME, Pki};
use super::scene::Scene;

/// The fields of a common request.
pub(crate) const SENT: [(&str, &str); 10] = [
    ("host", PROXY_NAME),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101",
    ),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de,en-US;q=0.7,en;q=0.3"),
    ("cookie", "session=Zx8tFq0LkPz3Rw; theme=dark"),
    ("referer", "https://proxy.test/orders"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("x-request-id", "5e0b7c52-6f0e-4c39-9c1d-1d0b0f6f4a8e"),
    ("cache-control", "no-cache"),
];

/// What does not go up.
const UNWANTED: [(&str, &str); 9] = [
    (
        "x-forwarded-client-cert",
        "Hash=00;URI=spiffe://prod.example/admin",
    ),
    ("X_Forwarded_Client_Cert", "Hash=00"),
    ("x-ssl-client-s-dn", "CN=admin"),
    ("x-forwarded-for", "192.0.2.1"),
    ("forwarded", "for=192.0.2.1"),
    ("connection", "keep-alive, x-hop"),
    ("x-hop", "1"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
];

/// The fields of a common response.
const ANSWERED: [(&str, &str); 10] = [
    ("date", "Sun, 22 Nov 2026 09:00:00 GMT"),
    ("server", "orders/7"),
    ("content-type", "application/json"),
    ("content-length", "64"),
    ("cache-control", "private, max-age=0"),
    ("etag", "\"33a64df551425fcc55e\""),
    ("vary", "accept-encoding"),
    ("x-request-id", "5e0b7c52-6f0e-4c39-9c1d-1d0b0f6f4a8e"),
    ("x-content-type-options", "nosniff"),
    ("set-cookie", "theme=dark; Path=/"),
];

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let pki = Pki::new();
    let scene = Scene::new(&pki);
    let leaf = pki.client();
    let authority = HeaderValue::from_static(PROXY_NAME);
    let orders = UpstreamId(0);
    for (case, http2, sent) in [
        ("a request over HTTP/1.1", false, fields(&[&SENT])),
        ("a request over HTTP/2", true, fields(&[&SENT[1..]])),
        (
            "a request with much to remove",
            false,
            fields(&[&SENT, &UNWANTED]),
        ),
    ] {
        let caller = scene.caller(&leaf, http2);
        part.time_on(
            case,
            || head(http2, &sent),
            |head| request_head((&caller, orders), &authority, black_box(head)),
            |head| head.is_some_and(|head| is_as_it_goes_up(&head)),
        );
        part.time_on(
            &format!("{case}, from its route to its decision and all"),
            || head(http2, &sent),
            |head| caller.rehearse(black_box(head)),
            |rehearsal: Rehearsal| match rehearsal.outcome {
                Ok(Destination::Upstream(sent)) => is_as_it_goes_up(&sent.head),
                _ => false,
            },
        );
    }
    let identity = IdentityFields::new(std::iter::empty::<HeaderName>());
    for (case, answered, vary) in [
        ("a response", fields(&[&ANSWERED]), "accept-encoding"),
        (
            "a response with much to remove",
            fields(&[&ANSWERED, &UNWANTED[5..8], &[("vary", "client-cert")]]),
            "*",
        ),
    ] {
        part.time_on(
            case,
            || answered.clone(),
            |fields| response_head(&identity, black_box(fields)),
            |fields| {
                let fields = fields.unwrap();
                fields[VARY] == vary
                    && fields[CONTENT_TYPE] == "application/json"
                    && fields.len() == 10
            },
        );
    }
}

/// Whether it says who calls and from where, once each, and the rest as it came.
fn is_as_it_goes_up(head: &request::Parts) -> bool {
    let all = |name: &str| -> Vec<_> {
        let values = head.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    };
    let said = all("x-forwarded-client-cert");
    let added = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let gone = [
        "x_forwarded_client_cert",
        "x-ssl-client-s-dn",
        "x-hop",
        "keep-alive",
    ];
    said.len() == 1
        && said[0].contains(CLIENT_URI)
        && all("x-forwarded-for") == ["10.1.2.3"]
        && added
            .iter()
            .chain(&["forwarded", "via"])
            .all(|name| all(name).len() == 1)
        && gone.iter().all(|name| all(name).is_empty())
        && SENT.iter().all(|(name, value)| all(name) == [*value])
        && head.uri == "/api/orders/17?expand=lines"
}

fn head(http2: bool, fields: &HeaderMap) -> request::Parts {
    let path = "/api/orders/17?expand=lines";
    let request = Request::builder();
    let request = if http2 {
        let uri = format!("https://{PROXY_NAME}{path}");
        request.uri(uri).version(Version::HTTP_2)
    } else {
        request.uri(path)
    };
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    head.headers.clone_from(fields);
    head
}

fn fields(parts: &[&[(&'static str, &'static str)]]) -> HeaderMap {
    let pairs = parts.iter().copied().flatten();
    pairs
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_static(value))
        })
        .collect()
}
