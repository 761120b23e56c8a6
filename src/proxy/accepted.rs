//! For whom a listed peer speaks: reads its assertion, and keeps what came of it.
//!
//! # Rules
//!
//! * Only a peer that proved itself in the handshake, and that
//!   `accept_assertions_from` lists, is read at all. What anybody else sends is
//!   removed unread.
//! * What is there is read as a whole or refuses the request: an assertion that
//!   cannot be read is never taken for none.
//! * Where several forms are there they must agree.
//! * A `Connection` line that names a field of an assertion refuses the request:
//!   somebody on the way may have been meant to remove it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::{Fault, Kind, Phase, Side};
use super::headers;
use super::jwt::{AssertedNames, JwtVerifier};
use super::party::Party;
use crate::config::{AcceptedAssertions, Config, Files, Problem};
use crate::identity::{Identity, MalformedStatement, PeerIdentity, StatedNames, joined};

/// What one listener accepts of the peers that it lists. Immutable; workers share it.
#[derive(Debug)]
pub struct Accepted {
    config: AcceptedAssertions,
    verifier: Option<JwtVerifier>,
}

/// Loads what the listeners of a config accept, in their order. What has not
/// changed since `former` is the same [`Arc`] again.
///
/// # Errors
///
/// A problem for each key set that cannot be loaded.
pub fn load(
    config: &Config,
    files: &Files,
    former: &[Option<Arc<Accepted>>],
) -> Result<Vec<Option<Arc<Accepted>>>, Vec<Problem>> {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for listener in config.listeners() {
        let Some(config) = &listener.accepted else {
            all.push(None);
            continue;
        };
        let mut known = former.iter().flatten();
        if let Some(same) = known.find(|one| one.is_of(config, files)) {
            all.push(Some(Arc::clone(same)));
            continue;
        }
        let load = |jwt| JwtVerifier::load(&listener.name, jwt, files);
        match config.jwt.as_ref().map(load).transpose() {
            Ok(verifier) => all.push(Some(Arc::new(Accepted {
                config: config.clone(),
                verifier,
            }))),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(problems)
    }
}

impl Accepted {
    /// Whether these settings and files would make the same again.
    fn is_of(&self, config: &AcceptedAssertions, files: &Files) -> bool {
        let same_keys = match (&self.verifier, &config.jwt) {
            (Some(verifier), Some(jwt)) => verifier.is_of(jwt, files),
            (None, None) => true,
            _ => false,
        };
        self.config == *config && same_keys
    }

    /// Whether this peer may speak for others.
    fn lists(&self, peer: &PeerIdentity) -> bool {
        self.config.from.iter().any(|entry| entry.matches(peer))
    }

    /// The fields that carry assertions.
    pub(super) fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        let unsigned = self.config.forms.iter().flat_map(|form| form.field_names());
        unsigned.chain(self.config.jwt.iter().map(|jwt| &jwt.header))
    }

    /// Everything that a head asserts, and in which of the fields: with a token
    /// in `Authorization` all that stands there, since it must stand alone.
    fn said<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = (usize, &'h HeaderValue)> {
        self.fields().enumerate().flat_map(|(at, field)| {
            let all = headers.get_all(field);
            let mut values = all.iter();
            let asserts =
                *field != AUTHORIZATION || values.any(|value| self.token_in(value).is_some());
            let values = all.iter().filter(move |_| asserts);
            values.map(move |value| (at, value))
        })
    }

    /// The token in a field of the signed form; `None`: it has another scheme.
    fn token_in<'v>(&self, value: &'v HeaderValue) -> Option<&'v [u8]> {
        let value = value.as_bytes();
        match self.config.jwt.as_ref()?.scheme.as_ref() {
            None => Some(value),
            Some(scheme) => {
                let (written, token) = value.split_at_checked(scheme.len())?;
                let is_meant = written.eq_ignore_ascii_case(scheme.as_bytes());
                token.strip_prefix(b" ").filter(|_| is_meant)
            }
        }
    }

    /// Whom a head of `speaker` names, and until when that is good, in Unix time.
    ///
    /// # Errors
    ///
    /// Which field cannot be taken, and why.
    fn read(
        &self,
        headers: &HeaderMap,
        speaker: &PeerIdentity,
    ) -> Result<Option<(Identity, Option<u64>)>, String> {
        let mut found: Option<(Identity, String)> = None;
        for form in &self.config.forms {
            let field = form.field_names().first().map_or("-", HeaderName::as_str);
            let identity = form.decode(headers);
            if let Some(identity) = identity.map_err(|cause| format!("`{field}`: {cause}"))? {
                agree(&mut found, identity, field)?;
            }
        }
        let mut ends = None;
        if let Some(verifier) = &self.verifier {
            let field = verifier.config().header.as_str();
            let signed = self.verified(verifier, headers, speaker);
            if let Some((identity, end)) = signed.map_err(|cause| format!("`{field}` {cause}"))? {
                agree(&mut found, identity, field)?;
                ends = Some(end);
            }
        }
        Ok(found.map(|(identity, _)| (identity, ends)))
    }

    fn verified(
        &self,
        verifier: &JwtVerifier,
        headers: &HeaderMap,
        speaker: &PeerIdentity,
    ) -> Result<Option<(Identity, u64)>, String> {
        let field = &verifier.config().header;
        let mut values = headers.get_all(field).iter();
        let token = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => self.token_in(value),
            (Some(_), Some(_)) => return Err("stands there more than once".to_owned()),
        };
        match token {
            None if *field == AUTHORIZATION => Ok(None),
            None => Err("does not begin with the scheme of assertion_jwt".to_owned()),
            Some(token) => {
                let names = verifier.verify(token, SystemTime::now());
                let mut names = names.map_err(|cause| cause.to_string())?;
                // Bound to whoever shows the token (RFC 8705 §3), and so no name
                // of the caller: it would be taken for the speaker's certificate.
                let own = speaker.names().fingerprint();
                names.certificate = names.certificate.filter(|known| own != Some(known));
                let ends = names.ends;
                let identity = identity_of(&names).map_err(|cause| format!("names: {cause}"))?;
                Ok(Some((identity, ends)))
            }
        }
    }
}

/// Adds what another form says, if it says the same.
fn agree(
    found: &mut Option<(Identity, String)>,
    identity: Identity,
    field: &str,
) -> Result<(), String> {
    let knows_more = match found {
        None => true,
        Some((other, of)) if !other.agrees_with(&identity) => {
            return Err(format!("`{of}` and `{field}` name different callers"));
        }
        Some((other, _)) => other.chain().is_none() && identity.chain().is_some(),
    };
    if knows_more {
        *found = Some((identity, field.to_owned()));
    }
    Ok(())
}

/// Whom the claims name; a certificate alone is no name. `sub` is a name of its
/// own where it is none of the lists' and no list as a whole, as a template
/// writes it: a URI, an email address or else a distinguished name.
fn identity_of(claims: &AssertedNames) -> Result<Identity, MalformedStatement> {
    let mut names = StatedNames::default();
    if let Some(certificate) = claims.certificate {
        names.fingerprint(certificate);
    }
    for uri in &claims.uri {
        names.uri(uri)?;
    }
    for dns in &claims.dns {
        names.dns(dns)?;
    }
    for email in &claims.email {
        names.email(email)?;
    }
    let subject = &claims.subject;
    let mut lists = [&claims.uri, &claims.dns, &claims.email].into_iter();
    if lists.any(|list| list.contains(subject) || joined(list) == *subject) {
        return Identity::stated(names);
    }
    // A distinguished name may hold a URI; no scheme holds a `=`.
    let scheme = subject.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| !scheme.contains('=')) {
        names.uri(subject)?;
    } else if subject.contains('@') && !subject.contains('=') {
        names.email(subject)?;
    } else {
        names.subject(subject)?;
    }
    Identity::stated(names)
}

/// The callers for whom one connection's peer speaks.
#[derive(Debug)]
pub(super) struct Spoken {
    accepted: Arc<Accepted>,
    speaker: Rc<PeerIdentity>,
    upstreams: usize,
    /// Those of late, the last one first.
    known: RefCell<Vec<Known>>,
}

/// What came of one assertion.
#[derive(Debug)]
struct Known {
    said: Vec<(usize, HeaderValue)>,
    party: Rc<Party>,
    /// The first second at which it is no longer good.
    ends: Option<u64>,
}

impl Known {
    /// Of the words that were said.
    fn bytes(&self) -> usize {
        self.said.iter().map(|(_, value)| value.len()).sum()
    }
}

/// How many callers a connection remembers.
const MOST_KNOWN: usize = 64;
/// The most bytes of assertions that it remembers: what came of them takes a
/// small multiple.
const MOST_SAID: usize = 256 * 1024;

impl Spoken {
    /// Of a connection of `speaker`; `None`: it may not speak for others.
    pub(super) fn of(
        accepted: &Arc<Accepted>,
        speaker: &Rc<PeerIdentity>,
        upstreams: usize,
    ) -> Option<Self> {
        accepted.lists(speaker).then(|| Self {
            accepted: Arc::clone(accepted),
            speaker: Rc::clone(speaker),
            upstreams,
            known: RefCell::default(),
        })
    }

    /// For whom a request with this head is made; `None`: for the speaker
    /// itself. What is no credential but an assertion is taken out.
    ///
    /// # Errors
    ///
    /// There is an assertion that cannot be taken.
    pub(super) fn party(&self, headers: &mut HeaderMap) -> Result<Option<Rc<Party>>, Fault> {
        let accepted = &*self.accepted;
        if let Some(field) = headers::nominated(headers, accepted.fields()) {
            return Err(self.refused(&format!("`{field}` is named in `Connection`")));
        }
        if accepted.said(headers).next().is_none() {
            return Ok(None);
        }
        let party = match self.known(headers) {
            Some(party) => Some(party),
            None => self.learn(headers)?,
        };
        let mut jwt = accepted.config.jwt.iter();
        let in_credential = jwt.any(|jwt| jwt.header == AUTHORIZATION);
        let is_token = |value| accepted.token_in(value).is_some();
        if in_credential && headers.get(AUTHORIZATION).is_some_and(is_token) {
            headers::drop_field(headers, &AUTHORIZATION);
        }
        Ok(party)
    }

    /// What came of the same words before.
    fn known(&self, headers: &HeaderMap) -> Option<Rc<Party>> {
        let mut known = self.known.borrow_mut();
        let at = known.iter().position(|one| {
            let said = one.said.iter().map(|(at, value)| (*at, value));
            said.eq(self.accepted.said(headers))
        })?;
        let one = known.remove(at);
        if one.ends.is_some_and(|ends| unix_seconds() >= ends) {
            return None;
        }
        let party = Rc::clone(&one.party);
        known.insert(0, one);
        Some(party)
    }

    fn learn(&self, headers: &HeaderMap) -> Result<Option<Rc<Party>>, Fault> {
        let read = self.accepted.read(headers, &self.speaker);
        let Some((identity, ends)) = read.map_err(|cause| self.refused(&cause))? else {
            return Ok(None);
        };
        let peer = Rc::new(PeerIdentity::asserted(identity, &self.speaker));
        let party = Party::new(Some(peer), self.upstreams);
        let said = self.accepted.said(headers);
        let one = Known {
            said: said.map(|(at, value)| (at, copy_of(value))).collect(),
            party: Rc::clone(&party),
            ends,
        };
        let mut known = self.known.borrow_mut();
        known.insert(0, one);
        let mut bytes: usize = 0;
        let fits = |one: &&Known| {
            bytes = bytes.saturating_add(one.bytes());
            bytes <= MOST_SAID
        };
        let fitting = known.iter().take_while(fits).count();
        known.truncate(fitting.min(MOST_KNOWN));
        Ok(Some(party))
    }

    fn refused(&self, cause: &str) -> Fault {
        Fault::new(
            Side::Downstream,
            Phase::RequestHead,
            Kind::AssertionRefused,
            format!(
                "what `{}` says of its caller cannot be taken: {cause}",
                self.speaker.primary()
            ),
        )
    }
}

/// A value with memory of its own: that of the library is the whole head's.
fn copy_of(value: &HeaderValue) -> HeaderValue {
    let copy = HeaderValue::from_bytes(value.as_bytes());
    let mut copy = copy.unwrap_or_else(|_| value.clone());
    // Whoever reads it could use it.
    copy.set_sensitive(true);
    copy
}

fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
