//! Loads the revocation lists of a bundle, and holds each against the anchors of its issuer's name.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::{HeldList, Revocation, RevocationList, Rules, Signature};
use crate::config::{self, Files, Problem};
use crate::identity::Fingerprint;
use crate::tls::anchor::Anchor;
use crate::tls::bundle::BundleWarning;
use crate::tls::pem;

/// What came of loading lists, beside the lists.
#[derive(Default)]
pub(in crate::tls) struct Findings {
    pub(in crate::tls) problems: Vec<Problem>,
    pub(in crate::tls) warnings: Vec<BundleWarning>,
}

/// The lists that are at hand, by the digests of their DER.
struct Known<'f> {
    /// Added already.
    here: HashSet<Fingerprint>,
    /// Of the former bundle.
    before: HashMap<Fingerprint, &'f Arc<RevocationList>>,
}

impl<'f> Known<'f> {
    fn of(former: Option<&'f Revocation>) -> Self {
        let lists = former.into_iter().flat_map(|former| &former.lists);
        Self {
            here: HashSet::new(),
            before: lists
                .map(|held| (*held.list.digest(), &held.list))
                .collect(),
        }
    }
}

impl Revocation {
    /// Loads the lists that a bundle names. Those that `former` has, byte for
    /// byte, are the same again, with what is known of their signatures.
    pub(in crate::tls) fn load(
        (config, files): (&config::TrustBundle, &Files),
        anchors: &[Anchor],
        former: Option<&Self>,
    ) -> (Self, Findings) {
        let mut revocation = Self {
            bundle: config.name.clone(),
            rules: (!config.crl.is_empty()).then_some(Rules {
                check: config.crl_check,
                missing: config.crl_missing,
                stale: config.crl_stale,
            }),
            told: former
                .map(|former| Arc::clone(&former.told))
                .unwrap_or_default(),
            ..Self::none()
        };
        let mut findings = Findings::default();
        let mut known = Known::of(former);
        for crl in &config.crl {
            for cause in revocation.add_all(files, &crl.value, &mut known) {
                let what = format!("trust.{}: {cause}", config.name);
                findings.problems.push(problem(crl.place, what));
            }
        }
        revocation.lists.sort_by(|a, b| a.list.order(&b.list));
        let mut named: HashMap<&[u8], Vec<&Anchor>> = HashMap::new();
        for anchor in anchors {
            named.entry(&anchor.issuer.name).or_default().push(anchor);
        }
        for held in &revocation.lists {
            let namesakes = named.get(held.list.issuer());
            match revocation.check_signer(held, namesakes.map_or(&[], Vec::as_slice)) {
                Ok(warning) => findings.warnings.extend(warning),
                Err(cause) => {
                    let source = held.source.display();
                    let what = format!("trust.{}: {source} {cause}", config.name);
                    findings
                        .problems
                        .push(problem(place_of(config, held), what));
                }
            }
        }
        (revocation, findings)
    }

    /// Adds the lists of a file or a directory, or says why some cannot be used.
    fn add_all(&mut self, files: &Files, path: &Path, known: &mut Known<'_>) -> Vec<String> {
        let found = match pem::files_of(files, path) {
            Ok(found) => found,
            Err(cause) => return vec![cause.to_string()],
        };
        if found.is_empty() {
            return vec![format!("{} holds no revocation list", path.display())];
        }
        let mut causes = Vec::new();
        for file in found.iter() {
            match pem::revocation_lists(files, file) {
                Ok(lists) => {
                    for der in lists {
                        causes.extend(self.add(&der, file, known).err());
                    }
                }
                Err(cause) => causes.push(cause.to_string()),
            }
        }
        causes
    }

    fn add(&mut self, der: &[u8], file: &Path, known: &mut Known<'_>) -> Result<(), String> {
        let digest = Fingerprint::of(der);
        if known.here.contains(&digest) {
            return Ok(());
        }
        let list = match known.before.get(&digest) {
            Some(list) => Arc::clone(list),
            None => Arc::new(RevocationList::read(der).map_err(|cause| {
                format!(
                    "{} is not readable as a revocation list: {cause}",
                    file.display()
                )
            })?),
        };
        known.here.insert(digest);
        self.lists.push(HeldList {
            list,
            source: file.to_owned(),
        });
        Ok(())
    }

    /// A list in the name of an anchor must be by that anchor: else nobody
    /// would be found in it, and the operator would think otherwise.
    /// `namesakes`: the anchors of that name.
    fn check_signer(
        &self,
        held: &HeldList,
        namesakes: &[&Anchor],
    ) -> Result<Option<BundleWarning>, String> {
        let list = &held.list;
        let who = list.issuer_text();
        let outcomes: Vec<_> = namesakes
            .iter()
            .map(|anchor| {
                let issuer = &anchor.issuer;
                (
                    list.signature_by(&issuer.key, self.algorithms),
                    issuer.may_sign_lists,
                )
            })
            .collect();
        let any = |outcome| outcomes.contains(&outcome);
        if outcomes.is_empty() {
            return Ok(Some(BundleWarning::ListCoversNoAnchor {
                issuer: who.to_owned(),
                source: held.source.clone(),
            }));
        }
        if any((Signature::Good, true)) {
            Ok(None)
        } else if any((Signature::Good, false)) {
            Err(format!(
                "is signed by {who}, which may not sign revocation lists (its keyUsage lacks cRLSign)"
            ))
        } else if outcomes
            .iter()
            .any(|(found, _)| *found == Signature::Another)
        {
            Err(format!("is not signed by {who}: its key is another"))
        } else {
            Err(format!(
                "is signed in a way that is not accepted, such as with SHA-1; have {who} sign it with SHA-256"
            ))
        }
    }
}

/// Where the config names the file or directory that a list came from.
fn place_of(config: &config::TrustBundle, held: &HeldList) -> config::Place {
    let named = config
        .crl
        .iter()
        .find(|crl| held.source.starts_with(&crl.value));
    named.map_or(config.place, |crl| crl.place)
}

fn problem(place: config::Place, what: String) -> Problem {
    Problem::at(place, what)
        .causes("a revoked certificate would be taken for good")
        .remedy("correct the file, or take it out of the bundle")
}
