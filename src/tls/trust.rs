//! What the certificates of a listener's clients are checked against, and how.
//!
//! # Rules
//!
//! * A chain that this bundle has found good before, to the last byte, is not
//!   verified again, nor are its names read: they have not changed. What may have
//!   is looked at in every handshake, full or resumed: the dates, the anchor, the
//!   revocation lists, the scope, and what a chain may cost.
//! * Only chains of handshakes that have succeeded as a whole are known, so
//!   nobody makes one known whose key they do not hold.
//! * Another bundle of the same name is another bundle: it verifies each chain
//!   itself, unless whoever presents it was connected when it came into force and
//!   was judged by it then, on the path that the bundle before it had verified.
//! * A known chain may have been found good at a listener that lets a chain cost
//!   more signatures than this one. Finding it again costs none.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::bundle::{Bundle, Verdict};
use super::diagnosis::{Judge, Objection};
use super::handshake::{Peer, VerifiedChain};
use super::peers::Peers;
use crate::config::ChainLimits;
use crate::identity::CertificateNames;

/// What client certificates are checked against, and what for.
#[derive(Debug)]
pub(super) struct Trust {
    /// The trust bundle.
    pub(super) bundle: Arc<Bundle>,
    /// Whether a client without one is refused.
    pub(super) required: bool,
    /// What a chain may cost.
    pub(super) limits: ChainLimits,
    /// Where those whose chain is good are known.
    pub(super) peers: Arc<Peers>,
}

impl Trust {
    /// Judges the chain of a client at `now`. `spent` counts the signatures that
    /// were verified in the handshake. What passes although no current revocation
    /// list cleared it is said in the log.
    ///
    /// # Errors
    ///
    /// Why it is not accepted.
    pub(super) fn judge(
        &self,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
        spent: &mut u32,
    ) -> Result<(CertificateNames, Verdict), Objection> {
        let judge = Judge {
            bundle: &self.bundle,
            limits: &self.limits,
            peers: Some(&self.peers),
        };
        let (names, verdict) = Objection::or_verdict(judge, chain, now, spent, &|_, _| {})?;
        self.bundle.tell(&verdict, now);
        Ok((names, verdict))
    }

    /// A client whose handshake has succeeded.
    pub(super) fn admit(&self, peer: VerifiedChain) -> Peer {
        let (mut identity, verdict, chain) = peer.attest();
        self.bundle.note_use(&verdict.path, UnixTime::now());
        self.bundle.note_unenforced(&verdict);
        let good_until = verdict.good_until;
        let known = self.peers.connect(&self.bundle, &identity, chain, verdict);
        identity.share_chain(known.shared_chain());
        Peer {
            identity,
            known,
            good_until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::tls::refusal::Refusal;
    use crate::tls::testing::lists::{Authority, authority, bundle_with, in_hours};

    type Der = CertificateDer<'static>;

    /// A root, an authority below it, and a leaf with its chain.
    struct World {
        root: Authority,
        below: Authority,
        chain: Vec<Der>,
        peers: Arc<Peers>,
    }

    impl World {
        fn new() -> Self {
            let root = authority("Root", 30);
            let below = authority("Below", 20).below(&root);
            Self {
                chain: vec![below.leaf(10), below.certificate.clone()],
                peers: Arc::default(),
                root,
                below,
            }
        }

        fn trust(&self, bundle: Bundle) -> Trust {
            Trust {
                bundle: Arc::new(bundle),
                required: true,
                limits: Limits::defaults().chain,
                peers: Arc::clone(&self.peers),
            }
        }

        fn bundle(&self) -> Bundle {
            bundle_with(&[&self.root.certificate]).load()
        }
    }

    /// How many signatures it costs to find a chain good, or why it is not.
    fn cost(trust: &Trust, chain: &[Der], now: UnixTime) -> Result<u32, Refusal> {
        let mut spent = 0;
        let (leaf, intermediates) = chain.split_first().unwrap();
        let judged = trust.judge((leaf, intermediates), now, &mut spent);
        judged.map_or_else(|objection| Err(objection.reason()), |_| Ok(spent))
    }

    /// A client with this chain completes its handshake.
    fn admit(trust: &Trust, chain: &[Der]) -> Peer {
        let (leaf, intermediates) = chain.split_first().unwrap();
        let judged = trust.judge((leaf, intermediates), UnixTime::now(), &mut 0);
        let (names, verdict) = judged.unwrap();
        trust.admit(VerifiedChain {
            names,
            verdict,
            chain: chain.to_vec(),
        })
    }

    #[test]
    fn chain_of_a_completed_handshake_costs_no_signature_again() {
        let world = World::new();
        let trust = world.trust(world.bundle());
        let now = UnixTime::now();
        // Whoever does not complete a handshake makes nothing known.
        assert_eq!(cost(&trust, &world.chain, now), Ok(2));
        assert_eq!(cost(&trust, &world.chain, now), Ok(2));
        let (leaf, intermediates) = world.chain.split_first().unwrap();
        let judge = || trust.judge((leaf, intermediates), now, &mut 0).unwrap();
        let first = judge();
        let peer = admit(&trust, &world.chain);
        assert_eq!(cost(&trust, &world.chain, now), Ok(0));
        assert_eq!(judge(), first);
        drop(peer);
        assert_eq!(cost(&trust, &world.chain, now), Ok(0));
    }

    #[test]
    fn chain_that_differs_in_one_byte_is_another_chain() {
        let world = World::new();
        let trust = world.trust(world.bundle());
        let now = UnixTime::now();
        drop(admit(&trust, &world.chain));
        let forged = |index: usize| {
            let mut chain = world.chain.clone();
            let mut der = chain[index].to_vec();
            *der.last_mut().unwrap() ^= 1;
            chain[index] = der.into();
            chain
        };
        assert_eq!(cost(&trust, &forged(0), now), Err(Refusal::Untrusted));
        assert_eq!(cost(&trust, &forged(1), now), Err(Refusal::Untrusted));
        let more = [&world.chain[..], &[authority("More", 5).certificate]].concat();
        assert_eq!(cost(&trust, &more, now), Ok(2));
        assert!(cost(&trust, &world.chain[..1], now).is_err());
    }

    #[test]
    fn known_chain_is_refused_for_whatever_may_have_changed() {
        let world = World::new();
        let mut trust = world.trust(world.bundle());
        let now = UnixTime::now();
        drop(admit(&trust, &world.chain));
        assert_eq!(cost(&trust, &world.chain, in_hours(9)), Ok(0));
        let late = cost(&trust, &world.chain, in_hours(11));
        assert_eq!(late, Err(Refusal::Expired));
        let earlier = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        let early = cost(&trust, &world.chain, earlier);
        assert_eq!(early, Err(Refusal::NotYetValid));
        trust.limits.certificates = std::num::NonZero::new(1).unwrap();
        let costly = cost(&trust, &world.chain, now);
        assert_eq!(costly, Err(Refusal::ChainTooCostly));
    }

    #[test]
    fn another_bundle_of_the_same_name_verifies_for_itself() {
        let world = World::new();
        let now = UnixTime::now();
        drop(admit(&world.trust(world.bundle()), &world.chain));
        let again = world.trust(world.bundle());
        assert_eq!(cost(&again, &world.chain, now), Ok(2));
        let elsewhere = world.trust(bundle_with(&[&authority("Root", 30).certificate]).load());
        let refused = cost(&elsewhere, &world.chain, now);
        assert_eq!(refused, Err(Refusal::Untrusted));
        let revoking = bundle_with(&[&world.root.certificate])
            .list(&world.root.list(&[]))
            .list(&world.below.list(&[&world.chain[0]]));
        let revoking = world.trust(revoking.load());
        let refused = cost(&revoking, &world.chain, now);
        assert_eq!(refused, Err(Refusal::Revoked));
    }

    #[test]
    fn list_that_comes_due_is_looked_at_in_each_handshake() {
        let world = World::new();
        let listed = bundle_with(&[&world.root.certificate])
            .list(&world.root.list(&[]))
            .list(&world.below.list(&[]).due(3));
        let trust = world.trust(listed.load());
        drop(admit(&trust, &world.chain));
        let signatures = cost(&trust, &world.chain, in_hours(2));
        assert_eq!(signatures, Ok(0));
        let stale = cost(&trust, &world.chain, in_hours(4));
        assert_eq!(stale, Err(Refusal::RevocationUnknown));
    }

    /// Its limit lets no more signatures be verified than the chain itself has.
    #[test]
    fn lists_are_verified_whatever_the_chain_has_cost() {
        use crate::config::OnCrlFault::{Allow, Reject};
        let (world, now) = (World::new(), UnixTime::now());
        let revoked = [world.below.leaf(10), world.below.certificate.clone()];
        for missing in [Reject, Allow] {
            let listed = bundle_with(&[&world.root.certificate])
                .missing(missing)
                .list(&world.root.list(&[]))
                .list(&world.below.list(&[&revoked[0]]));
            let mut trust = world.trust(listed.load());
            trust.limits.signature_checks = std::num::NonZero::new(2).unwrap();
            assert_eq!(cost(&trust, &revoked, now), Err(Refusal::Revoked));
            assert_eq!(cost(&trust, &world.chain, now), Ok(2));
            trust.limits.signature_checks = std::num::NonZero::new(1).unwrap();
            let costly = cost(&trust, &world.chain, now);
            assert_eq!(costly, Err(Refusal::ChainTooCostly));
            trust.limits.signature_checks = Limits::defaults().chain.signature_checks;
            assert_eq!(cost(&trust, &revoked, now), Err(Refusal::Revoked));
            assert_eq!(cost(&trust, &world.chain, now), Ok(2));
        }
    }

    #[test]
    fn bundle_that_remembers_no_chains_verifies_each_time() {
        let world = World::new();
        let mut files = bundle_with(&[&world.root.certificate]);
        files.config.remember_chains = false;
        let trust = world.trust(files.load());
        let _peer = admit(&trust, &world.chain);
        assert_eq!(cost(&trust, &world.chain, UnixTime::now()), Ok(2));
    }
}
