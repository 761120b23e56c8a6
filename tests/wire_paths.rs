//! Paths and field names that services read in several ways: what becomes of
//! them, listener by listener, and what the service receives.

use std::net::SocketAddr;

use crate::support::client::Client;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::RawAnswer;
use crate::support::witness::{Wire, Witness};

/// A listener for every choice, and routes of which one is closed.
const LISTENERS: &str = "
routes = [
  { path = '/admin', allow = [{ dns = 'nobody.test' }], upstream = 'orders' },
  { upstream = 'orders' },
]
listeners.public.path = 'reject'
[listeners.normalize]
bind = '127.0.0.1:0'
path = 'normalize'
field_names = 'strict'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'require', trust = 'clients' }
[listeners.raw]
bind = '127.0.0.1:0'
path = 'raw'
field_names = 'keep'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'require', trust = 'clients' }
";

struct Edge {
    proxy: Proxy,
    client: Client,
    witness: Witness,
}

impl Edge {
    async fn start() -> Self {
        let (pki, witness) = (Pki::new(), Witness::start().await);
        let setup = Setup::to(&pki, witness.endpoint()).with(LISTENERS);
        Self {
            proxy: setup.start().await,
            client: Client::new(&pki).presenting(&pki.client()),
            witness,
        }
    }

    fn modes(&self) -> [SocketAddr; 3] {
        ["public", "normalize", "raw"].map(|name| self.proxy.listener(name))
    }

    /// The answer to these bytes, and what the service got.
    async fn ask(&self, to: SocketAddr, bytes: &str) -> (RawAnswer, Option<Wire>) {
        let mut raw = self.client.raw(to).await;
        raw.write(bytes).await;
        let answer = raw.read_response().await;
        let seen = self.witness.take();
        assert!(seen.broken.is_empty(), "{bytes:?}: {:?}", seen.broken);
        assert!(seen.whole.len() < 2, "{bytes:?}: {:?}", seen.whole);
        if answer.status == 400 {
            assert_eq!(
                raw.read_to_end().await,
                "",
                "{bytes:?}: the connection ends"
            );
            assert!(seen.begun.is_empty(), "{bytes:?}: {:?}", seen.begun);
        }
        (answer, seen.whole.into_iter().next())
    }

    /// The status, or the path that the service got.
    async fn path(&self, to: SocketAddr, path: &str) -> Result<String, u16> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\n\r\n");
        match self.ask(to, &head).await {
            (RawAnswer { status: 200, .. }, Some(received)) => {
                Ok(received.line.replacen("GET ", "", 1))
            }
            (RawAnswer { status, .. }, received) => {
                assert!(received.is_none(), "{path}: {status} and {received:?}");
                Err(status)
            }
        }
    }
}

/// A path, and what becomes of it with `reject`, `normalize` and `raw`; nothing:
/// it is refused with 400.
type Row = (&'static str, [&'static str; 3]);

const ROWS: &[Row] = &[
    ("/a/b", ["/a/b", "/a/b", "/a/b"]),
    (
        "/a%20b?c=%2f..",
        ["/a%20b?c=%2f..", "/a%20b?c=%2f..", "/a%20b?c=%2f.."],
    ),
    ("/%61/%7eb", ["/%61/%7eb", "/a/~b", "/%61/%7eb"]),
    ("/%c3%a9", ["/%c3%a9", "/%C3%A9", "/%c3%a9"]),
    ("/a//b", ["/a//b", "/a/b", "/a//b"]),
    ("/a;b=c/d", ["/a;b=c/d", "/a;b=c/d", "/a;b=c/d"]),
    ("/a%3bb", ["/a%3bb", "/a%3Bb", "/a%3bb"]),
    (
        "/.well-known/x",
        ["/.well-known/x", "/.well-known/x", "/.well-known/x"],
    ),
    ("/a/../b", ["", "/b", ""]),
    ("/a/./b", ["", "/a/b", ""]),
    ("/a/%2e%2E/b", ["", "/b", ""]),
    ("/a/.%2e", ["", "/", ""]),
    ("/../b", ["", "", ""]),
    ("/a/../../b", ["", "", ""]),
    ("/a/..;x/b", ["", "", ""]),
    ("/a/..%2fb", ["", "", ""]),
    ("/a/..%5cb", ["", "", ""]),
    ("/a/%252e%252e/b", ["", "", ""]),
    // Where these are decoded too early, the path ends behind the dots.
    ("/a/..%23", ["", "", ""]),
    ("/a/%2e.%3Fx/b", ["", "", ""]),
    ("/a/..%00", ["", "", ""]),
    // Some file systems do not know of white space at the end of a name.
    ("/a/..%20/b", ["", "", ""]),
    ("/a/..%2520/b", ["", "", ""]),
    ("/a/..%20b", ["/a/..%20b", "/a/..%20b", "/a/..%20b"]),
    ("/a%23b", ["/a%23b", "/a%23b", "/a%23b"]),
    ("/a%2fb", ["", "", "/a%2fb"]),
    ("/a%5Cb", ["", "", "/a%5Cb"]),
    ("/a\\b", ["", "", "/a\\b"]),
    ("/a%252fb", ["", "", "/a%252fb"]),
    ("/a%25%32%66b", ["", "", "/a%25%32%66b"]),
    ("/a%00b", ["", "", "/a%00b"]),
    ("/a%0d%0aX:%20y", ["", "", "/a%0d%0aX:%20y"]),
    ("/a%7f", ["", "", "/a%7f"]),
    ("/a%", ["", "", "/a%"]),
    ("/a%4", ["", "", "/a%4"]),
    ("/a%zz", ["", "", "/a%zz"]),
    ("/a%c0%afb", ["", "", "/a%c0%afb"]),
];

#[tokio::test]
async fn path_is_refused_brought_into_one_form_or_sent_as_it_came() {
    let edge = Edge::start().await;
    for (path, outcomes) in ROWS {
        for (to, expected) in edge.modes().into_iter().zip(outcomes) {
            let expected = match *expected {
                "" => Err(400),
                form => Ok(form.to_owned()),
            };
            assert_eq!(edge.path(to, path).await, expected, "{path} at {to}");
        }
    }
}

/// What a service makes of a path that decodes, merges, resolves and drops all
/// that it can, this many times.
fn as_a_service_reads(path: &str, times: usize) -> Vec<String> {
    let path = path.split('?').next().unwrap_or_default();
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..times {
        let mut decoded = Vec::new();
        let mut rest = &bytes[..];
        while let [first, after @ ..] = rest {
            let digits = after.get(..2).and_then(|two| str::from_utf8(two).ok());
            let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
            match byte.filter(|_| *first == b'%') {
                Some(byte) => {
                    decoded.push(byte);
                    rest = &after[2..];
                }
                None => {
                    decoded.push(*first);
                    rest = after;
                }
            }
        }
        bytes = decoded;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let text = text.split(['\0', '?', '#']).next().unwrap_or_default();
    let mut segments: Vec<String> = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments
}

#[tokio::test]
async fn no_spelling_of_a_path_reaches_what_its_route_is_closed_for() {
    let edge = Edge::start().await;
    let pieces = [
        "/admin",
        "/%61dmin",
        "/%2561dmin",
        "//admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x%2f..%2fadmin",
        "/.//admin",
        "/;/admin",
        "/x;/..;/admin",
        "/\\admin",
        "/%5cadmin",
        "/%2fadmin",
        "/admin;x",
        "/admin%3b",
        "/admin%3fx",
        "/admin%23",
        "/admin%00",
        "/admin%2f",
        "/admin/",
        "/./admin",
        "/%2e/admin",
        "/x/..%5cadmin",
        "/%c0%af/admin",
        "/x/%252e%252e/admin",
        "/%252fadmin",
        "/%25%36%31dmin",
        "/x\\..\\admin",
        "/x/..//admin",
        "/admin//",
        "/admin/../x",
        "/%41dmin",
        "/a%64min/y",
        "/x/.%2e/admin%2fy",
    ];
    let mut served = 0;
    for path in pieces {
        for to in edge.modes() {
            if let Ok(received) = edge.path(to, path).await {
                served += 1;
                for times in 0..4 {
                    let segments = as_a_service_reads(&received, times);
                    assert_ne!(
                        segments.first().map(String::as_str),
                        Some("admin"),
                        "{path} went up as {received}"
                    );
                }
            }
        }
    }
    // `/admin/../x` is `/x`, and `/%41dmin` is `/Admin`.
    assert!(served >= 3, "{served}");
}

#[tokio::test]
async fn field_names_that_services_fold_are_refused_dropped_or_kept() {
    let edge = Edge::start().await;
    let [drops, refuses, keeps] = edge.modes();
    let head =
        |fields: &str| format!("GET / HTTP/1.1\r\nHost: proxy.test\r\nX-User: a\r\n{fields}\r\n");
    for (fields, names) in [
        ("X_User: b\r\n", &["x_user"][..]),
        ("X.User: b\r\nX_User: c\r\n", &["x.user", "x_user"]),
        ("x~user: b\r\n", &["x~user"]),
    ] {
        let bytes = head(fields);
        assert_eq!(edge.ask(refuses, &bytes).await.0.status, 400, "{fields}");
        let (_, dropped) = edge.ask(drops, &bytes).await;
        let (_, kept) = edge.ask(keeps, &bytes).await;
        let (dropped, kept) = (dropped.unwrap(), kept.unwrap());
        assert_eq!(dropped.values("x-user"), ["a"]);
        for name in names {
            assert!(dropped.values(name).is_empty(), "{name}");
            assert_eq!(kept.values(name).len(), 1, "{name}");
        }
    }
    for to in edge.modes() {
        let (answer, received) = edge.ask(to, &head("")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(received.unwrap().values("x-user"), ["a"]);
    }
}

#[tokio::test]
async fn identity_and_length_in_another_spelling_pass_nowhere() {
    let edge = Edge::start().await;
    let [drops, refuses, keeps] = edge.modes();
    for field in [
        "X_Forwarded_Client_Cert: forged",
        "x.forwarded-client.cert: forged",
        "SSL_CLIENT_CERT: forged",
        "Iv_User: forged",
        "Content_Length: 7",
        "Transfer_Encoding: chunked",
        "transfer.encoding: chunked",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: proxy.test\r\n{field}\r\n\r\n");
        let name = field.split(':').next().unwrap().to_ascii_lowercase();
        for to in [drops, keeps] {
            let (answer, received) = edge.ask(to, &bytes).await;
            assert_eq!(answer.status, 200, "{field}");
            let received = received.unwrap();
            assert!(received.values(&name).is_empty(), "{field}: {received:?}");
            assert_eq!(received.values("x-forwarded-client-cert").len(), 1);
        }
        assert_eq!(edge.ask(refuses, &bytes).await.0.status, 400, "{field}");
    }
}

#[tokio::test]
async fn trailers_with_names_that_services_fold_are_refused_dropped_or_kept() {
    let edge = Edge::start().await;
    let [drops, refuses, keeps] = edge.modes();
    let bytes = "POST / HTTP/1.1\r\nHost: proxy.test\r\nTrailer: X-Sum, X_Sum, Iv_User\r\n\
                 Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nX_Sum: 2\r\n\
                 Iv_User: forged\r\n\r\n";
    let trailers = |received: Option<Wire>| {
        let mut names: Vec<_> = received.unwrap().trailers;
        names.sort();
        names.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(trailers(edge.ask(drops, bytes).await.1), ["x-sum"]);
    assert_eq!(trailers(edge.ask(keeps, bytes).await.1), ["x-sum", "x_sum"]);
    let mut raw = edge.client.raw(refuses).await;
    raw.write(bytes).await;
    assert_eq!(raw.read_response().await.status, 400);
    assert!(edge.witness.take().whole.is_empty());
}
