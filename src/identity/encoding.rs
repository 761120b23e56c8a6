//! The forms in which an upstream is told who is calling.

use http::{HeaderName, HeaderValue};

use super::peer::PeerIdentity;
use super::template::HeaderTemplates;
use super::xfcc;

/// How an upstream is told who is calling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// Fields of the operator's own, from templates.
    Headers(HeaderTemplates),
    /// Envoy's `x-forwarded-client-cert`, see [`crate::identity`].
    Xfcc,
}

/// Why an identity cannot be written. The request must not go up without it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The value holds a byte that no field value can hold.
    #[error("the value of `{field}` cannot stand in a header field")]
    NotAFieldValue {
        /// The field.
        field: HeaderName,
    },

    /// The identity fields together exceed what a request may carry.
    #[error("with `{field}` the identity fields have {bytes} bytes; at most {limit} are sent")]
    TooLarge {
        /// The field that exceeded it.
        field: HeaderName,
        /// Names and values of the fields so far, this one included.
        bytes: usize,
        /// The limit, [`ENCODING_BUDGET`].
        limit: usize,
    },
}

/// The most that all identity fields of a request have together, names and
/// values, in bytes: half of what servers commonly accept as a request head.
pub const ENCODING_BUDGET: usize = 16 * 1024;

impl Encoding {
    /// The names of the fields that this encoding may write.
    pub fn field_names(&self) -> impl Iterator<Item = &HeaderName> {
        let (xfcc, templates) = match self {
            Self::Xfcc => (Some(&xfcc::FIELD), None),
            Self::Headers(templates) => (None, Some(templates)),
        };
        xfcc.into_iter()
            .chain(templates.into_iter().flat_map(HeaderTemplates::field_names))
    }

    /// Appends the fields for this peer to `out`, which holds those of other
    /// encodings for the same request.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; `out` is then as it was.
    pub fn encode(
        &self,
        identity: &PeerIdentity,
        out: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<(), EncodeError> {
        let before = out.len();
        let written = match self {
            Self::Xfcc => push_field(&xfcc::FIELD, xfcc::encode(identity.names()), out),
            Self::Headers(templates) => templates
                .render(identity.names())
                .try_for_each(|(name, value)| push_field(name, value, out)),
        };
        if written.is_err() {
            out.truncate(before);
        }
        written
    }
}

fn push_field(
    name: &HeaderName,
    value: String,
    out: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<(), EncodeError> {
    let size = |name: &HeaderName, value: usize| name.as_str().len() + value;
    let others: usize = out
        .iter()
        .map(|(name, value)| size(name, value.len()))
        .sum();
    let bytes = others + size(name, value.len());
    if bytes > ENCODING_BUDGET {
        return Err(EncodeError::TooLarge {
            field: name.clone(),
            bytes,
            limit: ENCODING_BUDGET,
        });
    }
    let value = HeaderValue::try_from(value).map_err(|_| EncodeError::NotAFieldValue {
        field: name.clone(),
    })?;
    out.push((name.clone(), value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::{TestLeaf, test_identity};

    fn headers(template: &str) -> Encoding {
        let entries = [("X-Caller".to_owned(), template.to_owned())];
        Encoding::Headers(HeaderTemplates::parse(&entries).unwrap())
    }

    #[test]
    fn each_encoding_names_the_fields_it_writes() {
        for encoding in [Encoding::Xfcc, headers("{uri}")] {
            let mut out = Vec::new();
            encoding
                .encode(&test_identity("spiffe://prod.example/web"), &mut out)
                .unwrap();

            let written: Vec<_> = out.iter().map(|(name, _)| name).collect();
            assert_eq!(encoding.field_names().collect::<Vec<_>>(), written);
        }
    }

    #[test]
    fn an_identity_over_the_budget_is_refused_and_leaves_nothing_behind() {
        let long = "a".repeat(8000);
        let one = TestLeaf::new().dns(&long).dns("b.example");
        let two = one.clone().dns(&long);
        let mut out = Vec::new();

        headers("{dns}").encode(&one.identity(), &mut out).unwrap();
        assert_eq!(out.len(), 1);
        let refused = headers("{subject}{dns}").encode(&two.identity(), &mut out);
        assert!(
            matches!(refused, Err(EncodeError::TooLarge { bytes, .. }) if bytes > ENCODING_BUDGET)
        );
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn the_budget_is_that_of_all_encodings_together() {
        let peer = TestLeaf::new().dns(&"a".repeat(8000)).identity();
        let mut out = Vec::new();

        Encoding::Xfcc.encode(&peer, &mut out).unwrap();
        headers("{dns}").encode(&peer, &mut out).unwrap();
        assert!(headers("{dns}").encode(&peer, &mut out).is_err());
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn a_later_failure_takes_the_earlier_fields_of_the_encoding_back() {
        let entries = [("a", "{dns}"), ("b", "{dns}{dns}{dns}")].map(|(n, t)| (n.into(), t.into()));
        let encoding = Encoding::Headers(HeaderTemplates::parse(&entries).unwrap());
        let mut out = Vec::new();

        assert!(
            encoding
                .encode(&TestLeaf::new().dns(&"a".repeat(8000)).identity(), &mut out)
                .is_err()
        );
        assert!(out.is_empty());
    }
}
