//! The versions, cipher suites and key exchange groups that a config chooses.

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

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
/// can leave a certificate without any. Suites for either kind of key ask for
/// client certificates alike: all of them sign an ephemeral key exchange.
pub(super) fn unusable(
    tls: &ListenerTls,
    whose: &str,
    chains: &[(&OwnCertificate, &OwnChain)],
    provider: &CryptoProvider,
) -> Vec<Problem> {
    let (Some(first), TlsVersion::Tls12) = (tls.cipher_suites.first(), tls.versions.min) else {
        return Vec::new();
    };
    let suites: Vec<_> = tls
        .cipher_suites
        .iter()
        .filter(|suite| suite.value.version() == TlsVersion::Tls12)
        .map(|suite| suite.value.name())
        .collect();
    chains
        .iter()
        .filter(|(_, chain)| !provider.cipher_suites.iter().any(|suite| fits(*suite, chain)))
        .map(|(config, chain)| {
            let kind = format!("{:?}", chain.key.key.algorithm());
            Problem::at(
                first.place,
                format!(
                    "{whose}.cipher_suites: {} cannot be used in TLS 1.2 with the {kind} key of {}",
                    suites.join(", "),
                    config.chain.value.display()
                ),
            )
            .causes("no client that speaks TLS 1.2 could connect, with or without a certificate of its own")
            .remedy(format!(
                "add a suite for {kind} keys, name a certificate with another kind of key, or write min_version = \"1.3\""
            ))
        })
        .collect()
}

fn fits(suite: SupportedCipherSuite, chain: &OwnChain) -> bool {
    match suite {
        SupportedCipherSuite::Tls12(suite) => chain.key.key.choose_scheme(suite.sign).is_some(),
        SupportedCipherSuite::Tls13(_) => false,
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
