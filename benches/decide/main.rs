//! What a decision costs: a route with many rules, and where the one that
//! matches stands.
//!
//! ```text
//! cargo bench --bench decide -- [--quick]
//! ```
//!
//! It prints nanoseconds for one decision, the best of several rounds; nothing
//! here passes or fails. The caller is one whose certificate was verified in a
//! handshake: there is no other way to get one. `--quick` is to see that it
//! runs: its numbers mean nothing, and neither do those of a debug build.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends the benchmark"
)]

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the behaviour tests use what is not used here")]
mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign::config::{Config, Files};
use countersign::policy::{Facts, decide};
use countersign::tls::{self, Peer, Socket};
use rcgen::DnType;
use support::client::Client;
use support::pki::{Leaf, Pki};

/// Rules of one route.
const RULES: usize = 1_000;

/// Name, what each rule says (`{}` is its number), and the request's method.
const ROUTES: [(&str, &str, &str); 9] = [
    ("a URI", "uri = 'spiffe://prod.example/service-{}'", "GET"),
    ("a URI with *", "uri = 'spiffe://prod.example/*/{}'", "GET"),
    (
        "a URI of another domain",
        "uri = 'spiffe://{}.example/*'",
        "GET",
    ),
    ("a DNS name with *", "dns = '*.{}.partners.example'", "GET"),
    ("an email address", "email = '*@{}.example.com'", "GET"),
    ("an organizational unit", "ou = 'Unit {}'", "GET"),
    ("a whole subject", "subject = 'CN=caller,OU={},O=*'", "GET"),
    ("a fingerprint", "fingerprint = 'HEX'", "GET"),
    ("a method that differs", "uri = '*'", "PUT"),
];

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, decisions) = if quick { (1, 10) } else { (20, 2_000) };
    let pki = Pki::new();
    let leaf = pki.root().leaf().client().common_name("caller");
    let leaf = leaf
        .subject(DnType::OrganizationalUnitName, "Unit caller")
        .subject(DnType::OrganizationName, "Example")
        .uri("spiffe://prod.example/caller")
        .dns("caller.prod.example")
        .email("caller@prod.example.com")
        .issue();
    let peer = handshake(&pki, &leaf).await;
    println!(
        "{:>10} {:>10}  {RULES} rules, each with",
        "first, ns", "last, ns"
    );
    for (name, rule, method) in ROUTES {
        let facts = facts(&peer, method);
        let [first, last] = [0, RULES - 1].map(|place| {
            let route = &config(rule, place).routes()[0].clone();
            assert!(decide(route, &facts).is_ok(), "{name}");
            let best = (0..rounds).map(|_| {
                let started = Instant::now();
                for _ in 0..decisions {
                    drop(black_box(decide(black_box(route), black_box(&facts))));
                }
                started.elapsed()
            });
            best.min().unwrap_or_default()
        });
        let each = |all: Duration| all.as_secs_f64() * 1e9 / f64::from(decisions);
        println!("{:>10.1} {:>10.1}  {name}", each(first), each(last));
    }
}

/// A config whose route has many rules, of which the one at `place` matches.
fn config(rule: &str, place: usize) -> Config {
    let rules: Vec<String> = (0..RULES)
        .map(|index| {
            if index == place {
                return "{ cn = 'caller' }".to_owned();
            }
            let number = index.to_string();
            let rule = match rule {
                "uri = '*'" => "cn = 'caller', methods = ['POST']".to_owned(),
                rule => rule.replace("{}", &number),
            };
            let rule = rule.replace("HEX", &format!("{index:064x}"));
            format!("{{ {rule} }}")
        })
        .collect();
    let text = format!("{CONFIG}allow = [{}]\n", rules.join(", "));
    let draft = countersign::config::parse(&text, Path::new("config.toml"));
    draft.finish(Vec::new()).expect("the config is legal")
}

fn facts<'a>(peer: &'a Peer, method: &'a str) -> Facts<'a> {
    Facts {
        caller: Some(&peer.identity),
        speaker: None,
        anchor: None,
        method,
        path: "/api/orders/17",
        host: "orders.example.com",
        source: Some([10, 1, 2, 3].into()),
        listener: "public",
    }
}

/// The peer of a handshake of this client.
async fn handshake(pki: &Pki, leaf: &Leaf) -> Peer {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let server = pki.proxy();
    file("ca.pem", &pki.root().pem());
    file("s.pem", &server.chain_pem());
    file("s.key", &server.key_pem());
    let draft = countersign::config::parse(CONFIG, &folder.path().join("config.toml"));
    let config = draft.finish(Vec::new()).expect("the config is legal");
    let material = tls::load(&config, &Files::new(), None).expect("the files are good");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::new(pki).presenting(leaf);
    let connecting = tokio::spawn(async move { client.connect(address).await.map(drop) });
    let (socket, _) = listener.accept().await.unwrap();
    let server = material.servers[0].as_ref().expect("it speaks TLS");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let done = server.accept(Socket::Tcp(socket), deadline).await;
    connecting.abort();
    let done = done.unwrap_or_else(|refused| panic!("{}", refused.cause));
    done.peer.expect("it has presented a certificate")
}

const CONFIG: &str = "
[trust.partners]
ca = ['ca.pem']
[listeners.public]
bind = '127.0.0.1:0'
tls.certificates = [{ chain = 's.pem', key = 's.key' }]
tls.client_auth = 'require'
tls.trust = 'partners'
[upstreams.orders]
endpoints = ['http://127.0.0.1:80']
[[routes]]
upstream = 'orders'
";
