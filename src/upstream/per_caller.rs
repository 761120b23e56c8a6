//! Credentials by caller: a file that maps those who call to what is sent for them.
//!
//! ```toml
//! [[callers]]
//! uri = "spiffe://prod.example/billing"   # or dns, subject, fingerprint; all must match
//! user = "billing"
//! password = "…"                          # or: token = "…"
//! ```
//!
//! The first entry that matches counts. Errors name the line and never what
//! stands in it.

use std::fmt;

use data_encoding::BASE64;
use http::HeaderValue;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::identity::{NameKind, NamePattern, PeerIdentity, PeerPattern};

/// Who gets which credential.
#[derive(Clone)]
pub struct PerCaller(Vec<(PeerPattern, HeaderValue)>);

/// The most callers that one file may name.
const MOST_CALLERS: usize = 10_000;

impl fmt::Debug for PerCaller {
    /// Nothing of the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerCaller({} callers)", self.0.len())
    }
}

impl PerCaller {
    /// What is sent for this caller, if anything is known for it.
    pub fn for_caller(&self, caller: &PeerIdentity) -> Option<&HeaderValue> {
        let mut entries = self.0.iter();
        let (_, value) = entries.find(|(pattern, _)| pattern.matches(caller, None))?;
        Some(value)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which line; complete but for the name of the file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            format!("is not TOML in line {line}")
        })?;
        let table = table.get_ref();
        if let Some(key) = table.keys().find(|key| key.get_ref() != "callers") {
            let line = line_of(text, key.span().start);
            return Err(format!(
                "has a key in line {line} that is not known; write [[callers]]"
            ));
        }
        let entries = match table.get("callers").map(Spanned::get_ref) {
            Some(DeValue::Array(entries)) if entries.len() > MOST_CALLERS => {
                return Err(format!("names more than {MOST_CALLERS} callers"));
            }
            Some(DeValue::Array(entries)) => entries,
            _ => return Err("holds no [[callers]]".to_owned()),
        };
        entries
            .iter()
            .map(|entry| {
                read(entry.get_ref())
                    .map_err(|what| format!("{what} (line {})", line_of(text, entry.span().start)))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// One entry.
fn read(entry: &DeValue<'_>) -> Result<(PeerPattern, HeaderValue), String> {
    let DeValue::Table(entry) = entry else {
        return Err("has an entry that is no table".to_owned());
    };
    let mut names = Vec::new();
    let (mut user, mut password, mut token) = (None, None, None);
    for (key, value) in entry {
        let key = key.get_ref().as_ref();
        let Some(text) = value.get_ref().as_str() else {
            return Err(format!("has a {} that is no text", known(key)));
        };
        let kind = match key {
            "uri" => NameKind::Uri,
            "dns" => NameKind::Dns,
            "subject" => NameKind::Subject,
            "fingerprint" => NameKind::Fingerprint,
            "user" => {
                user = Some(text);
                continue;
            }
            "password" => {
                password = Some(text);
                continue;
            }
            "token" => {
                token = Some(text);
                continue;
            }
            _ => {
                return Err(
                    "has a key that is not known; there are uri, dns, subject, fingerprint, user, password, token"
                        .to_owned(),
                );
            }
        };
        let pattern = NamePattern::parse(kind, text).map_err(|e| format!("has a {key}: {e}"))?;
        names.push(pattern);
    }
    if names.is_empty() {
        return Err("has an entry for nobody; write uri, dns, subject or fingerprint".to_owned());
    }
    let pattern = PeerPattern::new(names).map_err(|e| format!("has a pattern: {e}"))?;
    let value = match (user, password, token) {
        (Some(user), Some(password), None) if !user.is_empty() && !user.contains(':') => {
            basic(user, password.as_bytes())
        }
        (None, None, Some(token)) if !token.is_empty() => Zeroizing::new(format!("Bearer {token}")),
        _ => {
            return Err(
                "has an entry without user (free of colons) and password, or token".to_owned(),
            );
        }
    };
    let value = sensitive(value.as_bytes()).ok_or("has control characters in a credential")?;
    Ok((pattern, value))
}

/// A Basic credential: user and password joined by a colon, in base64 (RFC 7617 §2).
pub(super) fn basic(user: &str, password: &[u8]) -> Zeroizing<String> {
    let pair = Zeroizing::new([user.as_bytes(), b":", password].concat());
    Zeroizing::new(format!("Basic {}", BASE64.encode(&pair)))
}

/// A field value that no log prints; `None`: it has control characters.
pub(super) fn sensitive(value: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A key that may be named: any other one may be a secret in the wrong place.
fn known(key: &str) -> &str {
    const KNOWN: [&str; 7] = [
        "uri",
        "dns",
        "subject",
        "fingerprint",
        "user",
        "password",
        "token",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == key)
        .unwrap_or("key")
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::test_identity;

    const FILE: &str = r#"
[[callers]]
uri = "spiffe://prod.example/billing"
user = "billing"
password = "pa:ss"

[[callers]]
uri = "spiffe://prod.example/*"
token = "abc.def"
"#;

    fn sent(uri: &str) -> Option<String> {
        let map = PerCaller::parse(FILE).unwrap();
        let value = map.for_caller(&test_identity(uri))?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn first_entry_that_matches_counts_and_who_matches_none_has_nothing() {
        assert_eq!(
            sent("spiffe://prod.example/billing").unwrap(),
            format!("Basic {}", BASE64.encode(b"billing:pa:ss"))
        );
        assert_eq!(sent("spiffe://prod.example/web").unwrap(), "Bearer abc.def");
        assert_eq!(sent("spiffe://other.example/web"), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_secret() {
        for (text, words) in [
            ("", "holds no [[callers]]"),
            (
                "[[callers]]\nuser = \"a\"\npassword = \"hunter2\"\n",
                "for nobody",
            ),
            (
                "[[callers]]\nuri = \"spiffe://a/b\"\nuser = \"a:b\"\npassword = \"hunter2\"\n",
                "free of colons",
            ),
            (
                "[[callers]]\nuri = \"spiffe://a/b\"\ntoken = \"hunter2\\n\"\n",
                "control characters",
            ),
            (
                "[[callers]]\nuri = \"spiffe://a/b\"\ntoken = \"hunter2\"\nuser = \"a\"\n",
                "without user",
            ),
            (
                "[[callers]]\nuri = \"spiffe://a/b\"\nhunter2 = \"x\"\n",
                "not known",
            ),
            (
                "[[callers]]\nuri = \"spiffe://a/b\"\nhunter2 = 3\n",
                "no text",
            ),
            ("hunter2 = 1\n", "not known"),
            (
                "[[callers]]\nuri = \"spiffe://a/b\"\ntoken = \"hunter2\n",
                "line 3",
            ),
        ] {
            let wrong = PerCaller::parse(text).unwrap_err();
            assert!(wrong.contains(words), "{text}: {wrong}");
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
        assert!(!format!("{:?}", PerCaller::parse(FILE).unwrap()).contains("billing"));
    }
}
