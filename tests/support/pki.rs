//! Throwaway certificate authorities, leaves and revocation lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, OtherNameValue, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevokedCertParams, RsaKeySize, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name that the baseline proxy's certificate carries.
pub(crate) const PROXY_NAME: &str = "proxy.test";

/// The identity of the baseline client.
pub(crate) const CLIENT_URI: &str = "spiffe://prod.example/billing";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One root, and the usual leaves under it.
pub(crate) struct Pki {
    root: Authority,
}

impl Pki {
    /// Makes a root of its own for one test.
    pub(crate) fn new() -> Self {
        Self {
            root: Authority::root("Countersign Test Root"),
        }
    }

    /// The root that the baseline proxy and the baseline client trust.
    pub(crate) fn root(&self) -> &Authority {
        &self.root
    }

    /// The baseline proxy's own certificate.
    pub(crate) fn proxy(&self) -> Leaf {
        self.server(PROXY_NAME)
    }

    /// A server certificate for one name.
    pub(crate) fn server(&self, name: &str) -> Leaf {
        self.root.leaf().server().dns(name).issue()
    }

    /// The baseline client's certificate, good in every respect.
    pub(crate) fn client(&self) -> Leaf {
        self.client_as(CLIENT_URI)
    }

    /// A client certificate with one URI SAN.
    pub(crate) fn client_as(&self, uri: &str) -> Leaf {
        self.root
            .leaf()
            .client()
            .common_name("billing")
            .uri(uri)
            .issue()
    }
}

/// A certificate authority that can sign.
#[derive(Clone)]
pub(crate) struct Authority {
    name: String,
    issuer: Arc<Issuer<'static, KeyPair>>,
    certificate: CertificateDer<'static>,
    serial: u64,
    /// The intermediates from this authority upwards, without the root.
    intermediates: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Makes a root with this common name and a key of its own.
    pub(crate) fn root(name: &str) -> Self {
        Self::self_signed(name, authority_params(name))
    }

    /// Makes a root whose own validity ends so soon.
    pub(crate) fn root_for(name: &str, left: Duration) -> Self {
        Self::self_signed(name, until(SystemTime::now() + left, name))
    }

    /// Makes a root whose own validity ended an hour ago.
    pub(crate) fn expired_root(name: &str) -> Self {
        Self::self_signed(name, until(SystemTime::now() - DAY / 24, name))
    }

    fn self_signed(name: &str, mut params: CertificateParams) -> Self {
        let serial = next_serial();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let issuer = Arc::new(Issuer::new(params, key));
        Self {
            name: name.to_owned(),
            issuer,
            certificate,
            serial,
            intermediates: Vec::new(),
        }
    }

    /// Makes an authority of the same name with another key: not the same authority.
    pub(crate) fn same_name_other_key(&self) -> Self {
        Self::root(&self.name)
    }

    /// Makes an authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.below(authority_params(name), name)
    }

    /// As [`Authority::intermediate`], with a validity that ends so soon.
    pub(crate) fn intermediate_for(&self, name: &str, left: Duration) -> Self {
        self.below(until(SystemTime::now() + left, name), name)
    }

    /// Makes an authority below this one that may vouch for DNS names below this
    /// one alone.
    pub(crate) fn intermediate_within(&self, name: &str, dns: &str) -> Self {
        let mut params = authority_params(name);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(dns.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        self.below(params, name)
    }

    /// Makes somebody below this one who is no authority, and signs nevertheless.
    pub(crate) fn pretender(&self, name: &str) -> Self {
        let mut params = authority_params(name);
        params.is_ca = IsCa::ExplicitNoCa;
        self.below(params, name)
    }

    fn below(&self, mut params: CertificateParams, name: &str) -> Self {
        let serial = next_serial();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &*self.issuer).unwrap().der().clone();
        let mut intermediates = vec![certificate.clone()];
        intermediates.extend(self.intermediates.iter().cloned());
        Self {
            name: name.to_owned(),
            issuer: Arc::new(Issuer::new(params, key)),
            certificate,
            serial,
            intermediates,
        }
    }

    /// Begins a leaf below this authority, valid now, with an empty subject and no SAN.
    pub(crate) fn leaf(&self) -> LeafBuilder {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 30 * DAY).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        LeafBuilder {
            authority: self.clone(),
            params,
            key: &PKCS_ECDSA_P256_SHA256,
            rsa: None,
        }
    }

    /// Its own certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// SHA-256 over its own certificate, in lower-case hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        HEXLOWER.encode(digest(&SHA256, &self.certificate).as_ref())
    }

    /// A store in which only it is trusted.
    pub(crate) fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.certificate.clone()).unwrap();
        store
    }

    /// A revocation list as PEM, signed by it, that names these leaves.
    pub(crate) fn crl(&self, revoked: &[&Leaf]) -> String {
        self.crl_naming(revoked.iter().map(|leaf| leaf.serial.into()))
    }

    /// As [`Authority::crl`], against an authority below it.
    pub(crate) fn crl_against(&self, revoked: &Self) -> String {
        self.crl_naming([revoked.serial.into()].into_iter())
    }

    /// As [`Authority::crl`]; the next list was due an hour ago.
    pub(crate) fn stale_crl(&self, revoked: &[&Leaf]) -> String {
        let serials = revoked.iter().map(|leaf| leaf.serial.into());
        self.list(serials, SystemTime::now() - DAY / 24)
    }

    /// A revocation list as PEM, signed by it, that names these serial numbers.
    pub(crate) fn crl_naming(&self, serials: impl Iterator<Item = SerialNumber>) -> String {
        self.list(serials, SystemTime::now() + DAY)
    }

    fn list(&self, serials: impl Iterator<Item = SerialNumber>, next_update: SystemTime) -> String {
        let revoked_certs = serials.map(|serial_number| RevokedCertParams {
            serial_number,
            revocation_time: (SystemTime::now() - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: (SystemTime::now() - DAY).into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&*self.issuer).unwrap().pem().unwrap()
    }
}

/// A leaf in the making; each method changes one thing.
pub(crate) struct LeafBuilder {
    authority: Authority,
    params: CertificateParams,
    key: &'static SignatureAlgorithm,
    rsa: Option<RsaKeySize>,
}

impl LeafBuilder {
    /// For the client side of TLS.
    pub(crate) fn client(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// For the server side of TLS.
    pub(crate) fn server(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// An authority itself.
    pub(crate) fn authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    /// Has a critical extension that nobody knows.
    pub(crate) fn critical_extension(mut self) -> Self {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        self.params.custom_extensions.push(extension);
        self
    }

    /// Says that its issuer's certificate is to be had at this address, of less
    /// than 100 bytes (RFC 5280 §4.2.2.1).
    pub(crate) fn issuer_at(mut self, address: &str) -> Self {
        let sequence = |content: Vec<u8>| [vec![0x30, content.len() as u8], content].concat();
        let method = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
        let location = [&[0x86, address.len() as u8], address.as_bytes()].concat();
        let list = sequence(sequence([method, location].concat()));
        let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], list);
        self.params.custom_extensions.push(extension);
        self
    }

    /// Is for these uses of its key, and no other.
    pub(crate) fn usages(mut self, usages: &[KeyUsagePurpose]) -> Self {
        self.params.key_usages = usages.to_vec();
        self
    }

    /// Has a key of this kind; else it is ECDSA on P-256.
    pub(crate) fn key(mut self, kind: &'static SignatureAlgorithm) -> Self {
        self.key = kind;
        self
    }

    /// Has an RSA key of this size.
    pub(crate) fn rsa(mut self, size: RsaKeySize) -> Self {
        self.rsa = Some(size);
        self
    }

    /// Adds a URI SAN.
    pub(crate) fn uri(self, uri: &str) -> Self {
        let name = SanType::URI(uri.try_into().unwrap());
        self.san(name)
    }

    /// Adds a DNS SAN.
    pub(crate) fn dns(self, name: &str) -> Self {
        let name = SanType::DnsName(name.try_into().unwrap());
        self.san(name)
    }

    /// Adds an IP address SAN.
    pub(crate) fn ip(self, address: &str) -> Self {
        let name = SanType::IpAddress(address.parse().unwrap());
        self.san(name)
    }

    /// Adds an email SAN.
    pub(crate) fn email(self, address: &str) -> Self {
        let name = SanType::Rfc822Name(address.try_into().unwrap());
        self.san(name)
    }

    /// Adds a Microsoft user principal name (an otherName SAN).
    pub(crate) fn upn(self, name: &str) -> Self {
        let oid = vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3];
        self.san(SanType::OtherName((
            oid,
            OtherNameValue::Utf8String(name.to_owned()),
        )))
    }

    /// Sets the subject's common name.
    pub(crate) fn common_name(self, value: &str) -> Self {
        self.subject(DnType::CommonName, value)
    }

    /// Adds an attribute to the subject.
    pub(crate) fn subject(mut self, kind: DnType, value: &str) -> Self {
        self.params
            .distinguished_name
            .push(kind, DnValue::Utf8String(value.to_owned()));
        self
    }

    /// Its validity ended an hour ago.
    pub(crate) fn expired(self) -> Self {
        self.ended(DAY / 24)
    }

    /// Its validity ended so long ago; certificates count in whole seconds.
    pub(crate) fn ended(mut self, ago: Duration) -> Self {
        self.params.not_after = (SystemTime::now() - ago).into();
        self
    }

    /// Its validity ends so soon; certificates count in whole seconds.
    pub(crate) fn expiring_in(mut self, left: Duration) -> Self {
        self.params.not_after = (SystemTime::now() + left).into();
        self
    }

    /// Its validity begins tomorrow.
    pub(crate) fn not_yet_valid(mut self) -> Self {
        self.params.not_before = (SystemTime::now() + DAY).into();
        self
    }

    /// Signs it.
    pub(crate) fn issue(mut self) -> Leaf {
        let serial = next_serial();
        self.params.serial_number = Some(SerialNumber::from(serial));
        let key = match self.rsa {
            Some(size) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size),
            None => KeyPair::generate_for(self.key),
        };
        let key = key.unwrap();
        let leaf = self
            .params
            .signed_by(&key, &*self.authority.issuer)
            .unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(self.authority.intermediates.iter().cloned());
        Leaf {
            chain,
            key: key.serialize_der(),
            serial,
        }
    }

    fn san(mut self, name: SanType) -> Self {
        self.params.subject_alt_names.push(name);
        self
    }
}

/// An issued certificate with its intermediates and its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    serial: u64,
}

impl Leaf {
    /// The leaf, then its intermediates, as DER.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The private key as DER.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The leaf, then its intermediates, as PEM.
    pub(crate) fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|certificate| pem("CERTIFICATE", certificate))
            .collect()
    }

    /// The private key as PEM.
    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// Its own certificate as PEM, without the chain.
    pub(crate) fn leaf_pem(&self) -> String {
        pem("CERTIFICATE", &self.chain[0])
    }

    /// The same leaf, sent without its intermediates.
    pub(crate) fn without_intermediates(mut self) -> Self {
        self.chain.truncate(1);
        self
    }

    /// The same leaf in the hands of somebody who has another one's key.
    pub(crate) fn with_key_of(mut self, other: &Self) -> Self {
        self.key.clone_from(&other.key);
        self
    }

    /// SHA-256 over the leaf, in lower-case hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        HEXLOWER.encode(digest(&SHA256, &self.chain[0]).as_ref())
    }

    /// The serial number, in lower-case hexadecimal without leading zeros.
    pub(crate) fn serial(&self) -> String {
        format!("{:x}", self.serial)
    }
}

/// Strips what writers of hexadecimal disagree on: case, colons, leading zeros.
pub(crate) fn plain_hex(text: &str) -> String {
    let digits = text.replace([':', ' '], "").to_ascii_lowercase();
    digits
        .trim_start_matches("0x")
        .trim_start_matches('0')
        .to_owned()
}

/// A serial number that no other certificate of this process has.
fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0x0C05_0001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The same of an authority whose validity ends then.
fn until(end: SystemTime, name: &str) -> CertificateParams {
    let mut params = authority_params(name);
    params.not_after = end.into();
    params
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
