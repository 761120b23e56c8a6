//! The peers that the process knows: who is connected, and who was seen of late.
//!
//! Each distinct chain is known once, however many connections rest on it, and
//! is judged once by each trust bundle. What is kept of those who are away has
//! a bound, and so has what one leaf can be known by.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use super::bundle::{Bundle, Objection, Verdict};
use super::own_certificate::unix_now;
use super::refusal::Refusal;
use super::trust_path::TrustPath;
use crate::identity::{AnchorName, CertificateNames, Chain, Digest, Fingerprint, PeerIdentity};

mod tally;

pub use tally::RequestCount;
use tally::Tally;

/// For how long a peer is known after its last connection has ended.
const REMEMBERED: i64 = 24 * 3600;
/// The most that is kept of peers that are not connected, in certificates' bytes;
/// beyond it those that were away for longest are forgotten first.
const MOST_AWAY: usize = 64 * 1024 * 1024;
/// The most different chains that are known of one leaf. A client may send what
/// it likes beside the certificates that count.
const MOST_CHAINS: usize = 4;
/// How long a new generation waits at most until those who are connected are
/// judged by it. Who is not judged by then is judged by its worker.
const JUDGED_IN_ADVANCE: Duration = Duration::from_millis(300);

/// The peers that the process knows.
#[derive(Debug, Default)]
pub struct Peers {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Each chain of each leaf, the one that was seen last at the end.
    peers: HashMap<Leaf, Vec<Arc<KnownPeer>>>,
    /// How many there are.
    count: usize,
    /// The bytes of all chains.
    bytes: usize,
    /// At how many bytes it is looked whether some can be forgotten.
    full: usize,
}

/// Bundle and leaf.
type Leaf = (Box<str>, Fingerprint);

/// By what a chain is found.
struct Key {
    leaf: Leaf,
    /// Of all of its certificates, one after the other.
    whole: Fingerprint,
}

/// A peer whose chain was verified.
#[derive(Debug)]
pub struct KnownPeer {
    bundle: Box<str>,
    name: Box<str>,
    subject: Box<str>,
    /// What its leaf says; `None`: it was not read from one.
    names: Option<CertificateNames>,
    chain: Chain,
    /// Of `chain`, so that many long ones of one leaf are told apart at once.
    whole: Fingerprint,
    connections: AtomicUsize,
    handshakes: AtomicU64,
    last_seen: AtomicI64,
    /// Since when it has been connected.
    since: AtomicI64,
    tally: Tally,
    standing: Mutex<Standing>,
}

/// What is known of a chain that was found good.
#[derive(Debug)]
pub(super) struct KnownChain {
    /// On which path.
    pub(super) path: Arc<TrustPath>,
    /// What its leaf says.
    pub(super) names: CertificateNames,
}

/// What a bundle made of a chain.
#[derive(Debug)]
struct Standing {
    /// [`Bundle::id`] of the bundle that was asked last.
    asked: u64,
    /// By what the chain was found good last.
    verdict: Verdict,
    outcome: Result<(), Withdrawal>,
}

/// Why a peer that was trusted is trusted no more.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    /// The reason for which a handshake would now be refused.
    pub reason: Refusal,
    /// The exact cause, in words.
    pub cause: String,
    /// What would make its chain pass; `None`: what the reason says.
    pub remedy: Option<String>,
}

/// A peer with an open connection; counted until it is dropped.
#[derive(Debug)]
pub struct Connected(Arc<KnownPeer>, OnceLock<Arc<dyn RequestCount>>);

impl Connected {
    /// From now on this counts the requests of the connection.
    pub fn counts(&self, count: Arc<dyn RequestCount>) {
        self.0.tally.begin(Arc::clone(self.1.get_or_init(|| count)));
    }
}

impl Deref for Connected {
    type Target = KnownPeer;

    fn deref(&self) -> &KnownPeer {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(count) = self.1.get() {
            self.0.tally.end(count);
        }
        self.0.last_seen.store(unix_now(), Ordering::Relaxed);
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peers {
    /// A peer whose handshake has just succeeded.
    pub(super) fn connect(
        &self,
        bundle: &Bundle,
        identity: &PeerIdentity,
        chain: Chain,
        verdict: Verdict,
    ) -> Connected {
        let key = Key::of(bundle, chain.iter());
        let mut known = self.known();
        let peer = match known.find(&key, &chain) {
            Some(peer) => {
                // It was found good by this bundle a moment ago, whatever it was before.
                *peer.standing() = Standing {
                    asked: bundle.id(),
                    verdict,
                    outcome: Ok(()),
                };
                peer
            }
            None => {
                let peer = Arc::new(KnownPeer {
                    bundle: key.leaf.0.clone(),
                    name: identity.primary().into(),
                    subject: identity.names().subject().unwrap_or_default().into(),
                    names: identity.names().certificate().cloned(),
                    chain,
                    whole: key.whole,
                    connections: AtomicUsize::new(0),
                    handshakes: AtomicU64::new(0),
                    last_seen: AtomicI64::new(0),
                    since: AtomicI64::new(0),
                    tally: Tally::default(),
                    standing: Mutex::new(Standing {
                        asked: bundle.id(),
                        verdict,
                        outcome: Ok(()),
                    }),
                });
                known.add(key.leaf, Arc::clone(&peer));
                peer
            }
        };
        let now = unix_now();
        if peer.connections.fetch_add(1, Ordering::Relaxed) == 0 {
            peer.since.store(now, Ordering::Relaxed);
        }
        peer.handshakes.fetch_add(1, Ordering::Relaxed);
        peer.last_seen.store(now, Ordering::Relaxed);
        Connected(peer, OnceLock::new())
    }

    /// What is known of the very same chain, where `bundle` itself has found it
    /// good. `None`: it has not, or is to verify each chain again.
    pub(super) fn known_chain(
        &self,
        bundle: &Bundle,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
    ) -> Option<KnownChain> {
        if !bundle.remembers_chains() {
            return None;
        }
        let key = Key::of(bundle, std::iter::once(chain.0).chain(chain.1));
        let peer = self.known().peek(&key, chain)?;
        let names = peer.names.clone()?;
        let standing = peer.standing();
        let is_good = standing.asked == bundle.id() && standing.outcome.is_ok();
        is_good.then(|| KnownChain {
            path: Arc::clone(&standing.verdict.path),
            names,
        })
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known().count
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody who is connected, or was in the last 24 hours.
    pub fn all(&self) -> Vec<Arc<KnownPeer>> {
        let mut known = self.known();
        let now = unix_now();
        known.keep(|peer| peer.is_remembered(now));
        known.peers.values().flatten().cloned().collect()
    }

    /// Has everybody who is connected judged by its bundle in `bundles`, so that
    /// nobody who serves requests needs to; for a bounded time.
    pub fn judge(&self, bundles: &[Arc<Bundle>]) {
        let end = Instant::now() + JUDGED_IN_ADVANCE;
        for peer in self.all() {
            if Instant::now() >= end {
                return;
            }
            let bundle = bundles.iter().find(|b| *b.name() == *peer.bundle);
            if let Some(bundle) = bundle.filter(|_| peer.connections() > 0) {
                // It is remembered by the peer.
                drop(peer.judge(bundle));
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    /// `chain`: the leaf first. It is read whole, so no lock is to be held meanwhile.
    fn of<'a>(bundle: &Bundle, chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Self {
        let mut certificates = chain.into_iter();
        let mut digest = Digest::default();
        if let Some(leaf) = certificates.next() {
            digest.update(leaf);
        }
        let leaf = digest.clone().finish();
        certificates.for_each(|certificate| digest.update(certificate));
        Self {
            leaf: (bundle.name().into(), leaf),
            whole: digest.finish(),
        }
    }
}

impl Known {
    /// A chain that is known, without a trace of having been asked for.
    fn peek(
        &self,
        key: &Key,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
    ) -> Option<Arc<KnownPeer>> {
        let mut chains = self.peers.get(&key.leaf)?.iter();
        let same = chains.find(|peer| peer.whole == key.whole)?;
        (same.chain.split_first() == Some(chain)).then(|| Arc::clone(same))
    }

    fn find(&mut self, key: &Key, chain: &[CertificateDer<'_>]) -> Option<Arc<KnownPeer>> {
        let chains = self.peers.get_mut(&key.leaf)?;
        let is_same = |peer: &Arc<KnownPeer>| peer.whole == key.whole && *peer.chain == *chain;
        let found = chains.iter().position(is_same)?;
        // The one that was seen last stands last.
        let peer = chains.remove(found);
        chains.push(Arc::clone(&peer));
        Some(peer)
    }

    fn add(&mut self, leaf: Leaf, peer: Arc<KnownPeer>) {
        if self.bytes >= self.full {
            self.forget();
        }
        let chains = self.peers.entry(leaf).or_default();
        if chains.len() >= MOST_CHAINS
            && let Some(away) = chains.iter().position(|peer| peer.connections() == 0)
        {
            self.bytes = self.bytes.saturating_sub(chains.remove(away).bytes());
            self.count = self.count.saturating_sub(1);
        }
        self.bytes = self.bytes.saturating_add(peer.bytes());
        self.count = self.count.saturating_add(1);
        chains.push(peer);
    }

    fn keep(&mut self, is_kept: impl Fn(&KnownPeer) -> bool) {
        let (mut count, mut bytes) = (0usize, 0usize);
        self.peers.retain(|_, chains| {
            chains.retain(|peer| is_kept(peer));
            count = count.saturating_add(chains.len());
            bytes = bytes.saturating_add(chains.iter().map(|peer| peer.bytes()).sum());
            !chains.is_empty()
        });
        (self.count, self.bytes) = (count, bytes);
    }

    /// Forgets who was seen too long ago, and then, if there are still too
    /// many, the half of those that are away that left first.
    fn forget(&mut self) {
        let now = unix_now();
        self.keep(|peer| peer.is_remembered(now));
        let everybody = self.peers.values().flatten();
        let away: Vec<_> = everybody.filter(|peer| peer.connections() == 0).collect();
        if away.iter().map(|peer| peer.bytes()).sum::<usize>() >= MOST_AWAY {
            let mut left: Vec<_> = away.iter().map(|peer| peer.last_seen()).collect();
            left.sort_unstable();
            let middle = left.get(left.len() / 2).copied().unwrap_or(now);
            self.keep(|peer| peer.connections() > 0 || peer.last_seen() > middle);
        }
        // Not at every handshake from here on.
        self.full = self.bytes.saturating_add(MOST_AWAY / 2).max(MOST_AWAY);
    }
}

impl KnownPeer {
    /// The trust bundle that it was verified against.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// What it is called in logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The subject of its certificate (RFC 4514).
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its chain as it was presented, the leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The fingerprint of its leaf.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.chain.first().map(|leaf| Fingerprint::of(leaf))
    }

    /// The fingerprint of the anchor that it rests on, or rested on last.
    pub fn anchor(&self) -> Fingerprint {
        *self.standing().verdict.path.anchor()
    }

    /// What the bundle that was asked last, or the last one that found it good,
    /// calls that anchor.
    pub fn anchor_name(&self) -> Arc<AnchorName> {
        Arc::clone(&self.standing().verdict.anchor)
    }

    /// What its chain takes.
    fn bytes(&self) -> usize {
        self.chain.iter().map(|der| der.len()).sum()
    }

    /// The same, in the allocation that all who know this peer share.
    pub(super) fn shared_chain(&self) -> &Chain {
        &self.chain
    }

    /// How many of its connections are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many handshakes it has completed.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// When it was seen last, in seconds since 1970.
    pub fn last_seen(&self) -> i64 {
        self.last_seen.load(Ordering::Relaxed)
    }

    /// Since when it has been connected, or was last, in seconds since 1970.
    pub fn since(&self) -> i64 {
        self.since.load(Ordering::Relaxed)
    }

    /// The requests of all its connections, those that have ended included.
    pub fn requests(&self) -> u64 {
        self.tally.requests()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_remembered(&self, now: i64) -> bool {
        self.connections() > 0 || now.saturating_sub(self.last_seen()) < REMEMBERED
    }

    /// Asks `bundle` whether it would accept this peer now. Asked again, the
    /// same bundle gives the same answer: dates are watched by a connection's
    /// own timer.
    ///
    /// Returns until when, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// It would not, and why.
    pub fn judge(&self, bundle: &Bundle) -> Result<i64, Withdrawal> {
        let mut standing = self.standing();
        if standing.asked != bundle.id() {
            let path = &standing.verdict.path;
            let outcome = bundle.judge(&self.chain, path, KeyUsage::client_auth(), UnixTime::now());
            standing.asked = bundle.id();
            standing.outcome = match outcome {
                Ok(verdict) => {
                    bundle.note_unenforced(&verdict);
                    standing.verdict = verdict;
                    Ok(())
                }
                Err(objection) => Err(Withdrawal::of(objection, &self.chain, bundle)),
            };
        }
        let good_until = standing.verdict.good_until;
        standing.outcome.clone().map(|()| good_until)
    }

    /// Asks a bundle that is not in force, and leaves no trace of the answer.
    ///
    /// # Errors
    ///
    /// It would refuse this peer, and why.
    pub fn preview(&self, bundle: &Bundle) -> Result<(), Withdrawal> {
        verify(&self.chain, bundle)
    }
}

/// Whether `bundle` accepts the chain of a client now.
///
/// # Errors
///
/// It does not, and why.
pub fn verify(chain: &[CertificateDer<'static>], bundle: &Bundle) -> Result<(), Withdrawal> {
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| Withdrawal {
        reason: Refusal::NoCertificate,
        cause: "no certificate was presented".to_owned(),
        remedy: None,
    })?;
    bundle
        .verify(
            leaf,
            intermediates,
            KeyUsage::client_auth(),
            UnixTime::now(),
        )
        .map(drop)
        .map_err(|objection| Withdrawal::of(objection, chain, bundle))
}

impl Withdrawal {
    fn of(objection: Objection, chain: &[CertificateDer<'_>], bundle: &Bundle) -> Self {
        let diagnosis = bundle.explain(chain, objection, UnixTime::now());
        Self {
            reason: diagnosis.reason,
            cause: diagnosis.cause,
            remedy: Some(diagnosis.remedy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{CertificateNames, VerifiedLeaf};
    use crate::tls::testing::lists::{authority, bundle_with};

    fn connect(peers: &Peers, bundle: &Bundle, chain: &[CertificateDer<'static>]) -> Connected {
        let (leaf, intermediates) = chain.split_first().unwrap();
        let usage = KeyUsage::client_auth();
        let verdict = bundle.verify(leaf, intermediates, usage, UnixTime::now());
        let verdict = verdict.unwrap();
        let names = CertificateNames::read(leaf).unwrap();
        let chain: Chain = chain.into();
        let leaf = VerifiedLeaf::attest(names, Arc::clone(&chain), *verdict.path.anchor());
        let identity = PeerIdentity::from_leaf(leaf);
        peers.connect(bundle, &identity, chain, verdict)
    }

    #[test]
    fn chain_is_known_once_however_many_connections_rest_on_it() {
        let root = authority("Root", 30);
        let bundle = bundle_with(&[&root.certificate]).load();
        let (peers, leaf) = (Peers::default(), root.leaf(10));
        let first = connect(&peers, &bundle, std::slice::from_ref(&leaf));
        let second = connect(&peers, &bundle, std::slice::from_ref(&leaf));
        assert_eq!((peers.len(), first.connections()), (1, 2));
        drop(first);
        assert_eq!((second.connections(), second.handshakes()), (1, 2));
    }

    #[test]
    fn what_a_client_sends_beside_its_leaf_makes_it_no_crowd() {
        let root = authority("Root", 30);
        let bundle = bundle_with(&[&root.certificate]).load();
        let (peers, leaf) = (Peers::default(), root.leaf(10));
        for _ in 0..20 {
            let junk = authority("Junk", 30).certificate;
            drop(connect(&peers, &bundle, &[leaf.clone(), junk]));
        }
        assert_eq!((peers.len(), peers.all().len()), (MOST_CHAINS, MOST_CHAINS));
        // Those that are connected are never forgotten.
        let open: Vec<_> = (0..6)
            .map(|_| {
                let junk = authority("Junk", 30).certificate;
                connect(&peers, &bundle, &[leaf.clone(), junk])
            })
            .collect();
        assert_eq!(peers.len(), open.len());
    }

    #[test]
    fn peer_is_judged_by_each_bundle_and_let_in_again_by_the_first() {
        let (root, other) = (authority("Root", 30), authority("Other", 30));
        let trusted = bundle_with(&[&root.certificate]).load();
        let without = bundle_with(&[&other.certificate]).load();
        let peers = Peers::default();
        let peer = connect(&peers, &trusted, &[root.leaf(10)]);
        assert!(peer.judge(&trusted).is_ok());
        let withdrawal = peer.judge(&without).unwrap_err();
        assert_eq!(withdrawal.reason, Refusal::Untrusted);
        assert!(peer.preview(&trusted).is_ok());
        assert!(peer.judge(&without).is_err());
        assert!(peer.judge(&trusted).is_ok());
    }
}
