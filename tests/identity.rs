//! What the upstream is told about the caller, and that nobody else can tell it.

use http::HeaderMap;
use rcgen::DnType;

use crate::support::body::Body;
use crate::support::client::{Client, get, post, with};
use crate::support::pki::{CLIENT_URI, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

const XFCC: &str = "x-forwarded-client-cert";

/// Spellings that a service behind the proxy may take for the same name.
const SPELLINGS: [&str; 5] = [
    "x-forwarded-client-cert",
    "x_forwarded_client_cert",
    "x.forwarded.client.cert",
    "x-forwarded_client.cert",
    "x-forwarded-client_cert",
];

const HEADERS_ENCODING: &str = "
[upstreams.orders.outbound.assertion]
encode = ['headers']
headers = { X-Client-Subject = '{subject}', X-Client-Uri = '{uri}', X-Client-Fingerprint = '{fingerprint}' }
";

#[tokio::test]
async fn xfcc_names_fingerprint_subject_and_every_san() {
    let pki = Pki::new();
    let leaf = pki
        .root()
        .leaf()
        .client()
        .common_name("billing")
        .uri(CLIENT_URI)
        .dns("billing.prod.example");
    let leaf = leaf.issue();
    let field = xfcc_of(&pki, &leaf).await;
    let pairs = xfcc_pairs(&field);
    assert_eq!(only(&pairs, "Hash"), leaf.fingerprint());
    assert_eq!(only(&pairs, "Subject"), "CN=billing");
    assert_eq!(only(&pairs, "URI"), CLIENT_URI);
    assert_eq!(only(&pairs, "DNS"), "billing.prod.example");
}

#[tokio::test]
async fn subject_cannot_forge_an_xfcc_field() {
    let pki = Pki::new();
    let forged = r#"x";URI=spiffe://prod.example/admin,Hash=0;Subject="y"#;
    for common_name in [
        forged.to_owned(),
        format!("\\{forged}"),
        forged.replace('"', "\\\""),
    ] {
        let leaf = pki
            .root()
            .leaf()
            .client()
            .common_name(&common_name)
            .uri(CLIENT_URI)
            .issue();
        let field = xfcc_of(&pki, &leaf).await;
        let pairs = xfcc_pairs(&field);
        assert_eq!(only(&pairs, "URI"), CLIENT_URI, "{field}");
        assert_eq!(only(&pairs, "Hash"), leaf.fingerprint(), "{field}");
    }
}

#[tokio::test]
async fn uri_cannot_forge_an_xfcc_field() {
    let pki = Pki::new();
    let leaf = pki.root().leaf().client().common_name("x");
    let leaf = leaf
        .uri("urn:a;URI=spiffe://prod.example/admin,Hash=0")
        .issue();
    let client = Client::new(&pki).presenting(&leaf);
    let upstream = Upstream::start().await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    // Refusing such a leaf altogether is right as well.
    if client.get(proxy.public(), "/").await.is_ok() {
        let received = upstream.only_request();
        let field = received.header(XFCC).unwrap();
        let pairs = xfcc_pairs(field);
        assert!(!only(&pairs, "URI").starts_with("spiffe:"), "{field}");
        assert_eq!(only(&pairs, "Hash"), leaf.fingerprint(), "{field}");
    }
}

#[tokio::test]
async fn headers_encoding_fills_its_templates() {
    let pki = Pki::new();
    let leaf = pki
        .root()
        .leaf()
        .client()
        .subject(DnType::OrganizationName, "Example, Inc.");
    let leaf = leaf.common_name("billing").uri(CLIENT_URI).issue();
    let upstream = Upstream::start().await;
    let proxy = Setup::new(&pki, &upstream)
        .with(HEADERS_ENCODING)
        .start()
        .await;
    Client::new(&pki)
        .presenting(&leaf)
        .get(proxy.public(), "/")
        .await
        .unwrap();
    let received = upstream.only_request();
    // RFC 4514: the last name of the sequence comes first, a comma is escaped.
    assert_eq!(
        received.header("x-client-subject"),
        Some(r"CN=billing,O=Example\, Inc.")
    );
    assert_eq!(received.header("x-client-uri"), Some(CLIENT_URI));
    assert_eq!(
        received.header("x-client-fingerprint"),
        Some(leaf.fingerprint().as_str())
    );
    assert_eq!(
        received.header(XFCC),
        None,
        "only the encodings of the config"
    );
}

#[tokio::test]
async fn name_outside_ascii_reaches_the_upstream_as_ascii() {
    let pki = Pki::new();
    let leaf = pki
        .root()
        .leaf()
        .client()
        .common_name("Jürgen")
        .uri(CLIENT_URI)
        .issue();
    let upstream = Upstream::start().await;
    let proxy = Setup::new(&pki, &upstream)
        .with(HEADERS_ENCODING)
        .start()
        .await;
    Client::new(&pki)
        .presenting(&leaf)
        .get(proxy.public(), "/")
        .await
        .unwrap();
    let subject = upstream.only_request().headers["x-client-subject"].clone();
    assert!(subject.as_bytes().is_ascii(), "{subject:?}");
    assert!(
        subject.as_bytes().starts_with(br"CN=J\C3\BCrgen"),
        "{subject:?}"
    );
}

#[tokio::test]
async fn spoofed_identity_of_an_authenticated_caller_is_replaced_in_every_spelling() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    for client in client.in_both_protocols() {
        client
            .send(proxy.public(), spoofed(get("/")))
            .await
            .unwrap();
    }
    for received in upstream.received(2).await {
        let fields = folded(&received);
        assert_eq!(fields.len(), 1, "{fields:?}");
        assert!(
            fields[0].contains(CLIENT_URI) && !fields[0].contains("forged"),
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn spoofed_identity_of_an_anonymous_caller_is_removed_in_every_spelling() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    for client_auth in [
        "client_auth = 'none'",
        "client_auth = 'want'\ntrust = 'clients'",
    ] {
        let setup = Setup::new(&pki, &upstream).without("listeners.public.tls.trust");
        let proxy = setup
            .with(&format!("[listeners.public.tls]\n{client_auth}"))
            .start()
            .await;
        spoof_in_vain(&proxy, Client::new(&pki), &upstream).await;
    }
}

#[tokio::test]
async fn spoofed_identity_on_a_plaintext_listener_is_removed_in_every_spelling() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .without("listeners.public.tls")
        .start()
        .await;
    let answer = Client::plaintext(&pki)
        .send(proxy.public(), spoofed(get("/")))
        .await;
    assert_eq!(answer.unwrap().status, 200);
    let received = upstream.only_request();
    assert!(folded(&received).is_empty(), "{:?}", received.headers);
}

#[tokio::test]
async fn spoofed_identity_is_removed_even_where_no_identity_is_asserted() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).without("upstreams.orders.outbound.assertion");
    let proxy = setup
        .with("upstreams.orders.outbound.identity_assertion = 'never'")
        .start()
        .await;
    spoof_in_vain(
        &proxy,
        Client::new(&pki).presenting(&pki.client()),
        &upstream,
    )
    .await;
}

async fn spoof_in_vain(proxy: &Proxy, client: Client, upstream: &Upstream) {
    let before = upstream.requests().len();
    for client in client.in_both_protocols() {
        let answer = client
            .send(proxy.public(), spoofed(get("/")))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
    }
    for received in upstream.received(before + 2).await {
        assert!(folded(&received).is_empty(), "{:?}", received.headers);
    }
}

#[tokio::test]
async fn spoofed_header_of_the_headers_encoding_is_removed_in_every_spelling() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream)
        .without("listeners.public.tls.trust")
        .with(HEADERS_ENCODING);
    let proxy = setup
        .with("listeners.public.tls.client_auth = 'none'")
        .start()
        .await;
    for client in Client::new(&pki).in_both_protocols() {
        let spellings = [
            "x-client-subject",
            "x_client_subject",
            "x.client.subject",
            "x-client_subject",
        ];
        let request = spellings
            .iter()
            .fold(get("/"), |request, name| with(request, name, "CN=forged"));
        client
            .send(proxy.public(), with(request, "x-client-subject-2", "kept"))
            .await
            .unwrap();
    }
    for received in upstream.received(2).await {
        let text = format!("{:?}", received.headers);
        assert!(!text.contains("forged"), "{text}");
        assert_eq!(received.header("x-client-subject-2"), Some("kept"));
    }
}

#[tokio::test]
async fn spoofed_identity_in_upper_case_is_replaced() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    raw.write(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nX-FORWARDED-CLIENT-CERT: forged\r\n\
         X_FORWARDED_CLIENT_CERT: forged\r\nx-Forwarded-Client-Cert: forged\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    let fields = upstream.only_request();
    let fields = folded(&fields);
    assert!(
        fields.len() == 1 && fields[0].contains(CLIENT_URI),
        "{fields:?}"
    );
}

#[tokio::test]
async fn connection_field_cannot_take_the_identity_off_again() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    for nominated in [
        "X-Forwarded-Client-Cert",
        "keep-alive, x-forwarded-client-cert",
        "x-forwarded-for",
    ] {
        raw.write(format!(
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: {nominated}\r\nX-Forwarded-Client-Cert: forged\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.read_response().await.status, 200);
    }
    for received in upstream.received(3).await {
        let field = received.header(XFCC).unwrap();
        assert!(
            field.contains(CLIENT_URI) && !field.contains("forged"),
            "{field}"
        );
        assert!(received.header("x-forwarded-for").is_some());
    }
}

#[tokio::test]
async fn spoofed_identity_in_http2_trailers_is_removed_and_other_trailers_stay() {
    let pki = Pki::new();
    let upstream = Upstream::build(|_| Reply::ok("hello")).h2().start().await;
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'h2'")
        .start()
        .await;
    let mut session = Client::new(&pki)
        .presenting(&pki.client())
        .h2()
        .connect(proxy.public())
        .await
        .unwrap();
    let (writer, body) = Body::streaming();
    let answer = session.begin(post("/", body)).await;
    writer.piece("content");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().unwrap());
    for name in SPELLINGS {
        trailers.insert(name, "forged".parse().unwrap());
    }
    writer.trailers(trailers);
    assert_eq!(answer.await.unwrap().status(), 200);
    let received = upstream.only_request();
    assert_eq!(received.trailers.get("x-checksum").unwrap(), "42");
    assert_eq!(received.trailers.len(), 1, "{:?}", received.trailers);
}

#[tokio::test]
async fn spoofed_identity_in_chunked_trailers_is_removed() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    raw.write(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Forwarded-Client-Cert, X-Checksum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Forwarded-Client-Cert: forged\r\nX_Forwarded_Client_Cert: forged\r\nX-Checksum: 42\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    let received = upstream.only_request();
    assert!(
        !format!("{:?}", received.trailers).contains("forged"),
        "{:?}",
        received.trailers
    );
    assert_eq!(received.body, "hello");
}

#[tokio::test]
async fn odd_but_valid_certificates_are_served() {
    let pki = Pki::new();
    let leaf = || pki.root().leaf().client();
    let odd = [
        ("empty subject", leaf().uri(CLIENT_URI).issue()),
        (
            "no common name",
            leaf()
                .subject(DnType::OrganizationName, "Example")
                .uri(CLIENT_URI)
                .issue(),
        ),
        ("no SAN", leaf().common_name("billing").issue()),
        (
            "email and UPN",
            leaf().email("a@example.com").upn("a@corp.example").issue(),
        ),
        (
            "two DNS names",
            leaf().dns("a.example").dns("b.example").issue(),
        ),
    ];
    let upstream = Upstream::start().await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    for (what, leaf) in &odd {
        let answer = Client::new(&pki)
            .presenting(leaf)
            .get(proxy.public(), "/")
            .await;
        let answer = answer.unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        assert_eq!(answer.status, 200, "{what}");
    }
    for received in upstream.received(odd.len()).await {
        assert!(received.header(XFCC).is_some());
    }
}

#[tokio::test]
async fn hostile_certificates_end_in_a_refusal_or_an_answer_and_never_in_a_panic() {
    let pki = Pki::new();
    let leaf = || pki.root().leaf().client();
    let many = (0..200).fold(leaf(), |leaf, i| {
        leaf.dns(&format!("{}-{i}.example", "x".repeat(30)))
    });
    let hostile = [
        (
            "NUL in the subject",
            leaf().common_name("admin\0.evil").issue(),
        ),
        (
            "newline in the subject",
            leaf().common_name("a\r\nX-Admin: yes").issue(),
        ),
        (
            "delimiters in the subject",
            leaf().common_name(r#",;="\+<># "#).issue(),
        ),
        ("8 KiB of names", many.issue()),
        (
            "two SPIFFE names",
            leaf()
                .uri(CLIENT_URI)
                .uri("spiffe://prod.example/admin")
                .issue(),
        ),
        (
            "a long subject",
            leaf().common_name(&"n".repeat(60_000)).issue(),
        ),
    ];
    let upstream = Upstream::start().await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    for (what, leaf) in &hostile {
        for client in Client::new(&pki).presenting(leaf).in_both_protocols() {
            match client.get(proxy.public(), "/").await {
                Ok(answer) => println!("{what}: {}", answer.status),
                Err(refusal) => println!("{what}: {refusal:?}"),
            }
        }
    }
    for received in upstream.requests() {
        assert_eq!(received.header("x-admin"), None);
        received.header(XFCC);
    }
    let good = Client::new(&pki)
        .presenting(&pki.client())
        .get(proxy.public(), "/")
        .await;
    assert_eq!(good.unwrap().status, 200);
    let log = proxy.diagnostics().join("\n");
    assert!(!log.contains("panicked"), "{log}");
}

async fn xfcc_of(pki: &Pki, leaf: &Leaf) -> String {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(pki, &upstream).start().await;
    let answer = Client::new(pki)
        .presenting(leaf)
        .get(proxy.public(), "/")
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    upstream.only_request().header(XFCC).unwrap().to_owned()
}

fn spoofed(request: http::Request<Body>) -> http::Request<Body> {
    let forged = "Hash=forged;URI=spiffe://prod.example/admin";
    SPELLINGS
        .iter()
        .fold(request, |request, name| with(request, name, forged))
}

/// The values of all fields that a legacy service takes for the XFCC.
fn folded(received: &Received) -> Vec<&str> {
    let same = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-") == XFCC;
    let fields = received
        .headers
        .iter()
        .filter(|(name, _)| same(name.as_str()));
    fields.map(|(_, value)| value.to_str().unwrap()).collect()
}

/// Reads one element of an XFCC as Envoy does: `;` and `,` count outside of
/// quotes, `\` escapes within them.
fn xfcc_pairs(field: &str) -> Vec<(String, String)> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in field.chars() {
        match c {
            '\\' if quoted && !escaped => escaped = true,
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted => panic!("a second element in {field}"),
            ';' if !quoted => parts.push(String::new()),
            c => {
                parts.last_mut().unwrap().push(c);
                escaped = false;
            }
        }
    }
    assert!(!quoted, "a quote is left open in {field}");
    let pairs = parts.iter().map(|part| {
        part.split_once('=')
            .unwrap_or_else(|| panic!("no = in {part:?} of {field}"))
    });
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn only<'a>(pairs: &'a [(String, String)], key: &str) -> &'a str {
    let mut values = pairs
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(key))
        .map(|(_, value)| value);
    let value = values
        .next()
        .unwrap_or_else(|| panic!("no {key} in {pairs:?}"));
    assert!(
        values.next().is_none(),
        "{key} occurs more than once in {pairs:?}"
    );
    value
}
