//! Files of secrets that every user of the machine may read, of each kind.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use rcgen::KeyPair;

use crate::support::pki::Pki;
use crate::support::proxy::Setup;

/// Every file that holds a secret in the config of [`setup`].
const SECRETS: [&str; 9] = [
    "admin.key",
    "assertion.pem",
    "callers.toml",
    "client.key",
    "password",
    "probe.key",
    "proxy.key",
    "ticket.keys",
    "token",
];

/// A config with a secret of each kind.
fn setup(pki: &Pki) -> Setup {
    let signing = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let callers = "[[callers]]\nuri = 'spiffe://a/b'\ntoken = 'planted'\n";
    let at = |name: &str, more: &str| {
        format!(
            "[upstreams.{name}]\nendpoints = ['http://127.0.0.1:1']\n\
             outbound.credential = {{ {more} }}\n"
        )
    };
    Setup::to(pki, "https://127.0.0.1:1")
        .certificate("admin", &pki.proxy())
        .certificate("probe", &pki.client())
        .certificate("client", &pki.client())
        .file("ticket.keys", &data_encoding::BASE64.encode(&[7; 48]))
        .file("assertion.pem", &signing.serialize_pem())
        .file("callers.toml", callers)
        .file("password", "planted")
        .file("token", "planted")
        .with("server.session_ticket_keys = 'ticket.keys'")
        .with(
            "[admin.tls]
             certificates = [{ chain = 'admin.pem', key = 'admin.key' }]
             client_auth = 'require'
             trust = 'clients'
             client = { chain = 'probe.pem', key = 'probe.key' }",
        )
        .with(
            "[upstreams.orders]
             tls = { trust = 'clients', certificate = { chain = 'client.pem', key = 'client.key' } }
             outbound.assertion = { encode = ['jwt'], jwt = { keys = ['assertion.pem'], issuer = 'https://edge.example' } }",
        )
        .with(&at("b", "source = 'basic', user = 'u', password_file = 'password'"))
        .with(&at("c", "source = 'bearer', token_file = 'token'"))
        .with(&at("d", "source = 'per_caller', file = 'callers.toml'"))
        .with(
            "routes = [{ path = '/b', upstream = 'b' }, { path = '/c', upstream = 'c' }, { path = '/d', upstream = 'd' }, { upstream = 'orders' }]",
        )
}

#[tokio::test]
async fn open_secret_of_each_kind_is_told_by_check_and_at_the_start() {
    let pki = Pki::new();
    let setup = setup(&pki);
    let quiet = setup.run("check").await;
    let quiet = &quiet.expect_code(0).stdout;
    assert!(!quiet.contains("holds a secret"), "{quiet}");
    for name in SECRETS {
        set_permissions(setup.path(name), Permissions::from_mode(0o644)).unwrap();
    }
    let told = |text: &str| SECRETS.map(|name| text.contains(&format!("/{name} holds a secret")));
    let warned = setup.run("check").await;
    let warned = &warned.expect_code(0).stdout;
    assert_eq!(told(warned), [true; SECRETS.len()], "{warned}");
    assert_eq!(warned.matches("holds a secret").count(), SECRETS.len());
    let proxy = setup.start().await;
    proxy.log_line("server.started", |_| true).await;
    let is_last = |line: &serde_json::Value| {
        let text = line["message"].as_str().unwrap();
        text.contains("/token holds")
    };
    proxy.log_line("secret.exposed", is_last).await;
    let lines = proxy.logged("secret.exposed");
    let text: String = lines.iter().map(ToString::to_string).collect();
    assert_eq!(told(&text), [true; SECRETS.len()], "{text}");
    assert_eq!(lines.len(), SECRETS.len());
}
