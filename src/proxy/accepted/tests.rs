//! Whatever anybody says of whom they speak for: it is refused, or it is whom a
//! peer that may speak has named.

use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use http::header::CONNECTION;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::{self, ListenerId};
use crate::identity::testing::{TestLeaf, any_leaf, test_identity};
use crate::identity::{
    Chain, Decoding, Encoding, NameKind, NamePattern, PeerPattern, Tellers, XfccKeys,
};
use crate::proxy::handle::Proxy;
use crate::proxy::{Caller, Downstream, Site};
use crate::telemetry::{AccessLog, MetricNames, Metrics, Refusals};
use crate::upstream;

const LISTED: &str = "spiffe://edge.example/proxy";
const UNLISTED: &str = "spiffe://edge.example.evil/proxy";

/// The fields that carry assertions, with one that only looks like it.
const FIELDS: [&str; 5] = [
    "x-forwarded-client-cert",
    "client-cert",
    "client-cert-chain",
    "x-client-assertion",
    "x_client_assertion",
];

/// A generation whose listener takes the word of one peer, in every form.
struct Scene {
    proxy: Rc<Proxy>,
    key: Ed25519KeyPair,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = Ed25519KeyPair::generate().unwrap();
        let x = BASE64URL_NOPAD.encode(key.public_key().as_ref());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] });
        std::fs::write(folder.path().join("jwks.json"), set.to_string()).unwrap();
        let text = "
            [trust.edges]
            ca = ['edges.pem']
            [listeners.inner]
            bind = '127.0.0.1:0'
            accept_assertions_from = [{ uri = 'spiffe://edge.example/*' }]
            accept_assertions = ['xfcc', 'client-cert', 'jwt']
            assertion_jwt = { jwks = 'jwks.json', issuer = 'edge', audience = 'inner' }
            tls = { certificates = [{ chain = 'a', key = 'a' }], client_auth = 'require', trust = 'edges' }
            [[routes]]
            upstream = 'orders'
            [upstreams.orders]
            endpoints = ['http://127.0.0.1:1']
        ";
        let config = config::parse(text, &folder.path().join(Path::new("config.toml")));
        let config = config.finish(Vec::new()).unwrap();
        let files = Files::new();
        let accepted = load(&config, &files, &[]).unwrap();
        let plans = upstream::load(&config, &files, None, &[]).unwrap();
        let site = Site::new(
            1,
            Arc::new(config),
            plans,
            (vec![None], Vec::new(), accepted),
            (Metrics::new(MetricNames::default()), Refusals::new()),
        );
        Self {
            proxy: Proxy::new(Arc::new(site), &AccessLog::disabled(), None),
            key,
        }
    }

    fn caller(&self, uri: &str) -> Rc<Caller> {
        let downstream = Downstream::tls(None, (Some(test_identity(uri)), None), false);
        Caller::new(&self.proxy, ListenerId(0), downstream, None)
    }

    /// A token that states these names, and the certificate.
    fn token(&self, leaf: &TestLeaf) -> Option<String> {
        let names = leaf.read().ok()?;
        let mut lists = [names.uri(), names.dns(), names.email()].into_iter();
        let subject = lists.find_map(<[_]>::first)?;
        let thumbprint = BASE64URL_NOPAD.encode(names.fingerprint().as_bytes());
        let claims = json!({
            "iss": "edge", "aud": "inner", "sub": subject, "exp": unix_seconds() + 3600,
            "uri": names.uri(), "dns": names.dns(), "email": names.email(),
            "cnf": { "x5t#S256": thumbprint },
        });
        let parts = [json!({ "alg": "EdDSA" }), claims];
        let parts = parts.map(|part: Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
        let signed = parts.join(".");
        let signature = BASE64URL_NOPAD.encode(self.key.sign(signed.as_bytes()).as_ref());
        Some(format!("{signed}.{signature}"))
    }

    /// The fields in which a leaf is stated in this form; `None`: it cannot be.
    fn stated(&self, form: Form, leaf: &TestLeaf) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut fields = Vec::new();
        let identity = certified(leaf);
        let encoding = match form {
            Form::ClientCert => Encoding::ClientCert,
            Form::Jwt => {
                let token = HeaderValue::try_from(self.token(leaf)?).unwrap();
                return Some(vec![(HeaderName::from_static(FIELDS[3]), token)]);
            }
            Form::Xfcc { cert } => Encoding::Xfcc(XfccKeys {
                cert,
                ..XfccKeys::default()
            }),
        };
        let written = encoding.encode(&identity, Tellers::default(), &mut fields);
        written.ok().map(|()| fields)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    ClientCert,
    Jwt,
    Xfcc { cert: bool },
}

/// Whom a certificate names.
fn certified(leaf: &TestLeaf) -> Identity {
    let chain: Chain = vec![CertificateDer::from(leaf.der())].into();
    Identity::of_certificate(leaf.read().unwrap(), chain)
}

fn readable_leaf() -> impl Strategy<Value = TestLeaf> {
    any_leaf().prop_filter("a name refuses the leaf", |leaf| leaf.read().is_ok())
}

/// One way to state somebody, or several that go together.
fn forms() -> impl Strategy<Value = Vec<Form>> {
    any::<bool>().prop_flat_map(|cert| {
        let all = vec![Form::Xfcc { cert }, Form::ClientCert, Form::Jwt];
        subsequence(all, 1..=3)
    })
}

/// Anything that can stand in a field, and what looks like an assertion.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let hash = "Hash=".to_owned() + &"0a".repeat(32);
    let words = vec![
        hash.as_str(),
        "URI=",
        "spiffe://prod.example/web",
        "DNS=a.example",
        "Subject=",
        "Cert=",
        "Chain=",
        "By=",
        "CN=web",
        "\"",
        "\\",
        ",",
        ";",
        "=",
        ":",
        "%0d%0a",
        "AAAA",
        ".",
        "eyJhbGciOiJFZERTQSJ9",
        "e30",
        "Bearer ",
    ];
    let words: Vec<_> = words
        .into_iter()
        .map(|word| word.as_bytes().to_vec())
        .collect();
    let bytes = any::<u8>().prop_filter("no field can hold it", |byte| {
        HeaderValue::from_bytes(&[*byte]).is_ok()
    });
    let certificate = readable_leaf().prop_map(|leaf| {
        let der = data_encoding::BASE64.encode(&leaf.der());
        format!(":{der}:").into_bytes()
    });
    prop_oneof![
        3 => vec(select(words), 0..8).prop_map(|words| words.concat()),
        2 => vec(bytes, 0..40),
        1 => certificate,
    ]
}

fn head(fields: Vec<(&str, Vec<u8>)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::try_from(name).unwrap();
        headers.append(name, HeaderValue::from_bytes(&value).unwrap());
    }
    headers
}

/// Whether a head asserts anything, in a field of that very name.
fn asserts(headers: &HeaderMap) -> bool {
    FIELDS[..4].iter().any(|field| headers.contains_key(*field))
}

thread_local!(static SCENE: Scene = Scene::new());

fn spoken() -> Spoken {
    let edge = NamePattern::parse(NameKind::Uri, LISTED).unwrap();
    let accepted = Arc::new(Accepted {
        config: AcceptedAssertions {
            from: vec![PeerPattern::new(vec![edge]).unwrap()],
            forms: vec![Decoding::Xfcc],
            jwt: None,
        },
        verifier: None,
    });
    Spoken::of(&accepted, &Rc::new(test_identity(LISTED)), 1)
}

fn saying(text: String) -> HeaderMap {
    let field = HeaderName::from_static("x-forwarded-client-cert");
    HeaderMap::from_iter([(field, HeaderValue::try_from(text).unwrap())])
}

#[test]
fn what_is_remembered_is_bounded_in_number_and_in_bytes() {
    let spoken = spoken();
    for number in 0..2 * MOST_KNOWN {
        let mut said = saying(format!("URI=https://prod.example/{number}"));
        spoken.party(&mut said).unwrap().unwrap();
    }
    assert_eq!(spoken.known.borrow().len(), MOST_KNOWN);

    let long = "x".repeat(7 * 1024);
    let names = [0; 6].map(|_| format!("URI=https://prod.example/{long}"));
    for number in 0..MOST_KNOWN {
        let mut said = saying(format!("{};DNS={number}", names.join(";")));
        let party = spoken.party(&mut said).unwrap().unwrap();
        let again = spoken.party(&mut said).unwrap().unwrap();
        assert!(Rc::ptr_eq(&party, &again), "the last one is known");
    }
    let known = spoken.known.borrow();
    let bytes: usize = known.iter().map(Known::bytes).sum();
    assert!((MOST_SAID / 2..=MOST_SAID).contains(&bytes), "{bytes}");
}

proptest! {
    #[test]
    fn whatever_anybody_sends_it_is_refused_or_they_call_for_themselves_or_a_listed_peer_speaks(
        fields in vec((select(&FIELDS[..]), value()), 0..4),
        nominated in prop::option::weighted(0.1, select(&FIELDS[..])),
    ) {
        SCENE.with(|scene| {
            let mut headers = head(fields);
            if let Some(field) = nominated {
                headers.insert(CONNECTION, HeaderValue::from_static(field));
            }
            let unlisted = scene.caller(UNLISTED);
            let party = unlisted.party(&mut headers.clone());
            let party = party.expect("nobody reads what it says");
            prop_assert_eq!(party.spoken_for(), None);
            prop_assert_eq!(party.peer().unwrap().key(), unlisted.peer().unwrap().key());

            let listed = scene.caller(LISTED);
            for _ in 0..2 {
                match listed.party(&mut headers.clone()) {
                    Err(fault) => prop_assert_eq!(fault.kind, Kind::AssertionRefused),
                    Ok(party) if asserts(&headers) => {
                        prop_assert_eq!(nominated.filter(|field| *field != FIELDS[4]), None);
                        prop_assert_eq!(party.peer().unwrap().speaker(), Some(LISTED));
                    }
                    Ok(party) => {
                        prop_assert_eq!(party.spoken_for(), None);
                        prop_assert_eq!(party.peer().unwrap().key(), listed.peer().unwrap().key());
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn whom_a_listed_peer_states_is_the_caller_in_any_forms_together_and_nobody_else_is_believed(
        one in readable_leaf(),
        other in readable_leaf(),
        forms in forms(),
    ) {
        SCENE.with(|scene| {
            let (listed, unlisted) = (scene.caller(LISTED), scene.caller(UNLISTED));
            // The second time it is remembered.
            for leaf in [&one, &other, &one] {
                let fields = forms.iter().map(|form| scene.stated(*form, leaf));
                let Some(fields) = fields.collect::<Option<Vec<_>>>() else {
                    continue;
                };
                let headers: HeaderMap = fields.into_iter().flatten().collect();
                let party = listed.party(&mut headers.clone());
                prop_assert!(party.is_ok(), "{:?} {headers:?}", party.err());
                let party = party.unwrap();
                let peer = party.peer().unwrap();
                prop_assert_eq!(peer.speaker(), Some(LISTED));
                let stated = certified(leaf);
                let certificate = [Form::ClientCert, Form::Xfcc { cert: true }];
                if forms.iter().any(|form| certificate.contains(form)) {
                    prop_assert_eq!(peer.identity(), &stated);
                }
                let (known, names) = (peer.names(), stated.names());
                prop_assert_eq!(known.fingerprint(), names.fingerprint());
                prop_assert_eq!((known.uri(), known.dns()), (names.uri(), names.dns()));
                if forms.first() == Some(&Form::Jwt) {
                    prop_assert_eq!(known.email(), names.email());
                } else {
                    prop_assert_eq!(known.subject(), names.subject());
                }
                let party = unlisted.party(&mut headers.clone()).unwrap();
                prop_assert_eq!(party.spoken_for(), None);
                prop_assert_eq!(party.peer().unwrap().key(), unlisted.peer().unwrap().key());
            }
            Ok(())
        })?;
    }

    #[test]
    fn forms_that_state_two_certificates_are_refused(
        one in readable_leaf(),
        other in readable_leaf(),
        form in select(vec![Form::Jwt, Form::Xfcc { cert: false }, Form::Xfcc { cert: true }]),
    ) {
        SCENE.with(|scene| {
            let stated = scene.stated(Form::ClientCert, &one).zip(scene.stated(form, &other));
            let Some((first, second)) = stated.filter(|_| one.der() != other.der()) else {
                return Ok(());
            };
            let mut headers: HeaderMap = first.into_iter().chain(second).collect();
            let refused = scene.caller(LISTED).party(&mut headers).err();
            prop_assert_eq!(refused.map(|fault| fault.kind), Some(Kind::AssertionRefused));
            Ok(())
        })?;
    }

    #[test]
    fn token_with_any_character_changed_names_nobody(
        leaf in readable_leaf(),
        at in any::<prop::sample::Index>(),
        to in b'!'..=b'~',
    ) {
        SCENE.with(|scene| {
            let Some(token) = scene.token(&leaf) else {
                return Ok(());
            };
            let mut changed = token.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = to;
            if changed == token.as_bytes() {
                return Ok(());
            }
            let refused = scene.caller(LISTED).party(&mut head(vec![(FIELDS[3], changed)])).err();
            prop_assert_eq!(refused.map(|fault| fault.kind), Some(Kind::AssertionRefused));
            Ok(())
        })?;
    }
}

#[test]
fn certificate_that_binds_a_token_to_the_speaker_is_not_the_callers() {
    SCENE.with(|scene| {
        let web = TestLeaf::new().uri("spiffe://prod.example/web");
        let token = scene.token(&web).unwrap();
        let speaker = |leaf: &TestLeaf| {
            let downstream = Downstream::tls(None, (Some(leaf.identity()), None), false);
            Caller::new(&scene.proxy, ListenerId(0), downstream, None)
        };
        let known_of = |caller: &Caller, token: &str| {
            let mut headers = head(vec![(FIELDS[3], token.as_bytes().to_vec())]);
            let party = caller.party(&mut headers).unwrap();
            let peer = party.peer().unwrap();
            (
                peer.primary().to_owned(),
                peer.names().fingerprint().copied(),
            )
        };
        let edge = TestLeaf::new().uri(LISTED);
        let certificate = web.identity().names().fingerprint().copied();
        assert_eq!(
            known_of(&speaker(&edge), &token),
            ("spiffe://prod.example/web".to_owned(), certificate)
        );
        // The token names the certificate of whoever shows it.
        let bound = scene.token(&edge).unwrap();
        assert_eq!(known_of(&speaker(&edge), &bound), (LISTED.to_owned(), None));
        let renewed = edge.clone().serial(&[9]);
        let other = edge.identity().names().fingerprint().copied();
        assert_eq!(
            known_of(&speaker(&renewed), &bound),
            (LISTED.to_owned(), other)
        );
    });
}
