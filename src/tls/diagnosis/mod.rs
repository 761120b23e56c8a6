//! Why a client's certificate is not accepted: who it says it is, which step
//! failed, and how near it came.
//!
//! A diagnosis is made only of what was refused, from the chain and the bundle
//! as they were. It verifies no signature and takes no path that the
//! verification has not taken, so it costs less than that did. Nothing in it is
//! to be believed of the client; all that comes from the chain has a bound.

mod causes;
pub(super) mod presented;
mod rules;

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};

pub use self::presented::Presented;
use self::presented::{Link, bounded, climb};
use super::bundle::{self, Bundle, Tried, Verdict};
use super::cost::{self, TooCostly};
use super::peers::{KnownChain, Peers};
use super::refusal::Refusal;
use crate::config::ChainLimits;
use crate::identity::{CertificateNames, UnreadableCertificate};

/// Why a client's certificate is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnosis {
    /// The reason, of the one taxonomy.
    pub reason: Refusal,
    /// Which step failed.
    pub step: Step,
    /// What is wrong, in words.
    pub cause: String,
    /// What would nearly have made it pass, where there is such a thing.
    pub nearest_miss: Option<String>,
    /// What to do about it.
    pub remedy: String,
    /// The file of the revocation list that this rests on, for the operator alone.
    pub list: Option<String>,
    /// The trust bundle that was asked.
    pub bundle: String,
    /// What the leaf says of itself.
    pub certificate: Presented,
    /// How many certificates were sent.
    pub sent: usize,
}

/// The steps in which a certificate is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A path of certificates to an anchor is looked for.
    Path,
    /// What it costs to judge the chain.
    Cost,
    /// The rules that authorities set for what is below them.
    Constraints,
    /// The leaf's names.
    Names,
    /// What the leaf may be used for.
    Purpose,
    /// The certificates are read.
    Reading,
    /// Revocation lists are asked.
    Revocation,
    /// The signature of each certificate by the one above it.
    Signature,
    /// Whether the bundle vouches for the leaf.
    Scope,
    /// The dates.
    Validity,
}

impl Step {
    /// The stable code in logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Constraints => "constraints",
            Self::Cost => "cost",
            Self::Names => "names",
            Self::Purpose => "purpose",
            Self::Reading => "reading",
            Self::Revocation => "revocation",
            Self::Signature => "signature",
            Self::Scope => "scope",
            Self::Validity => "validity",
        }
    }
}

/// A chain that was not accepted, and what of it is needed to say why.
#[derive(Debug)]
pub(super) struct Objection {
    bundle: Arc<Bundle>,
    fault: Fault,
    at: UnixTime,
}

/// Who presented a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Presenter {
    Client,
    Upstream,
}

impl Presenter {
    fn article(self) -> &'static str {
        match self {
            Self::Client => "a",
            Self::Upstream => "an",
        }
    }
}

impl fmt::Display for Presenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        })
    }
}

/// What is wrong with a chain.
#[derive(Debug)]
enum Fault {
    Chain(bundle::Objection),
    Cost(TooCostly),
    Names(UnreadableCertificate),
}

/// By what a client's chain is judged.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    /// The trust bundle.
    pub(super) bundle: &'a Arc<Bundle>,
    /// What a chain may cost.
    pub(super) limits: &'a ChainLimits,
    /// Where the bundle may have noted that it has found this very chain good;
    /// `None`: the chain is judged as one that is new. Where it has two paths, that
    /// may be another one than the one that is noted.
    pub(super) peers: Option<&'a Peers>,
}

impl Objection {
    /// Judges a client's chain as a handshake at `now` does, within `limits`,
    /// and without a word to the log; `tried` is told of each path that was
    /// found. `spent` counts the signatures that were verified in the handshake.
    pub(super) fn or_verdict(
        by: Judge<'_>,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
        spent: &mut u32,
        tried: &Tried<'_>,
    ) -> Result<(CertificateNames, Verdict), Self> {
        let judged = cost::within(by.limits, chain, spent, || {
            // Only now: what is not within the limits is not even looked up.
            let known = by
                .peers
                .and_then(|peers| peers.known_chain(by.bundle, chain));
            judge((by.bundle, known.as_ref()), chain, now, tried)
        });
        let judged = judged.unwrap_or_else(|cause| Err(Fault::Cost(cause)));
        judged.map_err(|fault| Self {
            bundle: Arc::clone(by.bundle),
            fault,
            at: now,
        })
    }

    pub(super) fn reason(&self) -> Refusal {
        self.fault.reason()
    }

    /// The limit of the listener that struck, if it is one.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match &self.fault {
            Fault::Cost(cause) => Some(cause.option()),
            Fault::Chain(_) | Fault::Names(_) => None,
        }
    }

    /// Says why, of the chain that was judged.
    pub(super) fn diagnose(&self, chain: &[CertificateDer<'_>]) -> Diagnosis {
        diagnosis(
            &self.bundle,
            (Presenter::Client, chain),
            &self.fault,
            self.at,
        )
    }
}

impl Fault {
    fn reason(&self) -> Refusal {
        match self {
            Self::Chain(objection) => objection.reason(),
            Self::Cost(_) => Refusal::ChainTooCostly,
            Self::Names(_) => Refusal::Malformed,
        }
    }
}

impl Bundle {
    /// Judges a client's chain, the leaf first, as a handshake at `now` does,
    /// apart from the proof that it holds the leaf's key.
    ///
    /// # Errors
    ///
    /// Why it would be refused.
    pub fn diagnose(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(CertificateNames, Verdict), Box<Diagnosis>> {
        let judged = match chain.split_first() {
            Some(chain) => judge((self, None), chain, now, &|_, _| {}),
            None => Err(Fault::Chain(webpki::Error::BadDer.into())),
        };
        judged.map_err(|fault| Box::new(diagnosis(self, (Presenter::Client, chain), &fault, now)))
    }

    /// Says why [`Self::verify`] has refused a client's chain at `now`.
    pub(super) fn explain(
        &self,
        chain: &[CertificateDer<'_>],
        cause: bundle::Objection,
        now: UnixTime,
    ) -> Diagnosis {
        let chain = (Presenter::Client, chain);
        diagnosis(self, chain, &Fault::Chain(cause), now)
    }

    /// The same for an upstream's chain.
    pub(super) fn explain_upstream(
        &self,
        chain: &[CertificateDer<'_>],
        cause: bundle::Objection,
        now: UnixTime,
    ) -> Diagnosis {
        let chain = (Presenter::Upstream, chain);
        diagnosis(self, chain, &Fault::Chain(cause), now)
    }
}

fn judge(
    (bundle, known): (&Bundle, Option<&KnownChain>),
    (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    now: UnixTime,
    tried: &Tried<'_>,
) -> Result<(CertificateNames, Verdict), Fault> {
    let path = known.map(|known| &known.path);
    let verdict = bundle.search_client((leaf, intermediates), path, now, tried);
    let verdict = verdict.map_err(Fault::Chain)?;
    let names = match known {
        Some(known) => known.names.clone(),
        // A verified chain whose names cannot be read has no identity to tell.
        None => CertificateNames::read(leaf).map_err(Fault::Names)?,
    };
    Ok((names, verdict))
}

fn diagnosis(
    bundle: &Bundle,
    (by, chain): (Presenter, &[CertificateDer<'_>]),
    fault: &Fault,
    now: UnixTime,
) -> Diagnosis {
    let links: Vec<_> = chain
        .iter()
        .take(MOST_READ)
        .map_while(|der| Link::read(der))
        .collect();
    let path = climb(&links);
    let case = causes::Case {
        bundle,
        path: &path,
        sent: chain.len(),
        by,
        now,
    };
    let found = match fault {
        Fault::Chain(bundle::Objection::Path(cause)) => case.of_chain(cause),
        Fault::Chain(bundle::Objection::Scope(fault)) => causes::of_scope(fault),
        Fault::Cost(cause) => causes::of_cost(*cause),
        Fault::Names(cause) => causes::of_names(cause),
    };
    let reason = fault.reason();
    let remedy = found.remedy.unwrap_or_else(|| reason.remedy().to_owned());
    let leaf = chain.first().map(|der| &**der).unwrap_or_default();
    Diagnosis {
        reason,
        step: found.step,
        cause: bounded(&found.cause, LONGEST_TEXT),
        nearest_miss: found.nearest_miss.map(|text| bounded(&text, LONGEST_TEXT)),
        remedy: bounded(&remedy, LONGEST_TEXT),
        list: found.list.map(|path| bounded(&path, LONGEST_TEXT)),
        bundle: bundle.name().to_owned(),
        certificate: Presented::read(leaf),
        sent: chain.len(),
    }
}

/// More certificates are not looked at: as many as a chain may have.
const MOST_READ: usize = 6;
/// In bytes; two names and what is said of them.
const LONGEST_TEXT: usize = 1536;

#[cfg(test)]
mod tests;
