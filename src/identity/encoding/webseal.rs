//! WebSEAL's fields, as far as a certificate can say what stands in them.
//!
//! | field | |
//! |---|---|
//! | `iv-user` | the label that countersign's log has for the caller: its first URI, else DNS name, email, UPN, else its subject |
//! | `iv-user-l` | the subject (RFC 4514), the long form of the user's name |
//! | `iv-groups` | the subject's organizational units, each in quotes, joined by `,` |
//!
//! `iv-creds` is WebSEAL's own credential, which nobody else can make. Other
//! names for the user are the business of the `headers` encoding.
//!
//! In a group `%`, `"`, `,`, `\`, and what is not printable ASCII, are `%XX`, as
//! WebSEAL writes them (`utf8_uri`). A user has no `%XX`, but the escapes of
//! RFC 4514 and of the label.

use http::HeaderName;

use super::escape::{attributes, push_percent, values_of};
use super::{EncodeError, Fields, named_subject};
use crate::identity::claim::Identity;
use crate::identity::distinguished_name::Value;

/// The names of the fields.
pub(super) static FIELDS: [HeaderName; 3] = [
    HeaderName::from_static("iv-user"),
    HeaderName::from_static("iv-user-l"),
    HeaderName::from_static("iv-groups"),
];

pub(super) fn encode(identity: &Identity, fields: &mut Fields<'_>) -> Result<(), EncodeError> {
    let [user, long, groups] = &FIELDS;
    fields.push(user, identity.primary().to_owned())?;
    let subject = named_subject(identity);
    fields.push_known(long, subject.map(str::to_owned))?;
    let attributes = attributes(subject.unwrap_or_default());
    let units = values_of(&attributes, "OU");
    let units: Vec<_> = units.iter().filter_map(group).collect();
    fields.push_known(groups, Some(units.join(",")))
}

/// A group in quotes; `None` for a value that names none: an empty one, or one that is no text.
fn group(value: &Value) -> Option<String> {
    let text = match value {
        Value::Text(text) if !text.is_empty() => text,
        Value::Text(_) | Value::Der(_) => return None,
    };
    let is_bare = |byte: u8| matches!(byte, b' '..=b'~') && !b"%\",\\".contains(&byte);
    let mut out = "\"".to_owned();
    push_percent(text.as_bytes(), is_bare, &mut out);
    out.push('"');
    Some(out)
}
