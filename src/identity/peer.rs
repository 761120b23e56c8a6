//! Who is on the other end of a connection.

use super::claim::{Chain, Identity, Names};
use super::fingerprint::Fingerprint;
use super::names::CertificateNames;

/// Proof that the chain of a leaf was verified.
///
/// Only [`crate::tls`] makes one.
#[derive(Debug)]
pub struct VerifiedLeaf(Identity);

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
}

impl VerifiedLeaf {
    /// States that the chain of this leaf was verified, against the trust bundle
    /// of the listener and name it arrived at. `chain` is as it was presented.
    ///
    /// Only `crate::tls` calls this; `tests/architecture.rs` holds it.
    pub(crate) fn attest(names: CertificateNames, chain: Chain) -> Self {
        Self(Identity::of_certificate(names, chain))
    }
}

impl PeerIdentity {
    /// Takes the peer's names from its verified leaf.
    pub fn from_leaf(leaf: VerifiedLeaf) -> Self {
        let VerifiedLeaf(identity) = leaf;
        let certificate = identity.names().fingerprint().copied();
        Self {
            key: *certificate.unwrap_or_else(|| identity.digest()).as_bytes(),
            identity,
            speaker: None,
        }
    }

    /// States that `speaker`, who was verified and whose assertions the
    /// listener accepts, says that it speaks for `identity`.
    ///
    /// Only `crate::proxy` calls this, where `accept_assertions_from` is
    /// decided; `tests/architecture.rs` holds it.
    pub(crate) fn asserted(identity: Identity, speaker: &Self) -> Self {
        let told = [*identity.digest().as_bytes(), speaker.key].concat();
        Self {
            key: *Fingerprint::of(&told).as_bytes(),
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
