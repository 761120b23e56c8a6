//! The forms in which a service reads who is calling: what arrives there, and
//! that nobody but countersign can send it.

use data_encoding::BASE64;

use crate::support::client::{Client, get, with};
use crate::support::pki::{Leaf, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::{Received, Reply, Upstream};

/// Every field that some form writes, as a caller might spell it.
const FORGED: [&str; 14] = [
    "Client-Cert",
    "client_cert_chain",
    "X-SSL-Client-S-DN",
    "x_ssl_client_verify",
    "X.SSL.Client.Cert",
    "ssl-client-subject-dn",
    "SSL_CLIENT_S_DN",
    "SSL-Client-SAN-DNS-0",
    "SSL_CLIENT_SAN_OTHER_msUPN_7",
    "X-Forwarded-Tls-Client-Cert",
    "X_Forwarded_Tls_Client_Cert_Info",
    "iv-user",
    "IV_USER_L",
    "iv_groups",
];

/// What a service that reads these forms is told of a caller.
async fn told(pki: &Pki, leaf: &Leaf, assertion: &str) -> Received {
    let upstream = Upstream::start().await;
    let assertion = format!("[upstreams.orders.outbound.assertion]\n{assertion}\n");
    let proxy = Setup::new(pki, &upstream).with(&assertion).start().await;
    let request = FORGED
        .iter()
        .fold(get("/"), |request, name| with(request, name, "forged"));
    let client = Client::new(pki).presenting(leaf);
    let answer = client.send(proxy.public(), request).await.unwrap();
    assert_eq!(answer.status, 200);
    let received = upstream.only_request();
    for (name, value) in &received.headers {
        assert_ne!(value, "forged", "{name}");
    }
    received
}

fn caller(pki: &Pki) -> Leaf {
    let leaf = pki
        .root()
        .leaf()
        .client()
        .common_name("Jane \"J\" Doe, Inc");
    leaf.dns("jane.prod.example").issue()
}

const SUBJECT: &str = "CN=Jane \\\"J\\\" Doe\\, Inc";

#[tokio::test]
async fn client_cert_is_the_certificate_that_the_caller_presented() {
    let pki = Pki::new();
    let leaf = caller(&pki);
    let received = told(&pki, &leaf, "encode = ['client-cert']").await;

    let field = received.header("client-cert").unwrap();
    let base64 = field.strip_prefix(':').unwrap().strip_suffix(':').unwrap();
    let der = BASE64.decode(base64.as_bytes()).unwrap();
    assert_eq!(der, leaf.chain()[0].as_ref());
}

#[tokio::test]
async fn forms_of_other_proxies_arrive_beside_each_other() {
    let pki = Pki::new();
    let leaf = caller(&pki);
    let forms = "encode = ['nginx', 'apache', 'traefik', 'webseal', 'xfcc']\nxfcc_also = ['Cert']";
    let received = told(&pki, &leaf, forms).await;

    for (name, value) in [
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-ssl-client-s-dn", SUBJECT),
        ("ssl_client_verify", "SUCCESS"),
        ("ssl_client_s_dn", SUBJECT),
        ("ssl_client_s_dn_cn", "Jane \"J\" Doe, Inc"),
        ("ssl_client_san_dns_0", "jane.prod.example"),
        ("iv-user", "jane.prod.example"),
        ("iv-user-l", SUBJECT),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    let base64 = BASE64.encode(&leaf.chain()[0]);
    assert_eq!(
        received.header("x-forwarded-tls-client-cert"),
        Some(&*base64)
    );
    let info = received.header("x-forwarded-tls-client-cert-info").unwrap();
    assert!(
        info.starts_with("Subject%3D%22CN%3DJane+%2522J%2522+Doe%252C+Inc%22%3BIssuer%3D%22"),
        "{info}"
    );
    let xfcc = received.header("x-forwarded-client-cert").unwrap();
    assert!(
        xfcc.contains(";Cert=\"-----BEGIN%20CERTIFICATE-----%0A"),
        "{xfcc}"
    );
}

#[tokio::test]
async fn response_that_varies_by_the_caller_goes_down_with_vary_star() {
    let pki = Pki::new();
    let leaf = caller(&pki);
    let reply = |_: &Received| Reply::ok("yours").header("vary", "Accept, Client-Cert");
    let upstream = Upstream::answering(reply).await;
    let setup = Setup::new(&pki, &upstream)
        .with("[upstreams.orders.outbound.assertion]\nencode = ['client-cert']\n");
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&leaf);
    let answer = client.get(proxy.public(), "/").await.unwrap();

    assert_eq!(answer.header("vary"), Some("*"));
}
