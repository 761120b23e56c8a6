//! Who is on the other end of a connection.

use super::claim::{Chain, Identity, Names};
use super::fingerprint::Fingerprint;
use super::names::CertificateNames;

/// Proof that the chain of a leaf was verified.
///
/// Only [`crate::tls`] makes one.
#[derive(Debug)]
pub struct VerifiedLeaf {
    identity: Identity,
    /// SHA-256 of the trust anchor that the chain was found to end at.
    anchor: Fingerprint,
}

/// A peer whose certificate chain was verified, or for whom such a peer speaks
/// that may.
///
/// It is made from a [`VerifiedLeaf`], or from the assertion of a peer that was,
/// and in no other way. So code that holds one need not ask whether somebody
/// checked.
#[derive(Debug)]
pub struct PeerIdentity {
    identity: Identity,
    /// The label of whoever speaks for it.
    speaker: Option<Box<str>>,
    key: [u8; 32],
    /// Tells apart those who vouch for its names.
    voucher: Fingerprint,
}

impl VerifiedLeaf {
    /// States that the chain of this leaf was verified, against the trust bundle
    /// of the listener and name it arrived at. `chain` is as it was presented;
    /// `anchor`: SHA-256 of the trust anchor that it was found to end at.
    ///
    /// Only `crate::tls` calls this; `tests/architecture.rs` holds it.
    pub(crate) fn attest(names: CertificateNames, chain: Chain, anchor: Fingerprint) -> Self {
        Self {
            identity: Identity::of_certificate(names, chain),
            anchor,
        }
    }
}

impl PeerIdentity {
    /// Takes the peer's names from its verified leaf.
    pub fn from_leaf(leaf: VerifiedLeaf) -> Self {
        let VerifiedLeaf { identity, anchor } = leaf;
        let certificate = identity.names().fingerprint().copied();
        Self {
            key: *certificate.unwrap_or_else(|| identity.digest()).as_bytes(),
            identity,
            speaker: None,
            voucher: anchor,
        }
    }

    /// States that `speaker`, who was verified and whose assertions the
    /// listener accepts, says that it speaks for `identity`.
    ///
    /// Only `crate::proxy` calls this, where `accept_assertions_from` is
    /// decided; `tests/architecture.rs` holds it.
    pub(crate) fn asserted(identity: Identity, speaker: &Self) -> Self {
        let told = [*identity.digest().as_bytes(), speaker.key].concat();
        // By whom the speaker has seen it vouched for, as far as it says so.
        let issuer = identity.names().certificate().map(CertificateNames::issuer);
        let vouching = [
            &speaker.key_of_names(),
            issuer.unwrap_or_default().as_bytes(),
        ]
        .concat();
        Self {
            key: *Fingerprint::of(&told).as_bytes(),
            voucher: Fingerprint::of(&vouching),
            identity,
            speaker: Some(speaker.primary().into()),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is known of its names.
    pub fn names(&self) -> &Names {
        self.identity.names()
    }

    /// The one label for logs, see [`Identity::primary`].
    pub fn primary(&self) -> &str {
        self.identity.primary()
    }

    /// The label of the peer that speaks for it; `None`: it speaks for itself.
    pub fn speaker(&self) -> Option<&str> {
        self.speaker.as_deref()
    }

    /// The same exactly for the same certificate, or for the same statement by
    /// the same speaker: for what must never be another caller's.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The same for all certificates with the same names, each of them, below
    /// the same trust anchor, and for all statements of the same names by
    /// speakers of whom that holds. Whoever has no name has [`Self::key`].
    pub fn key_of_names(&self) -> [u8; 32] {
        match self.identity.names_digest() {
            Some(names) => {
                let both = [*names.as_bytes(), *self.voucher.as_bytes()].concat();
                *Fingerprint::of(&both).as_bytes()
            }
            None => self.key,
        }
    }

    /// Holds the chain in this allocation, if it is the same chain.
    pub(crate) fn share_chain(&mut self, same: &Chain) {
        self.identity.share_chain(same);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::StatedNames;
    use crate::identity::testing::{TestLeaf, test_identity};

    #[test]
    fn asserted_peer_names_its_speaker_and_a_verified_one_has_none() {
        let edge = test_identity("spiffe://edge.example/proxy");
        let mut names = StatedNames::default();
        names.uri("spiffe://prod.example/web").unwrap();
        let identity = Identity::stated(names).unwrap();
        let peer = PeerIdentity::asserted(identity.clone(), &edge);
        let other = PeerIdentity::asserted(identity.clone(), &peer);
        assert_eq!(peer.key(), PeerIdentity::asserted(identity, &edge).key());
        assert!(peer.key() != edge.key() && peer.key() != other.key());

        assert_eq!(peer.primary(), "spiffe://prod.example/web");
        assert_eq!(peer.speaker(), Some("spiffe://edge.example/proxy"));
        assert_eq!(edge.speaker(), None);
    }

    #[test]
    fn certificates_share_the_key_of_their_names_if_all_names_and_the_anchor_are_the_same() {
        let web = TestLeaf::new()
            .subject("web")
            .uri("urn:web")
            .dns("a.example");
        let first = web.clone().serial(&[1]).identity();
        let renewed = web.clone().serial(&[2]).identity();
        assert_eq!(first.key_of_names(), renewed.key_of_names());
        assert_ne!(first.key(), renewed.key());
        assert_ne!(first.key_of_names(), *first.key());

        let base = TestLeaf::new().uri("urn:web").dns("a.example");
        for other in [
            web.identity_below("Other CA"),
            web.clone().dns("b.example").identity(),
            web.clone().email("a@b.example").identity(),
            web.clone().upn("a").identity(),
            web.clone().ip(&[192, 0, 2, 1]).identity(),
            base.clone().identity(),
            base.subject("other").identity(),
            // A name of another kind with the same text.
            TestLeaf::new()
                .subject("web")
                .uri("urn:web")
                .uri("a.example:")
                .identity(),
        ] {
            assert_ne!(first.key_of_names(), other.key_of_names(), "{other:?}");
        }
    }

    #[test]
    fn certificates_without_a_name_share_nothing() {
        let one = TestLeaf::new().serial(&[1]).identity();
        let other = TestLeaf::new().serial(&[2]).identity();
        assert_ne!(one.key_of_names(), other.key_of_names());
        assert_eq!(one.key_of_names(), *one.key());
    }

    #[test]
    fn statements_share_the_key_of_their_names_if_their_speakers_do() {
        let stated = |leaf: &TestLeaf, speaker: &PeerIdentity| {
            PeerIdentity::asserted(leaf.identity().identity().clone(), speaker)
        };
        let edge = TestLeaf::new().uri("urn:edge");
        let (first, renewed) = (edge.clone().serial(&[1]), edge.clone().serial(&[2]));
        let (first, renewed) = (first.identity(), renewed.identity());
        let web = TestLeaf::new().uri("urn:web");
        let (old, new) = (web.clone().serial(&[3]), web.clone().serial(&[4]));

        let key = stated(&old, &first).key_of_names();
        assert_eq!(key, stated(&new, &renewed).key_of_names());
        assert_ne!(stated(&old, &first).key(), stated(&old, &renewed).key());
        let elsewhere = edge.identity_below("Other CA");
        let gateway = TestLeaf::new().uri("urn:gateway").identity();
        for speaker in [&elsewhere, &gateway] {
            assert_ne!(key, stated(&old, speaker).key_of_names());
        }
        // It has come by itself, or its issuer is another or is not known.
        assert_ne!(key, old.identity().key_of_names());
        assert_ne!(key, stated(&old.issuer("Other CA"), &first).key_of_names());
        let mut names = StatedNames::default();
        names.uri("urn:web").unwrap();
        let told = PeerIdentity::asserted(Identity::stated(names).unwrap(), &first);
        assert_ne!(key, told.key_of_names());
    }

    #[test]
    fn chain_is_shared_with_the_same_chain_alone() {
        let mut peer = TestLeaf::new().dns("a.example").identity();
        let own = Arc::clone(peer.identity().chain().unwrap());
        let same: Chain = own.to_vec().into();
        let other = TestLeaf::new().dns("b.example").identity();

        peer.share_chain(other.identity().chain().unwrap());
        assert!(Arc::ptr_eq(peer.identity().chain().unwrap(), &own));
        peer.share_chain(&same);
        assert!(Arc::ptr_eq(peer.identity().chain().unwrap(), &same));
    }
}
