//! The header of the PROXY protocol, from those in front and to those behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::Target;
use crate::support::client::{Client, get};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE: &str = "PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n";
const ENDS: [u8; 12] = [203, 0, 113, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
const REFUSED: &str = "handshake.refused";

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// A proxy that demands the header of its listed senders, and a client that is
/// let in.
struct Scene {
    client: Client,
    proxy: Proxy,
    upstream: Upstream,
}

impl Scene {
    async fn start(listed: &str, change: &str) -> Self {
        let pki = Pki::new();
        let upstream = Upstream::answering(|_| Reply::ok("hello")).await;
        let listed = format!("listeners.public.proxy_protocol_from = {listed}");
        let setup = Setup::new(&pki, &upstream).with(&listed).with(change);
        Self {
            client: Client::new(&pki).presenting(&pki.client()),
            proxy: setup.start().await,
            upstream,
        }
    }

    fn behind(&self, header: impl AsRef<[u8]>) -> Target {
        Target::from(self.proxy.public()).after(header)
    }

    async fn line_of(&self, path: &str, header: impl AsRef<[u8]>) -> Value {
        let answer = self.client.get(self.behind(header), path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        self.proxy.access_line(path).await
    }
}

#[tokio::test]
async fn listed_sender_says_whose_connection_it_is_in_either_version() {
    let scene = Scene::start("['127.0.0.0/8']", "").await;
    let with_values = [ENDS.as_slice(), &[4, 0, 3, 1, 2, 3]].concat();
    let mut six = vec![0x20, 1, 0xd, 0xb8];
    six.extend_from_slice(&[0; 11]);
    six.push(9);
    six.extend_from_slice(&[0; 15]);
    six.extend_from_slice(&[1, 0, 7, 1, 0xbb]);
    for (path, header, client, forwarded) in [
        (
            "/v1",
            LINE.as_bytes().to_vec(),
            "203.0.113.7:56324",
            "203.0.113.7",
        ),
        (
            "/mapped",
            b"PROXY TCP6 ::ffff:203.0.113.7 ::1 5 6\r\n".to_vec(),
            "203.0.113.7:5",
            "203.0.113.7",
        ),
        (
            "/v2",
            binary(0x21, 0x11, &ENDS),
            "203.0.113.7:56324",
            "203.0.113.7",
        ),
        (
            "/values",
            binary(0x21, 0x11, &with_values),
            "203.0.113.7:56324",
            "203.0.113.7",
        ),
        (
            "/six",
            binary(0x21, 0x21, &six),
            "[2001:db8::9]:7",
            "2001:db8::9",
        ),
    ] {
        let line = scene.line_of(path, header).await;
        assert_eq!(line["client"], client, "{path}");
        let via = line["via"].as_str().unwrap();
        assert!(via.starts_with("127.0.0.1:"), "{path}: {via}");
        let request = scene.upstream.requests().pop().unwrap();
        assert_eq!(request.header("x-forwarded-for"), Some(forwarded), "{path}");
    }
}

#[tokio::test]
async fn client_of_which_the_sender_knows_nothing_has_no_address() {
    let scene = Scene::start("['127.0.0.1']", "").await;
    for (path, header) in [
        ("/v1", b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n".to_vec()),
        ("/unspecified", binary(0x21, 0x00, &[])),
        ("/unix", binary(0x21, 0x31, &[b'x'; 216])),
    ] {
        let line = scene.line_of(path, header).await;
        assert_eq!(line["client"], "unknown", "{path}");
        let request = scene.upstream.requests().pop().unwrap();
        assert_eq!(request.header("x-forwarded-for"), None, "{path}");
        let forwarded = request.header("forwarded").unwrap();
        assert!(forwarded.starts_with("for=unknown;"), "{forwarded}");
    }
}

#[tokio::test]
async fn local_connection_is_the_senders_own() {
    let scene = Scene::start("['127.0.0.1']", "").await;
    for (path, family) in [("/local", 0x00), ("/whatever", 0xff)] {
        let line = scene
            .line_of(path, binary(0x20, family, b"\x01\0\x02h2"))
            .await;
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(line["via"], Value::Null);
    }
    // A health check that ends behind it is nobody's fault.
    let mut check = Raw::plain(scene.proxy.public()).await;
    check.write(binary(0x20, 0, &[])).await;
    check.finish().await;
    assert_eq!(check.read_to_end().await, "");
    let counted = |metrics: &crate::support::proxy::Metrics| {
        metrics.sum("countersign_handshakes_total", &["reason=\"probe\""]) == 1.0
    };
    scene.proxy.metrics_where("a probe", counted).await;
    assert!(scene.proxy.logged(REFUSED).is_empty());
}

#[tokio::test]
async fn rules_know_the_client_and_not_the_sender() {
    let from = "routes = [{ upstream = 'orders', allow = [{ uri = 'spiffe://prod.example/*', from = ['203.0.113.0/24'] }] }]";
    let scene = Scene::start("['127.0.0.1']", from).await;
    for (header, status) in [
        (LINE.to_owned(), 200),
        (LINE.replace("203.0.113.7", "127.0.0.1"), 403),
        ("PROXY UNKNOWN\r\n".to_owned(), 403),
    ] {
        let answer = scene.client.get(scene.behind(&header), "/").await.unwrap();
        assert_eq!(answer.status, status, "{header:?}");
    }
}

#[tokio::test]
async fn listed_sender_without_a_whole_and_well_formed_header_is_refused() {
    let scene = Scene::start("['127.0.0.1']", "log.refusals_per_minute = 1000").await;
    scene.client.refusal(scene.proxy.public()).await;
    let checksum = [ENDS.as_slice(), &[3, 0, 4, 1, 2, 3, 4]].concat();
    for (header, cause) in [
        (LINE.replace("\r\n", "\n").into_bytes(), "TCP4|TCP6"),
        (LINE.replace("56324", "056324").into_bytes(), "TCP4|TCP6"),
        (
            format!("PROXY TCP4 {}\r\n", "1".repeat(100)).into_bytes(),
            "107 bytes",
        ),
        (binary(0x11, 0x11, &ENDS), "version 1"),
        (binary(0x22, 0x11, &ENDS), "command 2"),
        (binary(0x21, 0x99, &ENDS), "0x99"),
        (binary(0x21, 0x21, &ENDS), "length"),
        (binary(0x21, 0x11, &[0; 20_000]), "20000"),
        (binary(0x21, 0x11, &checksum), "CRC32C"),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            "something else",
        ),
    ] {
        scene.client.refusal(scene.behind(&header)).await;
        let fits = |line: &Value| line["cause"].as_str().unwrap().contains(cause);
        let line = scene.proxy.log_line(REFUSED, fits).await;
        assert_eq!(line["reason"], "proxy_protocol", "{cause}");
    }
    assert!(scene.upstream.requests().is_empty());
    let answer = scene.client.get(scene.behind(LINE), "/").await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn header_has_the_handshakes_time_and_can_come_in_pieces() {
    let limit = "listeners.public.limits.handshake_timeout = '700ms'";
    let scene = Scene::start("['127.0.0.1']", limit).await;
    for begun in ["PROXY TCP4 203", "\r\n\r\n\0\r\nQU"] {
        let mut slow = Raw::plain(scene.proxy.public()).await;
        slow.write(begun).await;
        assert_eq!(slow.read_to_end().await, "");
    }
    let line = scene.proxy.log_line(REFUSED, |_| true).await;
    assert_eq!(line["reason"], "timeout");

    let plain = "listeners.public.protocols = ['http/1.1']";
    let scene = Scene::plaintext("['127.0.0.1']", plain).await;
    let mut raw = Raw::plain(scene.proxy.public()).await;
    for byte in binary(0x21, 0x11, &ENDS) {
        raw.write([byte]).await;
    }
    raw.write("GET /pieces HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 200);
    let line = scene.proxy.access_line("/pieces").await;
    assert_eq!(line["client"], "203.0.113.7:56324");
}

impl Scene {
    async fn plaintext(listed: &str, change: &str) -> Self {
        let pki = Pki::new();
        let upstream = Upstream::answering(|_| Reply::ok("hello")).await;
        let listed = format!("listeners.public.proxy_protocol_from = {listed}");
        let setup = Setup::new(&pki, &upstream).without("listeners.public.tls");
        Self {
            client: Client::plaintext(&pki),
            proxy: setup.with(&listed).with(change).start().await,
            upstream,
        }
    }
}

#[tokio::test]
async fn header_of_a_sender_that_is_not_listed_is_refused_as_what_it_is() {
    for plaintext in [false, true] {
        let listed = "['192.0.2.1']";
        let scene = match plaintext {
            true => Scene::plaintext(listed, "").await,
            false => Scene::start(listed, "").await,
        };
        for header in [LINE.as_bytes().to_vec(), binary(0x21, 0x11, &ENDS)] {
            let mut raw = Raw::plain(scene.proxy.public()).await;
            raw.write(&header).await;
            raw.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            let answer = raw.read_to_end().await;
            assert_eq!(answer, "", "nothing is said to what is no client");
        }
        let line = scene.proxy.log_line(REFUSED, |_| true).await;
        assert_eq!(line["reason"], "proxy_protocol");
        let cause = line["cause"].as_str().unwrap();
        assert!(
            cause.contains("not listed in proxy_protocol_from"),
            "{cause}"
        );
        let metrics = scene.proxy.metrics().await;
        let labels = ["result=\"not_tls\"", "reason=\"proxy_protocol\""];
        assert_eq!(metrics.sum("countersign_handshakes_total", &labels), 2.0);
        assert!(scene.upstream.requests().is_empty());
        // Without the header it is a client as any other.
        let answer = scene
            .client
            .get(scene.proxy.public(), "/own")
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        let line = scene.proxy.access_line("/own").await;
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
}

#[tokio::test]
async fn whoever_connects_over_a_unix_socket_writes_the_header_where_the_config_says_so() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|_| Reply::ok("hello")).await;
    let setup = Setup::new(&pki, &upstream);
    let path = setup.path("public.sock");
    let bind = format!("listeners.public.bind = 'unix:{}'", path.display());
    let listed = "listeners.public.proxy_protocol_from = ['unix']";
    let proxy = setup.with(&bind).with(listed).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.refusal(path.clone()).await;
    let target = Target::from(path).after(LINE);
    let answer = client.get(target, "/unix").await.unwrap();
    assert_eq!(answer.status, 200);
    let line = proxy.access_line("/unix").await;
    assert_eq!(
        (&line["client"], &line["via"]),
        (&"203.0.113.7:56324".into(), &"unix".into())
    );
}

#[tokio::test]
async fn senders_that_cannot_connect_are_a_mistake() {
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    for (bind, listed, said) in [
        ("127.0.0.1:0", "unix", "the listener is no unix socket"),
        (
            "unix:public.sock",
            "10.0.0.0/8",
            "where nobody has an address",
        ),
        ("127.0.0.1:0", "10.0.0.1/8", "an address within a network"),
    ] {
        let change =
            format!("[listeners.public]\nbind = '{bind}'\nproxy_protocol_from = ['{listed}']");
        let finished = Setup::new(&pki, &upstream).with(&change).run("check").await;
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
}

/// A header as the service behind reads it, by a reader of its own.
#[derive(Clone, Debug, Default)]
struct Header {
    /// The line of version 1, or the fixed part of version 2 in hex.
    text: String,
    source: String,
    destination: String,
    values: BTreeMap<u8, Vec<u8>>,
    /// Of `PP2_TYPE_SSL`: the flags, `verify`, and the values in it.
    ssl: Option<(u8, u32, BTreeMap<u8, Vec<u8>>)>,
}

/// CRC-32C the other way about: from the highest bit, with what goes in and
/// what comes out reflected.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            let carry = crc & 0x8000_0000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1edc_6f41;
            }
        }
    }
    !crc.reverse_bits()
}

fn values(mut bytes: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut values = BTreeMap::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        assert!(
            values.insert(*kind, value.to_vec()).is_none(),
            "{kind} twice"
        );
        bytes = rest;
    }
    assert!(bytes.is_empty(), "cut short: {bytes:?}");
    values
}

async fn read_header(raw: &mut Raw, version: &str) -> Header {
    let mut header = Header::default();
    if version == "v1" {
        header.text = raw.read_until("\r\n").await;
        return header;
    }
    let fixed = raw.read_bytes(16).await.unwrap();
    assert_eq!(&fixed[..12], SIGNATURE);
    let length = u16::from_be_bytes([fixed[14], fixed[15]]);
    let rest = raw.read_bytes(length.into()).await.unwrap();
    header.text = format!("{:02x}{:02x}", fixed[12], fixed[13]);
    let end = |ip: &[u8], port: &[u8]| {
        let ip: [u8; 4] = ip.try_into().unwrap();
        let port = u16::from_be_bytes(port.try_into().unwrap());
        std::net::SocketAddr::from((ip, port)).to_string()
    };
    let rest_of_it = match fixed[13] {
        0x11 => {
            header.source = end(&rest[..4], &rest[8..10]);
            header.destination = end(&rest[4..8], &rest[10..12]);
            &rest[12..]
        }
        0 => &rest[..],
        other => panic!("{other:#x} is not wanted here"),
    };
    header.values = values(rest_of_it);
    if let Some(sum) = header.values.get(&0x03) {
        let mut whole = [fixed.as_slice(), &rest].concat();
        let at = whole.len() - 4;
        assert_eq!(&whole[at..], &sum[..], "it stands at the end");
        whole[at..].fill(0);
        assert_eq!(checksum(&whole).to_be_bytes(), sum[..]);
    }
    header.ssl = header.values.get(&0x20).map(|ssl| {
        let verify = u32::from_be_bytes(ssl[1..5].try_into().unwrap());
        (ssl[0], verify, values(&ssl[5..]))
    });
    header
}

/// By connection: the header, and the requests that came behind it.
type Told = Arc<Mutex<Vec<(Header, Vec<String>)>>>;

/// A service that reads the header, and then answers requests.
async fn told(version: &'static str) -> (Upstream, Told) {
    let told = Told::default();
    let kept = Arc::clone(&told);
    let script = move |mut raw: Raw, _| {
        let told = Arc::clone(&kept);
        async move {
            let header = read_header(&mut raw, version).await;
            let place = {
                let mut told = told.lock().unwrap();
                told.push((header, Vec::new()));
                told.len() - 1
            };
            loop {
                let head = raw.read_until("\r\n\r\n").await;
                let path = head.split(' ').nth(1).unwrap().to_owned();
                told.lock().unwrap()[place].1.push(path);
                raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    };
    (Upstream::scripted(script).await, told)
}

/// A proxy before such a service, for callers that may be anonymous.
async fn telling(version: &'static str, change: &str) -> (Pki, Proxy, Told, Upstream) {
    let (upstream, told) = told(version).await;
    let pki = Pki::new();
    let tells = format!("upstreams.orders.proxy_protocol = '{version}'");
    let setup = Setup::new(&pki, &upstream)
        .with("server.workers = 1")
        .with("listeners.public.tls.client_auth = 'want'")
        .with(&tells)
        .with(change);
    let proxy = setup.start().await;
    (pki, proxy, told, upstream)
}

#[tokio::test]
async fn line_tells_the_service_both_ends_and_nothing_else() {
    let (pki, proxy, told, _upstream) = telling("v1", "").await;
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(client.get(proxy.public(), "/a").await.unwrap().status, 200);
    let client = proxy.access_line("/a").await["client"].clone();
    let (ip, port) = client.as_str().unwrap().rsplit_once(':').unwrap();
    let to = proxy.public().port();
    let (header, paths) = told.lock().unwrap()[0].clone();
    assert_eq!(
        header.text,
        format!("PROXY TCP4 {ip} 127.0.0.1 {port} {to}\r\n")
    );
    assert_eq!(paths, ["/a"]);
}

#[tokio::test]
async fn binary_header_tells_the_service_of_tls_and_of_the_certificate() {
    let (pki, proxy, told, _upstream) = telling("v2", "").await;
    let leaf = pki.client();
    let client = Client::new(&pki).presenting(&leaf).h2().resuming();
    for path in ["/full", "/resumed"] {
        let mut session = client.connect(proxy.public()).await.unwrap();
        session.send(get(path)).await.unwrap();
    }
    let anonymous = Client::new(&pki);
    anonymous.get(proxy.public(), "/anonymous").await.unwrap();
    let told = told.lock().unwrap().clone();
    let of = |path: &str| {
        let found = told
            .iter()
            .find(|(_, paths)| paths.iter().any(|one| one == path));
        found.unwrap().0.clone()
    };
    let full = of("/full");
    assert_eq!(full.text, "2111");
    assert!(full.source.starts_with("127.0.0.1:"), "{full:?}");
    assert_eq!(full.destination, proxy.public().to_string());
    assert_eq!(full.values[&0x01], b"h2");
    assert_eq!(full.values[&0x02], b"proxy.test");
    let (flags, verify, ssl) = full.ssl.unwrap();
    assert_eq!((flags, verify), (0x07, 0));
    assert_eq!(ssl[&0x21], b"TLSv1.3");
    assert!(ssl[&0x23].starts_with(b"TLS_"), "{ssl:?}");
    assert_eq!(ssl[&0x28], leaf.chain()[0].as_ref());

    let (flags, verify, ssl) = of("/resumed").ssl.unwrap();
    assert_eq!(
        (flags, verify),
        (0x05, 0),
        "presented in an earlier connection"
    );
    assert_eq!(ssl[&0x28], leaf.chain()[0].as_ref());

    let (flags, verify, ssl) = of("/anonymous").ssl.unwrap();
    assert_eq!(flags, 0x01);
    assert_ne!(verify, 0);
    assert!(
        !ssl.contains_key(&0x28) && !ssl.contains_key(&0x22),
        "{ssl:?}"
    );
}

#[tokio::test]
async fn certificate_is_told_only_where_identities_are() {
    for change in [
        "upstreams.orders.outbound.identity_assertion = 'never'",
        "upstreams.orders.outbound.run_as = 'specified'\n\
         upstreams.orders.outbound.identity.uri = 'spiffe://prod.example/gateway'",
    ] {
        let (pki, proxy, told, _upstream) = telling("v2", change).await;
        let client = Client::new(&pki).presenting(&pki.client());
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
        let (flags, verify, ssl) = told.lock().unwrap()[0].0.ssl.clone().unwrap();
        assert!(flags == 0x01 && verify != 0, "{flags} {verify}");
        assert_eq!(ssl.keys().collect::<Vec<_>>(), [&0x21, &0x23], "{change}");
    }
}

#[tokio::test]
async fn connection_with_the_header_of_one_client_never_serves_another() {
    for version in ["v1", "v2"] {
        let (pki, proxy, told, _upstream) = telling(version, "").await;
        let client = Client::new(&pki).presenting(&pki.client());
        for whose in ["first", "second"] {
            let mut session = client.connect(proxy.public()).await.unwrap();
            for _ in 0..2 {
                let answer = session.send(get(&format!("/{whose}"))).await;
                assert_eq!(answer.unwrap().status, 200);
            }
        }
        let told = told.lock().unwrap().clone();
        let paths: Vec<_> = told.iter().map(|(_, paths)| paths.clone()).collect();
        assert_eq!(paths, [["/first", "/first"], ["/second", "/second"]]);
    }
}

#[tokio::test]
async fn header_that_came_in_is_passed_on() {
    let listed = "listeners.public.proxy_protocol_from = ['127.0.0.1']";
    let (pki, proxy, told, _upstream) = telling("v2", listed).await;
    let client = Client::new(&pki);
    for (path, header) in [("/told", LINE), ("/unknown", "PROXY UNKNOWN\r\n")] {
        let target = Target::from(proxy.public()).after(header);
        assert_eq!(client.get(target, path).await.unwrap().status, 200);
    }
    let told = told.lock().unwrap().clone();
    let (known, unknown) = (&told[0].0, &told[1].0);
    assert_eq!(
        (&*known.source, &*known.destination),
        ("203.0.113.7:56324", "198.51.100.1:443")
    );
    assert_eq!(unknown.text, "2100", "of no family");
    assert_eq!(unknown.values[&0x02], b"proxy.test");
}

#[tokio::test]
async fn header_comes_before_tls_and_before_http_2() {
    for (endpoint, protocol, next) in [
        ("https", "http/1.1", b"\x16\x03".as_slice()),
        ("http", "h2", b"PRI * HTTP/2.0\r\n"),
    ] {
        let first = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&first);
        let upstream = Upstream::scripted(move |mut raw: Raw, _| {
            let first = Arc::clone(&kept);
            async move {
                read_header(&mut raw, "v2").await;
                let bytes = raw.read_bytes(next.len()).await;
                first.lock().unwrap().get_or_insert(bytes);
            }
        })
        .await;
        let pki = Pki::new();
        let address = upstream.endpoint().strip_prefix("http://").unwrap();
        let mut change = format!(
            "[upstreams.orders]\nendpoints = ['{endpoint}://{address}']\n\
             protocol = '{protocol}'\nproxy_protocol = 'v2'\n"
        );
        if endpoint == "https" {
            change += "[upstreams.orders.tls]\ntrust = 'system'\nserver_name = 'orders.internal'\n";
        }
        let proxy = Setup::new(&pki, &upstream).with(&change).start().await;
        let client = Client::new(&pki).presenting(&pki.client());
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 502, "this service says nothing");
        let first = first.lock().unwrap().clone().unwrap().unwrap();
        assert_eq!(first, next, "{endpoint} {protocol}");
    }
}

#[tokio::test]
async fn certificates_are_told_to_other_machines_only_by_word_and_where_they_are_believed() {
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let remote = "[upstreams.orders]\nendpoints = ['https://192.0.2.1:1']\n\
         [upstreams.orders.tls]\ntrust = 'clients'\n";
    let signed = "[upstreams.orders.outbound.assertion]\nencode = ['jwt']\n\
         [upstreams.orders.outbound.assertion.jwt]\nkeys = ['proxy.key']\nissuer = 'x'\n";
    let credential =
        "[upstreams.orders.outbound.credential]\nsource = 'bearer'\ntoken_file = 'token'\n";
    for (version, rest, first, said) in [
        (
            "v2",
            signed,
            "",
            Some("could not know that the certificates"),
        ),
        (
            "v2",
            credential,
            "",
            Some("in the clear to another machine"),
        ),
        (
            "v2",
            credential,
            "upstreams.orders.allow_plaintext = true",
            None,
        ),
        ("v1", credential, "", None),
        (
            "v2",
            "[upstreams.orders.outbound]\nidentity_assertion = 'never'\n",
            "",
            None,
        ),
    ] {
        let version = format!("upstreams.orders.proxy_protocol = '{version}'");
        let setup = Setup::new(&pki, &upstream).file("token", "secret");
        let setup = setup
            .with(&format!("{remote}{rest}"))
            .with(&version)
            .with(first);
        let finished = setup.run("check").await;
        match said {
            Some(said) => assert!(finished.stderr.contains(said), "{}", finished.stderr),
            None => assert!(
                !finished.stderr.contains("proxy_protocol"),
                "{}",
                finished.stderr
            ),
        }
    }
}
