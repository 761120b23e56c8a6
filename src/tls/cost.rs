//! What it may cost to judge a client's chain.
//!
//! Whoever can connect can have a chain judged, before anything is known of
//! them. Its number of certificates, its bytes and its keys are looked at before
//! any signature is; the signatures are counted while they are verified, since
//! only the search for a path knows which ones it needs.

use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use webpki::EndEntityCert;

use crate::config::ChainLimits;
use crate::identity::der::{self, tag};

/// The contents of the OID of RSA keys (RFC 3279 §2.3.1).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// A chain costs more to judge than it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TooCostly {
    /// So many bytes were sent, and so many may be.
    Bytes(usize, usize),
    /// The same of certificates.
    Certificates(usize, usize),
    /// The same of the bits of an RSA key.
    RsaBits(usize, usize),
    /// More than so many signatures would have to be verified.
    Signatures(u32),
}

impl TooCostly {
    /// The option that bounds it.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Bytes(..) => "max_chain_bytes",
            Self::Certificates(..) => "max_chain_certificates",
            Self::RsaBits(..) => "max_rsa_bits",
            Self::Signatures(_) => "max_signature_checks",
        }
    }
}

impl fmt::Display for TooCostly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(sent, most) => write!(
                f,
                "{sent} bytes of certificates were sent, and at most {most} are taken"
            ),
            Self::Certificates(sent, most) => write!(
                f,
                "{sent} certificates were sent, and at most {most} are taken"
            ),
            Self::RsaBits(bits, most) => write!(
                f,
                "a certificate of the chain has an RSA key of {bits} bits, and at most {most} are taken"
            ),
            Self::Signatures(most) => write!(
                f,
                "more than {most} signatures would have to be verified to find a path"
            ),
        }?;
        write!(f, " (limits.{})", self.option())
    }
}

/// Judges a chain, the leaf first, by `judge`, within `limits`. `spent` counts
/// the signatures that were verified in the handshake; it is not reset.
///
/// # Errors
///
/// It costs too much; `judge` has then not been called, or its outcome is void.
pub(super) fn within<T, E>(
    limits: &ChainLimits,
    (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    spent: &mut u32,
    judge: impl FnOnce() -> Result<T, E>,
) -> Result<Result<T, E>, TooCostly> {
    let chain = || std::iter::once(leaf).chain(intermediates);
    let sent = intermediates.len().saturating_add(1);
    let most = limits.certificates.get();
    if sent > most {
        return Err(TooCostly::Certificates(sent, most));
    }
    let (bytes, most) = (chain().map(|der| der.len()).sum(), limits.bytes.get());
    if bytes > most {
        return Err(TooCostly::Bytes(bytes, most));
    }
    let (bits, most) = (chain().filter_map(rsa_bits).max(), limits.rsa_bits.get());
    if let Some(bits) = bits.filter(|bits| *bits > most) {
        return Err(TooCostly::RsaBits(bits, most));
    }
    let most = limits.signature_checks.get();
    let before = BUDGET.replace(Some(Budget {
        left: most.saturating_sub(*spent),
        exceeded: false,
    }));
    let judged = judge();
    let budget = BUDGET.replace(before);
    *spent = most.saturating_sub(budget.map_or(0, |budget| budget.left));
    // Also where it was found good: a signature that was not looked at may be one
    // that would have refused it.
    if budget.is_some_and(|budget| budget.exceeded) {
        return Err(TooCostly::Signatures(most));
    }
    Ok(judged)
}

/// The algorithms of the library, for what is remembered: an outcome must not
/// depend on what the chain that was judged first had cost already.
pub(super) fn uncounted() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static ALL: LazyLock<&'static [&'static dyn SignatureVerificationAlgorithm]> =
        LazyLock::new(|| {
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            provider.signature_verification_algorithms.all
        });
    &ALL
}

/// The same, each of which counts what it verifies.
pub(super) fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static COUNTED: LazyLock<Vec<Counted>> =
        LazyLock::new(|| uncounted().iter().copied().map(Counted).collect());
    static ALL: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = LazyLock::new(|| {
        let counted = COUNTED.iter();
        counted
            .map(|one| one as &'static dyn SignatureVerificationAlgorithm)
            .collect()
    });
    &ALL
}

/// The bits of a certificate's key, if it is of RSA and can be read. What cannot
/// is not verified with either.
fn rsa_bits(certificate: &CertificateDer<'_>) -> Option<usize> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let info = certificate.subject_public_key_info();
    let info = der::only(&info, tag::SEQUENCE).ok()?;
    let (algorithm, key) = der::pair(info.contents).ok()?;
    let mut algorithm = der::elements(algorithm.tagged(tag::SEQUENCE).ok()?.contents);
    if algorithm.next()?.ok()?.contents != RSA {
        return None;
    }
    // Behind the number of unused bits, which is 0.
    let key = key.tagged(tag::BIT_STRING).ok()?.contents.get(1..)?;
    let (modulus, _) = der::pair(der::only(key, tag::SEQUENCE).ok()?.contents).ok()?;
    let zeros = modulus
        .contents
        .iter()
        .take_while(|byte| **byte == 0)
        .count();
    let significant = modulus.contents.get(zeros..)?;
    let unused = significant.first()?.leading_zeros() as usize;
    Some(significant.len().saturating_mul(8).saturating_sub(unused))
}

/// An algorithm that counts.
#[derive(Debug)]
struct Counted(&'static dyn SignatureVerificationAlgorithm);

/// How many signatures may still be verified for the chain that is being judged
/// on this thread.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    exceeded: bool,
}

thread_local! {
    /// The library calls its algorithms within the call that judges a chain, and
    /// tells them nothing of it. `None`: nothing is bounded, as for upstreams.
    static BUDGET: Cell<Option<Budget>> = const { Cell::new(None) };
}

impl SignatureVerificationAlgorithm for Counted {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if let Some(mut budget) = BUDGET.get() {
            let left = budget.left.checked_sub(1);
            budget.exceeded |= left.is_none();
            budget.left = left.unwrap_or(0);
            BUDGET.set(Some(budget));
            left.ok_or(InvalidSignature)?;
        }
        self.0.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::tls::testing::Authority;

    const FINE: Result<Result<(), ()>, TooCostly> = Ok(Ok(()));

    fn limits(change: impl FnOnce(&mut ChainLimits)) -> ChainLimits {
        let mut limits = Limits::defaults().chain;
        change(&mut limits);
        limits
    }

    fn one() -> std::num::NonZeroUsize {
        std::num::NonZeroUsize::MIN
    }

    /// Judges a chain of two by as many signatures as are asked for.
    fn judged(limits: &ChainLimits, signatures: u32) -> Result<Result<(), ()>, TooCostly> {
        let root = Authority::root("Root").intermediate("Between");
        let leaf = root.client("billing");
        let (own, intermediates) = leaf.chain.split_first().unwrap();
        within(limits, (own, intermediates), &mut 0, || {
            let algorithm = algorithms().first().unwrap();
            for _ in 0..signatures {
                let verified = algorithm.verify_signature(b"", b"", b"");
                verified.unwrap_err();
            }
            if signatures == 0 { Ok(()) } else { Err(()) }
        })
    }

    #[test]
    fn chain_that_is_found_good_without_a_signature_beyond_the_limit_is_not() {
        let most = Limits::defaults().chain.signature_checks.get();
        let leaf = Authority::root("Root").client("billing").chain.remove(0);
        let judged = |count: u32| {
            within(&limits(|_| {}), (&leaf, &[]), &mut 0, || {
                for _ in 0..count {
                    let algorithm = algorithms().first().unwrap();
                    algorithm.verify_signature(b"", b"", b"").unwrap_err();
                }
                Ok::<(), ()>(())
            })
        };
        assert_eq!(judged(most), Ok(Ok(())));
        assert_eq!(judged(most + 1), Err(TooCostly::Signatures(most)));
    }

    #[test]
    fn usual_chain_is_judged() {
        assert_eq!(judged(&limits(|_| {}), 0), FINE);
        assert_eq!(judged(&limits(|_| {}), 30), Ok(Err(())));
    }

    #[test]
    fn chain_with_too_many_certificates_or_bytes_is_not_looked_at() {
        let few = limits(|limits| limits.certificates = one());
        assert_eq!(judged(&few, 0), Err(TooCostly::Certificates(2, 1)));
        let short = limits(|limits| limits.bytes = one());
        let Err(TooCostly::Bytes(sent, 1)) = judged(&short, 0) else {
            panic!("it was judged");
        };
        assert!(sent > 500, "{sent}");
    }

    #[test]
    fn signatures_beyond_the_limit_are_not_verified_and_counted_over_several_chains() {
        let most = Limits::defaults().chain.signature_checks.get();
        let judged = judged(&limits(|_| {}), most + 1);
        assert_eq!(judged, Err(TooCostly::Signatures(most)));
        let leaf = Authority::root("Root").client("billing").chain.remove(0);
        let mut spent = 0;
        let mut verify = |count: u32| {
            within(&limits(|_| {}), (&leaf, &[]), &mut spent, || {
                for _ in 0..count {
                    let algorithm = algorithms().first().unwrap();
                    algorithm.verify_signature(b"", b"", b"").unwrap_err();
                }
                Err::<(), ()>(())
            })
        };
        assert_eq!(verify(most - 1), Ok(Err(())));
        assert_eq!(verify(1), Ok(Err(())));
        assert_eq!(verify(1), Err(TooCostly::Signatures(most)));
    }

    #[test]
    fn bits_of_rsa_keys_alone_are_read() {
        use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
        let of = |key: KeyPair| {
            let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
            rsa_bits(params.self_signed(&key).unwrap().der())
        };
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap();
        assert_eq!(of(rsa), Some(3072));
        assert_eq!(of(KeyPair::generate().unwrap()), None);
        assert_eq!(rsa_bits(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
