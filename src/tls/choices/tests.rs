use std::sync::Arc;
use std::time::Duration;

use ::aws_lc_rs::signature::{ML_DSA_65_SIGNING, PqdsaKeyPair};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::*;
use crate::config::{ClientAuth, Located, Place, UnknownSni};
use crate::identity::CertificateNames;

const ECDSA: CipherSuite = CipherSuite::EcdheEcdsaAes128GcmSha256;
const RSA: CipherSuite = CipherSuite::EcdheRsaAes128GcmSha256;
const TLS13: CipherSuite = CipherSuite::Tls13Aes128GcmSha256;

#[test]
fn suites_without_one_for_the_key_of_a_certificate_are_refused_and_name_one() {
    for (key, kind, unfit, fit) in [
        (PKCS_RSA_SHA256.key(), "RSA", ECDSA, RSA),
        (PKCS_ECDSA_P256_SHA256.key(), "ECDSA", RSA, ECDSA),
        (PKCS_ECDSA_P384_SHA384.key(), "ECDSA", RSA, ECDSA),
        (PKCS_ECDSA_P521_SHA512.key(), "ECDSA", RSA, ECDSA),
        // RFC 8422 §5.10: an Ed25519 key goes with the suites for ECDSA.
        (PKCS_ED25519.key(), "Ed25519", RSA, ECDSA),
    ] {
        let chain = chain("a.test", &key);
        let refused = problems(&settings("1.2-1.3", &[TLS13, unfit]), &[&chain]);
        let text = refused.join("\n");
        assert_eq!(refused.len(), 1, "{kind}: {text}");
        let remedy = if kind == "RSA" {
            "add one such as TLS_ECDHE_RSA_"
        } else {
            "add one such as TLS_ECDHE_ECDSA_"
        };
        let key = format!("with the {kind} key of a.pem");
        for word in [unfit.name(), &key, remedy] {
            assert!(text.contains(word), "{word}: {text}");
        }
        // With one that fits, where TLS 1.2 is not allowed, and by default.
        for good in [
            settings("1.2-1.3", &[TLS13, unfit, fit]),
            settings("1.3-1.3", &[TLS13]),
            settings("1.2-1.2", &[]),
        ] {
            assert_eq!(problems(&good, &[&chain]), [""; 0], "{kind}");
        }
    }
}

#[test]
fn ml_dsa_key_is_refused_where_tls_1_2_was_chosen() {
    let key = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap();
    let chain = chain("a.test", key.to_pkcs8v1().unwrap().as_ref());
    for chosen in [
        settings("1.2-1.2", &[]),
        settings("1.2-1.3", &[TLS13, ECDSA, RSA]),
    ] {
        let text = problems(&chosen, &[&chain]).join("\n");
        for word in ["ML-DSA key of a.pem", "write min_version"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    for good in [settings("1.3-1.3", &[TLS13]), settings("1.2-1.3", &[])] {
        assert_eq!(problems(&good, &[&chain]), [""; 0]);
    }
}

#[test]
fn certificate_of_the_same_names_with_a_key_that_fits_is_enough() {
    let suites = settings("1.2-1.3", &[TLS13, ECDSA]);
    let rsa = chain("a.test", &PKCS_RSA_SHA256.key());
    let twin = chain("a.test", &PKCS_ECDSA_P256_SHA256.key());
    let other = chain("b.test", &PKCS_ECDSA_P256_SHA256.key());
    assert_eq!(problems(&suites, &[&rsa, &twin]), [""; 0]);
    assert_eq!(problems(&suites, &[&rsa, &other]).len(), 1);
}

trait TestKey {
    fn key(&'static self) -> Vec<u8>;
}

impl TestKey for rcgen::SignatureAlgorithm {
    fn key(&'static self) -> Vec<u8> {
        KeyPair::generate_for(self).unwrap().serialize_der()
    }
}

/// A chain that carries this name and has this key (PKCS #8).
fn chain(name: &str, key: &[u8]) -> OwnChain {
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let any = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&any).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.to_vec());
    let key = aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
    OwnChain {
        names: CertificateNames::read(certificate.der()).unwrap(),
        sooner: None,
        key: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)),
    }
}

fn settings(versions: &str, suites: &[CipherSuite]) -> ListenerTls {
    let version = |number: &str| match number {
        "1.2" => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    };
    let (min, max) = versions.split_once('-').unwrap();
    let place = Place::default();
    let located = |value: &CipherSuite| Located {
        value: *value,
        place,
    };
    ListenerTls {
        place,
        certificates: Vec::new(),
        client_auth: ClientAuth::None,
        trust: None,
        names: Vec::new(),
        unknown_sni: UnknownSni::Refuse,
        session_resumption: true,
        session_lifetime: Duration::from_secs(60),
        versions: TlsVersions {
            min: version(min),
            max: version(max),
        },
        cipher_suites: suites.iter().map(located).collect(),
        key_exchange: Vec::new(),
    }
}

/// The texts of the problems with these chains, which are called a.pem.
fn problems(tls: &ListenerTls, chains: &[&OwnChain]) -> Vec<String> {
    let path = |name: &str| Located {
        value: name.into(),
        place: Place::default(),
    };
    let config = OwnCertificate {
        chain: path("a.pem"),
        key: path("a.key"),
    };
    let chains: Vec<_> = chains.iter().map(|chain| (&config, *chain)).collect();
    let problems = unusable(tls, "listeners.test.tls", &chains);
    problems
        .iter()
        .map(|problem| format!("{problem:?}"))
        .collect()
}
