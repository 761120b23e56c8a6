//! A trust bundle as it is in force: anchors, revocation lists, and the verdict on a chain.

mod hints;
mod judging;
mod objection;
mod shrinkage;
mod verdict;
mod warning;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};

use super::anchor::{self, Anchor, AnchorUse, ReadAnchor, UnusableAnchor};
use super::cost;
use super::pem;
use super::revocation::{Lookup, Revocation, RevocationListFacts, seconds};
use super::scope::Scope;
use super::trust_path::TrustPath;
use crate::config::{self, CrlCheck, Files, Located, OnCrlFault, Problem};
use crate::identity::Fingerprint;
use crate::telemetry::metrics::ReasonCounts;

pub(super) use judging::Tried;
pub use objection::Objection;
pub use shrinkage::Shrinkage;
pub use verdict::Verdict;
pub use warning::BundleWarning;

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
    /// Whether what the lists say is acted on.
    enforces_lists: bool,
    /// Whether a chain that it has found good is not verified again.
    remembers_chains: bool,
    /// How many would have been refused if it were, by reason. Goes on counting
    /// when the bundle is loaded again.
    would_refuse: Arc<ReasonCounts>,
    scope: Scope,
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
        bundle.enforces_lists = config.enforce_crl;
        bundle.remembers_chains = config.remember_chains;
        bundle.scope = Scope::of(config);
        if let Some(former) = former {
            bundle.would_refuse = Arc::clone(&former.would_refuse);
        }
        let mut problems = Vec::new();
        for ca in &config.ca {
            problems.extend(bundle.add_anchors(files, ca, former));
        }
        let (revocation, findings) = Revocation::load(
            (config, files),
            &bundle.anchors,
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
                    enforced: config.enforce_crl,
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
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            anchors: Vec::new(),
            trust_anchors: Vec::new(),
            places: HashMap::new(),
            revocation: Revocation::none(),
            enforces_lists: true,
            remembers_chains: true,
            would_refuse: Arc::default(),
            scope: Scope::default(),
            subjects: Vec::new(),
            warnings: Vec::new(),
            algorithms: cost::algorithms(),
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

    /// Whether a chain that it has found good is not verified again.
    pub(super) fn remembers_chains(&self) -> bool {
        self.remembers_chains
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
        lists.map(RevocationListFacts::of)
    }

    /// What its revocation lists say of the certificates of a path.
    pub(super) fn lookups(&self, path: &TrustPath) -> Vec<Lookup> {
        self.revocation.lookups(path)
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

    /// Counts somebody who was let in by `verdict`, if that was only because
    /// revocation lists are not acted on.
    pub(super) fn note_unenforced(&self, verdict: &Verdict) {
        if let Some(reason) = verdict.would_refuse() {
            self.would_refuse.add(reason.code());
        }
    }

    /// How many would have been refused if revocation lists were acted on, by reason.
    pub fn would_refuse(&self) -> &Arc<ReasonCounts> {
        &self.would_refuse
    }

    pub(super) fn revocation(&self) -> &Revocation {
        &self.revocation
    }
}

/// What to do about a file that cannot be read.
const CORRECT: &str = "correct the file, or take it out of the bundle";

#[cfg(test)]
mod tests;
