//! What clients are told of a bundle, so that they know which certificate to present.

use rustls::DistinguishedName;

use super::Bundle;

impl Bundle {
    /// The names sent to clients as a hint which certificate to present; none
    /// where there is no room for all of them.
    pub(in crate::tls) fn subjects(&self) -> &[DistinguishedName] {
        if self.sends_hints() {
            &self.subjects
        } else {
            &[]
        }
    }

    /// What the names of all anchors take in a CertificateRequest, in bytes.
    pub(in crate::tls) fn hint_bytes(&self) -> usize {
        // Each is preceded by its length (RFC 9846 §4.3.4, RFC 5246 §7.4.4).
        let each = self.subjects.iter();
        each.map(|name| name.as_ref().len().saturating_add(2)).sum()
    }

    /// Whether a CertificateRequest has room for them.
    pub(in crate::tls) fn sends_hints(&self) -> bool {
        self.hint_bytes() <= MOST_HINTS
    }
}

/// The names of authorities in one CertificateRequest, in bytes. There is room
/// for 2^16 - 1 with all else that stands there, and the TLS library ends the
/// process, or breaks the message, where more is asked of it.
const MOST_HINTS: usize = 60 * 1024;
