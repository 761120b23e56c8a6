//! Whether a bundle accepts a chain, and on which path.

use std::cell::Cell;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::{Bundle, Objection, Verdict};
use crate::tls::anchor::Anchor;
use crate::tls::revocation::{Note, seconds, unix_time};
use crate::tls::trust_path::TrustPath;

/// Is told of a path that was found, and whether it stands.
pub(in crate::tls) type Tried<'a> = dyn Fn(&TrustPath, Result<(), &webpki::Error>) + 'a;

/// The most certificates that a peer may send. Nobody's chain is longer, and
/// the search for a path grows much faster than their number: five intermediates
/// of one name take a millisecond at worst, nine half a second.
const MAX_CHAIN: usize = 6;

impl Bundle {
    /// Judges a peer's chain at `now`: one rule for clients and for upstreams,
    /// which `usage` tells apart. Whose names the leaf carries is judged only as
    /// far as the bundle says for whom its anchors may vouch.
    ///
    /// A path that is revoked, or that an anchor out of its validity ends, is
    /// passed over for another one, if there is another one.
    ///
    /// # Errors
    ///
    /// What is wrong with the path that came furthest, or with the leaf.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<Verdict, Objection> {
        let verdict = self.search((leaf, intermediates), usage, now, &|_, _| {})?;
        self.tell(&verdict, now);
        Ok(verdict)
    }

    /// Writes to the log what a verdict let pass although no current revocation
    /// list cleared it.
    pub(in crate::tls) fn tell(&self, verdict: &Verdict, now: UnixTime) {
        self.revocation.tell(&verdict.notes, now);
    }

    /// As [`Self::verify`], without a word to the log; `tried` is told of each
    /// path that was found, and whether it stands.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub(in crate::tls) fn search(
        &self,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        usage: KeyUsage,
        now: UnixTime,
        tried: &Tried<'_>,
    ) -> Result<Verdict, Objection> {
        let verdict = self.find_path(chain, usage, now, tried)?;
        self.scope.check(chain.0, &verdict.anchor, &self.name)?;
        Ok(verdict)
    }

    fn find_path(
        &self,
        (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        usage: KeyUsage,
        now: UnixTime,
        tried: &Tried<'_>,
    ) -> Result<Verdict, webpki::Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let found = Cell::new(None);
        let unenforced = Cell::new(None);
        let accept = |candidate: &VerifiedPath<'_>| {
            let path = Arc::new(TrustPath::of(candidate, self.anchor_of(candidate)?)?);
            let verdict = self.stands(&path, now);
            tried(&path, verdict.as_ref().map(|_| ()));
            match verdict {
                Ok(verdict) => {
                    found.set(Some(verdict));
                    Ok(())
                }
                Err(cause) => {
                    if !self.enforces_lists
                        && let Ok(anchor) = self.holds(&path, now)
                    {
                        unenforced.set(Some((path, anchor, cause.clone())));
                    }
                    Err(cause)
                }
            }
        };
        let end_entity = EndEntityCert::try_from(leaf)?;
        let outcome = end_entity.verify_for_usage(
            self.algorithms,
            &self.trust_anchors,
            intermediates,
            now,
            usage,
            None,
            Some(&accept),
        );
        match (outcome, unenforced.take()) {
            // webpki has called `accept`, or there would be no path.
            (Ok(_), _) => found.take().ok_or(webpki::Error::UnknownIssuer),
            (Err(_), Some((path, anchor, cause))) => {
                Ok(self.unenforced((leaf, intermediates), (path, anchor), cause, now))
            }
            (Err(cause), None) => Err(cause),
        }
    }

    /// The verdict on a chain that the lists would have refused.
    fn unenforced(
        &self,
        (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        (path, anchor): (Arc<TrustPath>, &Anchor),
        cause: webpki::Error,
        now: UnixTime,
    ) -> Verdict {
        let chain: Vec<_> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        let refused = self.explain(&chain, cause.into(), now);
        Verdict {
            good_until: path.not_after(),
            session_until: path.not_after(),
            path,
            anchor: Arc::clone(&anchor.name),
            notes: vec![Note::WouldRefuse {
                reason: refused.reason,
                cause: refused.cause,
                subject: refused.certificate.subject.unwrap_or_default(),
                fingerprint: refused.certificate.fingerprint,
            }],
        }
    }

    /// Judges a chain, the leaf first, for which another bundle has found
    /// `path` under the same `usage`.
    ///
    /// The answer is that of [`Self::verify`], only much sooner in the usual
    /// case: while the path still stands, no signature of a certificate is
    /// looked at. (Where several paths stand, the two may prefer another one.)
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        path: &Arc<TrustPath>,
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<Verdict, Objection> {
        if let Some(verdict) = self.by_path(chain.first(), path, now)? {
            self.tell(&verdict, now);
            return Ok(verdict);
        }
        let (leaf, intermediates) = chain.split_first().ok_or(webpki::Error::BadDer)?;
        self.verify(leaf, intermediates, usage, now)
    }

    /// As [`Self::search`], for a client. `known`: the path on which this bundle
    /// has found the very same chain good before.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub(in crate::tls) fn search_client(
        &self,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        known: Option<&Arc<TrustPath>>,
        now: UnixTime,
        tried: &Tried<'_>,
    ) -> Result<Verdict, Objection> {
        if let Some(path) = known
            && let Some(verdict) = self.by_path(Some(chain.0), path, now)?
        {
            return Ok(verdict);
        }
        self.search(chain, KeyUsage::client_auth(), now, tried)
    }

    /// The verdict on a chain for which `path` was found before; `None`: the
    /// path does not stand any more.
    fn by_path(
        &self,
        leaf: Option<&CertificateDer<'_>>,
        path: &Arc<TrustPath>,
        now: UnixTime,
    ) -> Result<Option<Verdict>, Objection> {
        let Ok(verdict) = self.stands(path, now) else {
            return Ok(None);
        };
        if !self.scope.is_open() {
            let leaf = leaf.ok_or(webpki::Error::BadDer)?;
            self.scope.check(leaf, &verdict.anchor, &self.name)?;
        }
        Ok(Some(verdict))
    }

    /// Whether a path whose signatures are in order ends here, is within its
    /// dates and not revoked.
    fn stands(&self, path: &Arc<TrustPath>, now: UnixTime) -> Result<Verdict, webpki::Error> {
        let anchor = self.holds(path, now)?;
        let clearance = self.revocation.check(path, now)?;
        Ok(Verdict {
            good_until: path.not_after(),
            session_until: path.not_after().min(clearance.until),
            path: Arc::clone(path),
            anchor: Arc::clone(&anchor.name),
            notes: clearance.notes,
        })
    }

    /// The same, whatever the revocation lists say; the anchor that it ends at.
    fn holds(&self, path: &TrustPath, now: UnixTime) -> Result<&Anchor, webpki::Error> {
        let anchor = self.anchor(path.anchor());
        let anchor = anchor.ok_or(webpki::Error::UnknownIssuer)?;
        // webpki looks at the dates of certificates, but not at the anchor's.
        if seconds(now) > path.not_after() {
            return Err(webpki::Error::CertExpired {
                time: now,
                not_after: unix_time(path.not_after()),
            });
        }
        if seconds(now) < path.not_before() {
            return Err(webpki::Error::CertNotValidYet {
                time: now,
                not_before: unix_time(path.not_before()),
            });
        }
        Ok(anchor)
    }

    /// The very anchor that a path ends at: several may have the same name and key.
    fn anchor_of(&self, path: &VerifiedPath<'_>) -> Result<&Anchor, webpki::Error> {
        self.trust_anchors
            .iter()
            .zip(&self.anchors)
            .find(|(candidate, _)| std::ptr::addr_eq(*candidate, path.anchor()))
            .map(|(_, anchor)| anchor)
            .ok_or(webpki::Error::UnknownIssuer)
    }
}
