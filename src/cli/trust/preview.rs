//! What would become of peers and bundles if new files were in force.

use std::collections::HashSet;
use std::sync::Arc;

use super::running::{List, Running, RunningAnchor, RunningBundle, RunningPeer};
use crate::config::TrustBundle;
use crate::generation::{Loaded, Withheld, loss};
use crate::identity::{CertificateNames, Fingerprint};
use crate::tls::{Bundle, Shrinkage, unix_now, verify};

/// What the new files would mean.
#[derive(Debug)]
pub(super) struct Preview {
    /// The number of the generation in force.
    pub(super) generation: u64,
    /// How many peers are known.
    pub(super) known: usize,
    /// The connected ones first.
    pub(super) refused: Vec<RefusedPeer>,
    /// Those of whom it cannot be said.
    pub(super) unjudged: Vec<RefusedPeer>,
    /// Those of the new files in their order, then those that go.
    pub(super) bundles: Vec<BundleChange>,
}

/// A peer that would be refused, or cannot be judged, and why.
#[derive(Debug)]
pub(super) struct RefusedPeer {
    pub(super) name: String,
    /// RFC 4514.
    pub(super) subject: String,
    /// Of its leaf, if there is one.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) bundle: String,
    pub(super) connections: u64,
    /// In seconds since 1970.
    pub(super) last_seen: i64,
    /// The code that the log has for it.
    pub(super) reason: &'static str,
    /// In words.
    pub(super) cause: String,
}

/// What the new files do to one bundle.
#[derive(Debug)]
pub(super) struct BundleChange {
    pub(super) name: String,
    pub(super) fate: Fate,
    pub(super) anchors_added: Vec<NewAnchor>,
    pub(super) anchors_removed: Vec<RunningAnchor>,
    pub(super) anchors_kept: usize,
    pub(super) lists_added: Vec<List>,
    pub(super) lists_removed: Vec<List>,
    pub(super) lists_kept: usize,
    /// Why it would wait for a confirmation, if it would.
    pub(super) held_back: Option<Withheld>,
    /// What is odd about the new one.
    pub(super) warnings: Vec<String>,
}

/// Whether a bundle is there before and after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Gone,
    New,
    Stays,
}

/// An anchor that is not in force yet.
#[derive(Debug)]
pub(super) struct NewAnchor {
    /// RFC 4514.
    pub(super) subject: String,
    pub(super) fingerprint: Fingerprint,
    /// In seconds since 1970.
    pub(super) not_after: i64,
}

impl Preview {
    /// Judges every peer of `running` by the bundle of the same name in `new`,
    /// and compares the bundles.
    pub(super) fn of(running: Running, new: &Loaded) -> Self {
        let bundles = &new.material().bundles;
        let known = running.peers.len();
        let (mut refused, mut unjudged) = (Vec::new(), Vec::new());
        for peer in running.peers {
            match judge(&peer, bundles) {
                Judgement::Stays => {}
                Judgement::Refused(reason, cause) => {
                    refused.push(RefusedPeer::new(peer, reason, cause));
                }
                Judgement::Unjudged(cause) => {
                    unjudged.push(RefusedPeer::new(peer, "unknown", cause));
                }
            }
        }
        let connected_first = |a: &RefusedPeer, b: &RefusedPeer| {
            let newest = (b.connections, b.last_seen).cmp(&(a.connections, a.last_seen));
            newest.then_with(|| a.name.cmp(&b.name))
        };
        refused.sort_by(connected_first);
        unjudged.sort_by(connected_first);
        Self {
            generation: running.generation,
            known,
            refused,
            unjudged,
            bundles: changes(&running.bundles, new),
        }
    }

    /// How many peers stay.
    pub(super) fn staying(&self) -> usize {
        let others = self.refused.len().saturating_add(self.unjudged.len());
        self.known.saturating_sub(others)
    }

    /// How many of those that would be refused are connected now.
    pub(super) fn refused_now(&self) -> usize {
        self.refused.iter().filter(|p| p.connections > 0).count()
    }
}

enum Judgement {
    Stays,
    Refused(&'static str, String),
    Unjudged(String),
}

fn judge(peer: &RunningPeer, bundles: &[Arc<Bundle>]) -> Judgement {
    let Some(bundle) = bundles.iter().find(|b| b.name() == peer.bundle) else {
        let cause = format!("there is no trust.{} any more", peer.bundle);
        return Judgement::Refused("no_bundle", cause);
    };
    match &peer.chain {
        Err(cause) => Judgement::Unjudged(cause.to_string()),
        Ok(chain) => match verify(chain, bundle) {
            Ok(()) => Judgement::Stays,
            Err(withdrawal) => Judgement::Refused(withdrawal.reason.code(), withdrawal.cause),
        },
    }
}

impl RefusedPeer {
    fn new(peer: RunningPeer, reason: &'static str, cause: String) -> Self {
        let leaf = peer.chain.ok().and_then(|chain| chain.into_iter().next());
        // What the certificate says goes before what was said of it.
        let names = leaf
            .as_ref()
            .and_then(|der| CertificateNames::read(der).ok());
        Self {
            name: peer.name,
            subject: names.map_or(peer.subject, |names| names.subject().to_owned()),
            fingerprint: leaf.as_ref().map(|der| Fingerprint::of(der)),
            bundle: peer.bundle,
            connections: peer.connections,
            last_seen: peer.last_seen,
            reason,
            cause,
        }
    }
}

fn changes(running: &[RunningBundle], new: &Loaded) -> Vec<BundleChange> {
    let configs = new.config().bundles().iter();
    let after: Vec<_> = configs.zip(&new.material().bundles).collect();
    let mut changes: Vec<_> = after
        .iter()
        .map(|(config, bundle)| {
            let former = running.iter().find(|former| former.name == config.name);
            BundleChange::between(former, config, bundle)
        })
        .collect();
    let gone = running
        .iter()
        .filter(|former| !after.iter().any(|(config, _)| config.name == former.name));
    changes.extend(gone.map(BundleChange::gone));
    changes
}

impl BundleChange {
    fn between(former: Option<&RunningBundle>, config: &TrustBundle, new: &Bundle) -> Self {
        let nothing = (&[][..], &[][..]);
        let (old_anchors, old_lists) =
            former.map_or(nothing, |former| (&former.anchors[..], &former.lists[..]));
        let known: HashSet<_> = old_anchors.iter().map(|a| a.fingerprint).collect();
        let lists: Vec<_> = new.revocation_lists().map(List::from).collect();
        let added = new.anchors().iter();
        let anchors_added: Vec<_> = added
            .filter(|anchor| !known.contains(&anchor.fingerprint))
            .map(|anchor| NewAnchor {
                subject: anchor.subject.clone(),
                fingerprint: anchor.fingerprint,
                not_after: anchor.not_after,
            })
            .collect();
        let removed = old_anchors.iter();
        let removed = removed.filter(|anchor| new.anchor(&anchor.fingerprint).is_none());
        let held_back = former.and_then(|former| withheld(former, config, (new, &lists)));
        Self {
            name: config.name.clone(),
            fate: former.map_or(Fate::New, |_| Fate::Stays),
            anchors_kept: new.anchors().len().saturating_sub(anchors_added.len()),
            anchors_added,
            anchors_removed: removed.cloned().collect(),
            lists_kept: lists.iter().filter(|l| old_lists.contains(l)).count(),
            lists_removed: missing_in(&lists, old_lists),
            lists_added: missing_in(old_lists, &lists),
            held_back,
            warnings: new.warnings().iter().map(ToString::to_string).collect(),
        }
    }

    fn gone(former: &RunningBundle) -> Self {
        Self {
            name: former.name.clone(),
            fate: Fate::Gone,
            anchors_added: Vec::new(),
            anchors_removed: former.anchors.clone(),
            anchors_kept: 0,
            lists_added: Vec::new(),
            lists_removed: former.lists.clone(),
            lists_kept: 0,
            held_back: None,
            warnings: Vec::new(),
        }
    }
}

/// Those of `some` that are not among `all`.
fn missing_in(all: &[List], some: &[List]) -> Vec<List> {
    let missing = some.iter().filter(|list| !all.contains(list));
    missing.cloned().collect()
}

/// Whether the new bundle would be held back, by the rule that the running
/// countersign has. It is asked with what is told of the former bundle: names
/// are compared as texts, and whether the config named other files of
/// revocation lists is told only by its naming none any more.
fn withheld(
    former: &RunningBundle,
    config: &TrustBundle,
    (new, lists): (&Bundle, &[List]),
) -> Option<Withheld> {
    let now = unix_now();
    let is_gone = |anchor: &&RunningAnchor| {
        let is_same = |other: &crate::tls::Anchor| {
            other.fingerprint == anchor.fingerprint || other.subject == anchor.subject
        };
        !new.anchors().iter().any(is_same)
    };
    let has_list = |lists: &[List], anchor: &RunningAnchor| {
        lists.iter().any(|list| list.issuer == anchor.subject)
    };
    let lost_its_list = |anchor: &&RunningAnchor| {
        new.anchor(&anchor.fingerprint).is_some()
            && has_list(&former.lists, anchor)
            && !has_list(lists, anchor)
    };
    let subject = |anchor: &RunningAnchor| anchor.subject.clone();
    let shrinkage = Shrinkage {
        dropped: former.anchors.iter().filter(is_gone).map(subject).collect(),
        of: former.anchors.len(),
        all_expired: new.anchors().iter().all(|anchor| anchor.not_after < now),
        uncovered: former
            .anchors
            .iter()
            .filter(lost_its_list)
            .map(subject)
            .collect(),
        older: Vec::new(),
    };
    let all_had_expired = former.anchors.iter().all(|anchor| anchor.has_expired);
    let same_lists = !config.crl.is_empty();
    let loss = loss(&shrinkage, config.max_shrink, all_had_expired, same_lists)?;
    Some(Withheld {
        bundle: config.name.clone(),
        by_share: true,
        loss,
    })
}
