//! A trust bundle as it is in force: anchors, revocation lists, and the verdict on a chain.

mod shrinkage;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::anchor::{self, Anchor, AnchorUse, ReadAnchor, UnusableAnchor};
use super::pem;
use super::revocation::{Note, Revocation, seconds, unix_time};
use super::trust_path::TrustPath;
use crate::config::{self, CrlCheck, Files, Located, OnCrlFault, Problem};
use crate::identity::Fingerprint;

pub use shrinkage::Shrinkage;

/// The most certificates that a peer may send. Nobody's chain is longer, and
/// the search for a path grows much faster than their number: five intermediates
/// of one name take a millisecond at worst, nine half a second.
const MAX_CHAIN: usize = 6;

/// That a chain was found good, until when, and what it rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// When it ceases to be valid: the earliest `notAfter` of the path that was
    /// found, the anchor's included, in seconds since 1970.
    pub good_until: i64,
    /// Until when a session may go on with it: `good_until`, or the earliest
    /// `nextUpdate` of the revocation lists that it rests on, in seconds since
    /// 1970. Lists that may be stale do not end a session.
    pub session_until: i64,
    /// The path. Ask a later bundle by [`Bundle::judge`] whether it still stands.
    pub path: Arc<TrustPath>,
    /// What was let pass although no current revocation list cleared it, where
    /// the bundle says `log`. The log was told.
    pub notes: Vec<Note>,
}

/// Something about a bundle that an operator should know. It is in force nevertheless.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BundleWarning {
    /// No anchor has the name of a revocation list's issuer.
    ListCoversNoAnchor {
        /// The list's issuer, as an RFC 4514 string.
        issuer: String,
        /// The file.
        source: PathBuf,
    },
    /// Every certificate below an anchor needs a revocation list of its issuer
    /// (`crl_missing = "reject"`), and the anchor has none.
    AnchorWithoutList {
        /// The anchor, as an RFC 4514 string.
        subject: String,
    },
    /// An anchor has signed itself with a hash that is broken. Nobody verifies
    /// that signature; but what it issues in the same way is refused.
    WeakSelfSignature {
        /// The anchor, as an RFC 4514 string.
        subject: String,
        /// The hash's name.
        hash: &'static str,
    },
}

impl fmt::Display for BundleWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListCoversNoAnchor { issuer, source } => write!(
                f,
                "the revocation list of {issuer} in {} covers no anchor of the bundle; it counts only for certificates that an intermediate with this very name issued",
                source.display()
            ),
            Self::AnchorWithoutList { subject } => write!(
                f,
                "no revocation list covers the anchor {subject}, so everybody below it is refused; add its list, or write crl_missing = \"allow\" or \"log\""
            ),
            Self::WeakSelfSignature { subject, hash } => write!(
                f,
                "the anchor {subject} has signed itself with {hash}; it is in force, but certificates that it signs in that way are refused"
            ),
        }
    }
}

/// A revocation list of a bundle, for display.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationListFacts {
    /// Its issuer, as an RFC 4514 string.
    pub issuer: String,
    /// Its number (RFC 5280 §5.2.3): decimal, or hex after `0x` where it has
    /// more than 128 bits.
    pub number: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub this_update: i64,
    /// From when on it is stale, in seconds since 1970.
    pub next_update: i64,
    /// How many certificates it names.
    pub entries: usize,
    /// The file it came from.
    pub source: PathBuf,
}

/// A named set of trust anchors and the revocation lists that go with it.
///
/// Immutable but for counters; a change on disk makes another one.
#[derive(Debug)]
pub struct Bundle {
    /// No other bundle of the process has it.
    id: u64,
    name: String,
    anchors: Vec<Anchor>,
    /// In the order of `anchors`.
    trust_anchors: Vec<TrustAnchor<'static>>,
    /// Where in `anchors` each is.
    places: HashMap<Fingerprint, usize>,
    revocation: Revocation,
    subjects: Vec<DistinguishedName>,
    warnings: Vec<BundleWarning>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl Bundle {
    /// Loads the files of a bundle, or says of each what is wrong with it.
    ///
    /// What `former`, the bundle of the same name that is in force, knows is
    /// carried over: the use of each anchor, and revocation lists that are the
    /// same byte for byte.
    pub(super) fn load(
        config: &config::TrustBundle,
        files: &Files,
        former: Option<&Self>,
    ) -> Result<Self, Vec<Problem>> {
        let mut bundle = Self::empty(&config.name);
        let mut problems = Vec::new();
        for ca in &config.ca {
            problems.extend(bundle.add_anchors(files, ca, former));
        }
        let (revocation, findings) = Revocation::load(
            (config, files),
            &bundle.anchors,
            bundle.algorithms,
            former.map(|former| &former.revocation),
        );
        problems.extend(findings.problems);
        bundle.revocation = revocation;
        bundle.warnings.extend(findings.warnings);
        bundle.warn_of_missing_lists(config);
        if problems.is_empty() {
            Ok(bundle)
        } else {
            Err(problems)
        }
    }

    fn warn_of_missing_lists(&mut self, config: &config::TrustBundle) {
        let each_needs_one = !config.crl.is_empty()
            && config.crl_check == CrlCheck::Chain
            && config.crl_missing == OnCrlFault::Reject;
        if each_needs_one {
            let anchors = self.anchors.iter();
            let bare = anchors.filter(|anchor| !self.revocation.covers(&anchor.issuer));
            self.warnings
                .extend(bare.map(|anchor| BundleWarning::AnchorWithoutList {
                    subject: anchor.subject.clone(),
                }));
        }
    }

    /// The machine's own authorities. What cannot be an anchor here is passed
    /// over: these files are not the operator's to correct.
    pub(super) fn of_system(certificates: &[CertificateDer<'static>]) -> Self {
        let mut bundle = Self::empty("system");
        for certificate in certificates {
            if let Err((subject, fault)) = bundle.add_anchor(certificate, None) {
                let subject = subject.unwrap_or_default();
                tracing::debug!("an authority of this machine ({subject}) {fault}");
            }
        }
        bundle
    }

    fn empty(name: &str) -> Self {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            anchors: Vec::new(),
            trust_anchors: Vec::new(),
            places: HashMap::new(),
            revocation: Revocation::none(algorithms),
            subjects: Vec::new(),
            warnings: Vec::new(),
            algorithms,
        }
    }

    /// Adds the anchors of a file or a directory; every one that cannot be used is a problem.
    fn add_anchors(
        &mut self,
        files: &Files,
        ca: &Located<PathBuf>,
        former: Option<&Self>,
    ) -> Vec<Problem> {
        let (path, place) = (&ca.value, ca.place);
        let found = match pem::files_of(files, path) {
            Ok(found) => found,
            Err(cause) => return vec![self.problem(place, &cause.to_string(), CORRECT)],
        };
        if found.is_empty() {
            let cause = format!("{} holds no certificate", path.display());
            return vec![self.problem(place, &cause, CORRECT)];
        }
        let mut problems = Vec::new();
        for file in found.iter() {
            let certificates = match pem::certificates(files, file) {
                Ok(certificates) => certificates,
                Err(cause) => {
                    problems.push(self.problem(place, &cause.to_string(), CORRECT));
                    continue;
                }
            };
            for (index, der) in certificates.iter().enumerate() {
                if let Err((subject, fault)) = self.add_anchor(der, former) {
                    let who = subject.map(|subject| format!(" ({subject})"));
                    let what = format!(
                        "certificate {} of {}{} {fault}",
                        index + 1,
                        file.display(),
                        who.unwrap_or_default()
                    );
                    problems.push(self.problem(place, &what, fault.remedy()));
                }
            }
        }
        problems
    }

    fn add_anchor(
        &mut self,
        der: &CertificateDer<'_>,
        former: Option<&Self>,
    ) -> Result<(), UnusableAnchor> {
        let ReadAnchor {
            mut anchor,
            trust_anchor,
            weak_signature,
        } = anchor::read(der, self.algorithms)?;
        if self.places.contains_key(&anchor.fingerprint) {
            return Ok(());
        }
        if let Some(known) = former.and_then(|former| former.anchor(&anchor.fingerprint)) {
            anchor.in_use = Arc::clone(&known.in_use);
        }
        if let Some(hash) = weak_signature {
            self.warnings.push(BundleWarning::WeakSelfSignature {
                subject: anchor.subject.clone(),
                hash,
            });
        }
        self.subjects
            .push(DistinguishedName::in_sequence(&trust_anchor.subject));
        self.trust_anchors.push(trust_anchor);
        self.places.insert(anchor.fingerprint, self.anchors.len());
        self.anchors.push(anchor);
        Ok(())
    }

    fn problem(&self, place: config::Place, cause: &str, remedy: &str) -> Problem {
        Problem::at(place, format!("trust.{}: {cause}", self.name))
            .causes("peers that chain to it would be refused")
            .remedy(remedy)
    }

    /// Tells it from every other bundle of the process, whatever its name.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its anchors.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// The anchor with this fingerprint.
    pub fn anchor(&self, fingerprint: &Fingerprint) -> Option<&Anchor> {
        self.anchors.get(*self.places.get(fingerprint)?)
    }

    /// How many revocation lists it has.
    pub fn revocation_list_count(&self) -> usize {
        self.revocation.lists().len()
    }

    /// Its revocation lists, by issuer.
    pub fn revocation_lists(&self) -> impl Iterator<Item = RevocationListFacts> {
        let lists = self.revocation.lists().iter();
        lists.map(|held| RevocationListFacts {
            issuer: held.list.issuer_text().to_owned(),
            number: held.list.number(),
            this_update: held.list.this_update(),
            next_update: held.list.next_update(),
            entries: held.list.entries(),
            source: held.source.clone(),
        })
    }

    /// What an operator should know about it.
    pub fn warnings(&self) -> &[BundleWarning] {
        &self.warnings
    }

    /// What has become less, compared with `former`.
    pub fn shrinkage_from(&self, former: &Self, now: UnixTime) -> Shrinkage {
        Shrinkage::between(former, self, now)
    }

    /// Counts a handshake at `now` for the anchor of `path`.
    pub fn note_use(&self, path: &TrustPath, now: UnixTime) {
        if let Some(anchor) = self.anchor(path.anchor()) {
            AnchorUse::note(&anchor.in_use, seconds(now));
        }
    }

    pub(super) fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// The names sent to clients as a hint which certificate to present.
    pub(super) fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    /// Judges a peer's chain at `now`: one rule for clients and for upstreams,
    /// which `usage` tells apart. Whose names the leaf carries is not judged here.
    ///
    /// A path that is revoked, or that an anchor out of its validity ends, is
    /// passed over for another one, if there is another one.
    ///
    /// # Errors
    ///
    /// What is wrong with the path that came furthest.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<Verdict, webpki::Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let found = Cell::new(None);
        let accept = |candidate: &VerifiedPath<'_>| {
            let path = TrustPath::of(candidate, self.anchor_of(candidate)?)?;
            found.set(Some(self.stands(&Arc::new(path), now)?));
            Ok(())
        };
        EndEntityCert::try_from(leaf)?.verify_for_usage(
            self.algorithms,
            &self.trust_anchors,
            intermediates,
            now,
            usage,
            None,
            Some(&accept),
        )?;
        // webpki has called `accept`, or there would be no path.
        let verdict: Verdict = found.take().ok_or(webpki::Error::UnknownIssuer)?;
        self.revocation.tell(&verdict.notes, now);
        Ok(verdict)
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
    ) -> Result<Verdict, webpki::Error> {
        if let Ok(verdict) = self.stands(path, now) {
            self.revocation.tell(&verdict.notes, now);
            return Ok(verdict);
        }
        let (leaf, intermediates) = chain.split_first().ok_or(webpki::Error::BadDer)?;
        self.verify(leaf, intermediates, usage, now)
    }

    /// Whether a path whose signatures are in order ends here, is within its
    /// dates and not revoked.
    fn stands(&self, path: &Arc<TrustPath>, now: UnixTime) -> Result<Verdict, webpki::Error> {
        if !self.places.contains_key(path.anchor()) {
            return Err(webpki::Error::UnknownIssuer);
        }
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
        let clearance = self.revocation.check(path, now)?;
        Ok(Verdict {
            good_until: path.not_after(),
            session_until: path.not_after().min(clearance.until),
            path: Arc::clone(path),
            notes: clearance.notes,
        })
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

/// What to do about a file that cannot be read.
const CORRECT: &str = "correct the file, or take it out of the bundle";

#[cfg(test)]
mod tests;
