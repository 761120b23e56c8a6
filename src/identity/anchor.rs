//! What a trust anchor is called, for those who decide by it.

use super::fingerprint::Fingerprint;

/// The names of the trust anchor on which a verified chain rests.
///
/// It belongs to a connection under one generation: the same chain may rest on
/// another anchor when the trust bundle has changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnchorName {
    /// Its subject, as an RFC 4514 string.
    pub subject: String,
    /// SHA-256 of its certificate.
    pub fingerprint: Fingerprint,
}
