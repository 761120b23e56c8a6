//! Each way in which a chain fails, in words: the cause, the nearest miss and the remedy.

use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use rustls_pki_types::UnixTime;

use super::presented::Link;
use super::{Presenter, Step};
use crate::identity::UnreadableCertificate;
use crate::telemetry::rfc3339;
use crate::tls::anchor::Anchor;
use crate::tls::bundle::Bundle;
use crate::tls::cost::TooCostly;
use crate::tls::own_certificate::describe;
use crate::tls::revocation::{HeldList, seconds};
use crate::tls::scope::OutOfScope;

/// What is said of one way of failing.
pub(super) struct Found {
    pub(super) step: Step,
    pub(super) cause: String,
    pub(super) nearest_miss: Option<String>,
    /// `None`: that of the reason.
    pub(super) remedy: Option<String>,
    /// The file of the revocation list that this rests on.
    pub(super) list: Option<String>,
}

/// What a chain was held against.
pub(super) struct Case<'a> {
    pub(super) bundle: &'a Bundle,
    /// From the leaf upwards, as far as names lead.
    pub(super) path: &'a [&'a Link<'a>],
    pub(super) sent: usize,
    pub(super) by: Presenter,
    pub(super) now: UnixTime,
}

impl Found {
    pub(super) fn new(step: Step, cause: impl Into<String>) -> Self {
        Self {
            step,
            cause: cause.into(),
            nearest_miss: None,
            remedy: None,
            list: None,
        }
    }

    pub(super) fn miss(self, text: impl Into<String>) -> Self {
        Self {
            nearest_miss: Some(text.into()),
            ..self
        }
    }

    fn list(self, held: Option<&HeldList>) -> Self {
        Self {
            list: held.map(|held| held.source.display().to_string()),
            ..self
        }
    }

    pub(super) fn remedy(self, text: impl Into<String>) -> Self {
        Self {
            remedy: Some(text.into()),
            ..self
        }
    }
}

pub(super) fn of_cost(cause: TooCostly) -> Found {
    Found::new(Step::Cost, cause.to_string()).remedy(match cause {
        TooCostly::Bytes(..) | TooCostly::Certificates(..) => format!(
            "have the client send its certificate and its intermediates alone, or raise limits.{} of the listener",
            cause.option()
        ),
        TooCostly::RsaBits(..) | TooCostly::Signatures(_) => format!(
            "issue the client another certificate, or raise limits.{} of the listener",
            cause.option()
        ),
    })
}

pub(super) fn of_names(cause: &UnreadableCertificate) -> Found {
    let source = std::error::Error::source(cause).map(|source| format!(": {source}"));
    Found::new(
        Step::Names,
        format!("{cause}{}", source.unwrap_or_default()),
    )
    .miss("its chain is in order")
    .remedy("issue a certificate whose names can be read without doubt")
}

pub(super) fn of_scope(fault: &OutOfScope) -> Found {
    Found::new(Step::Scope, fault.to_string()).remedy(fault.remedy())
}

impl Case<'_> {
    pub(super) fn of_chain(&self, cause: &webpki::Error) -> Found {
        use webpki::Error as Cause;
        match cause {
            Cause::CertExpired { not_after, .. } => self.expired(seconds(*not_after)),
            Cause::CertNotValidYet { not_before, .. } => self.early(seconds(*not_before)),
            Cause::CertRevoked => self.revoked(),
            Cause::CrlExpired { next_update, .. } => self.stale(seconds(*next_update)),
            Cause::IssuerNotCrlSigner => self.unlisted(
                "signs its list with a key that may not sign lists (its keyUsage lacks cRLSign)",
                "have the authority issued again with keyUsage cRLSign",
            ),
            Cause::UnknownRevocationStatus => self.unlisted(
                "has no revocation list here that it signed with its key",
                "add the current list of that authority to crl",
            ),
            Cause::InvalidSignatureForPublicKey => self.other_key(),
            Cause::UnknownIssuer => self.no_path(),
            Cause::RequiredEkuNotFoundContext(context) => self.wrong_purpose(&context.present),
            other => self.broken_rule(other),
        }
    }

    pub(super) fn trust(&self) -> String {
        format!("trust.{}", self.bundle.name())
    }

    pub(super) fn anchors_named(&self, name: &[u8]) -> impl Iterator<Item = &Anchor> {
        let anchors = self.bundle.anchors().iter();
        anchors.filter(move |anchor| *anchor.issuer.name == *name)
    }

    /// What a certificate of the path is called.
    pub(super) fn called(&self, at: usize) -> String {
        let link = self.path.get(at);
        let name = link
            .and_then(|link| link.subject_text())
            .filter(|name| !name.is_empty())
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        if at == 0 {
            format!("the certificate{name}")
        } else {
            format!("the intermediate{name}")
        }
    }

    /// Whose date it is: where in the path, or which anchor.
    fn whose(
        &self,
        date: i64,
        of_link: fn(&Link<'_>) -> i64,
        of_anchor: fn(&Anchor) -> i64,
    ) -> (String, Whose) {
        let mut links = self.path.iter();
        if let Some(at) = links.position(|link| of_link(link) == date) {
            let whose = if at == 0 { Whose::Leaf } else { Whose::Above };
            return (self.called(at), whose);
        }
        let mut anchors = self.bundle.anchors().iter();
        match anchors.find(|anchor| of_anchor(anchor) == date) {
            Some(anchor) => (
                format!("the authority {} of {}", anchor.subject, self.trust()),
                Whose::Anchor,
            ),
            None => (
                "a certificate of the chain, or its authority,".to_owned(),
                Whose::Above,
            ),
        }
    }

    fn expired(&self, not_after: i64) -> Found {
        let (who, whose) = self.whose(
            not_after,
            |link| link.not_after(),
            |anchor| anchor.not_after,
        );
        let ago = describe(seconds(self.now).saturating_sub(not_after));
        let cause = format!(
            "{who} expired {ago} ago by this clock, at {}",
            date(not_after)
        );
        let found = Found::new(Step::Validity, cause);
        match whose {
            Whose::Leaf => {
                found.remedy("renew the certificate, or check the clock of this machine")
            }
            Whose::Above => found.remedy(format!(
                "have the {} send the renewed intermediate, or check the clock of this machine",
                self.by
            )),
            Whose::Anchor => found.remedy(format!(
                "put the renewed authority into {}, or check the clock of this machine",
                self.trust()
            )),
        }
    }

    fn early(&self, not_before: i64) -> Found {
        let (who, _) = self.whose(
            not_before,
            |link| link.not_before(),
            |anchor| anchor.not_before,
        );
        let left = not_before.saturating_sub(seconds(self.now));
        let found = Found::new(
            Step::Validity,
            format!(
                "{who} is not valid before {}, {} from now by this clock",
                date(not_before),
                describe(left)
            ),
        );
        if left > CLOCKS_APART {
            return found;
        }
        found.miss(format!(
            "clocks that are {} apart would explain it",
            describe(left)
        ))
    }

    /// The first certificate of the path of which `look` finds something in the
    /// lists with its issuer's name.
    fn in_lists<T>(
        &self,
        look: impl Fn(&Link<'_>, &HeldList) -> Option<T>,
    ) -> Option<(usize, &HeldList, T)> {
        self.path.iter().enumerate().find_map(|(at, link)| {
            let mut held = self.bundle.revocation().held_of(link.issuer());
            held.find_map(|held| Some((at, held, look(link, held)?)))
        })
    }

    fn revoked(&self) -> Found {
        let entry = self.in_lists(|link, held| {
            let serial = link.serial();
            held.list
                .names(serial)
                .then(|| held.list.revoked_since(serial))
        });
        let Some((at, held, since)) = entry else {
            return Found::new(
                Step::Revocation,
                format!(
                    "a certificate of the chain is on a revocation list of {}",
                    self.trust()
                ),
            );
        };
        let since = since.map(|since| format!(", since {}", date(since)));
        let cause = format!(
            "{} is on the revocation list of {} ({}){}",
            self.called(at),
            held.list.issuer_text(),
            self.trust(),
            since.unwrap_or_default(),
        );
        let found = Found::new(Step::Revocation, cause).list(Some(held));
        if at == 0 {
            found.remedy(format!("issue another certificate to this {}", self.by))
        } else {
            found.remedy(format!(
                "have the {}'s certificate issued by an authority that is not revoked",
                self.by
            ))
        }
    }

    fn stale(&self, next_update: i64) -> Found {
        let ago = describe(seconds(self.now).saturating_sub(next_update));
        let list = self.in_lists(|_, held| (held.list.next_update() == next_update).then_some(()));
        let which = match &list {
            Some((_, held, ())) => format!(
                "the revocation list of {}, which is needed here,",
                held.list.issuer_text()
            ),
            None => "a revocation list that is needed here".to_owned(),
        };
        Found::new(
            Step::Revocation,
            format!(
                "{which} ran out {ago} ago, at {} ({})",
                date(next_update),
                self.trust()
            ),
        )
        .list(list.map(|(_, held, ())| held))
        .miss(format!(
            "but for that list the certificate may be in order: the {} can do nothing about it",
            self.by
        ))
        .remedy("bring the list up to date, or say what a stale one means with crl_stale")
    }

    fn unlisted(&self, what: &str, remedy: &str) -> Found {
        let bare = self.path.iter().position(|link| {
            let mut held = self.bundle.revocation().held_of(link.issuer());
            held.next().is_none()
        });
        let at = bare.unwrap_or(0);
        let issuer = self.path.get(at).and_then(|link| link.issuer_text());
        let found = Found::new(
            Step::Revocation,
            format!(
                "the issuer of {}, {}, {what} ({})",
                self.called(at),
                issuer.as_deref().unwrap_or("which cannot be read"),
                self.trust()
            ),
        )
        .remedy(remedy);
        match bare {
            Some(_) => found,
            None => found.miss("a list with this issuer's name is there, but not signed with its key, or not meant for such certificates"),
        }
    }

    /// A signature does not fit the key of an issuer with the right name.
    fn other_key(&self) -> Found {
        for (at, link) in self.path.iter().enumerate() {
            if let Some(anchor) = self.anchors_named(link.issuer()).next() {
                return self.other_key_than(anchor, at, link);
            }
        }
        Found::new(
            Step::Signature,
            "a certificate of the chain is not signed with the key of the intermediate that it names as its issuer",
        )
        .remedy(format!(
            "have the {} send the intermediates that issued its certificate",
            self.by
        ))
    }

    fn other_key_than(&self, anchor: &Anchor, at: usize, link: &Link<'_>) -> Found {
        let who = self.called(at);
        let cause = format!(
            "{who} names {}, an authority of {}, as its issuer, but is not signed with that authority's key",
            anchor.subject,
            self.trust()
        );
        let found = Found::new(Step::Signature, cause);
        let (names, has) = (link.authority_key_id(), anchor.key_id.as_deref());
        if names.is_some() && names == has {
            return found
                .miss("it names the very key of the anchor: it was changed after it was signed, or is a forgery")
                .remedy("have the certificate issued again");
        }
        let key = |id: Option<&[u8]>| {
            let id = id.and_then(|id| id.get(..id.len().min(32)));
            id.map_or_else(|| "unnamed".to_owned(), |id| HEXLOWER.encode(id))
        };
        found
            .miss(format!(
                "an anchor with this name is in the bundle, but with another key (anchor {}, key {}; wanted is key {})",
                anchor.fingerprint,
                key(has),
                key(names)
            ))
            .remedy(format!(
                "if the authority was re-keyed, add its new certificate to {} beside the old one; else this is a forgery",
                self.trust()
            ))
    }

    /// No authority of the bundle was found above what was sent.
    fn no_path(&self) -> Found {
        let Some((top, at)) = self.path.last().zip(self.path.len().checked_sub(1)) else {
            return Found::new(
                Step::Reading,
                "what was presented cannot be read as a certificate",
            );
        };
        let issuer = top.issuer_text().unwrap_or_default();
        let lead = format!(
            "the chain that was presented leads to no authority of {}",
            self.trust()
        );
        let (trust, by) = (self.trust(), self.by);
        if top.is_self_issued() {
            return self.self_signed(&lead, at, &issuer);
        }
        let found = Found::new(
            Step::Path,
            format!(
                "{lead}: {} was issued by {issuer}, which is neither an anchor of the bundle nor was sent",
                self.called(at)
            ),
        );
        let key = top.authority_key_id();
        let renamed = self
            .bundle
            .anchors()
            .iter()
            .find(|anchor| key.is_some() && key == anchor.key_id.as_deref());
        if let Some(anchor) = renamed {
            return found
                .miss(format!(
                    "an anchor with the issuer's key is in the bundle, but with another name, {}",
                    anchor.subject
                ))
                .remedy(format!(
                    "add the certificate of {issuer} to {trust}, or have the {by} send it"
                ));
        }
        let sent = match self.sent {
            ..=1 => format!("the {by} sent its certificate alone"),
            sent => format!("the {by} sent {sent} certificates"),
        };
        let fetch = if top.says_where_its_issuer_is() {
            format!(
                "; the certificate says where that of its issuer is to be found, but only the {by} can send it"
            )
        } else {
            String::new()
        };
        found
            .miss(format!("{sent}: if {issuer} is an intermediate, it is missing, and the {by} must send it{fetch}; {}", self.anchors_there()))
            .remedy(format!(
                "have the {by} send its whole chain, its intermediates included; or add {issuer} to {trust}, if it should be trusted"
            ))
    }

    /// What was sent ends in a certificate that nobody else vouches for.
    fn self_signed(&self, lead: &str, at: usize, issuer: &str) -> Found {
        let what = if at == 0 {
            "the certificate is self-signed"
        } else {
            "it ends in an authority of its own"
        };
        Found::new(Step::Path, format!("{lead}: {what}, {issuer}"))
            .miss(self.anchors_there())
            .remedy(format!(
                "if {issuer} should be trusted, add it to {}; else use a certificate that an authority of the bundle has issued",
                self.trust()
            ))
    }

    fn anchors_there(&self) -> String {
        let anchors = self.bundle.anchors();
        let named: Vec<_> = anchors
            .iter()
            .take(MOST_ANCHORS_NAMED)
            .map(|anchor| anchor.subject.as_str())
            .collect();
        let more = match anchors.len().saturating_sub(named.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("the bundle has {}{more}", named.join("; "))
    }
}

/// Whose date it is.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Leaf,
    /// An intermediate.
    Above,
    Anchor,
}

fn date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let at = SystemTime::UNIX_EPOCH.checked_add(since);
    let text = rfc3339(at.unwrap_or(SystemTime::UNIX_EPOCH));
    // Certificates count in whole seconds.
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

/// In seconds: beyond it nobody would look at clocks.
const CLOCKS_APART: i64 = 24 * 3600;
/// So many are named of a bundle.
const MOST_ANCHORS_NAMED: usize = 3;
