//! Whose identity a service is told: the caller's, countersign's own, or the one
//! in the config.

use data_encoding::BASE64URL_NOPAD;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::client::{Client, get, with};
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::upstream::{Received, Reply, Upstream};

const CALLER: &str = "spiffe://prod.example/web";
const OWN: &str = "spiffe://prod.example/countersign";
const GATEWAY: &str = "spiffe://prod.example/gateway";

/// Forms that can say every identity.
const FORMS: &str = "encode = ['xfcc', 'nginx', 'webseal', 'headers', 'jwt']
headers = { X-Who = '{uri}' }
jwt = { keys = ['assertion.pem'], issuer = 'https://edge.example' }";

/// What a TLS service is told of a caller, who is anonymous without `uri`.
async fn told(run_as: &str, assertion: &str, uri: Option<&str>) -> Received {
    let pki = Pki::new();
    let upstream = Upstream::build(|_| Reply::ok(""));
    let upstream = upstream.tls(&pki.server("localhost")).clients(pki.root());
    let upstream = upstream.start().await;
    let own = pki.root().leaf().client().common_name("countersign");
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let proxy = Setup::new(&pki, &upstream)
        .certificate("own", &own.uri(OWN).issue())
        .file("assertion.pem", &key.serialize_pem())
        .with("listeners.public.tls.client_auth = 'want'")
        .with(
            "[upstreams.orders.tls]\ntrust = 'clients'\nserver_name = 'localhost'\n\
             certificate = { chain = 'own.pem', key = 'own.key' }",
        )
        .with(&format!("[upstreams.orders.outbound]\n{run_as}"))
        .with(&format!(
            "[upstreams.orders.outbound.assertion]\n{assertion}"
        ))
        .start()
        .await;
    let client = match uri {
        Some(uri) => Client::new(&pki).presenting(&pki.client_as(uri)),
        None => Client::new(&pki),
    };
    let forged = with(get("/"), "x-who", "forged");
    let answer = client.send(proxy.public(), forged).await.unwrap();
    assert_eq!(answer.status, 200);
    let line = proxy.access_line("/").await;
    assert_eq!(line["peer"], uri.map_or(Value::Null, Value::from), "{line}");
    upstream.only_request()
}

fn claims(received: &Received) -> Value {
    let token = received.header("x-client-assertion").unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

const SPECIFIED: &str = "run_as = 'specified'\n\
    identity = { uri = 'spiffe://prod.example/gateway', subject = 'CN=gateway' }";

#[tokio::test]
async fn service_is_told_in_each_form_whom_the_config_says() {
    let actor = json!({ "sub": "https://edge.example" });
    for (run_as, uri, act) in [
        ("run_as = 'client'", CALLER, Some(&actor)),
        ("run_as = 'system'", OWN, None),
        (SPECIFIED, GATEWAY, Some(&actor)),
    ] {
        let trusted = format!("client_certificate_authentication = 'required'\n{run_as}");
        let received = told(&trusted, FORMS, Some(CALLER)).await;
        let element = received.header("x-forwarded-client-cert").unwrap();
        assert!(element.ends_with(&format!("URI={uri}")), "{element}");
        assert_eq!(received.values("x-who"), [uri]);
        assert_eq!(received.header("iv-user"), Some(uri));
        let claims = claims(&received);
        assert_eq!(claims["sub"], uri);
        assert_eq!(claims.get("act"), act, "{run_as}");
        let has_leaf = run_as != SPECIFIED;
        assert_eq!(claims.get("cnf").is_some(), has_leaf, "{run_as}");
        assert_eq!(received.header("x-ssl-client-cert").is_some(), has_leaf);
    }
}

#[tokio::test]
async fn anonymous_caller_is_told_of_as_somebody_else_and_never_as_itself() {
    let forms = "encode = ['xfcc']";
    let client = told("run_as = 'client'", forms, None).await;
    assert_eq!(client.header("x-forwarded-client-cert"), None);
    for (run_as, uri) in [("run_as = 'system'", OWN), (SPECIFIED, GATEWAY)] {
        let required = format!("identity_assertion = 'required'\n{run_as}");
        let received = told(&required, forms, None).await;
        let element = received.header("x-forwarded-client-cert").unwrap();
        assert!(element.ends_with(&format!("URI={uri}")), "{element}");
    }
}

#[tokio::test]
async fn own_certificate_that_lacks_the_name_in_the_subject_refuses_the_start() {
    let pki = Pki::new();
    let nameless = pki.root().leaf().client().common_name("countersign");
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ended = Setup::to(&pki, "https://localhost:1")
        .certificate("own", &nameless.dns("countersign.example").issue())
        .file("assertion.pem", &key.serialize_pem())
        .with(
            "[upstreams.orders.tls]\ntrust = 'clients'\n\
             certificate = { chain = 'own.pem', key = 'own.key' }",
        )
        .with("upstreams.orders.outbound.run_as = 'system'")
        .with(
            "[upstreams.orders.outbound.assertion]\nencode = ['jwt']\n\
             jwt = { keys = ['assertion.pem'], issuer = 'https://edge.example' }",
        )
        .run("check")
        .await;
    assert_ne!(ended.code, Some(0));
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let why = "run_as: \"system\", and countersign's own certificate cannot be asserted";
    assert!(said.contains(why), "{said}");
}
