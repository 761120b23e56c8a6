//! A compiled expression: a tree for each type, so that no value can be of the
//! wrong one.

use ipnet::IpNet;
use regex::Regex;

use super::attributes::{Attribute, Party, PartyList};

/// Something that is true or false.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Constant(bool),
    IsThere(Party),
    Has(Attribute),
    Not(Box<Self>),
    Both(Box<(Self, Self)>),
    Either(Box<(Self, Self)>),
    Choice(Box<Choice<Self>>),
    /// Whether both are true, or both false.
    Same(Box<(Self, Self)>),
    Numbers(Comparison, Box<(Number, Number)>),
    Texts(Comparison, Box<(Text, Text)>),
    SameList(Box<(List, List)>),
    In(Box<(Text, List)>),
    Part(Part, Box<(Text, Text)>),
    Matches(Box<(Text, Regex)>),
    InNetwork(IpNet),
    /// Whether so many entries of a list fulfil a condition.
    Count(Quantifier, Box<(List, Self)>),
}

/// A whole number.
#[derive(Clone, Debug)]
pub(super) enum Number {
    Constant(i64),
    NotAfter(Party),
    Length(Box<Text>),
    Entries(Box<List>),
    Negated(Box<Self>),
    Calculated(Arithmetic, Box<(Self, Self)>),
    Choice(Box<Choice<Self>>),
}

/// A string.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Constant(Box<str>),
    Attribute(Attribute),
    /// The entry that is looked at by the loop of this depth, from 0.
    Entry(usize),
    Joined(Box<(Self, Self)>),
    At(Box<(List, Number)>),
    Choice(Box<Choice<Self>>),
}

/// A list of strings.
#[derive(Clone, Debug)]
pub(super) enum List {
    Attribute(Party, PartyList),
    Literal(Vec<Text>),
    Choice(Box<Choice<Self>>),
}

/// `condition ? yes : no`
#[derive(Clone, Debug)]
pub(super) struct Choice<T> {
    pub(super) condition: Condition,
    pub(super) yes: T,
    pub(super) no: T,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Where one string must stand in another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Anywhere,
    AtTheStart,
    AtTheEnd,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

impl Comparison {
    /// Whether values in this order fulfil it.
    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
