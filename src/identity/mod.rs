//! Reads names out of a verified leaf, matches them against patterns, and writes them in every encoding.
//!
//! [`CertificateNames`] is what a certificate says of itself; reading it proves
//! nothing. An [`Identity`] is who somebody is said to be, by a certificate or in
//! words, and proves nothing either. A [`VerifiedLeaf`] says that [`crate::tls`]
//! verified the chain; a [`PeerIdentity`] comes from it, or from the assertion of
//! a peer that came from it, and from nothing else. A [`PeerPattern`] is one entry of
//! a route's `allow`. An [`Encoding`] tells an upstream who is calling, a
//! [`Decoding`] reads for whom another proxy says that it speaks, and
//! [`IdentityFields`] are the header fields which that upstream might take for
//! such a statement, and which therefore no caller may send.
//!
//! # Rules
//!
//! * A DNS, URI or email name with a byte that is not printable ASCII (0x21 to
//!   0x7e), an empty name, or one that cannot be parsed refuses the whole leaf.
//!   Skipping it would let the order of names decide who the peer is.
//! * A leaf with a `spiffe://` name has exactly one URI name; two refuse it.
//! * Two extensions of alternative names refuse the leaf.
//! * Names are held in canonical form: DNS in lower case without a final dot,
//!   URI scheme and authority in lower case and the rest byte for byte. Patterns
//!   are brought to the same form.
//! * Subject and issuer are RFC 4514 strings in printable ASCII.
//! * Every name has a bound, see [`CertificateNames::read`]; nothing panics.
//! * Names of other kinds (directory names, registered ids, other otherNames)
//!   neither help nor hurt.
//!
//! # Sources
//!
//! RFC 5280 §4.2.1.6 (alternative names), RFC 4514 (distinguished names as
//! strings), RFC 3986 §6.2.2 (URI normalisation), SPIFFE-ID, SPIFFE X.509-SVID, and
//! Envoy's documentation of `x-forwarded-client-cert`.

mod anchor;
mod calendar;
mod claim;
mod decoding;
pub(crate) mod der;
mod distinguished_name;
mod encoding;
mod fields;
mod fingerprint;
mod names;
mod pattern;
mod peer;
pub mod proxy_header;
mod sans;
mod spiffe;
mod template;
#[cfg(test)]
pub(crate) mod testing;

pub use anchor::AnchorName;
pub use claim::{Chain, Identity, MalformedStatement, Names, StatedNames};
pub use decoding::{DecodeError, Decoding};
pub(crate) use distinguished_name::write as rfc4514;
pub use encoding::{ENCODING_BUDGET, EncodeError, Encoding, Tellers, XfccKeys};
pub use fields::{IdentityFields, fold_field_name, folds_to, is_folded_with_others};
pub use fingerprint::{Digest, Fingerprint, MalformedFingerprint};
pub use names::{CertificateNames, UnreadableCertificate};
pub use pattern::{
    Assertable, NameKind, NamePattern, NearMiss, PatternError, PeerPattern, Unassertable,
};
pub use peer::{PeerIdentity, VerifiedLeaf};
pub use sans::{MalformedName, canonical_dns};
pub use spiffe::{MalformedTrustDomain, NotAMember, TrustDomain};
pub use template::{
    HeaderTemplates, TemplateCause, TemplateError, TextTemplate, is_reserved_field, joined,
};
