//! What each form says, read back in the way in which its readers read it, is
//! what was to be said: for any bytes in names.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use rustls_pki_types::CertificateDer;

use super::escape::{attributes, values_of};
use super::{EncodeError, Encoding, Tellers, XfccKeys};
use crate::identity::claim::{Chain, Identity, StatedNames};
use crate::identity::decoding::Decoding;
use crate::identity::distinguished_name::{Value, canonical, parse};
use crate::identity::names::CertificateNames;
use crate::identity::testing::{TestLeaf, any_leaf, any_text};

/// The identity of a leaf, alone or before others.
fn identity() -> impl Strategy<Value = Identity> {
    let readable = any_leaf().prop_filter_map("a name refuses the leaf", |leaf| {
        Some((leaf.read().ok()?, leaf.der()))
    });
    (readable, vec(any_leaf(), 0..2)).prop_map(|((names, der), others)| {
        let others = others.iter().map(TestLeaf::der);
        let chain = std::iter::once(der).chain(others).map(CertificateDer::from);
        Identity::of_certificate(names, chain.collect())
    })
}

type Written = Vec<(HeaderName, HeaderValue)>;

fn encode(encoding: &Encoding, identity: &Identity) -> Result<Written, EncodeError> {
    let mut out = Vec::new();
    encoding.encode(identity, Tellers::default(), &mut out)?;
    for (name, value) in &out {
        let is_printable = value.as_bytes().iter().all(|b| matches!(b, b' '..=b'~'));
        assert!(is_printable, "{name}: {value:?}");
        // A field loses the spaces around its value.
        assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes(), "{name}");
    }
    Ok(out)
}

fn only<'w>(written: &'w Written, name: &str) -> Option<&'w str> {
    let mut found = written.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.to_str().unwrap());
    assert!(found.next().is_none(), "{name} twice");
    value
}

fn leaf_alone(identity: &Identity) -> Identity {
    let leaf = identity.chain().unwrap()[0].clone();
    let names = identity.names().certificate().unwrap().clone();
    Identity::of_certificate(names, Arc::from([leaf]))
}

fn of_der(chain: Vec<Vec<u8>>) -> Identity {
    let names = CertificateNames::read(&chain[0]).unwrap();
    let chain: Chain = chain.into_iter().map(CertificateDer::from).collect();
    Identity::of_certificate(names, chain)
}

fn of_pem(pem: &str) -> Identity {
    let base64 = pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----");
    let base64 = base64.unwrap().strip_suffix("-----END CERTIFICATE-----");
    let base64: String = base64.unwrap().split_whitespace().collect();
    of_der(vec![BASE64.decode(base64.as_bytes()).unwrap()])
}

/// Replaces the escapes that begin with `mark`.
fn unescape(text: &[u8], mark: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == mark {
            out.extend(HEXLOWER_PERMISSIVE.decode(&after[..2]).unwrap());
            rest = &after[2..];
        } else {
            out.push(*first);
        }
    }
    out
}

fn percent(text: &str) -> String {
    String::from_utf8(unescape(text.as_bytes(), b'%')).unwrap()
}

fn texts(name: &str, kind: &str) -> Vec<Value> {
    values_of(&attributes(name), kind)
}

/// The fields of Traefik's second header, its keys and lists of values.
fn traefik_info(value: &str) -> Vec<(String, Vec<String>)> {
    let whole = percent(&value.replace('+', " "));
    let parts = whole.split(';').map(|part| {
        let (key, value) = part.split_once('=').unwrap();
        let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        assert!(!value.contains('"'), "{whole}");
        let values = value.split(',').map(str::to_owned).collect();
        (key.to_owned(), values)
    });
    parts.collect()
}

fn traefik_name(parts: &[String]) -> Vec<(String, Value)> {
    let part = |part: &String| {
        let (kind, value) = part.split_once('=').unwrap();
        let value = match value.strip_prefix('#') {
            Some(hex) => Value::Der(hex.to_owned()),
            None => Value::Text(percent(value)),
        };
        (kind.to_owned(), value)
    };
    parts.iter().map(part).collect()
}

/// The parts of a name that Traefik writes, read from the name itself.
fn expected_parts(name: &str, kinds: &[&str]) -> Vec<(String, Value)> {
    let mut parts = Vec::new();
    for kind in kinds {
        parts.extend(texts(name, kind).into_iter().map(|value| (*kind, value)));
    }
    for (kind, label) in [("serialNumber", "SN"), ("CN", "CN")] {
        parts.extend(texts(name, kind).pop().map(|value| (label, value)));
    }
    parts.retain(|(_, value)| *value != Value::Text(String::new()));
    let owned = parts.into_iter();
    owned
        .map(|(kind, value)| (kind.to_owned(), value))
        .collect()
}

proptest! {
    #[test]
    fn subjects_are_read_as_they_are_written(identity in identity()) {
        let subject = identity.names().subject().unwrap();
        prop_assert_eq!(canonical(subject), Some(subject.to_owned()));
    }

    #[test]
    fn any_text_is_a_subject_in_canonical_form_or_none(text in any_text()) {
        if let Some(canonical_form) = canonical(&text) {
            prop_assert_eq!(canonical(&canonical_form), Some(canonical_form.clone()));
            prop_assert_eq!(parse(&canonical_form), parse(&text));
            prop_assert!(canonical_form.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }

    #[test]
    fn client_cert_is_read_as_the_identity_itself(identity in identity()) {
        let written = encode(&Encoding::ClientCert, &identity).unwrap();
        let headers: HeaderMap = written.into_iter().collect();
        prop_assert_eq!(Decoding::ClientCert.decode(&headers).unwrap(), Some(identity));
    }

    #[test]
    fn xfcc_with_its_chain_is_read_as_the_identity_itself(identity in identity(), cert: bool) {
        let keys = XfccKeys { cert, chain: true, by: true };
        let written = encode(&Encoding::Xfcc(keys), &identity).unwrap();
        let headers: HeaderMap = written.into_iter().collect();
        prop_assert_eq!(Decoding::Xfcc.decode(&headers).unwrap(), Some(identity));
    }

    #[test]
    fn xfcc_is_read_as_the_names_that_it_states(identity in identity()) {
        let written = encode(&Encoding::Xfcc(XfccKeys::default()), &identity).unwrap();
        let headers: HeaderMap = written.into_iter().collect();
        let names = identity.names();
        let mut stated = StatedNames::default();
        stated.fingerprint(*names.fingerprint().unwrap());
        stated.subject(names.subject().unwrap()).unwrap();
        for uri in names.uri() {
            stated.uri(uri).unwrap();
        }
        for dns in names.dns() {
            stated.dns(dns).unwrap();
        }
        let stated = Identity::stated(stated).unwrap();
        prop_assert_eq!(Decoding::Xfcc.decode(&headers).unwrap(), Some(stated.clone()));
        // And what was read can be written and read once more.
        let again = encode(&Encoding::Xfcc(XfccKeys::default()), &stated).unwrap();
        prop_assert_eq!(again.into_iter().collect::<HeaderMap>(), headers);
    }

    #[test]
    fn nginx_is_read_as_the_leaf_and_its_names(identity in identity()) {
        let certificate = identity.names().certificate().unwrap();
        let written = encode(&Encoding::Nginx, &identity).unwrap();
        let of = |name: &str| only(&written, &format!("x-ssl-client-{name}"));
        prop_assert_eq!(of_pem(&percent(of("cert").unwrap())), leaf_alone(&identity));
        prop_assert_eq!(of("s-dn").unwrap_or_default(), certificate.subject());
        prop_assert_eq!(of("i-dn"), Some(certificate.issuer()));
        prop_assert_eq!(of("serial").unwrap().to_lowercase(), certificate.serial());
        prop_assert_eq!(of("verify"), Some("SUCCESS"));

        let written = encode(&Encoding::IngressNginx, &identity).unwrap();
        let of = |name: &str| only(&written, &format!("ssl-client-{name}"));
        prop_assert_eq!(of_pem(&percent(of("cert").unwrap())), leaf_alone(&identity));
        prop_assert_eq!(of("subject-dn").unwrap_or_default(), certificate.subject());
    }

    #[test]
    fn apache_is_read_as_the_leaf_and_its_names(identity in identity()) {
        let names = identity.names();
        let written = encode(&Encoding::Apache, &identity).unwrap();
        let of = |name: &str| only(&written, &format!("ssl_client_{name}"));
        prop_assert_eq!(of_pem(of("cert").unwrap()), leaf_alone(&identity));
        prop_assert_eq!(of("s_dn"), names.subject().filter(|subject| !subject.is_empty()));
        let bare = |text: &str| match text.strip_prefix('#') {
            Some(hex) => Value::Der(hex.to_owned()),
            None => Value::Text(String::from_utf8(unescape(text.as_bytes(), b'\\')).unwrap()),
        };
        let first = texts(names.subject().unwrap(), "CN").into_iter().next();
        let first = first.filter(|value| *value != Value::Text(String::new()));
        prop_assert_eq!(of("s_dn_cn").map(bare), first);
        let kinds = [("dns", names.dns()), ("email", names.email()), ("other_msupn", names.upn())];
        for (kind, expected) in kinds {
            let read: Vec<_> = (0..)
                .map_while(|index| of(&format!("san_{kind}_{index}")))
                .map(bare)
                .collect();
            let expected: Vec<_> = expected.iter().cloned().map(Value::Text).collect();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn traefik_is_read_as_the_chain_and_its_names(identity in identity()) {
        let names = identity.names();
        let written = encode(&Encoding::Traefik, &identity).unwrap();
        let chain = only(&written, "x-forwarded-tls-client-cert").unwrap().split(',');
        let chain = chain.map(|base64| BASE64.decode(base64.as_bytes()).unwrap()).collect();
        prop_assert_eq!(of_der(chain), identity.clone());

        let info = traefik_info(only(&written, "x-forwarded-tls-client-cert-info").unwrap());
        let of = |key: &str| info.iter().find(|(known, _)| known == key).map(|(_, v)| v.clone());
        let subject = traefik_name(&of("Subject").unwrap_or_default());
        let kinds = ["DC", "C", "ST", "L", "O", "OU"];
        prop_assert_eq!(subject, expected_parts(names.subject().unwrap(), &kinds));
        prop_assert_eq!(of("Issuer"), Some(vec!["CN=Test CA".to_owned()]));
        let read: Vec<_> = of("SAN").unwrap_or_default().iter().map(|v| percent(v)).collect();
        let ip: Vec<_> = names.ip().iter().map(ToString::to_string).collect();
        prop_assert_eq!(read, [names.dns(), names.email(), &ip, names.uri()].concat());
        let keys: Vec<_> = info.iter().map(|(key, _)| key.as_str()).collect();
        let mut order = vec!["Subject", "Issuer", "SerialNumber", "NB", "NA", "SAN"];
        order.retain(|key| keys.contains(key));
        prop_assert_eq!(keys, order);
    }

    #[test]
    fn webseal_is_read_as_the_user_and_the_groups(identity in identity()) {
        let subject = identity.names().subject().unwrap();
        let written = encode(&Encoding::Webseal, &identity).unwrap();
        prop_assert_eq!(only(&written, "iv-user"), Some(identity.primary()));
        prop_assert_eq!(only(&written, "iv-user-l").unwrap_or_default(), subject);
        let groups = only(&written, "iv-groups");
        let groups = groups.into_iter().flat_map(|groups| groups.split(','));
        let groups: Vec<_> = groups
            .map(|group| group.strip_prefix('"').unwrap().strip_suffix('"').unwrap())
            .map(|group| Value::Text(percent(group)))
            .collect();
        let mut units = texts(subject, "OU");
        units.retain(|value| matches!(value, Value::Text(text) if !text.is_empty()));
        prop_assert_eq!(groups, units);
    }
}
