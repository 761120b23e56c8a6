//! A trust bundle as it is in force: anchors, revocation lists, and the verdict on a chain.

use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;

use super::pem;
use super::words;
use crate::config::{self, Files, Problem};
use crate::identity::{CertificateNames, Fingerprint};

/// The most certificates that a peer may send. Nobody's chain is longer, and
/// each costs a parse.
const MAX_CHAIN: usize = 10;

/// One trust anchor, as the operator knows it.
#[derive(Debug)]
pub struct Anchor {
    /// RFC 4514.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// What a chain that was found good rests on.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// When it ceases to be valid: the earliest `notAfter` of the path that was
    /// found, the anchor's included, in seconds since 1970.
    pub good_until: i64,
    /// Until when a session may go on with it: `good_until`, or the earliest
    /// `nextUpdate` of the revocation lists that it rests on, in seconds since 1970.
    pub session_until: i64,
}

/// A named set of trust anchors and the revocation lists that go with it.
///
/// Immutable; a change on disk makes another one.
#[derive(Debug)]
pub struct Bundle {
    name: String,
    anchors: Vec<Anchor>,
    /// In the order of `anchors`.
    trust_anchors: Vec<TrustAnchor<'static>>,
    revocation_lists: Vec<CertRevocationList<'static>>,
    subjects: Vec<DistinguishedName>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl Bundle {
    /// Loads the files of a bundle, or says of each what is wrong with it.
    ///
    /// `former` is the same bundle as it was, with other files.
    pub(super) fn load(
        config: &config::TrustBundle,
        files: &Files,
        _former: Option<&Self>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut bundle = Self::empty(&config.name);
        for ca in &config.ca {
            if let Err(cause) = bundle.add_anchors(files, &ca.value) {
                problems.push(bundle.problem(
                    ca.place,
                    &cause,
                    "peers that chain to it would be refused",
                ));
            }
        }
        for crl in &config.crl {
            if let Err(cause) = bundle.add_revocation_lists(files, &crl.value) {
                problems.push(bundle.problem(
                    crl.place,
                    &cause,
                    "a revoked certificate would be taken for good",
                ));
            }
        }
        if problems.is_empty() {
            Ok(bundle)
        } else {
            Err(problems)
        }
    }

    /// The machine's own authorities. What cannot be an anchor here is passed
    /// over: these files are not the operator's to correct.
    pub(super) fn of_system(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut bundle = Self::empty("system");
        for certificate in certificates {
            if let Err(cause) = bundle.add_anchor(&certificate) {
                tracing::debug!("an authority of this machine {cause}");
            }
        }
        bundle
    }

    fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            anchors: Vec::new(),
            trust_anchors: Vec::new(),
            revocation_lists: Vec::new(),
            subjects: Vec::new(),
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .all,
        }
    }

    fn problem(&self, place: config::Place, cause: &str, consequence: &str) -> Problem {
        Problem::at(place, format!("trust.{}: {cause}", self.name))
            .causes(consequence)
            .remedy("correct the file, or take it out of the bundle")
    }

    fn add_anchors(&mut self, files: &Files, path: &std::path::Path) -> Result<(), String> {
        let before = self.anchors.len();
        for file in pem::files_of(files, path)
            .map_err(|e| e.to_string())?
            .iter()
        {
            let certificates = pem::certificates(files, file).map_err(|e| e.to_string())?;
            for (index, der) in certificates.iter().enumerate() {
                self.add_anchor(der).map_err(|cause| {
                    format!("certificate {} of {} {cause}", index + 1, file.display())
                })?;
            }
        }
        if self.anchors.len() == before {
            return Err(format!("{} holds no certificate", path.display()));
        }
        Ok(())
    }

    fn add_anchor(&mut self, der: &CertificateDer<'_>) -> Result<(), String> {
        let names = CertificateNames::read(der).map_err(|e| format!("cannot be used: {e}"))?;
        let who = names.subject();
        // webpki would take any certificate here for an authority: a pinned
        // leaf could then mint identities of its own.
        if !names.is_authority() {
            return Err(format!(
                "({who}) is not an authority (no basicConstraints CA:TRUE), so it cannot be a trust anchor"
            ));
        }
        let anchor = anchor_from_trusted_cert(der)
            .map_err(|e| format!("({who}) cannot be used: {e}"))?
            .to_owned();
        let fingerprint = *names.fingerprint();
        if self.anchors.iter().any(|a| a.fingerprint == fingerprint) {
            return Ok(());
        }
        self.subjects
            .push(DistinguishedName::in_sequence(&anchor.subject));
        self.trust_anchors.push(anchor);
        self.anchors.push(Anchor {
            subject: who.to_owned(),
            fingerprint,
            not_after: names.not_after(),
        });
        Ok(())
    }

    fn add_revocation_lists(
        &mut self,
        files: &Files,
        path: &std::path::Path,
    ) -> Result<(), String> {
        let before = self.revocation_lists.len();
        for file in pem::files_of(files, path)
            .map_err(|e| e.to_string())?
            .iter()
        {
            for der in pem::revocation_lists(files, file).map_err(|e| e.to_string())? {
                let list = OwnedCertRevocationList::from_der(&der).map_err(|e| {
                    format!(
                        "{} is not readable as a revocation list: {}",
                        file.display(),
                        words::of_revocation_list(&e)
                    )
                })?;
                self.revocation_lists.push(list.into());
            }
        }
        if self.revocation_lists.len() == before {
            return Err(format!("{} holds no revocation list", path.display()));
        }
        Ok(())
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its anchors.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// How many revocation lists it has.
    pub fn revocation_list_count(&self) -> usize {
        self.revocation_lists.len()
    }

    /// The names sent to clients as a hint which certificate to present.
    pub(super) fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    /// Judges a peer's chain at `now`: one rule for clients and for upstreams,
    /// which `usage` tells apart. Whose names the leaf carries is not judged here.
    ///
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<Verdict, webpki::Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let lists: Vec<_> = self.revocation_lists.iter().collect();
        // Every certificate of the path needs a list, and a current one: what
        // an operator configured a list for is never let pass unlooked-at.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let leaf_certificate = EndEntityCert::try_from(leaf)?;
        let path = leaf_certificate.verify_for_usage(
            self.algorithms,
            &self.trust_anchors,
            intermediates,
            now,
            usage,
            revocation,
            None,
        )?;
        let anchor_end = self.anchor_end(path.anchor());
        if i64::try_from(now.as_secs()).is_ok_and(|now| now > anchor_end) {
            let end = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                u64::try_from(anchor_end).unwrap_or(0),
            ));
            return Err(webpki::Error::CertExpired {
                time: now,
                not_after: end,
            });
        }
        let good_until = path
            .intermediate_certificates()
            .map(|certificate| certificate.der())
            .chain(std::iter::once(leaf_certificate.der()))
            .try_fold(anchor_end, |end, der| {
                Ok::<_, webpki::Error>(end.min(not_after(&der)?))
            })?;
        Ok(Verdict {
            good_until,
            session_until: good_until,
        })
    }

    /// The end of an anchor's validity; webpki itself does not look at it.
    fn anchor_end(&self, anchor: &TrustAnchor<'_>) -> i64 {
        self.trust_anchors
            .iter()
            .zip(&self.anchors)
            .filter(|(candidate, _)| {
                candidate.subject == anchor.subject
                    && candidate.subject_public_key_info == anchor.subject_public_key_info
            })
            .map(|(_, known)| known.not_after)
            .max()
            .unwrap_or(i64::MIN)
    }
}

/// The end of a certificate's validity, in seconds since 1970. Nothing else in
/// it is judged here: the names of an intermediate are nobody's identity.
fn not_after(der: &[u8]) -> Result<i64, webpki::Error> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    match parser.parse(der) {
        Ok(([], certificate)) => Ok(certificate.validity().not_after.timestamp()),
        _ => Err(webpki::Error::BadDer),
    }
}

#[cfg(test)]
mod tests;
