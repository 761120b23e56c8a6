//! References: what a caller is told and the log carries too.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

/// Names one request or refusal, so that a caller's report leads to a log line.
///
/// It is distinct, not secret: who has seen one can compute the next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ReferenceId(u64);

impl ReferenceId {
    /// The number that it is.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ReferenceId {
    /// Writes 16 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is no reference.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a reference has 16 hexadecimal digits")]
pub struct MalformedReference;

impl FromStr for ReferenceId {
    type Err = MalformedReference;

    fn from_str(text: &str) -> Result<Self, MalformedReference> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = Some(text).filter(|_| is_hex).ok_or(MalformedReference)?;
        u64::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| MalformedReference)
    }
}

/// Makes references for one worker; neither locks nor calls the system.
#[derive(Debug)]
pub struct ReferenceIds {
    state: Cell<u64>,
}

impl ReferenceIds {
    /// Starts at a point taken from the system's randomness, so that the
    /// references of workers, restarts and replicas do not meet.
    pub fn new() -> Self {
        Self {
            state: Cell::new(RandomState::new().build_hasher().finish()),
        }
    }

    /// Returns the next reference. It comes again after 2^64 others.
    pub fn next(&self) -> ReferenceId {
        let state = self.state.get().wrapping_add(SPLITMIX_GAMMA);
        self.state.set(state);
        ReferenceId(mix(state))
    }
}

impl Default for ReferenceIds {
    fn default() -> Self {
        Self::new()
    }
}

/// The finalizer of splitmix64: a bijection, so distinct states stay distinct.
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The step of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
/// Number Generators, 2014): odd, so that every state is visited.
const SPLITMIX_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reference_is_written_as_sixteen_hex_digits_even_when_small() {
        assert_eq!(ReferenceId(0xab).to_string(), "00000000000000ab");
        assert_eq!(ReferenceId(u64::MAX).to_string(), "ffffffffffffffff");
    }

    #[test]
    fn reference_is_read_as_it_is_written_and_nothing_else_is() {
        for id in [ReferenceId(0xab), ReferenceId(u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in [
            "",
            "ab",
            "+0000000000000ab",
            "00000000000000abc",
            "../../../metrics",
        ] {
            assert_eq!(text.parse::<ReferenceId>(), Err(MalformedReference));
        }
    }

    #[test]
    fn sequence_is_that_of_splitmix64() {
        let ids = ReferenceIds {
            state: Cell::new(1_234_567),
        };
        // The reference implementation's output for this seed.
        assert_eq!(ids.next(), ReferenceId(6_457_827_717_110_365_317));
        assert_eq!(ids.next(), ReferenceId(3_203_168_211_198_807_973));
    }

    #[test]
    fn references_of_two_workers_do_not_meet() {
        let (one, other) = (ReferenceIds::new(), ReferenceIds::new());
        let seen: HashSet<_> = (0..10_000)
            .flat_map(|_| [one.next(), other.next()])
            .collect();
        assert_eq!(seen.len(), 20_000);
    }
}
