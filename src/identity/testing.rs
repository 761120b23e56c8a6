//! Certificates for the tests of this and other rooms, built byte by byte so
//! that what no certificate authority would sign can be tried too.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use rustls_pki_types::CertificateDer;

use super::{CertificateNames, Fingerprint, PeerIdentity, UnreadableCertificate, VerifiedLeaf};

/// A leaf in the making. Its names are taken as they are given, legal or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestLeaf {
    rdns: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
    serial: Option<Vec<u8>>,
    issuer: Option<String>,
}

/// The identity of a verified leaf whose only name is this URI.
pub(crate) fn test_identity(uri: &str) -> PeerIdentity {
    TestLeaf::new().uri(uri).identity()
}

impl TestLeaf {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an RDN `CN=` with this text.
    pub(crate) fn subject(self, common_name: &str) -> Self {
        let value = der(0x0c, common_name.as_bytes());
        self.rdn(rdn(&[attribute(&[0x55, 4, 3], &value)]))
    }

    pub(crate) fn rdn(mut self, rdn: Vec<u8>) -> Self {
        self.rdns.push(rdn);
        self
    }

    pub(crate) fn uri(self, uri: &str) -> Self {
        self.name(der(0x86, uri.as_bytes()))
    }

    pub(crate) fn dns(self, name: &str) -> Self {
        self.name(der(0x82, name.as_bytes()))
    }

    pub(crate) fn email(self, address: &str) -> Self {
        self.name(der(0x81, address.as_bytes()))
    }

    pub(crate) fn ip(self, octets: &[u8]) -> Self {
        self.name(der(0x87, octets))
    }

    pub(crate) fn upn(self, name: &str) -> Self {
        self.name(upn(name))
    }

    /// Adds a GeneralName in DER.
    pub(crate) fn name(mut self, name: Vec<u8>) -> Self {
        self.names.push(name);
        self
    }

    /// Adds an extension beside the one of the names.
    pub(crate) fn extension(mut self, oid: &[u8], value: &[u8]) -> Self {
        self.extensions.push(extension(oid, value));
        self
    }

    pub(crate) fn serial(mut self, octets: &[u8]) -> Self {
        self.serial = Some(octets.to_vec());
        self
    }

    /// Names another issuer than `CN=Test CA`.
    pub(crate) fn issuer(mut self, common_name: &str) -> Self {
        self.issuer = Some(common_name.to_owned());
        self
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        if !self.names.is_empty() {
            extensions.push(extension(
                &[0x55, 0x1d, 0x11],
                &der(0x30, &self.names.concat()),
            ));
        }
        let algorithm = der(0x30, &der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let key = der(0x30, &[algorithm.clone(), der(0x03, &[0, 1, 2])].concat());
        let issuer = self.issuer.as_deref().unwrap_or("Test CA");
        let issuer_name = attribute(&[0x55, 4, 3], &der(0x0c, issuer.as_bytes()));
        let mut tbs = vec![
            der(0xa0, &der(0x02, &[2])),
            der(0x02, self.serial.as_deref().unwrap_or(&[0x0a, 0x2b])),
            algorithm.clone(),
            name(&[rdn(&[issuer_name])]),
            der(
                0x30,
                &[der(0x17, b"250101000000Z"), der(0x17, b"350101000000Z")].concat(),
            ),
            name(&self.rdns),
            key,
        ];
        if !extensions.is_empty() {
            tbs.push(der(0xa3, &der(0x30, &extensions.concat())));
        }
        let signature = der(0x03, &[0, 1]);
        der(
            0x30,
            &[der(0x30, &tbs.concat()), algorithm, signature].concat(),
        )
    }

    pub(crate) fn read(&self) -> Result<CertificateNames, UnreadableCertificate> {
        CertificateNames::read(&self.der())
    }

    /// The identity, as if the chain had been verified.
    pub(crate) fn identity(&self) -> PeerIdentity {
        self.identity_below("Test CA")
    }

    /// The same, as if the chain had ended at this one of several anchors.
    pub(crate) fn identity_below(&self, anchor: &str) -> PeerIdentity {
        let chain = vec![CertificateDer::from(self.der())];
        let anchor = Fingerprint::of(anchor.as_bytes());
        let leaf = VerifiedLeaf::attest(self.read().unwrap(), chain.into(), anchor);
        PeerIdentity::from_leaf(leaf)
    }
}

/// What would break out of a form, and plain characters between.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z ]{1,3}",
        "[\"\\\\,;=+#%&:/<>*]{1,3}",
        "\\PC{1,2}",
        Just("\r\n".to_owned()),
        Just("\0".to_owned()),
        Just("%2C".to_owned()),
        Just("\\2C".to_owned()),
        Just("\",CN=\"".to_owned()),
        Just(";URI=x".to_owned()),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn printable() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,12}", "[a-z.\"\\\\,;=%]{1,8}"]
}

/// A leaf whose subject and alternative names are anything that can be read.
pub(crate) fn any_leaf() -> impl Strategy<Value = TestLeaf> {
    let kind = proptest::sample::select(vec![3_u8, 5, 6, 7, 10, 11]);
    let tag = proptest::sample::select(vec![0x0c_u8, 0x13, 0x14, 0x1e, 0x02]);
    let value = prop_oneof![
        (Just(0x0c_u8), any_text().prop_map(String::into_bytes)),
        (tag, vec(any::<u8>(), 0..6)),
    ];
    let subject = vec(vec((kind, value), 1..3), 0..4);
    let names = (
        vec(printable(), 0..3),
        vec(printable(), 0..3),
        vec(printable(), 0..3),
        vec("[^\\pC]{1,6}", 0..2),
        vec(any::<[u8; 4]>(), 0..2),
    );
    (subject, names, vec(any::<u8>(), 1..20)).prop_map(|(subject, names, serial)| {
        let mut leaf = TestLeaf::new().serial(&serial);
        for attributes in subject {
            let attributes: Vec<_> = attributes
                .iter()
                .map(|(kind, (tag, bytes))| attribute(&[0x55, 4, *kind], &der(*tag, bytes)))
                .collect();
            leaf = leaf.rdn(rdn(&attributes));
        }
        let (dns, uri, email, upn, ip) = names;
        leaf = dns.iter().fold(leaf, |leaf, name| leaf.dns(name));
        leaf = uri
            .iter()
            .fold(leaf, |leaf, rest| leaf.uri(&format!("x:{rest}")));
        leaf = email.iter().fold(leaf, |leaf, name| leaf.email(name));
        leaf = upn.iter().fold(leaf, |leaf, name| leaf.upn(name));
        ip.iter().fold(leaf, |leaf, octets| leaf.ip(octets))
    })
}

/// One DER element.
pub(crate) fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap();
    let octets = length.to_be_bytes();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(octets[3]),
        0x80..0x100 => out.extend([0x81, octets[3]]),
        0x100..0x1_0000 => out.extend([0x82, octets[2], octets[3]]),
        _ => out.extend([0x83, octets[1], octets[2], octets[3]]),
    }
    out.extend(contents);
    out
}

pub(crate) fn name(rdns: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &rdns.concat())
}

pub(crate) fn rdn(attributes: &[Vec<u8>]) -> Vec<u8> {
    der(0x31, &attributes.concat())
}

pub(crate) fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    der(0x30, &[&der(0x06, oid), value].concat())
}

pub(crate) fn upn(name: &str) -> Vec<u8> {
    other_name(super::sans::UPN_OID, &der(0x0c, name.as_bytes()))
}

pub(crate) fn other_name(oid: &[u8], value: &[u8]) -> Vec<u8> {
    der(0xa0, &[der(0x06, oid), der(0xa0, value)].concat())
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    der(0x30, &[der(0x06, oid), der(0x04, value)].concat())
}
