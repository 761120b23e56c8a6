//! What an expression can look at, out of the facts of a decision.

use std::borrow::Cow;
use std::net::IpAddr;

use super::facts::Facts;
use crate::config::{Attributes, Party, PartyList, PartyText, RequestText};
use crate::identity::{NameKind, PeerIdentity};

impl Facts<'_> {
    fn party(&self, party: Party) -> Option<&PeerIdentity> {
        match party {
            Party::Caller => self.caller,
            Party::Speaker => self.speaker,
        }
    }

    /// The subject of the anchor on which the party's own chain rests. That of
    /// the connection is the speaker's, where somebody speaks for the caller.
    fn anchor_of(&self, party: Party) -> Option<Cow<'_, str>> {
        let is_peer = match party {
            Party::Caller => self.speaker.is_none(),
            Party::Speaker => true,
        };
        let anchor = self.anchor.filter(|_| is_peer)?;
        Some(anchor.subject.as_str().into())
    }
}

impl Attributes for Facts<'_> {
    fn is_there(&self, party: Party) -> bool {
        self.party(party).is_some()
    }

    fn party_text(&self, party: Party, name: PartyText) -> Option<Cow<'_, str>> {
        let peer = self.party(party)?;
        let names = peer.names();
        match name {
            PartyText::Anchor => self.anchor_of(party),
            PartyText::Fingerprint => Some(names.fingerprint()?.to_string().into()),
            PartyText::Issuer => Some(names.certificate()?.issuer().into()),
            PartyText::Name => Some(peer.primary().into()),
            PartyText::Spki => Some(names.certificate()?.spki().to_string().into()),
            PartyText::Subject => {
                let subject = names.subject().filter(|subject| !subject.is_empty());
                subject.map(Cow::from)
            }
        }
    }

    fn party_list(&self, party: Party, list: PartyList) -> Vec<Cow<'_, str>> {
        let Some(names) = self.party(party).map(PeerIdentity::names) else {
            return Vec::new();
        };
        match list {
            PartyList::Cn => names.subject_values(NameKind::CommonName),
            PartyList::Dns => borrowed(names.dns()),
            PartyList::Email => borrowed(names.email()),
            PartyList::O => names.subject_values(NameKind::Organization),
            PartyList::Ou => names.subject_values(NameKind::OrganizationalUnit),
            PartyList::Uri => borrowed(names.uri()),
        }
    }

    fn not_after(&self, party: Party) -> Option<i64> {
        let names = self.party(party)?.names();
        Some(names.certificate()?.not_after())
    }

    fn request_text(&self, name: RequestText) -> Option<Cow<'_, str>> {
        let text = match name {
            RequestText::Host => Some(self.host).filter(|host| !host.is_empty())?,
            RequestText::Listener => self.listener,
            RequestText::Method => self.method,
            RequestText::Path => self.path,
        };
        Some(text.into())
    }

    fn source(&self) -> Option<IpAddr> {
        self.source
    }
}

fn borrowed(names: &[String]) -> Vec<Cow<'_, str>> {
    names.iter().map(Cow::from).collect()
}

#[cfg(test)]
mod tests;
