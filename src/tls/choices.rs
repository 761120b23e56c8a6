//! The versions, cipher suites and key exchange groups that a config chooses.

use std::collections::HashSet;

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SignatureAlgorithm, SupportedCipherSuite, SupportedProtocolVersion};

use super::own_certificate::OwnChain;
use crate::config::{
    CipherSuite, KeyExchange, ListenerTls, OwnCertificate, Problem, TlsVersion, TlsVersions,
};

/// The library's provider with the listener's choices in it.
///
/// X25519MLKEM768 stands first in the library's own order.
pub(super) fn provider(tls: &ListenerTls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !tls.cipher_suites.is_empty() {
        provider.cipher_suites = tls
            .cipher_suites
            .iter()
            .map(|suite| known_suite(suite.value))
            .collect();
    }
    if !tls.key_exchange.is_empty() {
        provider.kx_groups = tls
            .key_exchange
            .iter()
            .map(|group| known_group(group.value))
            .collect();
    }
    provider
}

/// The library's protocol versions of a range, highest first.
pub(super) fn versions(range: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let both = [
        (TlsVersion::Tls13, &rustls::version::TLS13),
        (TlsVersion::Tls12, &rustls::version::TLS12),
    ];
    both.into_iter()
        .filter(|(version, _)| (range.min..=range.max).contains(version))
        .map(|(_, library)| library)
        .collect()
}

/// What is chosen but cannot work with the key of a certificate.
///
/// In TLS 1.2 the suite names the kind of the server's key, so a list of suites
/// can leave a certificate without any; and an ML-DSA key signs in TLS 1.3
/// alone. A certificate with the same names and another kind of key, which
/// serves in its place, is enough. Nothing else that can be chosen depends on
/// keys or client certificates:
///
/// * In TLS 1.3 a suite says nothing of keys, and every kind of key that the
///   library loads has a way to sign there.
/// * Every group agrees on ephemeral keys. Which version has use for which
///   group or suite is seen to where the config is read.
/// * Under every suite the server proves itself, so a client can be asked for a
///   certificate (RFC 5246 §7.4.4), and its signature is verified by all of the
///   library's algorithms, whatever the suite.
/// * A suite for a kind of key that no certificate has is never agreed on. It
///   does no harm, and may be there for the next certificate.
pub(super) fn unusable(
    tls: &ListenerTls,
    whose: &str,
    chains: &[(&OwnCertificate, &OwnChain)],
) -> Vec<Problem> {
    if tls.versions.min > TlsVersion::Tls12 {
        return Vec::new();
    }
    let offered = provider(tls).cipher_suites;
    let usable = chains
        .iter()
        .filter(|(_, chain)| suite_for(chain, &offered).is_some());
    let served: HashSet<_> = usable.map(|(_, chain)| chain.stands_for()).collect();
    chains
        .iter()
        .filter(|(_, chain)| !served.contains(&chain.stands_for()))
        .filter_map(|(config, chain)| stranded(tls, whose, config, chain))
        .collect()
}

/// The problem with a certificate that cannot be used in TLS 1.2. `None` if
/// nobody has chosen that: by default TLS 1.2 is allowed, and TLS 1.3 works.
fn stranded(
    tls: &ListenerTls,
    whose: &str,
    config: &OwnCertificate,
    chain: &OwnChain,
) -> Option<Problem> {
    let path = config.chain.value.display();
    let kind = kind_of_key(chain);
    let consequence =
        "no client that speaks TLS 1.2 could connect, with or without a certificate of its own";
    let suites = tls.cipher_suites.first();
    let known = suite_for(chain, &aws_lc_rs::default_provider().cipher_suites);
    if let (Some(first), Some(fitting)) = (suites, known) {
        let chosen = tls
            .cipher_suites
            .iter()
            .filter(|suite| suite.value.version() == TlsVersion::Tls12)
            .map(|suite| suite.value.name())
            .collect::<Vec<_>>()
            .join(", ");
        let what = format!(
            "{whose}.cipher_suites: {chosen} cannot be used in TLS 1.2 with the {kind} key of {path}"
        );
        let remedy = format!(
            "add one such as {fitting}, name a certificate with another kind of key, or write min_version = \"1.3\""
        );
        return Some(
            Problem::at(first.place, what)
                .causes(consequence)
                .remedy(remedy),
        );
    }
    let place = match suites {
        Some(first) => first.place,
        None if tls.versions.max == TlsVersion::Tls12 => tls.place,
        None => return None,
    };
    let what = format!("{whose}: the {kind} key of {path} cannot be used in TLS 1.2");
    let remedy =
        "write min_version = \"1.3\", or name a certificate with an ECDSA, RSA or Ed25519 key";
    Some(Problem::at(place, what).causes(consequence).remedy(remedy))
}

/// The TLS 1.2 suite with which a chain can be used, by its name.
fn suite_for(chain: &OwnChain, suites: &[SupportedCipherSuite]) -> Option<&'static str> {
    let fits = |suite: &&SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls12(suite) => chain.key.key.choose_scheme(suite.sign).is_some(),
        SupportedCipherSuite::Tls13(_) => false,
    };
    suites.iter().find(fits)?.suite().as_str()
}

fn kind_of_key(chain: &OwnChain) -> &'static str {
    match chain.key.key.algorithm() {
        SignatureAlgorithm::RSA => "RSA",
        SignatureAlgorithm::ECDSA => "ECDSA",
        SignatureAlgorithm::ED25519 => "Ed25519",
        // The library loads one more kind, which has no code of its own in TLS 1.2.
        _ => "ML-DSA",
    }
}

fn known_suite(suite: CipherSuite) -> SupportedCipherSuite {
    match suite {
        CipherSuite::Tls13Aes256GcmSha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Tls13Aes128GcmSha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Tls13Chacha20Poly1305Sha256 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheEcdsaAes256GcmSha384 => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        CipherSuite::EcdheEcdsaAes128GcmSha256 => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256 => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        CipherSuite::EcdheRsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaChacha20Poly1305Sha256 => {
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

fn known_group(group: KeyExchange) -> &'static dyn SupportedKxGroup {
    match group {
        KeyExchange::X25519MlKem768 => kx_group::X25519MLKEM768,
        KeyExchange::Secp256r1MlKem768 => kx_group::SECP256R1MLKEM768,
        KeyExchange::MlKem768 => kx_group::MLKEM768,
        KeyExchange::X25519 => kx_group::X25519,
        KeyExchange::Secp256r1 => kx_group::SECP256R1,
        KeyExchange::Secp384r1 => kx_group::SECP384R1,
    }
}

#[cfg(test)]
mod tests;
