//! A revocation list as long as one wants it.

use rcgen::SerialNumber;

use super::support::pki::Authority;

/// A list of this many serial numbers of 16 bytes, as authorities give them.
pub(crate) fn list(authority: &Authority, entries: u64) -> String {
    let serials = (0..entries).map(|number| {
        // Spread over all of their range (SplitMix64), and the same in each run.
        let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^= mixed >> 27;
        let mut serial = [0x5A; 16];
        serial[..8].copy_from_slice(&(mixed >> 1).to_be_bytes());
        serial[8..].copy_from_slice(&number.to_be_bytes());
        SerialNumber::from_slice(&serial)
    });
    authority.crl_naming(serials)
}
