//! What is in a ticket: the TLS library's own session, and what makes it safe to resume.
//!
//! The library's bytes come first, then where in them each certificate of the
//! peer's chain lies (two numbers of two bytes), how many there are (one byte),
//! and the lineage (two numbers of eight bytes); all numbers big-endian.

use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

/// How long a session and all that it is renewed into may go on. Both ends in
/// seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::tls) struct Lineage {
    /// The time of the full handshake in which it began.
    pub(super) since: u64,
    /// It ends before this second.
    pub(super) until: u64,
}

impl Lineage {
    /// One that begins with a full handshake at `now`.
    pub(super) fn begin(now: u64, lifetime: u64) -> Self {
        Self {
            since: now,
            until: now.saturating_add(lifetime),
        }
    }

    /// The same with an end that is not after `end`; nothing makes it longer.
    pub(super) fn not_after(self, end: i64) -> Self {
        let end = u64::try_from(end).unwrap_or(0);
        Self {
            until: self.until.min(end),
            ..self
        }
    }

    /// The same, ended `lifetime` seconds after its full handshake at the latest.
    pub(super) fn within(self, lifetime: u64) -> Self {
        Self {
            until: self.until.min(self.since.saturating_add(lifetime)),
            ..self
        }
    }

    /// How many seconds are left; `None`: it has ended.
    pub(super) fn left(self, now: u64) -> Option<u64> {
        self.until.checked_sub(now).filter(|left| *left > 0)
    }
}

/// A session as it was in a ticket.
pub(super) struct Content {
    pub(super) lineage: Lineage,
    /// The leaf first; empty: the peer was anonymous.
    pub(super) chain: Vec<CertificateDer<'static>>,
    library: Zeroizing<Vec<u8>>,
}

impl Content {
    /// Takes apart what [`trailer`] completed.
    pub(super) fn read(mut plain: Zeroizing<Vec<u8>>) -> Option<Self> {
        let (rest, until) = plain.split_last_chunk()?;
        let (rest, since) = rest.split_last_chunk()?;
        let (count, rest) = rest.split_last()?;
        let lineage = Lineage {
            since: u64::from_be_bytes(*since),
            until: u64::from_be_bytes(*until),
        };
        let at = rest.len().checked_sub(usize::from(*count) * RANGE_LEN)?;
        let (library, ranges) = rest.split_at_checked(at)?;
        let chain = ranges.chunks_exact(RANGE_LEN).map(|range| {
            let (offset, length) = range.split_first_chunk()?;
            let (length, _) = length.split_first_chunk()?;
            let offset = usize::from(u16::from_be_bytes(*offset));
            let length = usize::from(u16::from_be_bytes(*length));
            let der = library.get(offset..)?.get(..length)?;
            Some(CertificateDer::from(der.to_vec()))
        });
        let chain = chain.collect::<Option<_>>()?;
        let length = library.len();
        plain.truncate(length);
        Some(Self {
            lineage,
            chain,
            library: plain,
        })
    }

    /// The library's own bytes, with which it goes on.
    pub(super) fn into_library(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.library)
    }
}

/// What goes into a ticket behind the library's bytes. `None`: they do not
/// contain the chain, so it is not the one that a resumed session would be for.
pub(super) fn trailer(
    library: &[u8],
    chain: &[CertificateDer<'_>],
    lineage: Lineage,
) -> Option<Vec<u8>> {
    let mut trailer = Vec::with_capacity(chain.len() * RANGE_LEN + 1 + 16);
    let mut from = 0;
    for der in chain {
        let offset = find(library, der, from)?;
        from = offset.checked_add(der.len())?;
        trailer.extend_from_slice(&u16::try_from(offset).ok()?.to_be_bytes());
        trailer.extend_from_slice(&u16::try_from(der.len()).ok()?.to_be_bytes());
    }
    trailer.push(u8::try_from(chain.len()).ok()?);
    trailer.extend_from_slice(&lineage.since.to_be_bytes());
    trailer.extend_from_slice(&lineage.until.to_be_bytes());
    Some(trailer)
}

/// Whether the library's bytes contain a chain, in order.
pub(super) fn contains(library: &[u8], chain: &[CertificateDer<'_>]) -> bool {
    let found = chain.iter().try_fold(0, |from, der| {
        find(library, der, from).map(|offset| offset.saturating_add(der.len()))
    });
    found.is_some()
}

/// Where `der` begins, at `from` or behind it.
fn find(library: &[u8], der: &[u8], from: usize) -> Option<usize> {
    let rest = library.get(from..)?;
    let found = match der {
        [] => None,
        der => rest.windows(der.len()).position(|part| part == der),
    };
    found?.checked_add(from)
}

/// Of one certificate: its offset and its length.
const RANGE_LEN: usize = 4;
