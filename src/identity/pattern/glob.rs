//! Compares the units of a name with a pattern, in one pass and without
//! going back.
//!
//! The part before the first wildcard is compared unit by unit. The rest is run
//! as a finite automaton that is in several states at once; state `n` means
//! that the first `n` steps are done. So the time is the length of the name
//! times the number of states that are alive, whatever the name.

use super::PatternError;
use super::units::{Symbol, Unit};

/// A compiled pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Glob {
    /// What the name begins with.
    prefix: Box<[Symbol]>,
    /// The same as bytes, where nothing in it is escaped.
    literal: Box<[u8]>,
    /// What follows; begins with a wildcard, or is empty.
    steps: Box<[Step]>,
}

/// One unit, or one and more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Exactly this.
    One(Symbol),
    /// `*`: one or more, none of them a separator.
    Segment,
    /// `**`: one or more.
    Anything,
}

impl Glob {
    pub(super) fn new(steps: Vec<Step>) -> Result<Self, PatternError> {
        let prefix: Box<[Symbol]> = steps
            .iter()
            .map_while(|step| match step {
                Step::One(symbol) => Some(*symbol),
                Step::Segment | Step::Anything => None,
            })
            .collect();
        let steps: Box<[Step]> = steps.into_iter().skip(prefix.len()).collect();
        if prefix.len() > MAX_PREFIX || steps.len() > MAX_STEPS {
            return Err(PatternError::TooLong);
        }
        let literal: Option<Box<[u8]>> = prefix
            .iter()
            .map(|symbol| match symbol {
                Symbol::Byte(byte) => Some(*byte),
                Symbol::Structure(_) | Symbol::Wild => None,
            })
            .collect();
        Ok(Self {
            prefix,
            literal: literal.unwrap_or_default(),
            steps,
        })
    }

    /// Whether a name whose units are its bytes can match: most patterns of a
    /// long list are told apart by their beginnings.
    pub(super) fn may_match(&self, name: &str) -> bool {
        name.as_bytes().starts_with(&self.literal)
    }

    /// Its steps, the literal beginning included.
    pub(super) fn all_steps(&self) -> impl Iterator<Item = Step> {
        let literal = self.prefix.iter().copied().map(Step::One);
        literal.chain(self.steps.iter().copied())
    }

    /// Tells whether the whole name matches.
    pub(super) fn matches(&self, mut units: impl Iterator<Item = Unit>) -> bool {
        for expected in &self.prefix {
            if units.next().map(|unit| unit.symbol) != Some(*expected) {
                return false;
            }
        }
        let mut alive = States::only_first();
        for unit in units {
            alive = self.advance(&alive, unit);
            if alive.is_empty() {
                return false;
            }
        }
        alive.contains(self.steps.len())
    }

    fn advance(&self, alive: &States, unit: Unit) -> States {
        let mut next = States::default();
        for state in alive.iter() {
            let repeated = state.checked_sub(1).and_then(|done| self.steps.get(done));
            if repeated.is_some_and(|step| step.repeats(unit)) {
                next.insert(state);
            }
            if self.steps.get(state).is_some_and(|step| step.takes(unit)) {
                next.insert(state + 1);
            }
        }
        next
    }
}

impl Step {
    /// Whether this unit can be the step's first.
    fn takes(self, unit: Unit) -> bool {
        match self {
            Self::One(symbol) => symbol == unit.symbol,
            Self::Segment => !unit.is_separator,
            Self::Anything => true,
        }
    }

    /// Whether this unit can be one more of the step's.
    fn repeats(self, unit: Unit) -> bool {
        match self {
            Self::One(_) => false,
            Self::Segment | Self::Anything => self.takes(unit),
        }
    }
}

/// A set of states.
#[derive(Default)]
struct States([u64; STATE_WORDS]);

impl States {
    fn only_first() -> Self {
        let mut states = Self::default();
        states.insert(0);
        states
    }

    fn insert(&mut self, state: usize) {
        if let Some(word) = self.0.get_mut(state / 64) {
            *word |= 1 << (state % 64);
        }
    }

    fn contains(&self, state: usize) -> bool {
        self.0
            .get(state / 64)
            .is_some_and(|word| word & 1 << (state % 64) != 0)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(rest.trailing_zeros())
                    .ok()
                    .filter(|bit| *bit < 64)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// 64 states each; one more state than there are steps fits.
const STATE_WORDS: usize = 8;
/// In steps, from the first wildcard on.
const MAX_STEPS: usize = 500;
/// In characters, as long as the longest name.
const MAX_PREFIX: usize = 8 * 1024;
