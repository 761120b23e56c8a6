//! What is accepted, and what becomes of it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    Bind, BundleId, CipherSuite, ClientAuth, CredentialSource, CrlCheck, EndpointAddress, Files,
    HostPattern, KeyExchange, LayerMode, ListenerId, LogFormat, LogLevel, OnCrlFault, OnWithdrawal,
    Problem, Protocol, TlsVersion, UpstreamId, UpstreamTrust, parse, read,
};
use super::{BASELINE, accepted, draft, with};
use crate::identity::Encoding;

/// The config of the design, word for word, with the second bundle that it refers to.
const CONTRACT: &str = r#"
[server]
workers = 2                        # default: one per core
drain_timeout = "30s"              # from SIGTERM to the end of the last request

[log]
format = "text"                    # text | json
access = true                      # one line per request on standard output

[admin]
bind = "127.0.0.1:9901"            # health, readiness, metrics, status page; TCP or "unix:PATH"; omit for none

[trust.partners]                   # a named trust bundle
ca  = ["trust/partners/"]          # PEM files, or directories of PEM files; watched
crl = ["trust/crl/"]               # optional; PEM or DER; watched
on_withdrawal = "drain"            # drain | cut | keep: open connections whose peer is no longer trusted

[trust.internal]
ca = ["trust/internal.pem"]

[listeners.public]
bind = "0.0.0.0:8443"              # also "[::]:8443", "unix:PATH", "systemd:NAME"
protocols = ["h2", "http/1.1"]

[listeners.public.tls]             # without a tls table the listener is plaintext: loopback and unix only, unless allow_plaintext = true
certificates = [{ chain = "tls/server.pem", key = "tls/server.key" }]   # chosen by SNI
client_auth = "require"            # none | want | require
trust = "partners"
min_version = "1.2"

[listeners.public.limits]          # every one has a default; none can be "infinite" by accident
handshake_timeout = "10s"          # ClientHello to Finished, one deadline
header_timeout = "30s"             # a request head, from its first byte (or the connection's start) to its last
idle_timeout = "60s"               # between requests, h1 and h2
body_timeout = "30s"               # between two pieces of a body, either way
max_connections = 10000
max_header_bytes = "32KiB"

[[routes]]                         # first match wins; no match: 404
listener = "public"                # optional; default every listener
host = "orders.example.com"        # optional; exact or "*.example.com"
path = "/api/"                     # optional; prefix on whole segments
client_auth = "require"            # optional; stricter than the listener's
allow = [{ uri = "spiffe://prod.example/*" }, { dns = "*.partners.example" }]   # optional; any entry may match
upstream = "orders"

[upstreams.orders]
endpoints = ["https://10.0.0.5:8443"]       # http://, https://, unix:PATH
protocol = "http/1.1"              # http/1.1 | h2

[upstreams.orders.tls]
trust = "internal"
server_name = "orders.internal"    # SNI, and the name the certificate must carry
certificate = { chain = "tls/proxy.pem", key = "tls/proxy.key" }

[upstreams.orders.outbound]        # what countersign offers when it is itself the client
client_certificate_authentication = "supported"   # transport layer: never | supported | required
basic_authentication = "supported"                # message layer:   never | supported | required
identity_assertion = "supported"                  # attribute layer: never | supported | required
run_as = "client"                                 # client | system | specified
stateful_sessions = true
authentication_retry = true

[upstreams.orders.outbound.credential]            # what the message layer sends; default: forward the caller's own Authorization
source = "basic"                   # forward | basic | bearer | per_caller
user = "countersign"
password_file = "secrets/orders"

[upstreams.orders.outbound.assertion]             # how the attribute layer says it
encode = ["xfcc"]                  # xfcc | client-cert (RFC 9440) | jwt | nginx | apache | webseal | headers
"#;

#[test]
fn the_process_wide_part_of_the_contract_loads() {
    let config = accepted(CONTRACT);
    assert_eq!(config.path(), Path::new("/etc/cs/config.toml"));
    assert_eq!(config.server().workers.get(), 2);
    assert_eq!(config.server().drain_timeout, Duration::from_secs(30));
    assert_eq!(config.log().format, LogFormat::Text);
    assert!(config.log().access);
    let admin = config.admin().expect("it is there");
    assert_eq!(
        admin.bind.value,
        Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 9901)))
    );
    let partners = config.bundle(BundleId(0)).expect("it is there");
    assert_eq!(partners.name, "partners");
    assert_eq!(partners.ca[0].value, Path::new("/etc/cs/trust/partners/"));
    assert_eq!(partners.crl[0].value, Path::new("/etc/cs/trust/crl/"));
    assert_eq!(partners.on_withdrawal, OnWithdrawal::Drain);
    assert_eq!(config.bundles()[1].name, "internal");
}

#[test]
fn the_listener_of_the_contract_loads() {
    let config = accepted(CONTRACT);
    let listener = config.listener(ListenerId(0)).expect("it is there");
    assert_eq!(listener.name, "public");
    assert_eq!(
        listener.bind.value,
        Bind::Tcp(SocketAddr::from(([0, 0, 0, 0], 8443)))
    );
    assert_eq!(listener.protocols, [Protocol::Http2, Protocol::Http1]);
    let tls = listener.tls.as_ref().expect("it is there");
    assert_eq!(tls.client_auth, ClientAuth::Require);
    assert_eq!(tls.trust, Some(BundleId(0)));
    assert_eq!(
        (tls.versions.min, tls.versions.max),
        (TlsVersion::Tls12, TlsVersion::Tls13)
    );
    assert_eq!(
        tls.certificates[0].key.value,
        Path::new("/etc/cs/tls/server.key")
    );
    assert_eq!(
        (
            tls.certificates[0].key.place.line,
            tls.certificates[0].key.place.column
        ),
        (26, 51)
    );
    assert_eq!(listener.limits.handshake_timeout, Duration::from_secs(10));
    assert_eq!(listener.limits.max_connections.get(), 10_000);
    assert_eq!(listener.limits.max_header_bytes.get(), 32 * 1024);
}

#[test]
fn the_route_and_the_upstream_of_the_contract_load() {
    let config = accepted(CONTRACT);
    let route = &config.routes()[0];
    assert_eq!(route.name, "routes[0]");
    assert_eq!(route.listener, Some(ListenerId(0)));
    assert_eq!(
        route.host,
        Some(HostPattern::Exact("orders.example.com".to_owned()))
    );
    assert_eq!(route.path, "/api/");
    assert!(route.requires_certificate);
    assert_eq!(route.allow.as_ref().map(Vec::len), Some(2));

    let upstream = config.upstream(route.upstream).expect("it is there");
    let address = EndpointAddress::Tcp {
        host: "10.0.0.5".to_owned(),
        port: 8443,
    };
    assert_eq!(upstream.endpoints[0].address, address);
    assert!(upstream.endpoints[0].tls);
    let tls = upstream.tls.as_ref().expect("it is there");
    assert_eq!(tls.trust, UpstreamTrust::Bundle(BundleId(1)));
    assert_eq!(
        tls.server_name.as_ref().map(|name| name.value.as_str()),
        Some("orders.internal")
    );
    assert!(tls.certificate.is_some());
    let outbound = &upstream.outbound;
    assert_eq!(outbound.credential, LayerMode::Supported);
    assert!(
        matches!(&outbound.source, CredentialSource::Basic { user, .. } if user == "countersign")
    );
    assert!(matches!(outbound.encodings[..], [Encoding::Xfcc(_)]));
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = accepted(BASELINE);
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    assert_eq!(config.server().workers, cores);
    assert_eq!(config.log().level, LogLevel::Info);
    assert!(config.admin().is_none());
    assert_eq!(config.routes()[0].path, "/");
    assert!(config.routes()[0].allow.is_none());
    assert_eq!(config.server().poll_interval, Duration::from_secs(2));
    assert!(config.server().session_ticket_keys.is_none());
    let tls = config.listeners()[0].tls.as_ref().expect("it is there");
    assert!(tls.session_resumption);
    assert_eq!(tls.session_lifetime, Duration::from_secs(8 * 3600));
    let upstream = config.upstream(UpstreamId(0)).expect("it is there");
    assert_eq!(upstream.protocol, Protocol::Http1);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(upstream.response_timeout, Duration::from_secs(60));
    assert_eq!(upstream.idle_timeout, Duration::from_secs(30));
    assert!(matches!(
        upstream.outbound.source,
        CredentialSource::Forward
    ));
    assert!(matches!(
        upstream.outbound.encodings[..],
        [Encoding::Xfcc(_)]
    ));
}

#[test]
fn a_bundle_that_says_nothing_of_withdrawal_is_strict() {
    let config = accepted(BASELINE);
    let bundle = config.bundle(BundleId(0)).expect("it is there");
    assert!(bundle.crl.is_empty());
    assert_eq!(bundle.crl_check, CrlCheck::Chain);
    assert_eq!(bundle.crl_missing, OnCrlFault::Reject);
    assert_eq!(bundle.crl_stale, OnCrlFault::Reject);
    assert_eq!(bundle.max_shrink.percent(), 50);
    assert_eq!(bundle.on_withdrawal, OnWithdrawal::Drain);
    assert_eq!(bundle.withdrawal_grace, Duration::from_secs(30));
    assert!(bundle.enforce_crl && bundle.enforce_withdrawal);
    assert_eq!(bundle.may_assert, None);
    assert_eq!(bundle.spiffe_trust_domain, None);
}

#[test]
fn what_is_written_of_whom_anchors_vouch_for_is_held() {
    let text = with(
        "ca = [\"ca.pem\"]",
        r#"ca = ["ca.pem"]
        crl = ["lists"]
        enforce_crl = false
        enforce_withdrawal = false
        spiffe_trust_domain = "prod.example"
        may_assert = [{ uri = "spiffe://prod.example/*", dns = "*.prod.example" }, { subject = "CN=a" }]"#,
    );
    let config = accepted(&text);
    let bundle = config.bundle(BundleId(0)).expect("it is there");
    assert!(!bundle.enforce_crl && !bundle.enforce_withdrawal);
    let domain = bundle.spiffe_trust_domain.as_ref();
    assert_eq!(domain.map(|domain| domain.as_str()), Some("prod.example"));
    let may_assert = bundle.may_assert.as_ref().expect("it is there");
    assert_eq!(
        may_assert.to_string(),
        "{ uri = \"spiffe://prod.example/*\", dns = \"*.prod.example\" }, { subject = \"CN=a\" }"
    );
}

#[test]
fn what_is_written_of_live_trust_is_held() {
    let text = with(
        "ca = [\"ca.pem\"]",
        r#"ca = ["ca.pem"]
        crl = ["lists"]
        crl_check = "leaf"
        crl_missing = "allow"
        crl_stale = "log"
        max_shrink = "100%"
        on_withdrawal = "cut"
        withdrawal_grace = "5s""#,
    );
    let text = text.replace(
        "trust = \"partners\"",
        "trust = \"partners\"\nsession_resumption = false\nsession_lifetime = \"24h\"",
    );
    let server = "[server]\npoll_interval = \"100ms\"\nsession_ticket_keys = \"keys\"\n";
    let config = accepted(&format!("{text}{server}"));
    let bundle = config.bundle(BundleId(0)).expect("it is there");
    assert_eq!(bundle.crl_check, CrlCheck::Leaf);
    assert_eq!(bundle.crl_missing, OnCrlFault::Allow);
    assert_eq!(bundle.crl_stale, OnCrlFault::Log);
    assert_eq!(bundle.max_shrink.percent(), 100);
    assert_eq!(bundle.on_withdrawal, OnWithdrawal::Cut);
    assert_eq!(bundle.withdrawal_grace, Duration::from_secs(5));
    let tls = config.listeners()[0].tls.as_ref().expect("it is there");
    assert!(!tls.session_resumption);
    assert_eq!(tls.session_lifetime, Duration::from_secs(24 * 3600));
    assert_eq!(config.server().poll_interval, Duration::from_millis(100));
    let keys = config.server().session_ticket_keys.as_ref();
    let keys = keys.map(|keys| keys.value.as_path());
    assert_eq!(keys, Some(Path::new("/etc/cs/keys")));
}

#[test]
fn an_id_of_another_config_finds_nothing() {
    let config = accepted(BASELINE);
    assert!(config.bundle(BundleId(1)).is_none());
    assert!(config.listener(ListenerId(1)).is_none());
    assert!(config.upstream(UpstreamId(1)).is_none());
}

#[test]
fn paths_take_variables_and_stay_where_they_are_absolute() {
    let config = accepted(&with(
        "\"ca.pem\"",
        "\"${SECRETS}/ca.pem\", \"/abs/ca.pem\", \"$a/ca.pem\"",
    ));
    let paths: Vec<&Path> = config.bundles()[0]
        .ca
        .iter()
        .map(|ca| ca.value.as_path())
        .collect();
    let expected = ["/run/secrets/ca.pem", "/abs/ca.pem", "/etc/cs/$a/ca.pem"];
    assert_eq!(paths, expected.map(Path::new));
}

#[test]
fn a_unix_socket_is_a_path_like_any_other() {
    let text = with("\"0.0.0.0:8443\"", "\"unix:${SECRETS}/in.sock\"");
    let text = text.replace("http://127.0.0.1:8080", "unix:out.sock");
    let config = accepted(&text);
    assert_eq!(
        config.listeners()[0].bind.value,
        Bind::Unix("/run/secrets/in.sock".into())
    );
    let endpoint = &config.upstreams()[0].endpoints[0];
    assert_eq!(
        endpoint.address,
        EndpointAddress::Unix("/etc/cs/out.sock".into())
    );
    assert!(!endpoint.tls);
}

#[test]
fn endpoints_have_the_ports_of_their_schemes() {
    let text = with(
        "http://127.0.0.1:8080",
        "http://LOCALHOST/\", \"http://[::1]\", \"https://127.0.0.1",
    );
    let config = accepted(&(text + "[upstreams.orders.tls]\ntrust = \"system\"\n"));
    let addresses: Vec<_> = config.upstreams()[0]
        .endpoints
        .iter()
        .map(|e| e.address.clone())
        .collect();
    let expected = [("localhost", 80), ("::1", 80), ("127.0.0.1", 443)];
    let expected = expected.map(|(host, port)| EndpointAddress::Tcp {
        host: host.to_owned(),
        port,
    });
    assert_eq!(addresses, expected);
}

#[test]
fn algorithms_are_held_in_the_order_of_the_file() {
    let config = accepted(&with(
        "trust = \"partners\"",
        r#"trust = "partners"
        cipher_suites = ["TLS13_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        key_exchange = ["X25519", "X25519MLKEM768"]"#,
    ));
    let tls = config.listeners()[0].tls.as_ref().expect("it is there");
    let suites: Vec<_> = tls.cipher_suites.iter().map(|suite| suite.value).collect();
    assert_eq!(
        suites,
        [
            CipherSuite::Tls13Aes256GcmSha384,
            CipherSuite::EcdheRsaAes128GcmSha256
        ]
    );
    let groups: Vec<_> = tls.key_exchange.iter().map(|group| group.value).collect();
    assert_eq!(groups, [KeyExchange::X25519, KeyExchange::X25519MlKem768]);
}

#[test]
fn plaintext_listeners_are_accepted_where_they_are_meant() {
    let plain = r#"
[[routes]]
upstream = "orders"
[upstreams.orders]
endpoints = ["http://127.0.0.1:8080"]
[listeners.a]
"#;
    for bind in [
        "bind = \"127.0.0.1:80\"",
        "bind = \"[::1]:80\"",
        "bind = \"unix:a.sock\"",
        "bind = \"0.0.0.0:80\"\nallow_plaintext = true",
    ] {
        assert!(
            accepted(&format!("{plain}{bind}\n")).listeners()[0]
                .tls
                .is_none()
        );
    }
}

#[test]
fn port_0_and_different_addresses_do_not_clash() {
    for (one, other) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("0.0.0.0:80", "[::1]:80"),
        ("0.0.0.0:80", "0.0.0.0:81"),
        ("unix:a", "unix:b"),
    ] {
        let text = with("0.0.0.0:8443", one);
        accepted(&format!("{text}[admin]\nbind = \"{other}\"\n"));
    }
}

#[test]
fn unused_bundles_and_upstreams_are_accepted() {
    accepted(&format!(
        "{BASELINE}[trust.spare]\nca = [\"x\"]\n[upstreams.spare]\nendpoints = [\"unix:x\"]\n"
    ));
}

#[test]
fn a_draft_holds_the_sections_that_are_legal() {
    let draft = draft(&with("\"require\"", "\"required\""));
    assert_eq!(draft.problems.len(), 1, "{}", draft.problems);
    assert_eq!(draft.config.bundles().len(), 1);
    assert!(draft.config.listeners().is_empty());
    assert_eq!(draft.config.upstreams().len(), 1);
}

#[test]
fn a_legal_draft_is_no_config_once_others_found_problems() {
    let draft = draft(BASELINE);
    let place = draft.config.bundles()[0].ca[0].place;
    let problem = Problem::at(place, "the file is empty").causes("nobody is trusted");
    let problems = draft.finish(vec![problem]).expect_err("there is a problem");
    assert_eq!(
        problems.to_string(),
        "/etc/cs/config.toml:3:7: the file is empty\n  nobody is trusted\n1 problem; nothing was started"
    );
}

#[test]
fn a_file_is_read_from_the_disk_with_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("cs.toml");
    std::fs::write(&file, BASELINE).expect("it can be written");
    let config = read(&file, &Files::new())
        .finish(Vec::new())
        .expect("it is legal");
    assert_eq!(
        config.bundles()[0].ca[0].value,
        directory.path().join("ca.pem")
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_panic(text in "(\\[{1,2}[a-z.]{0,12}\\]{1,2}|[a-z_]{1,8} = [\\PC]{0,12}|\\PC{0,20}|\n){0,12}") {
        let draft = parse(&text, Path::new("x.toml"));
        prop_assert!(!draft.problems.is_empty());
    }

    #[test]
    fn no_change_of_one_character_makes_a_panic(at in 0..BASELINE.len(), to in "\\PC|\n") {
        let text = format!("{}{to}{}", &BASELINE[..at], &BASELINE[at + 1..]);
        draft(&text).problems.to_string();
    }
}
