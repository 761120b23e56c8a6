//! Reads the subject alternative names of a leaf (RFC 5280 §4.2.1.6) and brings
//! them to canonical form.

use std::borrow::Cow;
use std::net::IpAddr;

use super::der::{self, Element, NotDer, tag};

/// The alternative names of a leaf, by kind, each in the certificate's order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct AlternativeNames {
    pub(super) dns: Vec<String>,
    pub(super) uri: Vec<String>,
    pub(super) email: Vec<String>,
    pub(super) ip: Vec<IpAddr>,
    pub(super) upn: Vec<String>,
}

/// Why the alternative names refuse a leaf. A name is named by its index,
/// counted from 0 over all kinds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are explained by each message")]
pub enum MalformedName {
    /// The name, or the last label of a DNS name, has no characters.
    #[error("{kind} name number {index} is empty, or ends in an empty label")]
    Empty { kind: &'static str, index: usize },

    /// The extension is not a list of names in DER.
    #[error("they are not DER")]
    Encoding,

    /// An IP address has neither 4 nor 16 bytes.
    #[error("IP address number {index} has {bytes} bytes; an address has 4 or 16")]
    IpLength { index: usize, bytes: usize },

    /// A `spiffe://` name stands beside another URI name (SPIFFE X.509-SVID §2).
    #[error("it holds a spiffe:// name and {others} more URI names; a SPIFFE leaf has exactly one")]
    SpiffeWithOthers { others: usize },

    /// A name is over 8 KiB.
    #[error("name number {index} has {bytes} bytes; at most {MAX_NAME} are read")]
    TooLong { index: usize, bytes: usize },

    /// There are over 1,000 names.
    #[error("there are over {MAX_NAMES} names")]
    TooMany,

    /// A DNS, URI or email name has a byte outside 0x21 to 0x7e, or a UPN has a
    /// control character or is not UTF-8.
    #[error("{kind} name number {index} holds a character that such a name cannot have")]
    Unprintable { kind: &'static str, index: usize },

    /// A URI name is not absolute.
    #[error("URI name number {index} has no scheme")]
    UriWithoutScheme { index: usize },
}

impl From<NotDer> for MalformedName {
    fn from(NotDer: NotDer) -> Self {
        Self::Encoding
    }
}

impl AlternativeNames {
    /// Reads the value of the extension.
    pub(super) fn read(extension: &[u8]) -> Result<Self, MalformedName> {
        let mut names = Self::default();
        let list = der::only(extension, tag::SEQUENCE)?;
        for (index, element) in der::elements(list.contents).enumerate() {
            if index >= MAX_NAMES {
                return Err(MalformedName::TooMany);
            }
            names.add(index, element?)?;
        }
        names.check_spiffe()?;
        Ok(names)
    }

    fn add(&mut self, index: usize, element: Element<'_>) -> Result<(), MalformedName> {
        let contents = element.contents;
        if contents.len() > MAX_NAME {
            return Err(MalformedName::TooLong {
                index,
                bytes: contents.len(),
            });
        }
        match element.tag {
            OTHER_NAME => self.upn.extend(read_upn(index, contents)?),
            EMAIL => self
                .email
                .push(printable("email", index, contents)?.to_owned()),
            DNS => self.dns.push(read_dns(index, contents)?),
            URI => self.uri.push(read_uri(index, contents)?),
            IP => self.ip.push(read_ip(index, contents)?),
            X400 | DIRECTORY | EDI | REGISTERED_ID => {}
            _ => return Err(MalformedName::Encoding),
        }
        Ok(())
    }

    /// Adds a DNS name that somebody states.
    pub(super) fn state_dns(&mut self, name: &str) -> Result<(), MalformedName> {
        let index = self.next(name.len())?;
        self.dns.push(read_dns(index, name.as_bytes())?);
        Ok(())
    }

    /// Adds a URI that somebody states.
    pub(super) fn state_uri(&mut self, uri: &str) -> Result<(), MalformedName> {
        let index = self.next(uri.len())?;
        self.uri.push(read_uri(index, uri.as_bytes())?);
        Ok(())
    }

    /// Adds an email address that somebody states.
    pub(super) fn state_email(&mut self, address: &str) -> Result<(), MalformedName> {
        let index = self.next(address.len())?;
        let address = printable("email", index, address.as_bytes())?;
        self.email.push(address.to_owned());
        Ok(())
    }

    /// Adds an IP address that somebody states.
    pub(super) fn state_ip(&mut self, address: IpAddr) -> Result<(), MalformedName> {
        self.next(0)?;
        self.ip.push(address);
        Ok(())
    }

    /// Whether there is no name.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        let texts = [&self.dns, &self.uri, &self.email, &self.upn];
        texts.iter().map(|kind| kind.len()).sum::<usize>() + self.ip.len()
    }

    /// The index of one name more, of so many bytes.
    fn next(&self, bytes: usize) -> Result<usize, MalformedName> {
        let index = self.len();
        if index >= MAX_NAMES {
            return Err(MalformedName::TooMany);
        }
        if bytes > MAX_NAME {
            return Err(MalformedName::TooLong { index, bytes });
        }
        Ok(index)
    }

    pub(super) fn check_spiffe(&self) -> Result<(), MalformedName> {
        let others = self.uri.len().saturating_sub(1);
        let has_spiffe = self.uri.iter().any(|uri| uri.starts_with("spiffe://"));
        if has_spiffe && others > 0 {
            return Err(MalformedName::SpiffeWithOthers { others });
        }
        Ok(())
    }
}

/// The one form in which DNS names are compared, wherever they come from: a
/// certificate, a handshake (SNI), a request or the config. Lower case, without
/// the final dot.
pub fn canonical_dns(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Brings scheme and authority of a URI to lower case; the rest stays byte for
/// byte. `None` if it has no scheme (RFC 3986 §3.1).
pub(super) fn canonical_uri(uri: &str) -> Option<String> {
    let (scheme, _) = uri.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return None;
    }
    let end = uri_authority(uri).map_or(scheme.len(), |(_, end)| end);
    let (folded, rest) = uri.split_at_checked(end)?;
    Some(folded.to_ascii_lowercase() + rest)
}

/// Returns where the authority of a URI begins and ends, in bytes; `None` if it
/// has none (RFC 3986 §3.2).
pub(super) fn uri_authority(uri: &str) -> Option<(usize, usize)> {
    let uri = uri.as_bytes();
    let start = memchr::memchr(b':', uri)? + 1;
    let after = uri.get(start..)?.strip_prefix(b"//")?;
    let start = start + 2;
    let length = memchr::memchr3(b'/', b'?', b'#', after).unwrap_or(after.len());
    Some((start, start + length))
}

fn read_dns(index: usize, contents: &[u8]) -> Result<String, MalformedName> {
    let name = canonical_dns(printable("DNS", index, contents)?).into_owned();
    // A second final dot would be lost where the name is read once more.
    if name.is_empty() || name.ends_with('.') {
        return Err(MalformedName::Empty { kind: "DNS", index });
    }
    Ok(name)
}

fn read_uri(index: usize, contents: &[u8]) -> Result<String, MalformedName> {
    let uri = printable("URI", index, contents)?;
    canonical_uri(uri).ok_or(MalformedName::UriWithoutScheme { index })
}

fn read_ip(index: usize, contents: &[u8]) -> Result<IpAddr, MalformedName> {
    let length = MalformedName::IpLength {
        index,
        bytes: contents.len(),
    };
    <[u8; 4]>::try_from(contents)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(contents).map(IpAddr::from))
        .map_err(|_| length)
}

/// Reads an otherName: `OID, [0] EXPLICIT value`; `None` if it is not a UPN.
fn read_upn(index: usize, contents: &[u8]) -> Result<Option<String>, MalformedName> {
    let (oid, value) = der::pair(contents)?;
    if oid.tagged(tag::OBJECT_IDENTIFIER)?.contents != UPN_OID {
        return Ok(None);
    }
    let text = der::only(value.tagged(EXPLICIT_0)?.contents, tag::UTF8_STRING)?.contents;
    let unprintable = MalformedName::Unprintable { kind: "UPN", index };
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(unprintable);
    };
    if text.is_empty() {
        return Err(MalformedName::Empty { kind: "UPN", index });
    }
    if text.contains(char::is_control) {
        return Err(unprintable);
    }
    Ok(Some(text.to_owned()))
}

/// Checks that a name has only printable ASCII, and some.
fn printable<'a>(
    kind: &'static str,
    index: usize,
    contents: &'a [u8],
) -> Result<&'a str, MalformedName> {
    if contents.is_empty() {
        return Err(MalformedName::Empty { kind, index });
    }
    std::str::from_utf8(contents)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(MalformedName::Unprintable { kind, index })
}

/// A certificate of the field has a handful; a thousand are a CDN's.
pub(super) const MAX_NAMES: usize = 1_000;
/// In bytes. A SPIFFE ID has at most 2,048, a DNS name 253.
pub(super) const MAX_NAME: usize = 8 * 1024;

// GeneralName's tags, as identifier octets: context class, constructed where
// the type beneath is.
const OTHER_NAME: u8 = 0xa0;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const X400: u8 = 0xa3;
const DIRECTORY: u8 = 0xa4;
const EDI: u8 = 0xa5;
pub(super) const URI: u8 = 0x86;
const IP: u8 = 0x87;
const REGISTERED_ID: u8 = 0x88;
const EXPLICIT_0: u8 = 0xa0;
/// Microsoft's user principal name, 1.3.6.1.4.1.311.20.2.3.
pub(super) const UPN_OID: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3];

#[cfg(test)]
mod tests;
