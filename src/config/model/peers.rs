//! Who may say for whom they call, as types.

use crate::config::signed::AcceptedJwt;
use crate::identity::{Decoding, PeerPattern};

/// Whose assertions of others a listener accepts, and in which forms. There is
/// at least one peer and one form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcceptedAssertions {
    /// The peers that may speak for others; one pattern must match.
    pub from: Vec<PeerPattern>,
    /// The forms that are not signed.
    pub forms: Vec<Decoding>,
    /// How a JWT is verified; `None`: it is not read.
    pub jwt: Option<AcceptedJwt>,
}
