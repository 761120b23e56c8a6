//! SHA-256 fingerprints of certificates and public keys.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// A SHA-256 digest, written in lower-case hex without colons.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint([u8; 32]);

/// The text is not the hex form of 32 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a SHA-256 fingerprint has 64 hex digits, with or without a colon after every second, as `openssl x509 -fingerprint -sha256` prints it behind \"=\""
)]
pub struct MalformedFingerprint;

impl Fingerprint {
    /// Computes the fingerprint of `bytes`, such as the DER of a certificate.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_result(&digest::digest(&digest::SHA256, bytes))
    }

    fn from_result(digest: &digest::Digest) -> Self {
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(fingerprint)
    }

    /// A digest that somebody else has computed.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A fingerprint in the making, of bytes that come in pieces.
#[derive(Clone)]
pub struct Digest(digest::Context);

impl Default for Digest {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Digest {
    /// Adds bytes to those that are digested.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The fingerprint of all bytes so far.
    pub fn finish(self) -> Fingerprint {
        Fingerprint::from_result(&self.0.finish())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl FromStr for Fingerprint {
    type Err = MalformedFingerprint;

    /// Reads hex in either case, plain or with a colon after every byte but the last.
    fn from_str(text: &str) -> Result<Self, MalformedFingerprint> {
        let digits = if text.contains(':') {
            without_colons(text).ok_or(MalformedFingerprint)?
        } else {
            text.to_owned()
        };
        let bytes = HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .map_err(|_| MalformedFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| MalformedFingerprint)
    }
}

fn without_colons(text: &str) -> Option<String> {
    text.split(':')
        .map(|byte| (byte.len() == 2).then_some(byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn fingerprint_of_nothing_is_the_known_digest() {
        assert_eq!(Fingerprint::of(b"").to_string(), EMPTY);
    }

    #[test]
    fn either_case_and_colons_read_as_the_same_fingerprint() {
        let upper = EMPTY.to_uppercase();
        let pairs: Vec<_> = (0..32).map(|i| &upper[2 * i..2 * i + 2]).collect();

        for text in [EMPTY, &upper, &pairs.join(":")] {
            assert_eq!(text.parse(), Ok(Fingerprint::of(b"")), "{text}");
        }
    }

    #[test]
    fn what_is_not_64_hex_digits_is_refused() {
        let colon_astray = format!("{}:{}", &EMPTY[..3], &EMPTY[3..]);
        let refused = [
            "",
            ":",
            &EMPTY[1..],
            &colon_astray,
            &EMPTY.replace('e', "g"),
            &format!("{EMPTY}00"),
        ];

        for text in refused {
            assert_eq!(
                text.parse::<Fingerprint>(),
                Err(MalformedFingerprint),
                "{text}"
            );
        }
    }
}
