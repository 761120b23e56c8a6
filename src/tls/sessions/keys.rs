//! The keys that tickets are encrypted with, and how they rotate.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::secrets::{self, SecretsError};

/// How long one key encrypts, in seconds.
const HOUR: u64 = 3600;
/// No key outlives the hour that it encrypted in by more hours than these, and
/// no ticket can be used for longer.
const MOST_HOURS: u64 = 24;
const ID_LEN: usize = 16;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// What stands before the encrypted part of a ticket.
const HEAD_LEN: usize = ID_LEN + NONCE_LEN;
/// The longest ticket. A client sends it in its first message, which should not
/// need another round trip for it; and TLS has two bytes for its length.
const MAX_TICKET: usize = 16 * 1024;
/// What keys are derived for, and in which way: another way needs another text.
const PURPOSE: &[u8] = b"countersign ticket";

type KeyId = [u8; ID_LEN];

/// The keys of session tickets. One value lives as long as its source does,
/// across generations, and rotates by itself.
///
/// A ticket is the key's public id, a random nonce, and AES-256-GCM over the
/// rest. A key encrypts for one hour of the clock; it decrypts for as long as
/// one of its tickets can be used (the longest `session_lifetime`, at most 24
/// hours), and is forgotten then.
pub struct TicketKeys {
    source: Source,
    /// For how many hours after its own a key decrypts.
    kept: AtomicU64,
    ring: RwLock<Ring>,
}

/// Where keys come from.
enum Source {
    /// Each is random and known to this process alone.
    Random,
    /// Each is derived from a secret and its hour: HKDF-SHA256 (RFC 5869). All
    /// who hold the secrets have the same keys, and rotate in step.
    Shared {
        /// The first one encrypts.
        secrets: Vec<Prk>,
        /// Of the file that they were read from.
        digest: Digest,
    },
}

type Digest = [u8; 32];

/// The keys of the hours that count now.
#[derive(Default)]
struct Ring {
    /// For which hour it was put together, and how many before that it covers.
    hours: Option<(u64, u64)>,
    encrypting: Option<Arc<TicketKey>>,
    decrypting: HashMap<KeyId, Arc<TicketKey>>,
}

struct TicketKey {
    /// Since 1970.
    hour: u64,
    id: KeyId,
    cipher: LessSafeKey,
}

impl TicketKeys {
    /// Random keys, known to this process alone.
    pub(in crate::tls) fn random() -> Self {
        Self::of(Source::Random)
    }

    /// The keys that follow from a file of secrets. `former` itself, if it was
    /// made from the same content.
    ///
    /// # Errors
    ///
    /// What is wrong with the file. Nothing of its content is told.
    pub(in crate::tls) fn shared(
        content: &[u8],
        former: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, SecretsError> {
        let found = digest_of(content);
        let same = |keys: &&Arc<Self>| match &keys.source {
            Source::Random => false,
            Source::Shared { digest, .. } => *digest == found,
        };
        if let Some(former) = former.filter(same) {
            return Ok(Arc::clone(former));
        }
        let salt = Salt::none(HKDF_SHA256);
        let secrets = secrets::parse(content)?;
        let secrets = secrets.iter().map(|secret| salt.extract(secret)).collect();
        let digest = found;
        Ok(Arc::new(Self::of(Source::Shared { secrets, digest })))
    }

    /// Random keys: `former` itself, if its are.
    pub(in crate::tls) fn random_or(former: Option<&Arc<Self>>) -> Arc<Self> {
        let random = |keys: &&Arc<Self>| matches!(keys.source, Source::Random);
        former
            .filter(random)
            .map_or_else(|| Arc::new(Self::random()), Arc::clone)
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            kept: AtomicU64::new(1),
            ring: RwLock::default(),
        }
    }

    /// Keeps each key for as long as a session of this length needs it. What
    /// was asked for once holds for the life of the keys.
    pub(super) fn keep_for(&self, lifetime: Duration) {
        let hours = lifetime.as_secs().div_ceil(HOUR).clamp(1, MOST_HOURS);
        self.kept.fetch_max(hours, Ordering::Relaxed);
    }

    /// A ticket that holds `parts`, one after the other, and opens only for the
    /// same `scope`. `None`: it would be too long, or the system has no
    /// randomness to give.
    ///
    /// `now` is in seconds since 1970.
    pub(super) fn seal(&self, now: u64, scope: &[u8], parts: [&[u8]; 2]) -> Option<Vec<u8>> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        if length > MAX_TICKET - HEAD_LEN - TAG_LEN {
            return None;
        }
        let key = self.with_ring(now / HOUR, |ring| ring.encrypting.clone())?;
        // Random nonces may repeat with a chance of 2^-32 after 2^32 tickets
        // under one key (NIST SP 800-38D §8.3): a million a second for an hour.
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(HEAD_LEN + length + TAG_LEN);
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(&nonce);
        for part in parts {
            ticket.extend_from_slice(part);
        }
        let content = ticket.get_mut(HEAD_LEN..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .cipher
            .seal_in_place_separate_tag(nonce, Aad::from(scope), content)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// What is in a ticket; `None` unless it was sealed with one of these keys,
    /// not too long ago, for the same `scope`.
    ///
    /// `now` is in seconds since 1970.
    pub(super) fn open(&self, now: u64, scope: &[u8], ticket: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if ticket.len() > MAX_TICKET {
            return None;
        }
        let (id, rest) = ticket.split_first_chunk::<ID_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.with_ring(now / HOUR, |ring| ring.decrypting.get(id).cloned())?;
        let mut content = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key
            .cipher
            .open_in_place(nonce, Aad::from(scope), &mut content)
            .ok()?
            .len();
        content.truncate(length);
        Some(content)
    }

    /// Looks into the ring of this hour. The lock is held for that look, once
    /// an hour for the making of keys.
    fn with_ring<T>(&self, hour: u64, look: impl FnOnce(&Ring) -> T) -> T {
        let hours = (hour, self.kept.load(Ordering::Relaxed));
        {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if ring.hours == Some(hours) {
                return look(&ring);
            }
        }
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if ring.hours != Some(hours) {
            ring.turn(&self.source, hours);
        }
        look(&ring)
    }
}

impl Default for TicketKeys {
    fn default() -> Self {
        Self::random()
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Random => "random",
            Source::Shared { .. } => "shared",
        };
        f.debug_struct("TicketKeys")
            .field("source", &source)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Brings it to the hour: makes the keys that are missing, and forgets
    /// those that nothing can need any more.
    ///
    /// The next hour counts as well, for a clock of another instance, or an
    /// earlier reading of our own, that is ahead of ours.
    fn turn(&mut self, source: &Source, (hour, kept): (u64, u64)) {
        let counts = hour.saturating_sub(kept)..=hour.saturating_add(1);
        match source {
            Source::Random => {
                self.decrypting.retain(|_, key| counts.contains(&key.hour));
                let ours = |key: &&Arc<TicketKey>| key.hour == hour;
                self.encrypting = self.decrypting.values().find(ours).cloned();
                if self.encrypting.is_none() {
                    self.encrypting = TicketKey::random(hour).map(Arc::new);
                }
                let new = self.encrypting.iter();
                self.decrypting
                    .extend(new.map(|key| (key.id, Arc::clone(key))));
            }
            Source::Shared { secrets, .. } => {
                let keys = secrets.iter().flat_map(|secret| {
                    let hours = counts.clone();
                    hours.filter_map(move |hour| TicketKey::derived(secret, hour))
                });
                self.decrypting = keys.map(|key| (key.id, Arc::new(key))).collect();
                self.encrypting = secrets
                    .first()
                    .and_then(|secret| TicketKey::derived(secret, hour))
                    .map(Arc::new);
            }
        }
        // Without a key, the next one who asks tries again.
        self.hours = self.encrypting.as_ref().map(|_| (hour, kept));
    }
}

impl TicketKey {
    fn random(hour: u64) -> Option<Self> {
        let mut material = Zeroizing::new([0; ID_LEN + KEY_LEN]);
        rand::fill(&mut *material).ok()?;
        Self::of(hour, &material)
    }

    /// The key of an hour: `HKDF-Expand(secret, "countersign ticket" ‖ hour)`,
    /// the hour in eight bytes, big-endian.
    fn derived(secret: &Prk, hour: u64) -> Option<Self> {
        let mut material = Zeroizing::new([0; ID_LEN + KEY_LEN]);
        let hour_bytes = hour.to_be_bytes();
        let info = [PURPOSE, &hour_bytes];
        let expanded = secret.expand(&info, MaterialLength).ok()?;
        expanded.fill(&mut *material).ok()?;
        Self::of(hour, &material)
    }

    fn of(hour: u64, material: &[u8; ID_LEN + KEY_LEN]) -> Option<Self> {
        let (id, key) = material.split_first_chunk()?;
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self {
            hour,
            id: *id,
            cipher: LessSafeKey::new(key),
        })
    }
}

/// As much as an id and a key take.
struct MaterialLength;

impl KeyType for MaterialLength {
    fn len(&self) -> usize {
        ID_LEN + KEY_LEN
    }
}

fn digest_of(content: &[u8]) -> Digest {
    let mut found = Digest::default();
    found.copy_from_slice(digest(&SHA256, content).as_ref());
    found
}

#[cfg(test)]
mod tests;
