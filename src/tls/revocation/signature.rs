//! Whether a list is signed with a key: found out once for each key, and remembered.

use std::sync::{Mutex, PoisonError};

use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::identity::Fingerprint;
use crate::identity::der::{self, NotDer, tag};

/// The most keys of which one list remembers the outcome. An authority has one
/// or two; a peer's intermediates can bring others under the same name.
const MAX_REMEMBERED: usize = 32;

/// A public key that may have signed a list.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::tls) struct SigningKey {
    /// The contents of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    key_info: Box<[u8]>,
    digest: Fingerprint,
}

/// What came of verifying a list's signature with one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::tls) enum Signature {
    /// It is by another key.
    Another,
    /// It is by this key.
    Good,
    /// It is of a kind that is not accepted, such as SHA-1, whoever made it.
    Unsupported,
}

/// The outcomes so far.
#[derive(Default)]
pub(super) struct Signatures(Mutex<Vec<(Fingerprint, Signature)>>);

impl SigningKey {
    /// `key_info`: the contents of the SubjectPublicKeyInfo, without its header.
    pub(in crate::tls) fn new(key_info: &[u8]) -> Self {
        Self {
            key_info: key_info.into(),
            digest: Fingerprint::of(key_info),
        }
    }
}

impl Signatures {
    /// What comes of verifying `list`, the DER of a signed list, with `key`.
    ///
    /// Whoever asks about a key that is being tried waits for the outcome, so
    /// that a large list is hashed once and not once by each thread.
    pub(super) fn of(
        &self,
        list: &[u8],
        key: &SigningKey,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Signature {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, outcome)) = known.iter().find(|(digest, _)| *digest == key.digest) {
            return *outcome;
        }
        // What cannot be taken apart is signed by nobody.
        let outcome = verify(list, key, algorithms).unwrap_or(Signature::Another);
        if known.len() >= MAX_REMEMBERED {
            // Not the good ones: else whoever may issue intermediates could
            // have the list hashed again and again.
            let oldest = known.iter().position(|(_, was)| *was != Signature::Good);
            known.remove(oldest.unwrap_or(0));
        }
        known.push((key.digest, outcome));
        outcome
    }
}

fn verify(
    list: &[u8],
    key: &SigningKey,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<Signature, NotDer> {
    let mut parts = der::elements(der::only(list, tag::SEQUENCE)?.contents);
    let mut part = || parts.next().ok_or(NotDer)?;
    let signed = part()?.tagged(tag::SEQUENCE)?;
    let algorithm = part()?.tagged(tag::SEQUENCE)?;
    let signature = whole_bytes(part()?.tagged(tag::BIT_STRING)?.contents)?;
    let (key_algorithm, bits) = der::pair(&key.key_info)?;
    let key_algorithm = key_algorithm.tagged(tag::SEQUENCE)?;
    let public_key = whole_bytes(bits.tagged(tag::BIT_STRING)?.contents)?;
    let mut outcome = Signature::Unsupported;
    for known in algorithms {
        if known.signature_alg_id().as_ref() != algorithm.contents {
            continue;
        }
        outcome = Signature::Another;
        let fits = known.public_key_alg_id().as_ref() == key_algorithm.contents;
        if fits
            && known
                .verify_signature(public_key, signed.raw, signature)
                .is_ok()
        {
            return Ok(Signature::Good);
        }
    }
    Ok(outcome)
}

/// The bytes of a BIT STRING that has no odd bits at its end.
fn whole_bytes(contents: &[u8]) -> Result<&[u8], NotDer> {
    match contents.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(NotDer),
    }
}
