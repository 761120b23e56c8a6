//! Reads the file of secrets that several instances share.

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// As many bytes as a key that is derived from it has (RFC 5869 §4).
const LEAST_BYTES: usize = 32;
/// For each one a key is made for every hour that counts.
const MOST_SECRETS: usize = 16;

/// Why a file of secrets cannot be used. Nothing of its content is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::tls) enum SecretsError {
    /// There is no secret in it.
    #[error("holds no secret")]
    Empty,
    /// A line is not base64, padding included (RFC 4648 §4).
    #[error("line {line} is not base64")]
    NotBase64 {
        /// Counted from 1.
        line: usize,
    },
    /// A line says what an earlier one says.
    #[error("line {line} repeats line {former}")]
    Repeated {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        former: usize,
    },
    /// A line decodes to fewer than 32 bytes.
    #[error("line {line} holds {bytes} bytes, and a secret has at least {LEAST_BYTES}")]
    TooShort {
        /// Counted from 1.
        line: usize,
        /// How many it decodes to.
        bytes: usize,
    },
    /// There are more than 16.
    #[error("holds more than {MOST_SECRETS} secrets, from line {line} on")]
    TooMany {
        /// The first one too many, counted from 1.
        line: usize,
    },
}

impl SecretsError {
    /// What to do about it.
    pub(in crate::tls) fn remedy(self) -> &'static str {
        match self {
            Self::Empty | Self::NotBase64 { .. } | Self::TooShort { .. } => {
                "write one secret a line, as `openssl rand -base64 48` prints it"
            }
            Self::Repeated { .. } => "take one of the two lines out",
            Self::TooMany { .. } => {
                "take out the last ones: a secret is needed for a day after another took its place"
            }
        }
    }
}

/// The secrets of a file, one a line in base64, in order. Empty lines and
/// those that begin with `#` are passed over.
pub(super) fn parse(content: &[u8]) -> Result<Vec<Zeroizing<Vec<u8>>>, SecretsError> {
    let mut found: Vec<(usize, Zeroizing<Vec<u8>>)> = Vec::new();
    for (line, text) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        if found.len() == MOST_SECRETS {
            return Err(SecretsError::TooMany { line });
        }
        let secret = decode(text).ok_or(SecretsError::NotBase64 { line })?;
        let bytes = secret.len();
        if bytes < LEAST_BYTES {
            return Err(SecretsError::TooShort { line, bytes });
        }
        if let Some((former, _)) = found.iter().find(|(_, known)| *known == secret) {
            let former = *former;
            return Err(SecretsError::Repeated { line, former });
        }
        found.push((line, secret));
    }
    if found.is_empty() {
        return Err(SecretsError::Empty);
    }
    Ok(found.into_iter().map(|(_, secret)| secret).collect())
}

/// Decodes into one buffer that is wiped: one that grew would leave copies.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; BASE64.decode_len(text.len()).ok()?]);
    let length = BASE64.decode_mut(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_order_and_comments_passed_over() {
        let (a, b) = (secret(b'a', 48), secret(b'b', 32));
        let file = format!("# the new one\n{a}\n\n  {b}\r\n");
        let found = parse(file.as_bytes()).unwrap();
        let expected = [vec![b'a'; 48], vec![b'b'; 32]];
        assert!(found.iter().map(|s| &**s).eq(&expected));
    }

    #[test]
    fn what_is_no_secret_is_refused_by_its_line() {
        let good = secret(b'a', 32);
        let cases = [
            (String::new(), SecretsError::Empty),
            ("\n# nothing\n".to_owned(), SecretsError::Empty),
            (
                format!("{good}\n{}", good.trim_end_matches('=')),
                SecretsError::NotBase64 { line: 2 },
            ),
            ("-----BEGIN".to_owned(), SecretsError::NotBase64 { line: 1 }),
            (
                format!("\n{}", secret(b'a', 31)),
                SecretsError::TooShort { line: 2, bytes: 31 },
            ),
            (
                format!("{good}\n{}\n{good}", secret(b'b', 32)),
                SecretsError::Repeated { line: 3, former: 1 },
            ),
        ];
        for (file, expected) in cases {
            let refused = parse(file.as_bytes()).unwrap_err();
            assert_eq!(refused, expected);
            assert!(!refused.to_string().contains(&good));
        }
    }

    #[test]
    fn no_more_secrets_are_taken_than_keys_can_be_made_for() {
        let lines: Vec<_> = (0..17).map(|byte| secret(byte, 32)).collect();
        assert_eq!(parse(lines[..16].join("\n").as_bytes()).unwrap().len(), 16);
        let refused = parse(lines.join("\n").as_bytes()).unwrap_err();
        assert_eq!(refused, SecretsError::TooMany { line: 17 });
    }

    fn secret(byte: u8, length: usize) -> String {
        BASE64.encode(&vec![byte; length])
    }
}
