//! Reads names out of a verified leaf, matches them against patterns, and writes them in every encoding.

/// placeholder
#[derive(Clone, Debug)]
pub struct PeerPattern;
/// placeholder
#[derive(Clone, Debug)]
pub struct Encoding;
