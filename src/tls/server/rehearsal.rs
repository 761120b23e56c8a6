//! What a handshake would do, told without one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::policy::Policy;
use super::{ServerTls, refused_by};
use crate::config::{Files, Outcome};
use crate::identity::{AnchorName, CertificateNames, Fingerprint, PeerIdentity, canonical_dns};
use crate::tls::bundle::Bundle;
use crate::tls::diagnosis::{Judge, Objection};
use crate::tls::handshake::{Evidence, LetIn, NotAccepted, RefusedHandshake, VerifiedChain};
use crate::tls::pem;
use crate::tls::refusal::Refusal;
use crate::tls::revocation::{Lookup, Note};
use crate::tls::trust::Trust;
use crate::tls::trust_path::TrustPath;

/// What a handshake would do.
///
/// That the client holds the key of its leaf is taken for granted: whoever
/// relies on the identity in here must say so.
#[derive(Debug)]
pub struct Rehearsal {
    /// The name that was asked for, in the form in which names are compared.
    pub server_name: Option<String>,
    /// What the certificate says of itself that the client would be shown.
    pub shown: Option<CertificateNames>,
    /// What client certificates are checked against, and whether one is
    /// demanded; `None`: they are not asked for.
    pub trust: Option<(Arc<Bundle>, bool)>,
    /// The paths that were found, in the order in which they were tried.
    pub paths: Vec<TriedPath>,
    /// Why revocation lists would have refused the client, in words, where the
    /// bundle does not act on them.
    pub would_refuse: Option<String>,
    /// Why the client would be nobody, where it would be let in although its
    /// certificate is missing or not accepted.
    pub not_accepted: Option<NotAccepted>,
    /// Who the client would be; `None`: anonymous.
    pub outcome: Result<Option<RehearsedPeer>, RefusedHandshake>,
}

/// A client whose chain is good.
#[derive(Debug)]
pub struct RehearsedPeer {
    /// What its leaf says of it.
    pub identity: PeerIdentity,
    /// What its chain rests on.
    pub anchor: Arc<AnchorName>,
}

/// A path from a leaf to an anchor whose signatures are in order.
#[derive(Clone, Debug)]
pub struct TriedPath {
    /// Who issued the leaf, then who issued that, up to the anchor: RFC 4514.
    pub issuers: Vec<String>,
    /// SHA-256 of the anchor's certificate.
    pub anchor: Fingerprint,
    /// The last second at which every certificate of it is valid, the anchor
    /// included, in Unix time.
    pub not_after: i64,
    /// What the revocation lists say of its certificates, the leaf first.
    pub lookups: Vec<Lookup>,
    /// Why it does not stand, in words.
    pub fault: Option<String>,
}

impl ServerTls {
    /// Says what a handshake at `now` would do with a client that asks for
    /// `server_name` and presents `chain`, the leaf first, if it is asked to;
    /// empty: it has none.
    pub fn rehearse(
        &self,
        server_name: Option<&str>,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Rehearsal {
        let server_name = server_name.map(canonical_dns).map(Cow::into_owned);
        let candidates = self.certificates.candidates(server_name.as_deref());
        let shown = candidates.first().and_then(|key| key.cert.first());
        let mut rehearsal = Rehearsal {
            shown: shown.and_then(|leaf| CertificateNames::read(leaf).ok()),
            trust: None,
            paths: Vec::new(),
            would_refuse: None,
            not_accepted: None,
            outcome: Ok(None),
            server_name,
        };
        let name = rehearsal.server_name.as_deref();
        match self
            .place_of(name)
            .and_then(|place| self.policies.get(place))
        {
            None => {
                let cause = self.unknown_name(name);
                rehearsal.outcome = Err(RefusedHandshake::early(Refusal::UnknownName, cause));
            }
            Some(policy) => {
                if let Some(trust) = &policy.trust {
                    rehearsal.judge((policy, trust), chain, now);
                }
            }
        }
        if let Err(refused) = &mut rehearsal.outcome {
            refused.server_name.clone_from(&rehearsal.server_name);
        }
        rehearsal
    }
}

impl Rehearsal {
    fn judge(
        &mut self,
        (policy, trust): (&Policy, &Trust),
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) {
        self.trust = Some((Arc::clone(&trust.bundle), trust.required));
        let Some((leaf, intermediates)) = chain.split_first() else {
            if trust.required {
                let refused = refused_by(&rustls::Error::NoCertificatesPresented);
                self.is_not_accepted(policy, refused);
            }
            return;
        };
        let paths: RefCell<Vec<TriedPath>> = RefCell::default();
        let tried = |path: &TrustPath, outcome: Result<(), &webpki::Error>| {
            let cause = outcome.err().cloned().map(Into::into);
            let fault = cause.map(|cause| trust.bundle.explain(chain, cause, now).cause);
            paths
                .borrow_mut()
                .push(TriedPath::of(&trust.bundle, path, fault));
        };
        // Nobody is known to a rehearsal: it says what a first handshake finds.
        let judge = Judge {
            bundle: &trust.bundle,
            limits: &trust.limits,
            peers: None,
        };
        match Objection::or_verdict(judge, (leaf, intermediates), now, &mut 0, &tried) {
            Ok((names, verdict)) => {
                self.would_refuse = verdict.notes.iter().find_map(|note| match note {
                    Note::WouldRefuse { cause, .. } => Some(cause.clone()),
                    Note::MissingList { .. } | Note::StaleList { .. } => None,
                });
                let chain = chain.to_vec();
                let verified = VerifiedChain {
                    names,
                    verdict,
                    chain,
                };
                let (identity, verdict, _) = verified.attest();
                let anchor = verdict.anchor;
                self.outcome = Ok(Some(RehearsedPeer { identity, anchor }));
            }
            Err(objection) => {
                let mut refused = RefusedHandshake::early(objection.reason(), String::new());
                refused.evidence = Box::new(Evidence::of(chain.to_vec(), objection));
                self.is_not_accepted(policy, refused);
            }
        }
        self.paths = paths.into_inner();
    }

    /// Ends in what the listener makes of such clients.
    fn is_not_accepted(&mut self, policy: &Policy, refused: RefusedHandshake) {
        let reason = refused.reason;
        match policy.outcome(reason) {
            Outcome::Alert => self.outcome = Err(refused),
            outcome => {
                self.not_accepted = Some(NotAccepted {
                    let_in: LetIn { reason, outcome },
                    evidence: *refused.evidence,
                });
            }
        }
    }
}

impl TriedPath {
    fn of(bundle: &Bundle, path: &TrustPath, fault: Option<String>) -> Self {
        Self {
            issuers: path.issuers(),
            anchor: *path.anchor(),
            not_after: path.not_after(),
            lookups: bundle.lookups(path),
            fault,
        }
    }
}

/// The chain of a client in a PEM file, the leaf first. A key beside it is not
/// looked at.
///
/// # Errors
///
/// A sentence: the file cannot be read, or holds no certificate.
pub fn client_chain(files: &Files, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::chain(files, path).map_err(|cause| cause.to_string())
}
