//! Loads the revocation lists of a bundle, and holds each against the anchors of its issuer's name.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::SignatureVerificationAlgorithm;

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

impl Revocation {
    /// Loads the lists that a bundle names. Those that `former` has, byte for
    /// byte, are the same again, with what is known of their signatures.
    pub(in crate::tls) fn load(
        (config, files): (&config::TrustBundle, &Files),
        anchors: &[Anchor],
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
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
            ..Self::none(algorithms)
        };
        let mut findings = Findings::default();
        for crl in &config.crl {
            for cause in revocation.add_all(files, &crl.value, former) {
                let what = format!("trust.{}: {cause}", config.name);
                findings.problems.push(problem(crl.place, what));
            }
        }
        revocation.lists.sort_by(|a, b| a.list.order(&b.list));
        for held in &revocation.lists {
            match revocation.check_signer(held, anchors) {
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
    fn add_all(&mut self, files: &Files, path: &Path, former: Option<&Self>) -> Vec<String> {
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
                        causes.extend(self.add(&der, file, former).err());
                    }
                }
                Err(cause) => causes.push(cause.to_string()),
            }
        }
        causes
    }

    fn add(&mut self, der: &[u8], file: &Path, former: Option<&Self>) -> Result<(), String> {
        let digest = Fingerprint::of(der);
        let is_this = |held: &&HeldList| *held.list.digest() == digest;
        if self.lists.iter().any(|held| is_this(&held)) {
            return Ok(());
        }
        let known = former.and_then(|former| former.lists.iter().find(is_this));
        let list = match known {
            Some(held) => Arc::clone(&held.list),
            None => Arc::new(RevocationList::read(der).map_err(|cause| {
                format!(
                    "{} is not readable as a revocation list: {cause}",
                    file.display()
                )
            })?),
        };
        self.lists.push(HeldList {
            list,
            source: file.to_owned(),
        });
        Ok(())
    }

    /// A list in the name of an anchor must be by that anchor: else nobody
    /// would be found in it, and the operator would think otherwise.
    fn check_signer(
        &self,
        held: &HeldList,
        anchors: &[Anchor],
    ) -> Result<Option<BundleWarning>, String> {
        let list = &held.list;
        let who = list.issuer_text();
        let outcomes: Vec<_> = anchors
            .iter()
            .filter(|anchor| *anchor.issuer.name == *list.issuer())
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
