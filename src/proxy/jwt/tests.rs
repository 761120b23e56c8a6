use std::path::PathBuf;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use rcgen::{KeyPair, RsaKeySize};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::{Located, Place};
use crate::identity::{Fingerprint, der};

mod form;

/// When the tests take place, in Unix time.
const NOW: u64 = 1_800_000_000;

/// An issuer with one Ed25519 key, and a verifier that has its public half.
struct Issuer {
    key: Ed25519KeyPair,
    verifier: JwtVerifier,
}

impl Issuer {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let verifier = verifier(&json!({ "keys": [jwk(&key, "k1")] })).unwrap();
        Self { key, verifier }
    }

    /// A token of these texts, whatever they say, with a good signature.
    fn sign(&self, header: &str, payload: &str) -> String {
        let [header, payload] =
            [header, payload].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
        self.seal(&format!("{header}.{payload}"))
    }

    fn seal(&self, signed: &str) -> String {
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    fn verify(&self, token: &str) -> Result<AssertedNames, AssertionRefusal> {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        self.verifier.verify(token.as_bytes(), now)
    }

    /// Verifies the good claims with these in their place.
    fn with_claims(&self, changes: Value) -> Result<AssertedNames, AssertionRefusal> {
        let mut claims = good();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        self.verify(&self.sign(HEADER, &Value::Object(claims).to_string()))
    }

    fn with_header(&self, header: &str) -> Result<AssertedNames, AssertionRefusal> {
        self.verify(&self.sign(header, &Value::Object(good()).to_string()))
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1","typ":"JWT"}"#;

fn good() -> Map<String, Value> {
    let claims = json!({
        "iss": "https://edge.example",
        "sub": "spiffe://prod.example/web",
        "aud": "orders",
        "iat": NOW,
        "exp": NOW + 60,
        "uri": ["spiffe://prod.example/web"],
        "dns": ["web.example"],
    });
    claims.as_object().unwrap().clone()
}

fn jwk(key: &Ed25519KeyPair, kid: &str) -> Value {
    let x = BASE64URL_NOPAD.encode(key.public_key().as_ref());
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid })
}

fn verifier(set: &Value) -> Result<JwtVerifier, String> {
    verifier_of(&set.to_string())
}

fn verifier_of(text: &str) -> Result<JwtVerifier, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, text).unwrap();
    load(path)
}

fn load(path: PathBuf) -> Result<JwtVerifier, String> {
    let config = AcceptedJwt {
        place: Place::default(),
        jwks: Located {
            value: path,
            place: Place { line: 3, column: 8 },
        },
        issuer: "https://edge.example".to_owned(),
        audience: "orders".to_owned(),
        header: http::HeaderName::from_static("x-client-assertion"),
        scheme: None,
    };
    JwtVerifier::load("public", &config, &Files::new()).map_err(|problem| {
        assert_eq!(problem.place().unwrap().position(), (3, 8));
        format!("{problem:?}")
    })
}

#[test]
fn tokens_of_a_library_that_is_not_ours_are_verified_in_each_algorithm() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let (key, public) = foreign(algorithm);
        let verifier = verifier(&json!({ "keys": [public] })).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let header = Header::new(algorithm);
        let token = jsonwebtoken::encode(&header, &good(), &key).unwrap();
        let names = verifier.verify(token.as_bytes(), now).unwrap();
        assert_eq!(names.subject, "spiffe://prod.example/web", "{algorithm:?}");
        assert_eq!(names.uri, ["spiffe://prod.example/web"]);
        assert_eq!(
            (&*names.dns, &*names.email),
            (&["web.example".to_owned()][..], &[][..])
        );
        assert_eq!(names.ends, NOW + 90);
    }
}

/// A key as the other library takes it, and its public half.
fn foreign(algorithm: Algorithm) -> (EncodingKey, Value) {
    let made = match algorithm {
        Algorithm::EdDSA => {
            let key = Ed25519KeyPair::generate().unwrap();
            let der = key.to_pkcs8().unwrap();
            return (EncodingKey::from_ed_der(der.as_ref()), jwk(&key, "k1"));
        }
        Algorithm::ES256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        _ => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
    };
    let made = made.unwrap();
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_der(made.serialized_der()),
        _ => EncodingKey::from_rsa_der(&pkcs1(made.serialized_der())),
    };
    let public = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm).unwrap();
    (key, serde_json::to_value(public).unwrap())
}

/// The PKCS #1 key within a PKCS #8 one (RFC 5958 §2).
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    let outer = der::only(pkcs8, der::tag::SEQUENCE).unwrap();
    let parts: Vec<_> = der::elements(outer.contents).map(Result::unwrap).collect();
    let key = parts[2].tagged(der::tag::OCTET_STRING).unwrap();
    key.contents.to_vec()
}

#[test]
fn token_that_countersign_signs_is_one_that_it_accepts() {
    let issuer = Issuer::new();
    let names = issuer.with_claims(json!({
        "jti": "x", "cnf": { "x5t#S256": BASE64URL_NOPAD.encode(&[7; 32]) }, "act": { "sub": "https://edge.example" },
        "email": ["ops@example.com"],
    }));
    let names = names.unwrap();
    assert_eq!(names.email, ["ops@example.com"]);
    assert_eq!(names.certificate, Some(Fingerprint::from_digest([7; 32])));
}

#[test]
fn certificate_is_taken_from_a_digest_of_its_length_and_nothing_else() {
    let of = |thumbprint: Value| json!({ "cnf": { "x5t#S256": thumbprint } });
    let encoded = |length: usize| BASE64URL_NOPAD.encode(&vec![7; length]);
    let (good, cnf) = (of(encoded(32).into()), AssertionRefusal::Claim("cnf"));
    for bad in [
        of(encoded(31).into()),
        of(encoded(33).into()),
        of(format!("{}=", encoded(32)).into()),
        of("0a".repeat(32).into()),
        of("".into()),
        of(json!(7)),
        of(Value::Null),
        json!({ "cnf": encoded(32) }),
    ] {
        judge(&[(good.clone(), bad, cnf)]);
    }
    let issuer = Issuer::new();
    for other in [
        json!({}),
        json!({ "cnf": {} }),
        json!({ "cnf": { "jkt": 1 } }),
    ] {
        assert_eq!(issuer.with_claims(other).unwrap().certificate, None);
    }
}

/// Each accepted set of claims beside its twin, and the reason against that.
#[track_caller]
fn judge(cases: &[(Value, Value, AssertionRefusal)]) {
    let issuer = Issuer::new();
    for (fine, bad, reason) in cases {
        assert!(issuer.with_claims(fine.clone()).is_ok(), "{fine}");
        assert_eq!(issuer.with_claims(bad.clone()), Err(*reason), "{bad}");
    }
}

#[test]
fn token_of_another_party_or_for_another_is_refused() {
    use AssertionRefusal::{Audience, Claim, Issuer};
    let iss = Claim("iss");
    let aud = Claim("aud");
    judge(&[
        (json!({}), json!({ "iss": "https://other.example" }), Issuer),
        (json!({}), json!({ "iss": null }), iss),
        (json!({}), json!({ "iss": ["https://edge.example"] }), iss),
        (
            json!({ "aud": ["a", "orders"] }),
            json!({ "aud": ["a", "order"] }),
            Audience,
        ),
        (json!({}), json!({ "aud": "ORDERS" }), Audience),
        (json!({}), json!({ "aud": [] }), Audience),
        (json!({}), json!({ "aud": null }), aud),
        (json!({}), json!({ "aud": ["orders", 1] }), aud),
    ]);
}

#[test]
fn token_of_another_time_is_refused() {
    use AssertionRefusal::{Claim, Expired, NotYet};
    let exp = Claim("exp");
    judge(&[
        (
            json!({ "exp": NOW - 29 }),
            json!({ "exp": NOW - 30 }),
            Expired,
        ),
        (
            json!({ "exp": NOW as f64 + 0.5 }),
            json!({ "exp": 0 }),
            Expired,
        ),
        (json!({ "exp": u64::MAX }), json!({ "exp": null }), exp),
        (json!({ "exp": 1e18 }), json!({ "exp": -1 }), exp),
        (json!({}), json!({ "exp": 1e300 }), exp),
        (json!({}), json!({ "exp": "1800000060" }), exp),
        (
            json!({ "nbf": NOW + 30 }),
            json!({ "nbf": NOW + 31 }),
            NotYet,
        ),
        (json!({ "nbf": null }), json!({ "nbf": true }), Claim("nbf")),
        (
            json!({ "iat": NOW + 30 }),
            json!({ "iat": NOW + 31 }),
            NotYet,
        ),
        (
            json!({ "iat": null }),
            json!({ "iat": "now" }),
            Claim("iat"),
        ),
    ]);
}

#[test]
fn token_without_legal_names_is_refused() {
    let claim = AssertionRefusal::Claim;
    judge(&[
        (json!({ "sub": "x" }), json!({ "sub": "" }), claim("sub")),
        (json!({}), json!({ "sub": null }), claim("sub")),
        (
            json!({ "uri": [] }),
            json!({ "uri": "spiffe://a/b" }),
            claim("uri"),
        ),
        (json!({ "dns": null }), json!({ "dns": [1] }), claim("dns")),
        (
            json!({ "email": vec!["a"; 100] }),
            json!({ "email": vec!["a"; 101] }),
            claim("email"),
        ),
        (
            json!({ "email": ["a"] }),
            json!({ "email": [""] }),
            claim("email"),
        ),
    ]);
}

#[test]
fn header_that_chooses_for_the_key_is_refused() {
    use AssertionRefusal as Refusal;
    let issuer = Issuer::new();
    for fine in [
        HEADER,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"Ed25519","kid":"k1","typ":"jwt","x":1}"#,
    ] {
        assert!(issuer.with_header(fine).is_ok(), "{fine}");
    }
    for (bad, reason) in [
        (r#"{"alg":"none","kid":"k1"}"#, Refusal::Algorithm),
        (r#"{"alg":"HS256","kid":"k1"}"#, Refusal::Algorithm),
        (r#"{"alg":"ES256","kid":"k1"}"#, Refusal::Algorithm),
        (r#"{"alg":"eddsa","kid":"k1"}"#, Refusal::Algorithm),
        (r#"{"kid":"k1"}"#, Refusal::Algorithm),
        (r#"{"alg":["EdDSA"],"kid":"k1"}"#, Refusal::Algorithm),
        (r#"{"alg":"EdDSA","kid":"k2"}"#, Refusal::Key),
        (r#"{"alg":"EdDSA","kid":1}"#, Refusal::Key),
        (r#"{"alg":"EdDSA","kid":null}"#, Refusal::Key),
        (
            r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
            Refusal::Header("crit"),
        ),
        (r#"{"alg":"EdDSA","crit":[]}"#, Refusal::Header("crit")),
        (r#"{"alg":"EdDSA","typ":"at+jwt"}"#, Refusal::Header("typ")),
        (r#"{"alg":"EdDSA","typ":1}"#, Refusal::Header("typ")),
        (r#"{"alg":"EdDSA","alg":"EdDSA"}"#, Refusal::Malformed),
        (r#"["EdDSA"]"#, Refusal::Malformed),
        ("", Refusal::Malformed),
    ] {
        assert_eq!(issuer.with_header(bad), Err(reason), "{bad}");
    }
}

#[test]
fn header_without_a_kid_is_refused_where_there_are_two_keys() {
    let issuer = Issuer::new();
    let other = Ed25519KeyPair::generate().unwrap();
    let set = json!({ "keys": [jwk(&other, "k0"), jwk(&issuer.key, "k1")] });
    let two = Issuer {
        verifier: verifier(&set).unwrap(),
        ..issuer
    };
    assert!(two.with_header(HEADER).is_ok());
    assert_eq!(
        two.with_header(r#"{"alg":"EdDSA"}"#),
        Err(AssertionRefusal::Key)
    );
    // The other key's name does not lend it the signature.
    assert_eq!(
        two.with_header(r#"{"alg":"EdDSA","kid":"k0"}"#),
        Err(AssertionRefusal::Signature)
    );
}

#[test]
fn key_set_that_cannot_be_used_is_refused_at_its_place() {
    let key = Ed25519KeyPair::generate().unwrap();
    let good = jwk(&key, "a");
    verifier(&json!({ "keys": [good, jwk(&key, "b")], "more": 1 })).unwrap();
    for (set, what) in [
        (json!({ "keys": [] }), "has 0 keys"),
        (json!({ "keys": vec![good.clone(); 101] }), "has 101 keys"),
        (
            json!({ "keys": [good, good] }),
            "keys[1] has the `kid` of an earlier one",
        ),
        (
            json!({ "keys": [good, { "kty": "oct", "k": "AAAA" }] }),
            "keys[1] is neither",
        ),
        (json!({ "keys": ["x"] }), "keys[0] is no object"),
        (json!({ "key": [] }), "it has no list"),
        (json!([good]), "is not a JSON object"),
        (
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": good["x"], "kid": 1 }] }),
            "`kid` that is no string",
        ),
        (
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": good["x"], "d": "AAAA" }] }),
            "is private",
        ),
    ] {
        let refused = verifier(&set).unwrap_err();
        assert!(refused.contains(what), "{refused}");
        assert!(
            refused.contains("listeners.public.assertion_jwt.jwks: /"),
            "{refused}"
        );
    }
    assert!(
        verifier_of("")
            .unwrap_err()
            .contains("is not a JSON object")
    );
    assert!(
        verifier_of(&" ".repeat(300_000))
            .unwrap_err()
            .contains("larger than 256 KiB")
    );
    assert!(
        load("/nowhere/jwks.json".into())
            .unwrap_err()
            .contains("cannot be read")
    );
}
