//! Revocation: the lists of a bundle, and whether they let a verified path pass.
//!
//! The rules are those of webpki (RFC 5280 §6.3, without indirect lists, delta
//! lists and lists for single reasons), with two differences that make a
//! million entries bearable: the entries are looked up and not copied
//! ([`list`]), and a list's signature is verified once for each key
//! ([`signature`]).
//!
//! # Rules
//!
//! * A list counts for a certificate when it has the name of the certificate's
//!   issuer, speaks of such certificates ([`scope`]), and is signed with that
//!   issuer's key. The name alone is nothing: an authority with a new key is
//!   another authority.
//! * Of several lists for the same certificates the newest counts. Lists that
//!   an authority has split by distribution point all count.
//! * A list that names the certificate revokes it, be it stale, and be its
//!   issuer one that may not sign lists.
//! * A list that does not name it clears it only until its `nextUpdate`, and
//!   only if the issuer's keyUsage, where it has one, includes cRLSign.
//! * The anchor's own status is never asked for (RFC 5280 §6.1).

mod list;
mod load;
mod lookup;
mod note;
mod scope;
mod serials;
mod signature;

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{SignatureVerificationAlgorithm, UnixTime};

use super::cost;
use super::trust_path::{Issuer, Link, TrustPath};
use crate::config::{CrlCheck, OnCrlFault};
pub(super) use list::{RevocationList, text_of_name};
pub use lookup::{ListStatus, Lookup, RevocationListFacts};
pub use note::Note;
use note::Told;
pub(super) use scope::{DistributionPoints, distribution_points};
pub(super) use signature::{Signature, SigningKey};

/// The revocation lists of one bundle and what is made of them.
#[derive(Debug)]
pub(super) struct Revocation {
    /// The bundle's name.
    bundle: String,
    /// By issuer, then by scope, then the newest first.
    lists: Vec<HeldList>,
    /// `None`: the bundle has no lists, and nothing is checked.
    rules: Option<Rules>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    told: Arc<Told>,
}

/// A list, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct HeldList {
    pub(super) list: Arc<RevocationList>,
    pub(super) source: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    check: CrlCheck,
    missing: OnCrlFault,
    stale: OnCrlFault,
}

/// What the lists say of a path that may pass.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Clearance {
    /// Until when they say so, in seconds since 1970; `i64::MAX` where no list
    /// has to.
    pub(super) until: i64,
    /// What was let pass although no current list cleared it.
    pub(super) notes: Vec<Note>,
}

impl Revocation {
    /// Checks nothing.
    pub(super) fn none() -> Self {
        Self {
            bundle: String::new(),
            lists: Vec::new(),
            rules: None,
            algorithms: cost::uncounted(),
            told: Arc::default(),
        }
    }

    /// The lists, by issuer, then by scope, then the newest first.
    pub(super) fn lists(&self) -> &[HeldList] {
        &self.lists
    }

    /// Whether a certificate of the path is revoked at `now`, or is not known
    /// not to be where that is demanded.
    ///
    /// # Errors
    ///
    /// `CertRevoked` before any other, else the first that is met from the leaf
    /// upwards: `CrlExpired`, `UnknownRevocationStatus`, `IssuerNotCrlSigner`.
    pub(super) fn check(
        &self,
        path: &TrustPath,
        now: UnixTime,
    ) -> Result<Clearance, webpki::Error> {
        let mut clearance = Clearance {
            until: i64::MAX,
            notes: Vec::new(),
        };
        let Some(rules) = self.rules else {
            return Ok(clearance);
        };
        let mut fault = None;
        for link in path.links() {
            if rules.check == CrlCheck::Leaf && !link.is_leaf {
                continue;
            }
            let status = self.status(link);
            match rules.judge(link, status, now, &mut clearance) {
                Ok(()) => {}
                Err(webpki::Error::CertRevoked) => return Err(webpki::Error::CertRevoked),
                Err(other) => fault = fault.or(Some(other)),
            }
        }
        fault.map_or(Ok(clearance), Err)
    }

    /// Whether a list that is signed by this issuer is at hand, stale or not.
    pub(super) fn covers(&self, issuer: &Issuer) -> bool {
        self.of_issuer(&issuer.name)
            .any(|list| list.signature_by(&issuer.key, self.algorithms) == Signature::Good)
    }

    /// Writes what was let pass to the log, each thing at most once a minute.
    pub(super) fn tell(&self, notes: &[Note], now: UnixTime) {
        for note in notes {
            self.told.tell(note, &self.bundle, seconds(now));
        }
    }

    fn status(&self, link: &Link) -> Status {
        self.look_up(link, |_| {})
    }

    /// What the lists say of one certificate; `counts` is told of each list that
    /// speaks of it.
    fn look_up<'a>(&'a self, link: &Link, mut counts: impl FnMut(&'a HeldList)) -> Status {
        let mut newest: Option<&RevocationList> = None;
        let mut status = Status::Unknown;
        for held in self.held_of(&link.issuer.name) {
            let list = &*held.list;
            let is_superseded = newest.is_some_and(|newest| newest.has_scope_of(list));
            if is_superseded
                || !list.includes(link.is_leaf, &link.distribution_points)
                || list.signature_by(&link.issuer.key, self.algorithms) != Signature::Good
            {
                continue;
            }
            newest = Some(list);
            counts(held);
            if list.names(&link.serial) {
                return Status::Revoked;
            }
            status = match status {
                _ if !link.issuer.may_sign_lists => Status::NotToSign,
                Status::ClearUntil(until) => Status::ClearUntil(until.max(list.next_update())),
                _ => Status::ClearUntil(list.next_update()),
            };
        }
        status
    }

    fn of_issuer(&self, name: &[u8]) -> impl Iterator<Item = &RevocationList> {
        self.held_of(name).map(|held| &*held.list)
    }

    /// The lists with this issuer's name, whoever signed them, the newest of
    /// each scope first.
    pub(super) fn held_of(&self, name: &[u8]) -> impl Iterator<Item = &HeldList> {
        let before = self.lists.partition_point(|held| held.list.issuer() < name);
        let from = self.lists.get(before..).unwrap_or_default();
        from.iter()
            .take_while(move |held| held.list.issuer() == name)
    }
}

/// What the lists say of one certificate.
#[derive(Clone, Copy)]
enum Status {
    /// It is not revoked, says a list that is due again then.
    ClearUntil(i64),
    /// Its issuer signs lists and may not.
    NotToSign,
    Revoked,
    Unknown,
}

impl Rules {
    /// Lets a certificate pass, or not, and writes down on what terms.
    fn judge(
        self,
        link: &Link,
        status: Status,
        now: UnixTime,
        clearance: &mut Clearance,
    ) -> Result<(), webpki::Error> {
        let issuer = || text_of_name(&link.issuer.name);
        let (fault, rule, note): (_, _, &dyn Fn() -> Note) = match status {
            Status::Revoked => return Err(webpki::Error::CertRevoked),
            Status::ClearUntil(until) if seconds(now) < until => {
                if self.stale == OnCrlFault::Reject {
                    clearance.until = clearance.until.min(until);
                }
                return Ok(());
            }
            Status::ClearUntil(until) => (
                webpki::Error::CrlExpired {
                    time: now,
                    next_update: unix_time(until),
                },
                self.stale,
                &move || Note::StaleList {
                    issuer: issuer(),
                    next_update: until,
                },
            ),
            Status::NotToSign => (webpki::Error::IssuerNotCrlSigner, self.missing, &|| {
                Note::MissingList { issuer: issuer() }
            }),
            Status::Unknown => (
                webpki::Error::UnknownRevocationStatus,
                self.missing,
                &|| Note::MissingList { issuer: issuer() },
            ),
        };
        match rule {
            OnCrlFault::Reject => return Err(fault),
            OnCrlFault::Allow => {}
            OnCrlFault::Log => clearance.notes.push(note()),
        }
        Ok(())
    }
}

/// In seconds since 1970. A time that no clock will show is the last one.
pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A time before 1970 is 1970: only past or not matters.
pub(super) fn unix_time(seconds: i64) -> UnixTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
