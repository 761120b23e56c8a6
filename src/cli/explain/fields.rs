//! The fields that an upstream would get, without the secrets in them.

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue, Uri, Version};
use hyper::ext::Protocol;
use serde_json::Value;

use super::account::Account;
use crate::config::{self, CredentialSource};
use crate::proxy::Sent;
use crate::upstream::Plan;

/// One field that goes up.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) content: Content,
}

/// What stands in a field.
pub(super) enum Content {
    /// In printable ASCII.
    Plain(String),
    /// Something that nobody is shown.
    Secret(Secret),
}

/// A secret in a field.
pub(super) struct Secret {
    /// What stands before it, such as `Basic`; may be empty.
    pub(super) scheme: String,
    /// How long it is, without the scheme.
    pub(super) bytes: usize,
    /// Where it comes from.
    pub(super) from: String,
    /// What a signed assertion says, without its signature.
    pub(super) claims: Option<Value>,
}

/// The first line of the request, as HTTP/1.1 would write it.
pub(super) fn request_line(sent: &Sent) -> String {
    let head = &sent.head;
    let (version, target) = match head.version {
        Version::HTTP_2 => ("HTTP/2", head.uri.to_string()),
        Version::HTTP_10 => ("HTTP/1.0", target(&head.uri)),
        _ => ("HTTP/1.1", target(&head.uri)),
    };
    let protocol = head.extensions.get::<Protocol>();
    let protocol = protocol.map_or(String::new(), |it| format!(" (:protocol {})", it.as_str()));
    format!("{} {target} {version}{protocol}", head.method)
}

fn target(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or("/".to_owned(), ToString::to_string)
}

/// The fields of the request, in alphabetical order.
pub(super) fn of(account: &Account<'_>, sent: &Sent) -> Vec<Field> {
    let upstream = account.upstream();
    let headers = &sent.head.headers;
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| Field {
            name: name.to_string(),
            content: content((name, value), upstream, sent.asserted),
        })
        .collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

type Upstream<'a> = Option<(&'a config::Upstream, &'a std::sync::Arc<Plan>)>;

fn content(
    (name, value): (&HeaderName, &HeaderValue),
    upstream: Upstream<'_>,
    asserted: bool,
) -> Content {
    let signer = upstream.and_then(|(config, plan)| {
        let signed = config.outbound.signed.as_ref()?;
        let asserter = plan.asserter()?;
        (asserted && asserter.field() == name).then_some(signed)
    });
    if let Some(signed) = signer {
        let key = signed.keys.first().map(|key| key.value.as_path());
        let from = format!("signed with {}", display(key));
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let token = text.rsplit(' ').next().unwrap_or_default();
        let scheme = signed.scheme.as_deref();
        return secret(value, scheme, (from, claims(token)));
    }
    let is_secret = *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION || *name == COOKIE;
    if is_secret || value.is_sensitive() {
        return secret(value, None, (origin(name, upstream), None));
    }
    let text = value.as_bytes().escape_ascii().to_string();
    Content::Plain(
        text.replace("\\\"", "\"")
            .replace("\\\\", "\\")
            .replace("\\'", "'"),
    )
}

/// Where the value of a secret field comes from.
fn origin(name: &HeaderName, upstream: Upstream<'_>) -> String {
    let own = upstream.filter(|_| *name == AUTHORIZATION);
    let source = own.map(|(config, _)| &config.outbound.source);
    match source {
        Some(CredentialSource::Basic { password_file, .. }) => display(Some(&password_file.value)),
        Some(CredentialSource::Bearer { token_file }) => display(Some(&token_file.value)),
        Some(CredentialSource::PerCaller { file }) => display(Some(&file.value)),
        Some(CredentialSource::Forward) | None => "the caller".to_owned(),
    }
}

fn display(path: Option<&Path>) -> String {
    path.map_or("-".to_owned(), |path| path.display().to_string())
}

/// `own`: a scheme of this upstream's; `from`: where it comes from, and what it
/// says besides.
fn secret(
    value: &HeaderValue,
    own: Option<&str>,
    (from, claims): (String, Option<Value>),
) -> Content {
    let bytes = value.as_bytes();
    // What stands before a space is a scheme only if it is one of these: it
    // may as well be the beginning of a secret.
    let mut known = own.into_iter().chain(SCHEMES);
    let scheme = known.find(|scheme| {
        let start = bytes.get(..scheme.len());
        let is_it = start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()));
        is_it && bytes.get(scheme.len()) == Some(&b' ')
    });
    let before = scheme.map_or(0, |scheme| scheme.len() + 1);
    Content::Secret(Secret {
        scheme: scheme.map_or_else(String::new, ToOwned::to_owned),
        bytes: bytes.len().saturating_sub(before),
        from,
        claims,
    })
}

/// What a token in compact form says (RFC 7515 §7.1).
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    serde_json::from_slice(&payload).ok()
}

const SCHEMES: [&str; 4] = ["Basic", "Bearer", "Digest", "Negotiate"];
