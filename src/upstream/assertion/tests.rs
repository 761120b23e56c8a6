use std::collections::BTreeSet;
use std::path::Path;
use std::time::UNIX_EPOCH;

use aws_lc_rs::encoding::AsDer;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rcgen::{KeyPair, RsaKeySize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config;
use crate::identity::testing::TestLeaf;
use crate::identity::{Identity, Names, StatedNames};

const SETTINGS: &str = r#"keys = ["a.pem"]
issuer = "https://edge.example""#;

const OF_ANOTHER: Role<'_> = Role::OfAnother { speaker: None };

/// The names in a leaf.
fn names(leaf: TestLeaf) -> Names {
    leaf.identity().names().clone()
}

/// What to write to the disk for one key.
fn key(kind: &str) -> String {
    let made = match kind {
        "p256" | "sec1" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        "p384" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        "ed25519" => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        "rsa" => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        other => panic!("no key is {other}"),
    };
    let pkcs8 = made.unwrap();
    if kind != "sec1" {
        return pkcs8.serialize_pem();
    }
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair =
        aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.serialized_der()).unwrap();
    let der = pair.private_key().as_der().unwrap();
    pem("EC PRIVATE KEY", der.as_ref())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// What loads of this table, with the keys that are in `folder`.
fn load(folder: &Path, settings: &str) -> Result<Asserter, String> {
    let text = format!(
        "[listeners.public]\nbind = \"127.0.0.1:1\"\n[[routes]]\nupstream = \"orders\"\n\
         [upstreams.orders]\nendpoints = [\"http://127.0.0.1:2\"]\n\
         [upstreams.orders.outbound]\nbasic_authentication = \"never\"\n\
         [upstreams.orders.outbound.assertion]\nencode = [\"jwt\"]\n\
         [upstreams.orders.outbound.assertion.jwt]\n{settings}\n"
    );
    let draft = config::parse(&text, &folder.join("config.toml"));
    let mut problems = Vec::new();
    let signed = draft.config.upstreams()[0].outbound.signed.clone();
    let asserter = Asserter::load("orders", &signed.unwrap(), &Files::new())
        .map_err(|problem| problems.push(problem))
        .ok();
    match draft.finish(problems) {
        Ok(_) => Ok(asserter.unwrap()),
        Err(problems) => Err(problems
            .to_string()
            .replace(folder.to_str().unwrap(), "FOLDER")),
    }
}

/// A folder with these keys.
fn folder(keys: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, kind) in keys {
        std::fs::write(folder.path().join(name), key(kind)).unwrap();
    }
    folder
}

fn asserter(kind: &str, settings: &str) -> Asserter {
    load(folder(&[("a.pem", kind)]).path(), settings).unwrap()
}

fn web() -> Names {
    let leaf = TestLeaf::new().subject("web");
    let leaf = leaf.uri("spiffe://prod.example/web").dns("web.example");
    names(leaf)
}

/// The token for `names`, as it stands in the field.
fn token(asserter: &Asserter, names: &Names, now: SystemTime) -> String {
    let statement = Statement::of(asserter, names, OF_ANOTHER).unwrap();
    let value = asserter.sign(&statement, now).unwrap();
    value.to_str().unwrap().to_owned()
}

/// Verifies with a library that is not ours, which finds the key by its `kid`.
fn verify(token: &str, key_set: &str) -> Result<Value, String> {
    let keys: JwkSet = serde_json::from_str(key_set).unwrap();
    let header = decode_header(token).map_err(|e| e.to_string())?;
    let kid = header.kid.ok_or("no kid")?;
    let jwk = keys.find(&kid).ok_or("unknown kid")?;
    let mut rules = Validation::new(header.alg);
    rules.set_audience(&["orders"]);
    rules.set_issuer(&["https://edge.example"]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let key = DecodingKey::from_jwk(jwk).map_err(|e| e.to_string())?;
    decode::<Value>(token, &key, &rules)
        .map(|token| token.claims)
        .map_err(|e| e.to_string())
}

fn keys_of(asserter: &Asserter) -> String {
    key_set([asserter.keys()])
}

#[test]
fn each_algorithm_is_verified_by_a_library_that_is_not_ours() {
    for (kind, algorithm) in [
        ("p256", "ES256"),
        ("sec1", "ES256"),
        ("ed25519", "EdDSA"),
        ("rsa", "RS256"),
    ] {
        let asserter = asserter(kind, SETTINGS);
        let token = token(&asserter, &web(), SystemTime::now());
        let claims = verify(&token, &keys_of(&asserter)).unwrap();
        assert_eq!(claims["sub"], "spiffe://prod.example/web", "{kind}");
        let header = BASE64URL_NOPAD.decode(token.split('.').next().unwrap().as_bytes());
        let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
        assert_eq!(header["alg"], algorithm);
        assert_eq!(header["typ"], "JWT");
    }
}

#[test]
fn token_that_was_changed_in_any_part_is_refused() {
    for kind in ["p256", "ed25519", "rsa"] {
        let asserter = asserter(kind, SETTINGS);
        let token = token(&asserter, &web(), SystemTime::now());
        verify(&token, &keys_of(&asserter)).unwrap();
        let parts: Vec<Vec<u8>> = token
            .split('.')
            .map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap())
            .collect();
        let (_, public) = asserter.keys().public().iter().next().unwrap();
        for part in 0..3 {
            for at in 0..parts[part].len() {
                let mut changed = parts.clone();
                changed[part][at] ^= 1;
                let [header, payload, signature] = [0, 1, 2].map(|n: usize| &changed[n]);
                let signed = [header, payload].map(|part| BASE64URL_NOPAD.encode(part));
                let signed = signed.join(".");
                assert!(
                    !public.verifies(signed.as_bytes(), signature),
                    "{kind} {part} {at}"
                );
                let text = format!("{signed}.{}", BASE64URL_NOPAD.encode(signature));
                assert!(
                    verify(&text, &keys_of(&asserter)).is_err(),
                    "{kind} {part} {at}"
                );
            }
        }
    }
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let print = |jwk: Value| {
        let key = PublicKey::from_json(jwk.as_object().unwrap()).unwrap();
        assert_eq!(
            PublicKey::from_json(key.to_json().as_object().unwrap()),
            Ok(key.clone())
        );
        key.thumbprint()
    };
    // RFC 7638 §3.1.
    let rsa =
        json!({ "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "n": MODULUS });
    assert_eq!(print(rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // RFC 8037 §A.3.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    assert_eq!(
        print(ed25519),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

const MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

#[test]
fn rotation_that_overlaps_leaves_no_token_without_its_key() {
    let folder = folder(&[("a.pem", "p256"), ("b.pem", "ed25519")]);
    let stage = |keys: &str| {
        let settings = SETTINGS.replace("\"a.pem\"", keys);
        load(folder.path(), &settings).unwrap()
    };
    let stages = ["'a.pem'", "'a.pem', 'b.pem'", "'b.pem', 'a.pem'", "'b.pem'"].map(stage);
    let now = SystemTime::now();
    for pair in stages.array_windows::<2>() {
        for (signer, fetched) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let token = token(&pair[signer], &web(), now);
            verify(&token, &keys_of(&pair[fetched])).unwrap();
        }
    }
    // Without the overlap a service that is late refuses.
    let token = token(&stages[3], &web(), now);
    assert_eq!(
        verify(&token, &keys_of(&stages[0])),
        Err("unknown kid".into())
    );
}

#[test]
fn key_set_has_each_key_once_and_nothing_private() {
    let folder = folder(&[("a.pem", "p256"), ("b.pem", "rsa")]);
    let both = load(folder.path(), &SETTINGS.replace("]", ", \"b.pem\"]")).unwrap();
    let one = load(folder.path(), SETTINGS).unwrap();
    let set: Value = serde_json::from_str(&key_set([one.keys(), both.keys()])).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let known = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];
    for member in keys.iter().flat_map(|key| key.as_object().unwrap().keys()) {
        assert!(known.contains(&member.as_str()), "{member}");
    }
    let none: [&Arc<SigningKeys>; 0] = [];
    assert_eq!(key_set(none), "{\"keys\":[]}");
}

#[test]
fn claims_are_those_of_the_caller_and_of_the_moment() {
    let asserter = asserter("p256", SETTINGS);
    let leaf = web();
    let now = SystemTime::now();
    let mut claims = verify(&token(&asserter, &leaf, now), &keys_of(&asserter)).unwrap();
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 22);
    let issued = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expected = json!({
        "iss": "https://edge.example",
        "sub": "spiffe://prod.example/web",
        "aud": "orders",
        "iat": issued,
        "exp": issued + 60,
        "cnf": { "x5t#S256": BASE64URL_NOPAD.encode(leaf.fingerprint().unwrap().as_bytes()) },
        "act": { "sub": "https://edge.example" },
        "uri": ["spiffe://prod.example/web"],
        "dns": ["web.example"],
    });
    assert_eq!(claims, expected);
}

#[test]
fn actors_are_those_who_speak_and_a_leaf_that_is_not_known_is_not_confirmed() {
    let asserter = asserter("p256", SETTINGS);
    let claims = |names: &Names, role| {
        let statement = Statement::of(&asserter, names, role).unwrap();
        let payload = statement.payload(SystemTime::now(), Duration::from_secs(60));
        serde_json::from_str::<Value>(&payload.unwrap()).unwrap()
    };
    assert_eq!(claims(&web(), Role::Own).get("act"), None);
    let direct = claims(&web(), OF_ANOTHER);
    assert_eq!(direct["act"], json!({ "sub": "https://edge.example" }));
    assert!(direct.get("cnf").is_some());
    let speaker = Some("spiffe://edge.example/proxy");
    assert_eq!(
        claims(&web(), Role::OfAnother { speaker })["act"],
        json!({ "sub": "https://edge.example", "act": { "sub": "spiffe://edge.example/proxy" } })
    );
    let mut stated = StatedNames::default();
    stated.uri("spiffe://prod.example/web").unwrap();
    let stated = Identity::stated(stated).unwrap();
    assert_eq!(claims(stated.names(), OF_ANOTHER).get("cnf"), None);
}

#[test]
fn settings_are_followed() {
    let settings = format!(
        "{SETTINGS}\nsubject = \"user={{dns}}\"\naudience = \"billing\"\nlifetime = \"5s\"\n\
         header = \"Authorization\"\nscheme = \"Bearer\""
    );
    let asserter = asserter("p256", &settings);
    assert_eq!(asserter.field(), "authorization");
    let field = token(&asserter, &web(), UNIX_EPOCH + Duration::from_secs(1000));
    let token = field.strip_prefix("Bearer ").unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["sub"], "user=web.example");
    assert_eq!(claims["aud"], "billing");
    assert_eq!(
        (&claims["iat"], &claims["exp"]),
        (&json!(1000), &json!(1005))
    );
}

#[test]
fn caller_without_the_name_that_is_its_subject_is_not_asserted() {
    let asserter = asserter("p256", SETTINGS);
    let nameless = names(TestLeaf::new().dns("web.example"));
    let refused = Statement::of(&asserter, &nameless, OF_ANOTHER);
    assert_eq!(refused.unwrap_err(), AssertError::NoSubject);
    assert!(Statement::of(&asserter, &web(), OF_ANOTHER).is_ok());
}

#[test]
fn token_over_the_budget_is_refused() {
    let asserter = asserter("p256", SETTINGS);
    let named = |count: usize| {
        let leaf = TestLeaf::new().uri("https://a.example");
        let long = "a".repeat(4000);
        let leaf = (0..count).fold(leaf, |leaf, _| leaf.dns(&long));
        let statement = Statement::of(&asserter, &names(leaf), OF_ANOTHER).unwrap();
        asserter.sign(&statement, SystemTime::now())
    };
    assert!(named(2).is_ok());
    assert!(matches!(
        named(4),
        Err(AssertError::Unwritten(EncodeError::TooLarge { .. }))
    ));
}

#[test]
fn token_is_used_again_for_half_of_its_lifetime_and_by_its_identity_alone() {
    let asserter = asserter("p256", SETTINGS);
    let tokens = Tokens::default();
    let other = names(TestLeaf::new().uri("spiffe://prod.example/other"));
    let [web, other] =
        [web(), other].map(|names| Statement::of(&asserter, &names, OF_ANOTHER).unwrap());
    let start = SystemTime::now();
    let at = |statement: &Statement, seconds: f64| {
        let now = start + Duration::from_secs_f64(seconds);
        tokens.token(&asserter, statement, now).unwrap()
    };
    let first = at(&web, 0.0);
    assert!(first.is_sensitive());
    assert_eq!(at(&web, 29.9), first);
    assert_ne!(at(&other, 29.9), first);
    // A clone says the same, so it may have the same token.
    assert_eq!(at(&web.clone(), 29.9), first);
    let second = at(&web, 30.0);
    assert_ne!(second, first);
    assert_eq!(at(&web, 59.0), second);
    // The clock was put back to before it was signed.
    let third = at(&web, 29.0);
    assert_ne!(third, second);
    assert_eq!(at(&web, 29.0), third);
}

#[test]
fn tokens_are_bounded_and_those_in_use_stay() {
    let asserter = asserter("ed25519", SETTINGS);
    let tokens = Tokens::default();
    let now = SystemTime::now();
    let statement = |name: usize| {
        let leaf = TestLeaf::new().uri(&format!("https://{name}.example"));
        Statement::of(&asserter, leaf.identity().names(), OF_ANOTHER).unwrap()
    };
    let used = statement(0);
    let first = tokens.token(&asserter, &used, now).unwrap();
    for name in 1..6000 {
        tokens.token(&asserter, &statement(name), now).unwrap();
        if name % 1000 == 0 {
            assert_eq!(tokens.token(&asserter, &used, now).unwrap(), first);
        }
        assert!(tokens.len() <= 4096, "{}", tokens.len());
    }
}

#[test]
fn file_without_a_key_that_can_sign_is_refused_at_its_place() {
    let folder = folder(&[("a.pem", "p256"), ("p384.pem", "p384")]);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("empty.pem", "");
    write("text.pem", "no key");
    write(
        "cut.pem",
        &key("p256").replace("-----END PRIVATE KEY-----", ""),
    );
    write("damaged.pem", &pem("PRIVATE KEY", &[0x30, 3, 2, 1, 0]));
    for (name, what) in [
        (
            "p384.pem",
            "the key is neither EC P-256, Ed25519 nor RSA with 2048 to 8192 bits, or is damaged",
        ),
        (
            "damaged.pem",
            "the key is neither EC P-256, Ed25519 nor RSA with 2048 to 8192 bits, or is damaged",
        ),
        ("empty.pem", "is an empty file"),
        ("text.pem", "holds no PEM private key"),
        ("cut.pem", "a block does not end"),
        ("absent.pem", "cannot be read"),
    ] {
        let settings = SETTINGS.replace("\"a.pem\"", &format!("\"a.pem\", \"{name}\""));
        let refused = load(folder.path(), &settings).unwrap_err();
        assert!(refused.contains(what), "{name}: {refused}");
        let place = "FOLDER/config.toml:12:18: upstreams.orders.outbound.assertion.jwt.keys: ";
        assert!(refused.starts_with(place), "{name}: {refused}");
        assert!(refused.contains("openssl genpkey"), "{name}: {refused}");
    }
    load(folder.path(), SETTINGS).unwrap();
}

#[test]
fn public_key_that_cannot_be_used_is_refused_with_its_reason() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    let read = |changes: Value| {
        let mut jwk = good.as_object().unwrap().clone();
        jwk.extend(changes.as_object().unwrap().clone());
        PublicKey::from_json(&jwk).err()
    };
    for fine in [
        json!({}),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "Ed25519", "use": "sig", "key_ops": ["verify"] }),
        json!({ "kty": "RSA", "n": MODULUS, "e": "AQAB" }),
    ] {
        assert_eq!(read(fine.clone()), None, "{fine}");
    }
    for (bad, reason) in [
        (json!({ "alg": "ES256" }), JwkError::Algorithm),
        (json!({ "alg": "none" }), JwkError::Algorithm),
        (json!({ "alg": 1 }), JwkError::Algorithm),
        (json!({ "d": x }), JwkError::Private),
        (json!({ "kty": "oct", "k": x }), JwkError::Unsupported),
        (json!({ "crv": "X25519" }), JwkError::Unsupported),
        (
            json!({ "kty": "EC", "crv": "P-384" }),
            JwkError::Unsupported,
        ),
        (
            json!({ "kty": "EC", "crv": "P-256" }),
            JwkError::Member("y"),
        ),
        (json!({ "x": "AAAA" }), JwkError::Member("x")),
        (json!({ "x": format!("{x}=") }), JwkError::Member("x")),
        (json!({ "x": 1 }), JwkError::Member("x")),
        (json!({ "use": "enc" }), JwkError::Use),
        (json!({ "key_ops": ["encrypt"] }), JwkError::Use),
        (
            json!({ "kty": "RSA", "n": &MODULUS[..171], "e": "AQAB" }),
            JwkError::Member("n"),
        ),
        (
            json!({ "kty": "RSA", "n": &MODULUS[..172], "e": "AQAB" }),
            JwkError::Size(1032),
        ),
    ] {
        assert_eq!(read(bad.clone()), Some(reason), "{bad}");
    }
}

proptest! {
    #[test]
    fn names_of_any_kind_give_one_field_of_valid_json(
        common_name in any::<String>(),
        upn in any::<String>(),
        path in "[!-~]{0,40}",
    ) {
        let leaf = TestLeaf::new().subject(&common_name).uri(&format!("urn:{path}"));
        let leaf = if upn.is_empty() { leaf } else { leaf.upn(&upn) };
        if leaf.read().is_err() {
            return Ok(());
        }
        let names = names(leaf);
        let settings = format!("{SETTINGS}\nsubject = '\"{{subject}}\\{{upn}}{{uri}}'");
        thread_local! {
            static KEPT: std::cell::OnceCell<Asserter> = const { std::cell::OnceCell::new() };
        }
        KEPT.with(|kept| {
            let asserter = kept.get_or_init(|| asserter("ed25519", &settings));
            let token = token(asserter, &names, SystemTime::now());
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            let claims = verify(&token, &keys_of(asserter)).unwrap();
            let subject = asserter.config.subject.render(&names, None).unwrap();
            prop_assert_eq!(claims["sub"].as_str(), Some(&*subject));
            let uris: Vec<_> = claims["uri"].as_array().unwrap().iter().collect();
            prop_assert_eq!(uris.len(), names.uri().len());
            prop_assert_eq!(uris[0].as_str(), names.uri().first().map(|uri| &**uri));
            let known: BTreeSet<&str> =
                ["act", "aud", "cnf", "exp", "iat", "iss", "jti", "sub", "uri"].into();
            let found: BTreeSet<&str> =
                claims.as_object().unwrap().keys().map(|key| &**key).collect();
            prop_assert_eq!(found, known);
            Ok(())
        })?;
    }
}
