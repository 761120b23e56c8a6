//! The variables of Apache httpd's mod_ssl, as `RequestHeader set` of
//! mod_headers makes fields of them.
//!
//! | field | |
//! |---|---|
//! | `SSL_CLIENT_VERIFY` | `SUCCESS` |
//! | `SSL_CLIENT_S_DN`, `SSL_CLIENT_I_DN` | RFC 4514 |
//! | `SSL_CLIENT_S_DN_CN` | the certificate's first common name, bare |
//! | `SSL_CLIENT_M_SERIAL` | upper-case hex |
//! | `SSL_CLIENT_V_START`, `SSL_CLIENT_V_END` | `Jan  1 00:00:00 2025 GMT` |
//! | `SSL_CLIENT_SAN_DNS_n`, `SSL_CLIENT_SAN_Email_n`, `SSL_CLIENT_SAN_OTHER_msUPN_n` | the names, counted from 0 |
//! | `SSL_CLIENT_CERT` | PEM, with a space for each end of a line |
//!
//! Where Apache writes bytes above ASCII as they are, and a backslash bare, this
//! writer puts `\XX`. Apache writes `(null)` for what there is not; here there
//! is no field then.

use std::fmt::Write;

use http::HeaderName;

use super::escape::{attributes, bare_value, openssl_time, pem, values_of};
use super::nginx::{SUCCESS, serial_of};
use super::{EncodeError, Fields, check_named, named_subject};
use crate::identity::claim::Identity;
use crate::identity::distinguished_name::Value;

/// The names of the fields that have no number.
pub(super) static FIELDS: [HeaderName; 8] = [
    HeaderName::from_static("ssl_client_verify"),
    HeaderName::from_static("ssl_client_s_dn"),
    HeaderName::from_static("ssl_client_i_dn"),
    HeaderName::from_static("ssl_client_s_dn_cn"),
    HeaderName::from_static("ssl_client_m_serial"),
    HeaderName::from_static("ssl_client_v_start"),
    HeaderName::from_static("ssl_client_v_end"),
    HeaderName::from_static("ssl_client_cert"),
];

/// What the names of the others begin with, folded.
pub(super) const PREFIXES: [&str; 3] = [
    "ssl-client-san-dns-",
    "ssl-client-san-email-",
    "ssl-client-san-other-msupn-",
];

pub(super) fn encode(identity: &Identity, fields: &mut Fields<'_>) -> Result<(), EncodeError> {
    check_named(identity, "apache")?;
    let [
        verify,
        subject,
        issuer,
        common_name,
        serial,
        start,
        end,
        certificate,
    ] = &FIELDS;
    let names = identity.names();
    let known = names.certificate();
    fields.push(verify, SUCCESS.to_owned())?;
    fields.push_known(subject, named_subject(identity).map(str::to_owned))?;
    fields.push_known(issuer, known.map(|c| c.issuer().to_owned()))?;
    let attributes = attributes(names.subject().unwrap_or_default());
    let first = values_of(&attributes, "CN").into_iter().next();
    fields.push_known(common_name, first.as_ref().map(bare_value))?;
    fields.push_known(serial, known.map(serial_of))?;
    fields.push_known(start, known.map(|c| openssl_time(c.not_before())))?;
    fields.push_known(end, known.map(|c| openssl_time(c.not_after())))?;
    push_numbered("ssl_client_san_dns_", names.dns(), fields)?;
    push_numbered("ssl_client_san_email_", names.email(), fields)?;
    push_numbered("ssl_client_san_other_msupn_", names.upn(), fields)?;
    let leaf = identity.chain().and_then(|chain| chain.first());
    let pem = leaf.map(|der| pem(der, " ").trim_end().to_owned());
    fields.push_known(certificate, pem)
}

fn push_numbered(
    prefix: &'static str,
    names: &[String],
    fields: &mut Fields<'_>,
) -> Result<(), EncodeError> {
    let mut field = String::new();
    for (index, name) in names.iter().enumerate() {
        field.clear();
        field.push_str(prefix);
        // Writing to a String cannot fail.
        write!(field, "{index}").unwrap_or_default();
        let Ok(field) = HeaderName::from_bytes(field.as_bytes()) else {
            continue;
        };
        fields.push(&field, bare_value(&Value::Text(name.clone())))?;
    }
    Ok(())
}
