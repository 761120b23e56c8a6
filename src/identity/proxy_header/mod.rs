//! The header of the PROXY protocol, by which one proxy tells the next from
//! where a connection comes, before its first byte.
//!
//! # Rules
//!
//! * A header is whole and well-formed, or it is none: what a sender gets wrong
//!   refuses its connection.
//! * Both ways of writing it have a bound, and reading never takes a byte that
//!   stands behind it.
//! * What it says of addresses is taken; what it says of certificates is not.
//!
//! # Sources
//!
//! HAProxy's `proxy-protocol.txt`, versions 1 and 2; for the certificate in
//! [`v2`], `PP2_SUBTYPE_SSL_CLIENT_CERT` as HAProxy 3.2 has it.

mod read;
mod write;

pub use read::{Announced, Malformed, Step, begins_one, read};
pub use write::{TlsFacts, Told, Version, local, v1, v2};

/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, length.
const FIXED: usize = 16;

/// Type-length-values of version 2.
mod tlv {
    /// `PP2_TYPE_ALPN`.
    pub(super) const ALPN: u8 = 0x01;
    /// `PP2_TYPE_AUTHORITY`: the name that was asked for (SNI).
    pub(super) const AUTHORITY: u8 = 0x02;
    /// `PP2_TYPE_CRC32C`, of the whole header.
    pub(super) const CRC32C: u8 = 0x03;
    /// `PP2_TYPE_SSL`.
    pub(super) const SSL: u8 = 0x20;
    /// `PP2_SUBTYPE_SSL_VERSION`.
    pub(super) const SSL_VERSION: u8 = 0x21;
    /// `PP2_SUBTYPE_SSL_CN`.
    pub(super) const SSL_CN: u8 = 0x22;
    /// `PP2_SUBTYPE_SSL_CIPHER`.
    pub(super) const SSL_CIPHER: u8 = 0x23;
    /// `PP2_SUBTYPE_SSL_CLIENT_CERT`, in DER.
    pub(super) const SSL_CLIENT_CERT: u8 = 0x28;
}

/// The checksum of RFC 3720 §B.4, bit by bit: there is one for a connection.
fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let crc = bytes.into_iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    });
    !crc
}

#[cfg(test)]
mod tests;
