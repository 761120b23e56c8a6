//! What the anchors of a bundle may vouch for, and whom they do not vouch for.
//!
//! It is asked of every leaf whose chain was found good, whatever found it so: a
//! handshake, a resumed session, or a later bundle that judges an open connection.

use rustls_pki_types::CertificateDer;

use super::trust_path::Facts;
use crate::config;
use crate::identity::{
    AnchorName, Assertable, CertificateNames, NotAMember, TrustDomain, Unassertable,
};

/// What the anchors of one bundle may vouch for.
#[derive(Debug, Default)]
pub(super) struct Scope {
    may_assert: Option<Assertable>,
    trust_domain: Option<TrustDomain>,
}

/// Why a bundle does not vouch for a leaf whose chain leads to an anchor of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{cause}")]
pub struct OutOfScope {
    /// Names what the certificate claims, the bundle, and what that may assert.
    cause: String,
    remedy: String,
}

impl Scope {
    pub(super) fn of(config: &config::TrustBundle) -> Self {
        Self {
            may_assert: config.may_assert.clone(),
            trust_domain: config.spiffe_trust_domain.clone(),
        }
    }

    /// Sees that a leaf with a good chain, which ends at `anchor`, is one that the
    /// bundle of this name vouches for.
    ///
    /// # Errors
    ///
    /// What it claims beyond that.
    pub(super) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        anchor: &AnchorName,
        bundle: &str,
    ) -> Result<(), OutOfScope> {
        if let Some(domain) = &self.trust_domain {
            check_svid(leaf, domain).map_err(|fault| fault.out_of_scope(domain, bundle))?;
        }
        let Some(may_assert) = &self.may_assert else {
            return Ok(());
        };
        let may = format!("trust.{bundle} may only assert {may_assert}");
        let names = CertificateNames::read(leaf).map_err(|cause| {
            let claim = format!("has names that cannot be read ({cause})");
            OutOfScope::new(
                &claim,
                &may,
                "have it issued again, with legal names".to_owned(),
            )
        })?;
        may_assert.check(names, anchor).map_err(|refused| {
            let Unassertable { claim, entry } = refused;
            let remedy = match entry {
                Some(entry) => format!(
                    "have the certificate issued with such names alone, or add {entry} to may_assert of trust.{bundle} if its authorities may vouch for that"
                ),
                None => "have the certificate issued with such names alone".to_owned(),
            };
            OutOfScope::new(&format!("claims {claim}"), &may, remedy)
        })
    }

    /// Whether it has nothing against any leaf.
    pub(super) fn is_open(&self) -> bool {
        self.may_assert.is_none() && self.trust_domain.is_none()
    }
}

impl OutOfScope {
    /// `claim` goes on after "the certificate"; `may` is a sentence.
    fn new(claim: &str, may: &str, remedy: String) -> Self {
        Self {
            cause: format!("the certificate {claim}; its chain is good, but {may}"),
            remedy,
        }
    }

    /// What would make it pass.
    pub(super) fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Why a leaf is no X.509-SVID of a trust domain.
enum NotAnSvid {
    /// It is an authority (X.509-SVID §5.2).
    Authority,
    /// Its key usage is not a leaf's (X.509-SVID §4.3).
    KeyUsage(&'static str),
    Names(NotAMember),
}

/// SPIFFE X.509-SVID §5.2, beyond what RFC 5280 has of every leaf.
fn check_svid(leaf: &CertificateDer<'_>, domain: &TrustDomain) -> Result<(), NotAnSvid> {
    domain.check(leaf).map_err(NotAnSvid::Names)?;
    let unreadable = NotAnSvid::Names(NotAMember::Unreadable);
    // The verifier refuses such a leaf before anybody looks here.
    match CertificateNames::read(leaf) {
        Ok(names) if names.is_authority() => return Err(NotAnSvid::Authority),
        Ok(_) => {}
        Err(_) => return Err(unreadable),
    }
    let facts = Facts::read(leaf).map_err(|_| unreadable)?;
    facts.is_svid_usage().map_err(NotAnSvid::KeyUsage)
}

impl NotAnSvid {
    fn out_of_scope(self, domain: &TrustDomain, bundle: &str) -> OutOfScope {
        let svid = format!("have it issued as an X.509-SVID of {domain}");
        let (claim, remedy) = match self {
            Self::Authority => (
                "is an authority's, and a leaf of SPIFFE is none".to_owned(),
                format!("{svid}, without basicConstraints CA:TRUE"),
            ),
            Self::KeyUsage(fault) => (
                format!("is no X.509-SVID: its key usage {fault}"),
                format!(
                    "{svid}, with keyUsage digitalSignature and without keyCertSign and cRLSign"
                ),
            ),
            Self::Names(NotAMember::OtherDomain { uri, domain: other }) => (
                NotAMember::OtherDomain {
                    uri,
                    domain: other.clone(),
                }
                .to_string(),
                format!(
                    "{svid}, or, if trust.{bundle} is the bundle of {other}, write spiffe_trust_domain = \"{other}\" there"
                ),
            ),
            Self::Names(fault) => (
                fault.to_string(),
                format!("{svid}, with the one URI name spiffe://{domain}/PATH"),
            ),
        };
        let may = format!("trust.{bundle} may only assert SPIFFE IDs of the trust domain {domain}");
        OutOfScope::new(&claim, &may, remedy)
    }
}

#[cfg(test)]
mod tests;
