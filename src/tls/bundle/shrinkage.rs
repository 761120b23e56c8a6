//! What a new bundle has less of than the one in force.

use std::collections::{BTreeMap, HashSet};

use rustls_pki_types::UnixTime;

use super::Bundle;
use crate::config::Share;
use crate::tls::anchor::Anchor;
use crate::tls::revocation::seconds;

/// How much smaller a new bundle is than the former one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shrinkage {
    /// The subjects of the anchors that are gone, as RFC 4514 strings: neither
    /// the certificate is there, nor another one of the same name.
    pub dropped: Vec<String>,
    /// How many anchors the former bundle had.
    pub of: usize,
    /// Whether the new bundle has nobody whose certificates would be accepted:
    /// every anchor is out of its validity, or there is none.
    pub all_expired: bool,
    /// Who has issued a revocation list that is gone: anchors that stay, and
    /// intermediates; as RFC 4514 strings.
    pub uncovered: Vec<String>,
    /// Who has issued a list that is older than the one in force, as RFC 4514
    /// strings: what has been revoked in between would not be any more.
    pub older: Vec<String>,
}

impl Shrinkage {
    pub(super) fn between(former: &Bundle, new: &Bundle, now: UnixTime) -> Self {
        let now = seconds(now);
        let named = |anchor: &&Anchor| anchor.subject.clone();
        let names: HashSet<&[u8]> = new.anchors.iter().map(|a| &*a.issuer.name).collect();
        let is_gone = |anchor: &&Anchor| !names.contains(&*anchor.issuer.name);
        let lost_its_list = |anchor: &&Anchor| {
            new.anchor(&anchor.fingerprint).is_some()
                && former.revocation.covers(&anchor.issuer)
                && !new.revocation.covers(&anchor.issuer)
        };
        let dropped: Vec<_> = former
            .anchors
            .iter()
            .filter(is_gone)
            .map(|a| named(&a))
            .collect();
        let mut uncovered: Vec<_> = former
            .anchors
            .iter()
            .filter(lost_its_list)
            .map(|a| named(&a))
            .collect();
        let mut older = Vec::new();
        let (was, is) = (newest_lists(former), newest_lists(new));
        let told: HashSet<String> = dropped.iter().chain(&uncovered).cloned().collect();
        for (issuer, then) in was {
            match is.get(&issuer) {
                None if told.contains(&issuer) => {}
                None => uncovered.push(issuer),
                Some(now) if *now < then => older.push(issuer),
                Some(_) => {}
            }
        }
        Self {
            dropped,
            of: former.anchors.len(),
            all_expired: (new.anchors.iter())
                .all(|anchor| anchor.not_after < now || anchor.not_before > now),
            uncovered,
            older,
        }
    }

    /// Whether more than this share of the former anchors is gone.
    pub fn exceeds(&self, share: Share) -> bool {
        let dropped = self.dropped.len().saturating_mul(100);
        dropped > self.of.saturating_mul(usize::from(share.percent()))
    }

    /// The share of the former anchors that is gone, in percent, rounded up.
    pub fn percent(&self) -> usize {
        self.dropped
            .len()
            .saturating_mul(100)
            .div_ceil(self.of.max(1))
    }
}

/// When the newest list of each issuer was made, in seconds since 1970.
fn newest_lists(bundle: &Bundle) -> BTreeMap<String, i64> {
    let mut newest = BTreeMap::new();
    for list in bundle.revocation_lists() {
        let made = newest.entry(list.issuer).or_insert(list.this_update);
        *made = list.this_update.max(*made);
    }
    newest
}
