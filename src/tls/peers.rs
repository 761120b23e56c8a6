//! The peers that the process knows: who is connected, and who was seen of late.
//!
//! Each distinct chain is known once, however many connections rest on it, and
//! is judged once by each trust bundle.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use super::bundle::{Bundle, Verdict};
use super::own_certificate::unix_now;
use super::refusal::Refusal;
use super::verifier::library_error;
use super::words;
use crate::identity::{Chain, PeerIdentity};

/// For how long a peer is known after its last connection has ended.
const REMEMBERED: i64 = 24 * 3600;
/// The most peers that are known without being connected; beyond it those that
/// were away for longest are forgotten first.
const MOST_AWAY: usize = 20_000;

/// The peers that the process knows.
#[derive(Debug, Default)]
pub struct Peers {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    peers: HashMap<Key, Arc<KnownPeer>>,
    /// At how many it is looked whether some can be forgotten.
    full: usize,
}

/// Bundle and chain.
type Key = (Box<str>, [u8; 32]);

/// A peer whose chain was verified.
#[derive(Debug)]
pub struct KnownPeer {
    bundle: Box<str>,
    name: Box<str>,
    subject: Box<str>,
    chain: Chain,
    connections: AtomicUsize,
    handshakes: AtomicU64,
    last_seen: AtomicI64,
    standing: Mutex<Standing>,
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
}

/// A peer with an open connection; counted until it is dropped.
#[derive(Debug)]
pub struct Connected(Arc<KnownPeer>);

impl Deref for Connected {
    type Target = KnownPeer;

    fn deref(&self) -> &KnownPeer {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
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
        let key = (bundle.name().into(), digest(&chain));
        let mut known = self.known();
        if known.peers.len() >= known.full {
            known.forget();
        }
        let peer = known
            .peers
            .entry(key)
            .or_insert_with_key(|(bundle_name, _)| {
                Arc::new(KnownPeer {
                    bundle: bundle_name.clone(),
                    name: identity.primary().into(),
                    subject: identity.names().subject().unwrap_or_default().into(),
                    chain,
                    connections: AtomicUsize::new(0),
                    handshakes: AtomicU64::new(0),
                    last_seen: AtomicI64::new(0),
                    standing: Mutex::new(Standing {
                        asked: bundle.id(),
                        verdict: verdict.clone(),
                        outcome: Ok(()),
                    }),
                })
            });
        // It was found good by this bundle a moment ago, whatever it was before.
        *peer.standing() = Standing {
            asked: bundle.id(),
            verdict,
            outcome: Ok(()),
        };
        peer.connections.fetch_add(1, Ordering::Relaxed);
        peer.handshakes.fetch_add(1, Ordering::Relaxed);
        peer.last_seen.store(unix_now(), Ordering::Relaxed);
        Connected(Arc::clone(peer))
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known().peers.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody who is connected, or was in the last 24 hours.
    pub fn all(&self) -> Vec<Arc<KnownPeer>> {
        let mut known = self.known();
        let now = unix_now();
        known.peers.retain(|_, peer| peer.is_remembered(now));
        known.peers.values().cloned().collect()
    }

    /// Has every peer judged by its bundle in `bundles`, so that nobody who
    /// serves requests needs to.
    pub fn judge(&self, bundles: &[Arc<Bundle>]) {
        for peer in self.all() {
            let bundle = bundles.iter().find(|b| *b.name() == *peer.bundle);
            if let Some(bundle) = bundle {
                // It is remembered by the peer.
                drop(peer.judge(bundle));
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets who was seen too long ago, and then, if there are still too
    /// many, the half of those that are away that left first.
    fn forget(&mut self) {
        let now = unix_now();
        self.peers.retain(|_, peer| peer.is_remembered(now));
        let away = self.peers.values().filter(|peer| peer.connections() == 0);
        let mut left: Vec<_> = away.map(|peer| peer.last_seen()).collect();
        if left.len() >= MOST_AWAY {
            left.sort_unstable();
            let middle = left.get(left.len() / 2).copied().unwrap_or(now);
            self.peers
                .retain(|_, peer| peer.connections() > 0 || peer.last_seen() > middle);
        }
        // Not at every handshake from here on.
        self.full = self
            .peers
            .len()
            .saturating_add(MOST_AWAY / 2)
            .max(MOST_AWAY);
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
                    standing.verdict = verdict;
                    Ok(())
                }
                Err(cause) => Err(Withdrawal::of(cause, bundle)),
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
    })?;
    bundle
        .verify(
            leaf,
            intermediates,
            KeyUsage::client_auth(),
            UnixTime::now(),
        )
        .map(drop)
        .map_err(|cause| Withdrawal::of(cause, bundle))
}

impl Withdrawal {
    fn of(cause: webpki::Error, bundle: &Bundle) -> Self {
        Self {
            cause: words::of_verdict(&cause, bundle.name()),
            reason: Refusal::of(&library_error(cause)),
        }
    }
}

/// The digest of a chain; each certificate says its own length.
fn digest(chain: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        context.update(certificate);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
