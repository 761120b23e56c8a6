//! Which lists were looked at for a path, and what they say, for people.

use std::path::PathBuf;

use data_encoding::HEXLOWER;

use super::{CrlCheck, HeldList, Revocation, Status, text_of_name};
use crate::tls::trust_path::TrustPath;

/// A revocation list of a bundle, for display.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationListFacts {
    /// Its issuer, as an RFC 4514 string.
    pub issuer: String,
    /// Its number (RFC 5280 §5.2.3): decimal, or hex after `0x` where it has
    /// more than 128 bits.
    pub number: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub this_update: i64,
    /// From when on it is stale, in seconds since 1970.
    pub next_update: i64,
    /// How many certificates it names.
    pub entries: usize,
    /// The file it came from.
    pub source: PathBuf,
}

/// What the revocation lists of a bundle say of one certificate of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lookup {
    /// Its issuer, as an RFC 4514 string.
    pub issuer: String,
    /// Its serial number, in lower-case hex.
    pub serial: String,
    /// Whether it is the leaf.
    pub is_leaf: bool,
    /// The lists that speak of it.
    pub lists: Vec<RevocationListFacts>,
    /// What they say.
    pub status: ListStatus,
}

/// What revocation lists say of one certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListStatus {
    /// It is not revoked, say those that are due again then, in seconds since 1970.
    ClearUntil(i64),
    /// Its issuer has signed a list and may not.
    NotToSign,
    /// It is revoked.
    Revoked,
    /// None speaks of it.
    Unknown,
}

impl Revocation {
    /// What is looked up of a path, the leaf first; empty: nothing is.
    pub(in crate::tls) fn lookups(&self, path: &TrustPath) -> Vec<Lookup> {
        let Some(rules) = self.rules else {
            return Vec::new();
        };
        let links = path.links().iter();
        links
            .filter(|link| link.is_leaf || rules.check == CrlCheck::Chain)
            .map(|link| {
                let mut lists = Vec::new();
                let status = self.look_up(link, |held| lists.push(RevocationListFacts::of(held)));
                Lookup {
                    issuer: text_of_name(&link.issuer.name),
                    serial: HEXLOWER.encode(&link.serial),
                    is_leaf: link.is_leaf,
                    lists,
                    status: match status {
                        Status::ClearUntil(until) => ListStatus::ClearUntil(until),
                        Status::NotToSign => ListStatus::NotToSign,
                        Status::Revoked => ListStatus::Revoked,
                        Status::Unknown => ListStatus::Unknown,
                    },
                }
            })
            .collect()
    }
}

impl RevocationListFacts {
    pub(in crate::tls) fn of(held: &HeldList) -> Self {
        Self {
            issuer: held.list.issuer_text().to_owned(),
            number: held.list.number(),
            this_update: held.list.this_update(),
            next_update: held.list.next_update(),
            entries: held.list.entries(),
            source: held.source.clone(),
        }
    }
}
