//! Who somebody is said to be: by a certificate, an assertion or the config.

use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::distinguished_name;
use super::fingerprint::Fingerprint;
use super::names::CertificateNames;
use super::sans::{AlternativeNames, MalformedName};
use super::template::push_escaped;

/// A certificate chain as it was presented, the leaf first; never empty.
pub type Chain = Arc<[CertificateDer<'static>]>;

/// Who somebody is said to be. It proves nothing: a
/// [`PeerIdentity`](super::PeerIdentity) does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    names: Names,
    chain: Option<Chain>,
    primary: String,
}

/// All that is known of one kind, in order; `None`: nothing.
type Known = fn(&Names) -> Option<Vec<String>>;

/// What is known of the names of an [`Identity`]. Without a certificate most of
/// it is unknown, which is another thing than empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names(Source);

/// Names that are stated one by one, in the form in which certificates' names
/// are held; see [`Identity::stated`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StatedNames {
    subject: Option<String>,
    fingerprint: Option<Fingerprint>,
    alternative: AlternativeNames,
}

/// Why a stated name cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedStatement {
    /// One of the alternative names would refuse a leaf, too.
    #[error(transparent)]
    Name(#[from] MalformedName),

    /// Nobody is named.
    #[error("nobody is named")]
    Nobody,

    /// The subject is not an RFC 4514 string, or is over 16 KiB.
    #[error("the subject is not a distinguished name (RFC 4514)")]
    Subject,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Source {
    Certificate(CertificateNames),
    Stated(Box<StatedNames>),
}

impl Identity {
    /// Whom a certificate names; `chain` begins with that certificate.
    pub fn of_certificate(names: CertificateNames, chain: Chain) -> Self {
        let names = Names::from(names);
        Self {
            primary: primary(&names),
            names,
            chain: Some(chain).filter(|chain| !chain.is_empty()),
        }
    }

    /// Whom somebody's words name, without a certificate.
    ///
    /// # Errors
    ///
    /// [`MalformedStatement::Nobody`] where no name is stated, and
    /// [`MalformedStatement::Name`] where a `spiffe://` name stands beside
    /// another URI.
    pub fn stated(names: StatedNames) -> Result<Self, MalformedStatement> {
        names.alternative.check_spiffe()?;
        let is_named = names.subject.as_ref().is_some_and(|s| !s.is_empty())
            || names.fingerprint.is_some()
            || !names.alternative.is_empty();
        if !is_named {
            return Err(MalformedStatement::Nobody);
        }
        let names = Names(Source::Stated(Box::new(names)));
        Ok(Self {
            primary: primary(&names),
            names,
            chain: None,
        })
    }

    /// What is known of its names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The chain of its certificate; `None`: it is not known.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// The one label for logs, in printable ASCII and never empty: the first
    /// URI name, else DNS name, email, UPN, IP address, else the subject, else
    /// `serial:` and the serial number, else `sha256:` and the fingerprint.
    /// Nothing is decided by it here, since it does not say of which kind the
    /// name is; the encoding `webseal` tells services no more than that.
    pub fn primary(&self) -> &str {
        &self.primary
    }

    /// Whether both can be of the same somebody: they have a name or the
    /// certificate in common, and in nothing that both know they differ.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.names(), other.names());
        let mut common = false;
        let mut differ = |ours: Option<Vec<String>>, theirs: Option<Vec<String>>| {
            let both = ours.zip(theirs);
            common |= both.as_ref().is_some_and(|(a, b)| a == b && !a.is_empty());
            both.is_some_and(|(a, b)| a != b)
        };
        let kinds: [Known; 7] = [
            |names| names.fingerprint().map(|known| vec![known.to_string()]),
            |names| {
                let subject = names.subject().map(ToOwned::to_owned);
                subject.map(|subject| {
                    vec![subject]
                        .into_iter()
                        .filter(|s| !s.is_empty())
                        .collect()
                })
            },
            |names| names.known(names.dns().to_vec()),
            |names| names.known(names.uri().to_vec()),
            |names| names.known(names.email().to_vec()),
            |names| names.known(names.upn().to_vec()),
            |names| names.known(names.ip().iter().map(ToString::to_string).collect()),
        ];
        !kinds.iter().any(|of| differ(of(ours), of(theirs))) && common
    }

    /// The same exactly for identities of which the same is known: a digest of
    /// all their names, and of the certificate.
    pub(super) fn digest(&self) -> Fingerprint {
        let certificate = self.names().fingerprint();
        self.digest_with(certificate.map_or(&[], |known| known.as_bytes()))
    }

    /// The same exactly for identities with the same names, each of them;
    /// `None`: it has no name.
    pub(super) fn names_digest(&self) -> Option<Fingerprint> {
        let names = self.names();
        let lists = [names.dns(), names.uri(), names.email(), names.upn()];
        let is_named = names.subject().is_some_and(|subject| !subject.is_empty())
            || lists.iter().any(|list| !list.is_empty())
            || !names.ip().is_empty();
        is_named.then(|| self.digest_with(&[]))
    }

    fn digest_with(&self, certificate: &[u8]) -> Fingerprint {
        let names = self.names();
        let mut bytes = Vec::new();
        // Each with its length, so that no two lists of names read the same.
        let mut push = |text: &[u8]| {
            bytes.extend_from_slice(&text.len().to_be_bytes());
            bytes.extend_from_slice(text);
        };
        push(certificate);
        push(&[u8::from(names.subject().is_some())]);
        push(names.subject().unwrap_or_default().as_bytes());
        for kind in [names.dns(), names.uri(), names.email(), names.upn()] {
            push(&kind.len().to_be_bytes());
            kind.iter().for_each(|name| push(name.as_bytes()));
        }
        for address in names.ip() {
            push(address.to_string().as_bytes());
        }
        Fingerprint::of(&bytes)
    }

    /// Holds the chain in this allocation, if it is the same chain.
    pub(super) fn share_chain(&mut self, same: &Chain) {
        if self.chain.as_ref() == Some(same) {
            self.chain = Some(Arc::clone(same));
        }
    }
}

impl Names {
    /// Everything that the certificate says; `None`: it is not known.
    pub fn certificate(&self) -> Option<&CertificateNames> {
        match &self.0 {
            Source::Certificate(names) => Some(names),
            Source::Stated(_) => None,
        }
    }

    /// The subject, as an RFC 4514 string in printable ASCII; may be empty.
    /// `None`: it is not known.
    pub fn subject(&self) -> Option<&str> {
        match &self.0 {
            Source::Certificate(names) => Some(names.subject()),
            Source::Stated(names) => names.subject.as_deref(),
        }
    }

    /// SHA-256 of the certificate's DER; `None`: it is not known.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        match &self.0 {
            Source::Certificate(names) => Some(names.fingerprint()),
            Source::Stated(names) => names.fingerprint.as_ref(),
        }
    }

    /// The DNS names: printable ASCII, lower case, no final dot.
    pub fn dns(&self) -> &[String] {
        &self.alternative().dns
    }

    /// The URI names: printable ASCII, scheme and authority in lower case.
    pub fn uri(&self) -> &[String] {
        &self.alternative().uri
    }

    /// The email names: printable ASCII, as they were written.
    pub fn email(&self) -> &[String] {
        &self.alternative().email
    }

    /// The user principal names: UTF-8 without control characters.
    pub fn upn(&self) -> &[String] {
        &self.alternative().upn
    }

    /// The IP addresses.
    pub fn ip(&self) -> &[IpAddr] {
        &self.alternative().ip
    }

    /// All names of a kind, in order; `None`: it is not known whether there are any.
    fn known(&self, mut list: Vec<String>) -> Option<Vec<String>> {
        list.sort();
        (self.certificate().is_some() || !list.is_empty()).then_some(list)
    }

    fn alternative(&self) -> &AlternativeNames {
        match &self.0 {
            Source::Certificate(names) => names.alternative(),
            Source::Stated(names) => &names.alternative,
        }
    }
}

impl From<CertificateNames> for Names {
    fn from(names: CertificateNames) -> Self {
        Self(Source::Certificate(names))
    }
}

impl StatedNames {
    /// States the subject, an RFC 4514 string; it may be empty. It is held as
    /// a certificate's would be.
    ///
    /// # Errors
    ///
    /// [`MalformedStatement::Subject`].
    pub fn subject(&mut self, text: &str) -> Result<&mut Self, MalformedStatement> {
        let canonical = distinguished_name::canonical(text);
        self.subject = Some(canonical.ok_or(MalformedStatement::Subject)?);
        Ok(self)
    }

    /// States the fingerprint of the certificate.
    pub fn fingerprint(&mut self, fingerprint: Fingerprint) -> &mut Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    /// States one more DNS name.
    ///
    /// # Errors
    ///
    /// The name would refuse a leaf, or there are too many.
    pub fn dns(&mut self, name: &str) -> Result<&mut Self, MalformedStatement> {
        self.alternative.state_dns(name)?;
        Ok(self)
    }

    /// States one more URI.
    ///
    /// # Errors
    ///
    /// The name would refuse a leaf, or there are too many.
    pub fn uri(&mut self, uri: &str) -> Result<&mut Self, MalformedStatement> {
        self.alternative.state_uri(uri)?;
        Ok(self)
    }

    /// States one more email address.
    ///
    /// # Errors
    ///
    /// The name would refuse a leaf, or there are too many.
    pub fn email(&mut self, address: &str) -> Result<&mut Self, MalformedStatement> {
        self.alternative.state_email(address)?;
        Ok(self)
    }

    /// States one more IP address.
    ///
    /// # Errors
    ///
    /// There are too many names.
    pub fn ip(&mut self, address: IpAddr) -> Result<&mut Self, MalformedStatement> {
        self.alternative.state_ip(address)?;
        Ok(self)
    }
}

impl StatedNames {
    pub(super) fn uri_and_dns(&self) -> (&[String], &[String]) {
        (&self.alternative.uri, &self.alternative.dns)
    }
}

fn primary(names: &Names) -> String {
    let alternative = [names.uri(), names.dns(), names.email(), names.upn()];
    if let Some(name) = alternative.iter().find_map(|kind| kind.first()) {
        let mut label = String::with_capacity(name.len());
        push_escaped(name, &mut label);
        return label;
    }
    if let (Some(address), Source::Stated(_)) = (names.ip().first(), &names.0) {
        return address.to_string();
    }
    match (names.subject(), names.certificate(), names.fingerprint()) {
        (Some(subject), _, _) if !subject.is_empty() => subject.to_owned(),
        (_, Some(certificate), _) => format!("serial:{}", certificate.serial()),
        (_, None, Some(fingerprint)) => format!("sha256:{fingerprint}"),
        (_, None, None) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::TestLeaf;

    #[test]
    fn primary_is_the_first_name_of_the_strongest_kind() {
        let bare = TestLeaf::new();
        let subject = bare.clone().subject("web");
        let upn = subject.clone().upn("jürgen@example.com");
        let email = upn.clone().email("ops@example.com");
        let dns = email.clone().dns("b.example").dns("a.example");
        let uri = dns.clone().uri("spiffe://prod.example/web");

        assert_eq!(bare.identity().primary(), "serial:0a2b");
        assert_eq!(subject.identity().primary(), "CN=web");
        assert_eq!(upn.identity().primary(), "j\\C3\\BCrgen@example.com");
        assert_eq!(email.identity().primary(), "ops@example.com");
        assert_eq!(dns.identity().primary(), "b.example");
        assert_eq!(uri.identity().primary(), "spiffe://prod.example/web");
    }

    #[test]
    fn what_is_stated_is_held_as_a_certificate_would_hold_it() {
        let mut names = StatedNames::default();
        names.subject("cn=web\\2C inc, O=\"x\"").unwrap_err();
        names.subject("cn=web\\2C inc,2.5.4.10=x").unwrap();
        names.dns("A.Example.").unwrap();
        names.uri("SPIFFE://Prod.example/Web").unwrap();
        let identity = Identity::stated(names).unwrap();

        assert_eq!(identity.names().subject(), Some("CN=web\\, inc,O=x"));
        assert_eq!(identity.names().dns(), ["a.example"]);
        assert_eq!(identity.primary(), "spiffe://prod.example/Web");
        assert_eq!(identity.names().certificate(), None);
        assert_eq!(identity.names().fingerprint(), None);
        assert_eq!(identity.chain(), None);
    }

    #[test]
    fn identities_agree_that_have_something_in_common_and_differ_in_nothing_known() {
        let stated = |uri: &str, dns: &[&str], subject: Option<&str>| {
            let mut names = StatedNames::default();
            names.uri(uri).unwrap();
            for name in dns {
                names.dns(name).unwrap();
            }
            if let Some(subject) = subject {
                names.subject(subject).unwrap();
            }
            Identity::stated(names).unwrap()
        };
        let leaf = TestLeaf::new().subject("web").uri("urn:web");
        let leaf = leaf.dns("a.example").dns("b.example").identity();
        let leaf = leaf.identity();
        let web = stated("urn:web", &[], None);
        let turned = stated("urn:web", &["b.example", "a.example"], Some("CN=web"));
        for (one, other) in [(leaf, &web), (leaf, &turned), (&web, &turned)] {
            assert!(one.agrees_with(other) && other.agrees_with(one));
        }
        let mut subject = StatedNames::default();
        subject.subject("CN=web").unwrap();
        let subject = Identity::stated(subject).unwrap();
        assert!(leaf.agrees_with(&subject));
        assert!(!web.agrees_with(&subject), "nothing is in common");
        for other in [
            stated("urn:other", &[], None),
            stated("urn:web", &["a.example"], None),
            stated("urn:web", &[], Some("CN=other")),
        ] {
            assert!(!leaf.agrees_with(&other) && !other.agrees_with(leaf));
        }
        // What a certificate does not have is known, too.
        let bare = TestLeaf::new().uri("urn:web").identity();
        assert!(!bare.identity().agrees_with(&turned));
    }

    #[test]
    fn statement_that_names_nobody_is_refused() {
        let mut empty = StatedNames::default();
        assert_eq!(
            Identity::stated(empty.clone()),
            Err(MalformedStatement::Nobody)
        );
        empty.subject("").unwrap();
        assert_eq!(Identity::stated(empty), Err(MalformedStatement::Nobody));
    }

    #[test]
    fn stated_names_obey_the_rules_of_a_leaf() {
        let mut names = StatedNames::default();
        for wrong in ["", "a b", "ü.example", "a\r\nb"] {
            names.dns(wrong).unwrap_err();
            names.uri(&format!("x:{wrong} ")).unwrap_err();
            names.email(wrong).unwrap_err();
        }
        names.uri("no-scheme").unwrap_err();
        names.dns(&"a".repeat(9000)).unwrap_err();
        names.uri("spiffe://a/b").unwrap();
        names.uri("https://a/b").unwrap();
        Identity::stated(names).unwrap_err();
    }

    #[test]
    fn without_a_name_the_label_is_what_else_is_known() {
        let mut names = StatedNames::default();
        names.fingerprint(Fingerprint::of(b""));
        let identity = Identity::stated(names.clone()).unwrap();
        assert!(identity.primary().starts_with("sha256:e3b0c442"));
        names.ip([192, 0, 2, 1].into()).unwrap();
        let identity = Identity::stated(names).unwrap();
        assert_eq!(identity.primary(), "192.0.2.1");
    }
}
