//! The options that bound what it costs to judge a client's chain.

use super::Default::Is;
use super::Opt;

pub(super) const MAX_CHAIN_CERTIFICATES: Opt = Opt {
    path: "listeners.NAME.limits.max_chain_certificates",
    value: "a whole number from 1 to 6",
    default: Is("6"),
    summary: "Certificates that a client sends, its own included.",
    protects: "Processor time: each one may have a part in many paths to an authority. What is beyond a limit on the chain is refused in the handshake (`chain_too_costly`), when a session is resumed too.",
    without: "a client may send six",
    see: &["listeners.NAME.limits.max_signature_checks"],
    example: "6",
};

pub(super) const MAX_CHAIN_BYTES: Opt = Opt {
    path: "listeners.NAME.limits.max_chain_bytes",
    value: "a size from `\"1KiB\"` to `\"64KiB\"`",
    default: Is("\"32KiB\""),
    summary: "The size of all certificates that a client sends.",
    protects: "Memory and processor time. With keys of ML-DSA a leaf and an intermediate have about 16 KiB.",
    without: "they may have 32 KiB",
    see: &["listeners.NAME.limits.max_chain_certificates"],
    example: "\"32KiB\"",
};

pub(super) const MAX_RSA_BITS: Opt = Opt {
    path: "listeners.NAME.limits.max_rsa_bits",
    value: "a whole number from 2048 to 8192",
    default: Is("8192"),
    summary: "The bits of each RSA key in the chain that a client sends.",
    protects: "Processor time, which grows with the square of it. It is looked at before any signature is verified.",
    without: "a key may have 8192 bits",
    see: &["listeners.NAME.limits.max_signature_checks"],
    example: "8192",
};

pub(super) const MAX_SIGNATURE_CHECKS: Opt = Opt {
    path: "listeners.NAME.limits.max_signature_checks",
    value: "a whole number from 1 to 100",
    default: Is("30"),
    summary: "Signatures of certificates that are verified in one handshake, those of tickets included.",
    protects: "Processor time: certificates of one name with many keys make as many paths to try. A bundle with many authorities of one name and different keys may need more.",
    without: "thirty are verified",
    see: &["listeners.NAME.limits.max_chain_certificates"],
    example: "30",
};
