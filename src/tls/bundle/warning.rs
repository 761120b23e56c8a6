//! What an operator should know about a bundle that is in force.

use std::fmt;
use std::path::PathBuf;

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
        /// Whether what the lists say is acted on.
        enforced: bool,
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
            Self::AnchorWithoutList { subject, enforced } => write!(
                f,
                "no revocation list covers the anchor {subject}, so everybody below it {} refused; add its list, or write crl_missing = \"allow\" or \"log\"",
                if *enforced { "is" } else { "would be" }
            ),
            Self::WeakSelfSignature { subject, hash } => write!(
                f,
                "the anchor {subject} has signed itself with {hash}; it is in force, but certificates that it signs in that way are refused"
            ),
        }
    }
}
