//! When certificates cease to be valid, and who is warned of it.

use super::own_certificate::{describe, unix_now};

/// From how long before its end a certificate is warned about.
const EXPIRY_WARNING: i64 = 14 * 24 * 3600;

/// When something ceases to be valid.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// `own` or `anchor`.
    pub kind: &'static str,
    /// The listener, upstream or bundle it belongs to.
    pub name: String,
    /// Which of its certificates, counted from 0.
    pub index: usize,
    /// What the certificate says it is: its names, or its subject (RFC 4514).
    pub subject: String,
    /// In seconds since 1970.
    pub not_after: i64,
}

impl Expiry {
    /// When it ends, in the words of people.
    pub fn ends(&self) -> String {
        let left = self.not_after.saturating_sub(unix_now());
        if left < 0 {
            format!("expired {} ago", describe(left.saturating_neg()))
        } else {
            format!("in {}", describe(left))
        }
    }

    /// Whether an end, in seconds since 1970, is past or so near that it is warned of.
    pub fn is_near(not_after: i64) -> bool {
        not_after.saturating_sub(unix_now()) < EXPIRY_WARNING
    }

    /// A sentence for the log, if it is past or near.
    pub fn warning(&self) -> Option<String> {
        let left = self.not_after.saturating_sub(unix_now());
        let what = format!(
            "{} certificate {} of {} (\"{}\")",
            self.kind, self.index, self.name, self.subject
        );
        let then = match self.kind {
            "anchor" => {
                "whoever chains to it is refused; put its successor into the bundle beside it, and take it out when nobody uses it any more"
            }
            _ => "whoever verifies it refuses it; put a renewed one in its place",
        };
        match left {
            ..0 => Some(format!(
                "{what} expired {} ago: {then}",
                describe(left.saturating_neg())
            )),
            0..EXPIRY_WARNING => Some(format!(
                "{what} expires in {}: from then on {then}",
                describe(left)
            )),
            _ => None,
        }
    }
}
