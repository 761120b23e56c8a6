//! The forms in which others may say for whom they speak.
//!
//! What is read is a claim: whether its speaker may make it is decided
//! elsewhere, before a [`PeerIdentity`](super::PeerIdentity) is made of it.
//!
//! # Rules
//!
//! * An assertion is read as a whole or refused as a whole: an unknown key, a
//!   name that would refuse a leaf, a certificate that cannot be read, two
//!   fields where one is meant.
//! * At most 64 KiB of field values are read.

use http::{HeaderMap, HeaderName};

use super::claim::{Identity, MalformedStatement};
use super::encoding::fields_of;
use super::names::UnreadableCertificate;

mod client_cert;
mod xfcc;

/// A form in which an assertion of somebody else can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decoding {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// Envoy's `x-forwarded-client-cert`.
    Xfcc,
}

/// Why an assertion is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Two statements of the same assertion are not about the same certificate.
    #[error("`{key}` is not about the certificate that the assertion holds")]
    Contradiction {
        /// The key of the statement.
        key: &'static str,
    },

    /// The certificate says something that refuses a leaf.
    #[error(transparent)]
    Certificate(#[from] UnreadableCertificate),

    /// The field is not written in its form.
    #[error("the assertion cannot be read: {0}")]
    Malformed(&'static str),

    /// What it states cannot be used.
    #[error(transparent)]
    Statement(#[from] MalformedStatement),

    /// The fields exceed what is read.
    #[error("the assertion has over {MAX_ASSERTION} bytes")]
    TooLarge,
}

/// The most that is read of an assertion, in bytes of field values: four times
/// what countersign itself writes.
const MAX_ASSERTION: usize = 4 * super::ENCODING_BUDGET;

impl Decoding {
    /// The fields that it is read from.
    pub fn field_names(self) -> &'static [HeaderName] {
        fields_of(self)
    }

    /// Reads the assertion in `headers`; `None`: there is none in this form.
    ///
    /// Of several elements of `x-forwarded-client-cert` the last one counts: it
    /// is the one that the proxy next to us has added, about its own client.
    /// Those before it were told to that proxy by others. They must be legal,
    /// and are not otherwise looked at.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the request must then be refused, and not be taken for
    /// one without an assertion.
    pub fn decode(self, headers: &HeaderMap) -> Result<Option<Identity>, DecodeError> {
        let mut fields = Vec::new();
        let mut bytes: usize = 0;
        for name in self.field_names() {
            let mut values = Vec::new();
            for value in headers.get_all(name) {
                bytes = bytes.saturating_add(value.len());
                if bytes > MAX_ASSERTION {
                    return Err(DecodeError::TooLarge);
                }
                values.push(text(value.as_bytes())?);
            }
            fields.push(values);
        }
        match (self, fields.as_slice()) {
            (Self::ClientCert, [certificate, chain]) => client_cert::decode(certificate, chain),
            (Self::Xfcc, [elements]) => xfcc::decode(elements),
            _ => Ok(None),
        }
    }
}

/// A field value of printable ASCII.
fn text(value: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .ok_or(DecodeError::Malformed("it is not printable ASCII"))
}

#[cfg(test)]
mod tests;
