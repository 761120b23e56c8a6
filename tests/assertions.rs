//! Signed assertions: what a service gets, and how it can verify it.

use http::Method;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use rcgen::KeyPair;
use serde_json::Value;

use crate::support::body::Body;
use crate::support::client::{Answer, Client, get, request, with};
use crate::support::pki::Pki;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;

const URI: &str = "spiffe://prod.example/web";

/// An upstream that is told by a signed assertion alone, with `more` in its table.
async fn scene(more: &str) -> Scene {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    Scene::start(Pki::new(), Upstream::start().await, |setup| {
        setup
            .file("assertion.pem", &key.serialize_pem())
            .with("listeners.public.jwks_path = '/keys'")
            .with("[upstreams.orders.outbound]\nbasic_authentication = 'never'")
            .with(&format!(
                "[upstreams.orders.outbound.assertion]\nencode = ['jwt']\n\
                 jwt = {{ keys = ['assertion.pem'], issuer = 'https://edge.example' {more} }}"
            ))
    })
    .await
}

async fn ask(scene: &Scene, client: &Client, method: Method, path: &str) -> Answer {
    let request = request(method, path, Body::empty());
    client.send(scene.proxy.public(), request).await.unwrap()
}

/// What the upstream has got in this field, in the last request.
fn received(scene: &Scene, field: &str) -> Vec<String> {
    let all = scene.upstream.requests();
    let last = all.last().unwrap();
    last.values(field).into_iter().map(str::to_owned).collect()
}

/// Verifies as a service would, with a library that is not ours.
fn verify(token: &str, key_set: &str) -> Value {
    let keys: JwkSet = serde_json::from_str(key_set).unwrap();
    let header = decode_header(token).unwrap();
    let jwk = keys.find(&header.kid.unwrap()).unwrap();
    let mut rules = Validation::new(header.alg);
    rules.set_audience(&["orders"]);
    rules.set_issuer(&["https://edge.example"]);
    let key = DecodingKey::from_jwk(jwk).unwrap();
    decode::<Value>(token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn service_verifies_who_is_calling_with_the_keys_of_the_admin_address() {
    let scene = scene("").await;
    let (status, keys) = scene.proxy.ask_admin("/jwks.json").await;
    assert_eq!(status, 200);
    for client in scene.caller(URI).in_both_protocols() {
        let forged = with(get("/"), "x-client_assertion", "forged");
        let answer = client.send(scene.proxy.public(), forged).await.unwrap();
        assert_eq!(answer.status, 200);
        let [token] = &received(&scene, "x-client-assertion")[..] else {
            panic!("not one assertion");
        };
        let claims = verify(token, &keys);
        assert_eq!(claims["sub"], URI);
        assert_eq!(claims["act"]["sub"], "https://edge.example");
        assert!(received(&scene, "x-client_assertion").is_empty());
        assert!(received(&scene, "x-forwarded-client-cert").is_empty());
    }
    let line = scene.proxy.access_line("/").await;
    assert_eq!(line["asserted"], "assertion", "{line}");
}

#[tokio::test]
async fn assertion_stands_alone_in_authorization_where_it_is_told_to() {
    let scene = scene(", header = 'Authorization', scheme = 'Bearer'").await;
    let (_, keys) = scene.proxy.ask_admin("/jwks.json").await;
    let mine = with(get("/"), "authorization", "Bearer mine");
    let answer = scene
        .caller(URI)
        .send(scene.proxy.public(), mine)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let [field] = &received(&scene, "authorization")[..] else {
        panic!("not one credential");
    };
    assert_eq!(
        verify(field.strip_prefix("Bearer ").unwrap(), &keys)["sub"],
        URI
    );

    // Nothing stands there for somebody who is nobody.
    let mine = with(get("/"), "authorization", "Bearer mine");
    let anonymous = Client::new(&scene.pki);
    let answer = anonymous.send(scene.proxy.public(), mine).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(received(&scene, "authorization").is_empty());
}

#[tokio::test]
async fn caller_without_the_name_that_is_the_subject_is_refused() {
    let scene = scene(", subject = '{email}'").await;
    let answer = ask(&scene, &scene.caller(URI), Method::GET, "/nameless").await;
    assert_eq!(answer.status, 403);
    assert!(scene.upstream.requests().is_empty());
    let line = scene.proxy.access_line("/nameless").await;
    assert_eq!(line["fault"], "proxy/outbound/assertion_missing", "{line}");
}

#[tokio::test]
async fn listener_serves_the_keys_at_the_path_of_the_config_and_nowhere_else() {
    let scene = scene("").await;
    let (_, keys) = scene.proxy.ask_admin("/jwks.json").await;
    let keys = keys.trim_end();
    let anonymous = Client::new(&scene.pki);
    for client in anonymous.in_both_protocols() {
        let answer = ask(&scene, &client, Method::GET, "/keys").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), keys);
        assert_eq!(
            answer.header("content-type"),
            Some("application/jwk-set+json")
        );
        assert_eq!(answer.header("cache-control"), Some("max-age=300"));

        let answer = ask(&scene, &client, Method::HEAD, "/keys").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
        let length = keys.len().to_string();
        assert_eq!(answer.header("content-length"), Some(&*length));

        let answer = ask(&scene, &client, Method::POST, "/keys").await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    assert!(scene.upstream.requests().is_empty());
    assert_eq!(
        ask(&scene, &anonymous, Method::GET, "/keys/").await.status,
        200
    );
    assert_eq!(
        scene.upstream.requests().len(),
        1,
        "that one is the service's"
    );
    let line = scene.proxy.access_line("/keys").await;
    assert_eq!(line["status"], 200, "{line}");
}
