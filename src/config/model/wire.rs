//! How much of what clients write in a head may be read in another way.

/// `listeners.NAME.field_names`: what becomes of fields whose names some
/// services take for those of others.
///
/// Fields that say who is calling are removed in every spelling, whatever is
/// chosen here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FieldNames {
    /// The request is refused.
    Strict,
    /// They are removed.
    #[default]
    Drop,
    /// They pass.
    Keep,
}

/// `listeners.NAME.path`: what becomes of paths that can be written, or read, in
/// several ways.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PathForm {
    /// Those that services read differently are refused.
    #[default]
    Reject,
    /// They are brought into one form (RFC 3986 §6.2.2) before the route is
    /// chosen, and go up in it; where there is none that is safe, they are refused.
    Normalize,
    /// They go up as they were sent, decided in every reading.
    Raw,
}
