//! nginx's `$ssl_client_*` variables, under the names that guides give them, and
//! under those of Kubernetes' ingress-nginx.
//!
//! | field | variable | |
//! |---|---|---|
//! | `X-SSL-Client-Verify` | `$ssl_client_verify` | `SUCCESS` |
//! | `X-SSL-Client-S-DN`, `-I-DN` | `$ssl_client_s_dn`, `$ssl_client_i_dn` | RFC 4514, as nginx writes it (it says RFC 2253) |
//! | `X-SSL-Client-Serial` | `$ssl_client_serial` | upper-case hex |
//! | `X-SSL-Client-Fingerprint` | `$ssl_client_fingerprint` | SHA-1 in lower-case hex |
//! | `X-SSL-Client-V-Start`, `-V-End` | `$ssl_client_v_start`, `$ssl_client_v_end` | `Jan  1 00:00:00 2025 GMT` |
//! | `X-SSL-Client-Cert` | `$ssl_client_escaped_cert` | PEM, percent-encoded |
//!
//! As with nginx, a field whose value would be empty is not sent.

use http::HeaderName;

use super::escape::{openssl_time, percent_pem, sha1};
use super::{EncodeError, Fields, check_named, named_subject};
use crate::identity::claim::Identity;
use crate::identity::names::CertificateNames;

/// The names of the fields, in the order of the table.
pub(super) static FIELDS: [HeaderName; 8] = [
    HeaderName::from_static("x-ssl-client-verify"),
    HeaderName::from_static("x-ssl-client-s-dn"),
    HeaderName::from_static("x-ssl-client-i-dn"),
    HeaderName::from_static("x-ssl-client-serial"),
    HeaderName::from_static("x-ssl-client-fingerprint"),
    HeaderName::from_static("x-ssl-client-v-start"),
    HeaderName::from_static("x-ssl-client-v-end"),
    HeaderName::from_static("x-ssl-client-cert"),
];

/// The names of ingress-nginx's fields.
pub(super) static INGRESS_FIELDS: [HeaderName; 4] = [
    HeaderName::from_static("ssl-client-verify"),
    HeaderName::from_static("ssl-client-subject-dn"),
    HeaderName::from_static("ssl-client-issuer-dn"),
    HeaderName::from_static("ssl-client-cert"),
];

pub(super) fn encode(identity: &Identity, fields: &mut Fields<'_>) -> Result<(), EncodeError> {
    check_named(identity, "nginx")?;
    let [
        verify,
        subject,
        issuer,
        serial,
        fingerprint,
        start,
        end,
        pem,
    ] = &FIELDS;
    let certificate = identity.names().certificate();
    let leaf = identity.chain().and_then(|chain| chain.first());
    fields.push(verify, SUCCESS.to_owned())?;
    fields.push_known(subject, named_subject(identity).map(str::to_owned))?;
    fields.push_known(issuer, certificate.map(issuer_of))?;
    fields.push_known(serial, certificate.map(serial_of))?;
    fields.push_known(fingerprint, leaf.map(|der| sha1(der)))?;
    fields.push_known(start, certificate.map(|c| openssl_time(c.not_before())))?;
    fields.push_known(end, certificate.map(|c| openssl_time(c.not_after())))?;
    fields.push_known(pem, escaped_leaf(identity))
}

pub(super) fn encode_ingress(
    identity: &Identity,
    fields: &mut Fields<'_>,
) -> Result<(), EncodeError> {
    check_named(identity, "ingress-nginx")?;
    let [verify, subject, issuer, pem] = &INGRESS_FIELDS;
    fields.push(verify, SUCCESS.to_owned())?;
    fields.push_known(subject, named_subject(identity).map(str::to_owned))?;
    fields.push_known(issuer, identity.names().certificate().map(issuer_of))?;
    fields.push_known(pem, escaped_leaf(identity))
}

/// The verdict on a certificate that was verified.
pub(super) const SUCCESS: &str = "SUCCESS";

/// The serial number as OpenSSL prints it.
pub(super) fn serial_of(certificate: &CertificateNames) -> String {
    certificate.serial().to_ascii_uppercase()
}

fn issuer_of(certificate: &CertificateNames) -> String {
    certificate.issuer().to_owned()
}

fn escaped_leaf(identity: &Identity) -> Option<String> {
    let leaf = identity.chain().and_then(|chain| chain.first())?;
    let mut out = String::new();
    percent_pem(leaf, &mut out);
    Some(out)
}
