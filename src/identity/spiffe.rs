//! SPIFFE's rules for the certificates of a trust domain.

use std::fmt;

use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;

use super::der::{self, NotDer, tag};
use super::names::SUBJECT_ALTERNATIVE_NAME;
use super::sans::URI;

/// The name of a SPIFFE trust domain (SPIFFE-ID §2.1): lower-case letters,
/// digits, dots, dashes and underscores, at most 255 of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustDomain(String);

/// A text is not the name of a trust domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a trust domain has 1 to 255 lower-case letters, digits, dots, dashes and underscores, and no scheme"
)]
pub struct MalformedTrustDomain;

/// Why a leaf has no SPIFFE ID of a trust domain. The text goes on after "the
/// certificate".
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAMember {
    /// It has no URI name, or several (X.509-SVID §2).
    #[error("has {0} URI names; one with a SPIFFE ID has exactly one")]
    Count(usize),

    /// Its URI name is not one that SPIFFE permits a workload.
    #[error("claims uri \"{uri}\", which is no SPIFFE ID of a workload: it {fault}")]
    Malformed {
        /// The name, in printable ASCII, cut where it is long.
        uri: String,
        /// What is wrong with it.
        fault: &'static str,
    },

    /// It is of another trust domain.
    #[error("claims uri \"{uri}\", which is of the trust domain {domain}")]
    OtherDomain {
        /// The name.
        uri: String,
        /// The domain that it is of.
        domain: String,
    },

    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable,
}

impl From<NotDer> for NotAMember {
    fn from(NotDer: NotDer) -> Self {
        Self::Unreadable
    }
}

impl TrustDomain {
    /// Reads the name of a trust domain.
    ///
    /// # Errors
    ///
    /// [`MalformedTrustDomain`].
    pub fn parse(text: &str) -> Result<Self, MalformedTrustDomain> {
        if is_trust_domain(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedTrustDomain)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Sees that a leaf has exactly one URI name, the SPIFFE ID of a workload of
    /// this trust domain. It is read as it stands in the certificate and not in
    /// the form in which names are compared, where capitals are gone.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn check(&self, leaf: &[u8]) -> Result<(), NotAMember> {
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let Ok(([], certificate)) = parser.parse(leaf) else {
            return Err(NotAMember::Unreadable);
        };
        let mut uris = Vec::new();
        for extension in certificate.extensions() {
            if extension.oid.as_bytes() == SUBJECT_ALTERNATIVE_NAME {
                let list = der::only(extension.value, tag::SEQUENCE)?;
                for element in der::elements(list.contents) {
                    uris.extend(Some(element?).filter(|element| element.tag == URI));
                }
            }
        }
        match uris.as_slice() {
            [only] => self.check_id(only.contents),
            others => Err(NotAMember::Count(others.len())),
        }
    }

    fn check_id(&self, uri: &[u8]) -> Result<(), NotAMember> {
        let malformed = |fault| NotAMember::Malformed {
            uri: shown(uri),
            fault,
        };
        let domain = domain_of(uri).map_err(malformed)?;
        if domain == self.0.as_bytes() {
            return Ok(());
        }
        Err(NotAMember::OtherDomain {
            uri: shown(uri),
            domain: shown(domain),
        })
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The trust domain of a workload's SPIFFE ID, or what is wrong with it
/// (SPIFFE-ID §2, X.509-SVID §5.2).
fn domain_of(uri: &[u8]) -> Result<&[u8], &'static str> {
    if uri.len() > MAX_ID {
        return Err("has over 2048 bytes");
    }
    let Some(rest) = uri.strip_prefix(b"spiffe://") else {
        return Err("does not begin with spiffe://, in lower case");
    };
    if rest.contains(&b'?') || rest.contains(&b'#') {
        return Err("has a query or a fragment");
    }
    let slash = rest.iter().position(|byte| *byte == b'/');
    let (domain, path) = rest.split_at(slash.unwrap_or(rest.len()));
    if domain.contains(&b'@') {
        return Err("has a user");
    }
    if domain.contains(&b':') {
        return Err("has a port");
    }
    if !is_trust_domain(domain) {
        return Err(
            "has a trust domain with other characters than lower-case letters, digits, dots, dashes and underscores, or without any",
        );
    }
    let Some(path) = path.strip_prefix(b"/") else {
        return Err("has no path");
    };
    for segment in path.split(|byte| *byte == b'/') {
        if segment.is_empty() {
            return Err("has an empty path segment");
        }
        if matches!(segment, b"." | b"..") {
            return Err("has a path segment of dots");
        }
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
        if !segment.iter().all(legal) {
            return Err(
                "has a path with other characters than letters, digits, dots, dashes and underscores",
            );
        }
    }
    Ok(domain)
}

fn is_trust_domain(name: &[u8]) -> bool {
    let legal =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(byte);
    (1..=MAX_TRUST_DOMAIN).contains(&name.len()) && name.iter().all(legal)
}

/// A name for a message: in printable ASCII, and not all of a long one.
fn shown(uri: &[u8]) -> String {
    let end = uri.len().min(LONGEST_SHOWN);
    let beginning = uri.get(..end).unwrap_or_default();
    let mut text = beginning.escape_ascii().to_string();
    if end < uri.len() {
        text.push('…');
    }
    text
}

/// In bytes (SPIFFE-ID §2.3).
const MAX_ID: usize = 2_048;
/// In bytes (SPIFFE-ID §2.1).
const MAX_TRUST_DOMAIN: usize = 255;
/// In bytes.
const LONGEST_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::identity::CertificateNames;
    use crate::identity::testing::TestLeaf;

    fn partner() -> TrustDomain {
        TrustDomain::parse("partner.example").unwrap()
    }

    fn fault(uri: &str) -> Option<String> {
        let outcome = partner().check(&TestLeaf::new().uri(uri).der());
        outcome.err().map(|fault| fault.to_string())
    }

    #[test]
    fn workloads_of_the_trust_domain_are_members() {
        for uri in [
            "spiffe://partner.example/web",
            "spiffe://partner.example/ns/a/sa/B_c-d.e",
            "spiffe://partner.example/...",
        ] {
            assert_eq!(fault(uri), None);
        }
        let longest = format!("spiffe://partner.example/{}", "a".repeat(2_048 - 25));
        assert_eq!(longest.len(), 2_048);
        assert_eq!(fault(&longest), None);
        assert!(fault(&(longest + "a")).unwrap().contains("2048 bytes"));
    }

    #[test]
    fn no_other_spelling_is_a_member() {
        for (uri, why) in [
            ("spiffe://prod.example/web", "trust domain prod.example"),
            (
                "spiffe://a.partner.example/web",
                "trust domain a.partner.example",
            ),
            (
                "spiffe://partner.example./web",
                "trust domain partner.example.",
            ),
            (
                "spiffe://partner.example.evil.example/web",
                "trust domain partner.example.evil.example",
            ),
            ("spiffe://Partner.Example/web", "lower-case"),
            ("SPIFFE://partner.example/web", "in lower case"),
            ("Spiffe://partner.example/web", "in lower case"),
            ("https://partner.example/web", "spiffe://"),
            ("spiffe:partner.example/web", "spiffe://"),
            ("spiffe:/partner.example/web", "spiffe://"),
            ("spiffe:///web", "trust domain with other characters"),
            ("spiffe://partner%2Eexample/web", "trust domain with other"),
            ("spiffe://partner.example%2Fweb", "trust domain with other"),
            ("spiffe://partner.example:443/web", "has a port"),
            ("spiffe://partner.example:/web", "has a port"),
            ("spiffe://partner.example@prod.example/web", "has a user"),
            ("spiffe://x@partner.example/web", "has a user"),
            ("spiffe://partner.example", "has no path"),
            ("spiffe://partner.example/", "empty path segment"),
            ("spiffe://partner.example//web", "empty path segment"),
            ("spiffe://partner.example/web/", "empty path segment"),
            ("spiffe://partner.example/../web", "segment of dots"),
            ("spiffe://partner.example/./web", "segment of dots"),
            ("spiffe://partner.example/w%65b", "path with other"),
            ("spiffe://partner.example/w~b", "path with other"),
            ("spiffe://partner.example/web?x", "query or a fragment"),
            ("spiffe://partner.example?/web", "query or a fragment"),
            ("spiffe://partner.example/web#x", "query or a fragment"),
            ("spiffe://partner.example\\@prod.example/web", "user"),
        ] {
            let said = fault(uri).unwrap_or_else(|| panic!("{uri} is a member"));
            assert!(said.contains(why), "{uri}: {said}");
        }
    }

    #[test]
    fn member_has_one_uri_name_and_may_have_others_beside_it() {
        let leaf = || TestLeaf::new().uri("spiffe://partner.example/web");
        let check = |leaf: TestLeaf| partner().check(&leaf.der());
        assert_eq!(check(leaf().dns("a.example").email("b@example")), Ok(()));
        for (leaf, count) in [
            (TestLeaf::new(), 0),
            (TestLeaf::new().dns("partner.example"), 0),
            (leaf().uri("spiffe://partner.example/other"), 2),
            (leaf().uri("spiffe://partner.example/web"), 2),
            (leaf().uri("https://partner.example/"), 2),
        ] {
            assert_eq!(check(leaf), Err(NotAMember::Count(count)));
        }
        assert_eq!(partner().check(b"no leaf"), Err(NotAMember::Unreadable));
    }

    #[test]
    fn names_of_trust_domains_are_written_as_they_are_compared() {
        for name in ["partner.example", "a", "a_b-c.1"] {
            assert_eq!(TrustDomain::parse(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            "Partner.example",
            "spiffe://partner.example",
            "partner.example/",
            "partner.example:443",
            "*.example",
            "pärtner.example",
        ] {
            assert_eq!(TrustDomain::parse(name), Err(MalformedTrustDomain));
        }
        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        assert!(TrustDomain::parse(&"a".repeat(256)).is_err());
    }

    proptest! {
        #[test]
        fn member_is_held_as_it_is_written_and_begins_with_its_domain(
            uri in "(spiffe|SPIFFE|https)?:?/{0,2}(partner\\.example|[a-z.:@%A-Z]{0,12})[/?#%.a-zA-Z0-9~@:]{0,20}"
        ) {
            let der = TestLeaf::new().uri(&uri).der();
            if partner().check(&der).is_ok() {
                let names = CertificateNames::read(&der).unwrap();
                prop_assert_eq!(names.uri(), std::slice::from_ref(&uri));
                prop_assert!(uri.starts_with("spiffe://partner.example/"));
            }
        }

        #[test]
        fn whatever_the_name_is_nothing_panics(bytes in proptest::collection::vec(0u8.., 0..300)) {
            prop_assert!(domain_of(&bytes).map_or(true, is_trust_domain));
            prop_assert!(shown(&bytes).is_ascii() || bytes.len() > LONGEST_SHOWN);
        }
    }
}
