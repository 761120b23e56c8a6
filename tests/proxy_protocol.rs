//! The header of the PROXY protocol, from those in front and to those behind.

use serde_json::Value;

use crate::support::Target;
use crate::support::client::Client;
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
