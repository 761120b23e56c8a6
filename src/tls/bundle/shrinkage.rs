//! What a new bundle has less of than the one in force.

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
    /// The subjects of the anchors that stay, but have lost the revocation list
    /// that covered them, as RFC 4514 strings.
    pub uncovered: Vec<String>,
}

impl Shrinkage {
    pub(super) fn between(former: &Bundle, new: &Bundle, now: UnixTime) -> Self {
        let now = seconds(now);
        let named = |anchor: &&Anchor| anchor.subject.clone();
        let is_gone = |anchor: &&Anchor| {
            let is_same = |other: &Anchor| {
                other.fingerprint == anchor.fingerprint || other.issuer.name == anchor.issuer.name
            };
            !new.anchors.iter().any(is_same)
        };
        let lost_its_list = |anchor: &&Anchor| {
            new.anchor(&anchor.fingerprint).is_some()
                && former.revocation.covers(&anchor.issuer)
                && !new.revocation.covers(&anchor.issuer)
        };
        Self {
            dropped: former
                .anchors
                .iter()
                .filter(is_gone)
                .map(|a| named(&a))
                .collect(),
            of: former.anchors.len(),
            all_expired: new.anchors.iter().all(|anchor| anchor.not_after < now),
            uncovered: former
                .anchors
                .iter()
                .filter(lost_its_list)
                .map(|a| named(&a))
                .collect(),
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
