//! Which certificates of its issuer a list speaks of: its issuing distribution
//! point and their distribution points (RFC 5280 §5.2.5, §4.2.1.13).

use crate::identity::der::{self, Element, NotDer, tag};

/// What an issuing distribution point says.
#[derive(Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Scope {
    only_leaves: bool,
    only_authorities: bool,
    uris: Vec<Box<[u8]>>,
}

/// Where a certificate says that its revocation list is to be found: the URIs
/// of its distribution points, without those of indirect lists and of lists for
/// single reasons. `None`: it says nothing.
pub(in crate::tls) type DistributionPoints = Option<Box<[Box<[u8]>]>>;

impl Scope {
    /// Reads the value of a list's extension, which webpki has found to be one
    /// that it supports: neither indirect nor for single reasons, nor for
    /// attribute certificates.
    pub(super) fn read(extension: &[u8]) -> Result<Self, NotDer> {
        let mut scope = Self::default();
        for field in der::elements(der::only(extension, tag::SEQUENCE)?.contents) {
            let field = field?;
            match field.tag {
                DISTRIBUTION_POINT => scope.uris = uris(field)?,
                ONLY_USER_CERTS => scope.only_leaves = is_true(field),
                ONLY_CA_CERTS => scope.only_authorities = is_true(field),
                _ => {}
            }
        }
        Ok(scope)
    }

    /// Whether the list speaks of a certificate of its issuer.
    pub(super) fn includes(&self, is_leaf: bool, points: &DistributionPoints) -> bool {
        let wrong_kind = if is_leaf {
            self.only_authorities
        } else {
            self.only_leaves
        };
        if wrong_kind {
            return false;
        }
        match points {
            None => true,
            Some(points) => points.iter().any(|point| self.uris.contains(point)),
        }
    }
}

/// Reads the value of a certificate's extension. A point that cannot be read
/// leads to no list.
pub(in crate::tls) fn distribution_points(extension: &[u8]) -> Box<[Box<[u8]>]> {
    let Ok(points) = der::only(extension, tag::SEQUENCE) else {
        return Box::default();
    };
    der::elements(points.contents)
        .flatten()
        .filter_map(|point| of_point(point).ok())
        .flatten()
        .collect()
}

fn of_point(point: Element<'_>) -> Result<Vec<Box<[u8]>>, NotDer> {
    let mut found = None;
    for field in der::elements(point.tagged(tag::SEQUENCE)?.contents) {
        let field = field?;
        if field.tag != DISTRIBUTION_POINT || found.is_some() {
            // Reasons, or another issuer than the certificate's.
            return Err(NotDer);
        }
        found = Some(uris(field)?);
    }
    found.ok_or(NotDer)
}

/// The URIs of a DistributionPointName; one that is relative to the issuer has none.
fn uris(name: Element<'_>) -> Result<Vec<Box<[u8]>>, NotDer> {
    let name = der::only_any(name.contents)?;
    if name.tag != FULL_NAME {
        return Ok(Vec::new());
    }
    let names = der::elements(name.contents).flatten();
    Ok(names
        .filter(|name| name.tag == URI)
        .map(|name| name.contents.into())
        .collect())
}

/// DER says 0xff; webpki has refused what is neither that nor 0.
fn is_true(field: Element<'_>) -> bool {
    field.contents != [0]
}

/// `[0]`, constructed, in both extensions.
const DISTRIBUTION_POINT: u8 = 0xa0;
/// `[0]`, constructed, in a DistributionPointName.
const FULL_NAME: u8 = 0xa0;
/// `[1]` of an issuing distribution point.
const ONLY_USER_CERTS: u8 = 0x81;
/// `[2]` of an issuing distribution point.
const ONLY_CA_CERTS: u8 = 0x82;
/// `[6]` of a GeneralName.
const URI: u8 = 0x86;

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    fn name(uri: &str) -> Vec<u8> {
        element(0xa0, &element(0xa0, &element(0x86, uri.as_bytes())))
    }

    fn scope(fields: &[Vec<u8>]) -> Scope {
        Scope::read(&element(0x30, &fields.concat())).unwrap()
    }

    fn points(points: &[Vec<u8>]) -> DistributionPoints {
        let points: Vec<_> = points.iter().map(|point| element(0x30, point)).collect();
        Some(distribution_points(&element(0x30, &points.concat())))
    }

    #[test]
    fn a_certificate_without_points_is_in_every_list_of_its_kind() {
        let truth = [0xff];
        for (field, leaf, authority) in [
            (None, true, true),
            (Some(element(0x81, &truth)), true, false),
            (Some(element(0x82, &truth)), false, true),
            (Some(element(0x81, &[0])), true, true),
        ] {
            let fields: Vec<_> = [name("http://a/")].into_iter().chain(field).collect();
            let scope = scope(&fields);
            assert_eq!(scope.includes(true, &None), leaf, "{fields:?}");
            assert_eq!(scope.includes(false, &None), authority, "{fields:?}");
        }
    }

    #[test]
    fn a_certificate_with_points_is_in_the_list_that_one_of_them_names() {
        let scope = scope(&[name("http://a/")]);
        let in_it = points(&[name("http://b/"), name("http://a/")]);
        assert!(scope.includes(true, &in_it));
        for outside in [
            points(&[]),
            points(&[name("http://b/")]),
            points(&[name("http://a/x")]),
            // With reasons, and from another issuer.
            points(&[[name("http://a/"), element(0x81, &[0])].concat()]),
            points(&[[name("http://a/"), element(0xa2, &[])].concat()]),
            // Twice, relative to the issuer, and another kind of name.
            points(&[[name("http://a/"), name("http://a/")].concat()]),
            points(&[element(0xa0, &element(0xa1, b"x"))]),
            points(&[element(0xa0, &element(0xa0, &element(0x82, b"http://a/")))]),
        ] {
            assert!(!scope.includes(true, &outside), "{outside:?}");
        }
    }

    #[test]
    fn a_point_that_cannot_be_read_does_not_hide_the_next() {
        let points = points(&[vec![0xa0, 9], name("http://a/")]);
        assert!(scope(&[name("http://a/")]).includes(true, &points));
    }
}
