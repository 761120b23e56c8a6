//! The forms in which an upstream is told who is calling.
//!
//! # Rules
//!
//! * Every value is printable ASCII. What would separate, quote or escape in a
//!   form is itself escaped in every value, so no name in a certificate can
//!   make a field, an element or a value of its own.
//! * What is not known of an identity is left out. A form that could then name
//!   nobody is an error, and so is one that exceeds [`ENCODING_BUDGET`].

use http::{HeaderName, HeaderValue};

use super::claim::Identity;
use super::decoding::Decoding;
use super::template::HeaderTemplates;

mod apache;
mod client_cert;
mod escape;
mod nginx;
#[cfg(test)]
mod round_trip;
mod traefik;
mod webseal;
mod xfcc;

pub use xfcc::XfccKeys;

/// How an upstream is told who is calling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// The variables of Apache httpd's mod_ssl, as fields: `SSL_CLIENT_S_DN`, ….
    Apache,
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// Fields of the operator's own, from templates.
    Headers(HeaderTemplates),
    /// The fields of Kubernetes' ingress-nginx: `ssl-client-cert`, ….
    IngressNginx,
    /// nginx's variables under their usual names: `X-SSL-Client-S-DN`, ….
    Nginx,
    /// Traefik's `X-Forwarded-Tls-Client-Cert` and `-Info`.
    Traefik,
    /// WebSEAL's `iv-user`, `iv-user-l` and `iv-groups`.
    Webseal,
    /// Envoy's `x-forwarded-client-cert`.
    Xfcc(XfccKeys),
}

/// Why an identity cannot be written. The request must not go up without it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The form cannot say what is known of this identity.
    #[error("the encoding `{encoding}` needs {needs}, which is not known of this identity")]
    Inexpressible {
        /// The word for the encoding in the config.
        encoding: &'static str,
        /// What it could name somebody by.
        needs: &'static str,
    },

    /// The value holds a byte that no field value can hold.
    #[error("the value of `{field}` cannot stand in a header field")]
    NotAFieldValue {
        /// The field.
        field: HeaderName,
    },

    /// The identity fields together exceed what a request may carry.
    #[error("with `{field}` the identity fields have {bytes} bytes; at most {limit} are sent")]
    TooLarge {
        /// The field that exceeded it.
        field: HeaderName,
        /// Names and values of the fields so far, this one included.
        bytes: usize,
        /// The limit, [`ENCODING_BUDGET`].
        limit: usize,
    },
}

impl EncodeError {
    /// Holds the identity fields of a request so far, `bytes` in names and
    /// values, against [`ENCODING_BUDGET`]. `field` is the last of them.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLarge`].
    pub fn within_budget(field: &HeaderName, bytes: usize) -> Result<(), Self> {
        if bytes <= ENCODING_BUDGET {
            return Ok(());
        }
        Err(Self::TooLarge {
            field: field.clone(),
            bytes,
            limit: ENCODING_BUDGET,
        })
    }
}

/// The most that all identity fields of a request have together, names and
/// values, in bytes: half of what servers commonly accept as a request head.
pub const ENCODING_BUDGET: usize = 16 * 1024;

/// Who tells an upstream of an identity.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tellers<'a> {
    /// Who countersign itself is to the upstream.
    pub own: Option<&'a Identity>,
    /// The label of the peer that has told countersign; `None`: it was the
    /// caller itself, or the config.
    pub speaker: Option<&'a str>,
}

/// The fields of one request, within their budget.
struct Fields<'a> {
    out: &'a mut Vec<(HeaderName, HeaderValue)>,
    bytes: usize,
}

impl Encoding {
    /// The names of the fields that this encoding may write, beside those under
    /// its [`field_prefixes`](Self::field_prefixes).
    pub fn field_names(&self) -> impl Iterator<Item = &HeaderName> {
        let (fixed, templates): (&[HeaderName], _) = match self {
            Self::Apache => (&apache::FIELDS, None),
            Self::ClientCert => (&client_cert::FIELDS, None),
            Self::Headers(templates) => (&[], Some(templates)),
            Self::IngressNginx => (&nginx::INGRESS_FIELDS, None),
            Self::Nginx => (&nginx::FIELDS, None),
            Self::Traefik => (&traefik::FIELDS, None),
            Self::Webseal => (&webseal::FIELDS, None),
            Self::Xfcc(_) => (std::slice::from_ref(&xfcc::FIELD), None),
        };
        fixed
            .iter()
            .chain(templates.into_iter().flat_map(HeaderTemplates::field_names))
    }

    /// The beginnings, folded, of the names of numbered fields that this
    /// encoding may write, one for each name of a kind.
    pub fn field_prefixes(&self) -> &'static [&'static str] {
        match self {
            Self::Apache => &apache::PREFIXES,
            Self::ClientCert
            | Self::Headers(_)
            | Self::IngressNginx
            | Self::Nginx
            | Self::Traefik
            | Self::Webseal
            | Self::Xfcc(_) => &[],
        }
    }

    /// The word for it in the config.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::ClientCert => "client-cert",
            Self::Headers(_) => "headers",
            Self::IngressNginx => "ingress-nginx",
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Webseal => "webseal",
            Self::Xfcc(_) => "xfcc",
        }
    }

    /// Appends the fields for this identity to `out`, which holds those of
    /// other encodings for the same request.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; `out` is then as it was.
    pub fn encode(
        &self,
        identity: &Identity,
        tellers: Tellers<'_>,
        out: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<(), EncodeError> {
        let before = out.len();
        let mut fields = Fields::new(out);
        let written = match self {
            Self::Apache => apache::encode(identity, &mut fields),
            Self::ClientCert => client_cert::encode(identity, &mut fields),
            Self::Headers(templates) => templates
                .render(identity.names(), tellers.speaker)
                .try_for_each(|(name, value)| fields.push(name, value)),
            Self::IngressNginx => nginx::encode_ingress(identity, &mut fields),
            Self::Nginx => nginx::encode(identity, &mut fields),
            Self::Traefik => traefik::encode(identity, &mut fields),
            Self::Webseal => webseal::encode(identity, &mut fields),
            Self::Xfcc(keys) => xfcc::encode(*keys, identity, tellers.own)
                .and_then(|value| fields.push(&xfcc::FIELD, value)),
        };
        if written.is_err() {
            out.truncate(before);
        }
        written
    }
}

impl<'a> Fields<'a> {
    fn new(out: &'a mut Vec<(HeaderName, HeaderValue)>) -> Self {
        let bytes = out
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        Self { out, bytes }
    }

    fn push(&mut self, name: &HeaderName, value: String) -> Result<(), EncodeError> {
        let bytes = self.bytes + name.as_str().len() + value.len();
        EncodeError::within_budget(name, bytes)?;
        let value = HeaderValue::try_from(value).map_err(|_| EncodeError::NotAFieldValue {
            field: name.clone(),
        })?;
        self.out.push((name.clone(), value));
        self.bytes = bytes;
        Ok(())
    }

    /// Writes a field unless there is nothing to say in it.
    fn push_known(&mut self, name: &HeaderName, value: Option<String>) -> Result<(), EncodeError> {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.push(name, value),
            None => Ok(()),
        }
    }
}

/// The fields from which the same form is read.
pub(super) fn fields_of(form: Decoding) -> &'static [HeaderName] {
    match form {
        Decoding::ClientCert => &client_cert::FIELDS,
        Decoding::Xfcc => std::slice::from_ref(&xfcc::FIELD),
    }
}

/// The subject, if it is known and names somebody.
fn named_subject(identity: &Identity) -> Option<&str> {
    identity.names().subject().filter(|s| !s.is_empty())
}

/// Sees that there is a subject or a certificate, for forms that have no other
/// way to name somebody.
fn check_named(identity: &Identity, encoding: &'static str) -> Result<(), EncodeError> {
    if named_subject(identity).is_some() || identity.names().certificate().is_some() {
        return Ok(());
    }
    Err(EncodeError::Inexpressible {
        encoding,
        needs: "a subject or a certificate",
    })
}

#[cfg(test)]
mod tests;
