//! `Client-Cert` and `Client-Cert-Chain` (RFC 9440): the certificates
//! themselves, as structured fields (RFC 9651 §3.3.5).
//!
//! The chain is as the client presented it, in the order of TLS, without the
//! leaf; there is no such field where it presented the leaf alone.

use data_encoding::BASE64;
use http::HeaderName;

use super::{EncodeError, Fields};
use crate::identity::claim::Identity;

/// The names of the fields: the certificate's, and the chain's.
pub(in crate::identity) static FIELDS: [HeaderName; 2] = [
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
];

pub(super) fn encode(identity: &Identity, fields: &mut Fields<'_>) -> Result<(), EncodeError> {
    let [certificate, chain] = &FIELDS;
    let presented = identity.chain().and_then(|chain| chain.split_first());
    let Some((leaf, others)) = presented else {
        return Err(EncodeError::Inexpressible {
            encoding: "client-cert",
            needs: "a certificate",
        });
    };
    fields.push(certificate, byte_sequence(leaf))?;
    let others: Vec<_> = others.iter().map(|der| byte_sequence(der)).collect();
    fields.push_known(chain, Some(others.join(", ")))
}

fn byte_sequence(bytes: &[u8]) -> String {
    format!(":{}:", BASE64.encode(bytes))
}
