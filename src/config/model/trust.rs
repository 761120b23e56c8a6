//! Trust bundles.

use std::path::PathBuf;
use std::time::Duration;

use super::{Located, Place};
use crate::identity::{Assertable, TrustDomain};

/// `[trust.NAME]`: a named set of trust anchors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustBundle {
    /// Its name.
    pub name: String,
    /// Where the table stands.
    pub place: Place,
    /// PEM files, or directories of PEM files.
    pub ca: Vec<Located<PathBuf>>,
    /// Revocation lists, PEM or DER; files or directories. Empty: not checked.
    pub crl: Vec<Located<PathBuf>>,
    /// Which certificates of a chain are looked up; has a meaning only with `crl`.
    pub crl_check: CrlCheck,
    /// Where an issuer has no list; has a meaning only with `crl`.
    pub crl_missing: OnCrlFault,
    /// Where an issuer's list is past its `nextUpdate`; has a meaning only with `crl`.
    pub crl_stale: OnCrlFault,
    /// Whether what the lists say is acted on, and not only noted.
    pub enforce_crl: bool,
    /// Whether a chain that was found good is not verified again.
    pub remember_chains: bool,
    /// What the anchors may vouch for; `None`: whatever they sign.
    pub may_assert: Option<Assertable>,
    /// The trust domain whose X.509-SVIDs alone are accepted.
    pub spiffe_trust_domain: Option<TrustDomain>,
    /// The share of the anchors in force that a new set may drop without being confirmed.
    pub max_shrink: Share,
    /// What becomes of open connections whose peer is no longer trusted.
    pub on_withdrawal: OnWithdrawal,
    /// With [`OnWithdrawal::Drain`]: how long requests in flight have.
    pub withdrawal_grace: Duration,
    /// Whether open connections are ended, and it is not only noted that they would be.
    pub enforce_withdrawal: bool,
}

/// Which certificates of a chain are looked up in revocation lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrlCheck {
    /// All but the trust anchor.
    Chain,
    /// The leaf alone.
    Leaf,
}

/// What becomes of a certificate that no current revocation list speaks of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnCrlFault {
    /// It is refused.
    Reject,
    /// It passes.
    Allow,
    /// It passes, and the log says so.
    Log,
}

/// A share of a whole, in percent, from 0 to 100.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Share(u8);

impl Share {
    /// The share of `percent` hundredths; `None` above 100.
    pub const fn of_percent(percent: u8) -> Option<Self> {
        if percent <= 100 {
            Some(Self(percent))
        } else {
            None
        }
    }

    /// In percent.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// Whether `part` of `whole` is more than this share of it.
    ///
    /// All of it is not more than 100 %, and one of any whole is more than 0 %.
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        // 128 bits hold a hundred times any count.
        (part as u128) * 100 > (whole as u128) * u128::from(self.0)
    }
}

/// What becomes of open connections whose peer is no longer trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnWithdrawal {
    /// Requests in flight finish, then the connection ends.
    Drain,
    /// The connection ends at once.
    Cut,
    /// The connection stays.
    Keep,
}
