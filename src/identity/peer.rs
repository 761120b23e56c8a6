//! Who is on the other end of a connection.

use super::names::CertificateNames;
use super::template::push_escaped;

/// Proof that the chain of a leaf was verified.
///
/// Only [`crate::tls`] makes one.
#[derive(Debug)]
pub struct VerifiedLeaf(CertificateNames);

/// A peer whose certificate chain was verified.
///
/// It is made from a [`VerifiedLeaf`] and in no other way, so code that holds
/// one need not ask whether somebody checked.
#[derive(Debug)]
pub struct PeerIdentity {
    names: CertificateNames,
    primary: String,
}

impl VerifiedLeaf {
    /// States that the chain of this leaf was verified, against the trust bundle
    /// of the listener and name it arrived at.
    ///
    /// Only `crate::tls` calls this; `tests/architecture.rs` holds it.
    pub(crate) fn attest(names: CertificateNames) -> Self {
        Self(names)
    }
}

impl PeerIdentity {
    /// Takes the peer's names from its verified leaf.
    pub fn from_leaf(leaf: VerifiedLeaf) -> Self {
        let VerifiedLeaf(names) = leaf;
        let primary = primary(&names);
        Self { names, primary }
    }

    /// The names of the leaf.
    pub fn names(&self) -> &CertificateNames {
        &self.names
    }

    /// The one label for logs, in printable ASCII and never empty: the first
    /// URI name, else DNS name, email, UPN, else the subject, else `serial:`
    /// and the serial number. Nothing is decided by it.
    pub fn primary(&self) -> &str {
        &self.primary
    }
}

fn primary(names: &CertificateNames) -> String {
    let alternative = [names.uri(), names.dns(), names.email(), names.upn()];
    if let Some(name) = alternative.iter().find_map(|kind| kind.first()) {
        let mut label = String::with_capacity(name.len());
        push_escaped(name, &mut label);
        return label;
    }
    if names.subject().is_empty() {
        return format!("serial:{}", names.serial());
    }
    names.subject().to_owned()
}

#[cfg(test)]
mod tests {
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
}
