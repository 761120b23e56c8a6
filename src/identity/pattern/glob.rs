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
    /// What a name without escapes begins and ends with.
    ends: [Box<[u8]>; 2],
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
        let first = prefix.iter().filter_map(|symbol| symbol.byte()).collect();
        let literal = |step: &Step| match step {
            Step::One(symbol) => symbol.byte(),
            Step::Segment | Step::Anything => None,
        };
        let mut last: Vec<u8> = steps.iter().rev().map_while(literal).collect();
        last.reverse();
        Ok(Self {
            prefix,
            ends: [first, last.into()],
            steps,
        })
    }

    /// Whether a name can match, at little cost: most patterns of a long list
    /// are told apart by how they begin and end. The case of ASCII is passed over.
    pub(super) fn may_match(&self, name: &str) -> bool {
        let [first, last] = &self.ends;
        let name = name.as_bytes();
        let begins = name.get(..first.len());
        let ends = name
            .len()
            .checked_sub(last.len())
            .and_then(|at| name.get(at..));
        let same = |found: Option<&[u8]>, wanted: &[u8]| {
            found.is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        };
        // What is escaped is longer than what it is compared by.
        (same(begins, first) && same(ends, last)) || name.contains(&b'\\')
    }

    /// The same with `**` for each `*`.
    pub(super) fn over_separators(&self) -> Self {
        let steps = self.steps.iter().map(|step| match step {
            Step::Segment => Step::Anything,
            other => *other,
        });
        Self {
            steps: steps.collect(),
            ..self.clone()
        }
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
        if let [last @ (Step::Segment | Step::Anything)] = &*self.steps {
            // As most patterns end: there is one state to be in.
            let mut rest = units.peekable();
            return rest.peek().is_some() && rest.all(|unit| last.takes(unit));
        }
        if self.steps.len() < 64 {
            self.runs_through::<1>(units)
        } else {
            self.runs_through::<STATE_WORDS>(units)
        }
    }

    fn runs_through<const WORDS: usize>(&self, units: impl Iterator<Item = Unit>) -> bool {
        let mut alive = States::<WORDS>::only_first();
        for unit in units {
            alive = self.advance(&alive, unit);
            if alive.is_empty() {
                return false;
            }
        }
        alive.contains(self.steps.len())
    }

    fn advance<const WORDS: usize>(&self, alive: &States<WORDS>, unit: Unit) -> States<WORDS> {
        let mut next = States::none();
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
struct States<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> States<WORDS> {
    fn none() -> Self {
        Self([0; WORDS])
    }

    fn only_first() -> Self {
        let mut states = Self::none();
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
