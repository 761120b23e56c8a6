//! Which leaves somebody may vouch for.

use std::fmt;

use super::{Matcher, NameKind, NamePattern, PeerPattern, units};
use crate::identity::anchor::AnchorName;
use crate::identity::claim::Names;
use crate::identity::names::CertificateNames;

/// The leaves that may be vouched for: one entry must match, as in `allow`, and
/// no name may stand beside those that the matching entries speak of.
///
/// `allow` is content with one name that matches. That is not enough here: who
/// may vouch for one name would vouch for any other that he puts beside it.
///
/// # Rules
///
/// * Each URI, DNS and email name of the leaf is matched by a condition of an
///   entry that matches as a whole; so is each user principal name, of which no
///   condition speaks.
/// * An entry with a `fingerprint` means that very certificate, with all that is
///   in it.
/// * Subject and IP addresses are looked at only where an entry speaks of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assertable(Vec<PeerPattern>);

/// A leaf that is not vouched for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unassertable {
    /// What it claims to be, such as `uri "spiffe://prod.example/web"`: the name
    /// that no entry covers, or, where no entry matches, all that it has, cut
    /// after a few.
    pub claim: String,
    /// An entry that would permit the claim, as it would stand in the config;
    /// `None`: none can.
    pub entry: Option<String>,
}

/// One name of a leaf, as an entry would speak of it.
struct Claim<'a> {
    /// `None`: no entry can.
    kind: Option<NameKind>,
    key: &'static str,
    name: &'a str,
}

impl Assertable {
    /// What these entries permit; `None` without any.
    pub fn new(entries: Vec<PeerPattern>) -> Option<Self> {
        (!entries.is_empty()).then_some(Self(entries))
    }

    /// Sees that a leaf with these names, whose chain ends at `anchor`, may be
    /// vouched for.
    ///
    /// # Errors
    ///
    /// [`Unassertable`]: what it claims beyond that.
    pub fn check(&self, names: CertificateNames, anchor: &AnchorName) -> Result<(), Unassertable> {
        let names = Names::from(names);
        let matching: Vec<_> = self
            .0
            .iter()
            .filter(|entry| {
                entry
                    .0
                    .iter()
                    .all(|condition| condition.matches(&names, Some(anchor)))
            })
            .collect();
        if matching.is_empty() {
            return Err(Unassertable::all_of(&names));
        }
        if matching.iter().any(|entry| entry.names_one_certificate()) {
            return Ok(());
        }
        let conditions = matching.iter().flat_map(|entry| &entry.0);
        let covered = |claim: &Claim<'_>| conditions.clone().any(|c| c.speaks_of(claim));
        match claims(&names).find(|claim| !covered(claim)) {
            Some(claim) => Err(claim.unassertable()),
            None => Ok(()),
        }
    }

    /// Whether a leaf that carries this DNS name, or the wildcard above it, can
    /// be vouched for at all.
    pub fn permits_host(&self, name: &str) -> bool {
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let names = [Some(name), wildcard.as_deref()];
        let mut conditions = self.0.iter().flat_map(|entry| &entry.0);
        let permits = |condition: &NamePattern| {
            let covers = |name: &&str| condition.speaks_of(&Claim::dns(name));
            names.iter().flatten().any(covers)
        };
        self.0.iter().any(PeerPattern::names_one_certificate) || conditions.any(permits)
    }
}

impl fmt::Display for Assertable {
    /// Writes the first few entries as they stand in the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().take(MOST_SHOWN).enumerate() {
            let before = if index == 0 { "" } else { ", " };
            write!(f, "{before}{entry}")?;
        }
        match self.0.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl PeerPattern {
    fn names_one_certificate(&self) -> bool {
        let mut conditions = self.0.iter();
        conditions.any(|condition| condition.kind == NameKind::Fingerprint)
    }
}

impl NamePattern {
    /// Whether it speaks of this very name.
    fn speaks_of(&self, claim: &Claim<'_>) -> bool {
        match (&self.matcher, claim.kind) {
            (Matcher::Glob(glob), Some(kind)) if kind == self.kind => match kind {
                NameKind::Dns => glob.matches(units::dns(claim.name)),
                NameKind::Uri => glob.matches(units::uri(claim.name)),
                NameKind::Email => glob.matches(units::email(claim.name)),
                _ => false,
            },
            _ => false,
        }
    }
}

impl<'a> Claim<'a> {
    fn dns(name: &'a str) -> Self {
        Self::new(Some(NameKind::Dns), "dns", name)
    }

    fn new(kind: Option<NameKind>, key: &'static str, name: &'a str) -> Self {
        Self { kind, key, name }
    }

    fn unassertable(&self) -> Unassertable {
        Unassertable {
            claim: self.to_string(),
            entry: self
                .kind
                .map(|_| format!("{{ {} = \"{}\" }}", self.key, toml_escaped(self.name))),
        }
    }
}

impl fmt::Display for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.key, toml_escaped(&cut(self.name)))
    }
}

impl Unassertable {
    /// Of a leaf that no entry matches.
    fn all_of(names: &Names) -> Self {
        let subject = names.subject().filter(|subject| !subject.is_empty());
        let subject =
            subject.map(|subject| Claim::new(Some(NameKind::Subject), "subject", subject));
        let mut all: Vec<_> = claims(names).chain(subject).collect();
        let more = all.len().saturating_sub(MOST_SHOWN);
        all.truncate(MOST_SHOWN);
        let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
        let mut claim = shown.join(", ");
        if all.is_empty() {
            claim.push_str("no name at all");
        }
        if more > 0 {
            claim.push_str(&format!(" and {more} more"));
        }
        Self {
            claim,
            entry: all.first().and_then(|first| first.unassertable().entry),
        }
    }
}

/// The names that have to be covered.
fn claims(names: &Names) -> impl Iterator<Item = Claim<'_>> {
    let kinds = [
        (Some(NameKind::Uri), "uri", names.uri()),
        (Some(NameKind::Dns), "dns", names.dns()),
        (Some(NameKind::Email), "email", names.email()),
        (None, "upn", names.upn()),
    ];
    kinds.into_iter().flat_map(|(kind, key, list)| {
        let each = list.iter();
        each.map(move |name| Claim::new(kind, key, name))
    })
}

/// A name in full, or its beginning.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

fn toml_escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Entries and names that a message shows.
const MOST_SHOWN: usize = 4;
/// In characters; a message is no place for 8 KiB of a stranger's words.
const LONGEST_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Fingerprint;
    use crate::identity::testing::TestLeaf;

    fn assertable(entries: &[&[(NameKind, &str)]]) -> Assertable {
        let entry = |conditions: &&[(NameKind, &str)]| {
            let conditions = conditions.iter();
            let read = conditions.map(|(kind, text)| NamePattern::parse(*kind, text).unwrap());
            PeerPattern::new(read.collect()).unwrap()
        };
        Assertable::new(entries.iter().map(entry).collect()).unwrap()
    }

    fn claim_of(entries: &Assertable, leaf: &TestLeaf) -> Option<String> {
        let names = CertificateNames::read(&leaf.der()).unwrap();
        entries
            .check(names, &anchor())
            .err()
            .map(|refused| refused.claim)
    }

    const PARTNER: (NameKind, &str) = (NameKind::Uri, "spiffe://partner.example/*");

    fn anchor() -> AnchorName {
        AnchorName {
            subject: "CN=Root".to_owned(),
            fingerprint: Fingerprint::of(b"root"),
        }
    }

    #[test]
    fn leaf_that_an_entry_matches_is_vouched_for_and_another_is_not() {
        let entries = assertable(&[&[PARTNER], &[(NameKind::Dns, "*.partner.example")]]);
        let leaf = TestLeaf::new;
        for good in [
            leaf().uri("spiffe://partner.example/web"),
            leaf().uri("SPIFFE://Partner.Example/web"),
            leaf().dns("a.partner.example"),
            leaf().dns("A.PARTNER.example.").dns("b.partner.example"),
            leaf()
                .uri("spiffe://partner.example/web")
                .dns("a.partner.example")
                .ip(&[127, 0, 0, 1])
                .subject("whoever"),
        ] {
            assert_eq!(claim_of(&entries, &good), None, "{good:?}");
        }
        for (bad, claim) in [
            (
                leaf().uri("spiffe://prod.example/web"),
                "uri \"spiffe://prod.example/web\"",
            ),
            (
                leaf().uri("spiffe://a.partner.example/web"),
                "uri \"spiffe://a.partner.example/web\"",
            ),
            (
                leaf().uri("spiffe://partner.example./web"),
                "uri \"spiffe://partner.example./web\"",
            ),
            (
                leaf().uri("spiffe://partner.example/a/b"),
                "uri \"spiffe://partner.example/a/b\"",
            ),
            (leaf().dns("partner.example"), "dns \"partner.example\""),
            (leaf().subject("partner"), "subject \"CN=partner\""),
            (leaf(), "no name at all"),
        ] {
            assert_eq!(claim_of(&entries, &bad).as_deref(), Some(claim), "{bad:?}");
        }
    }

    #[test]
    fn name_beside_one_that_is_vouched_for_is_none_that_is() {
        let entries = assertable(&[&[PARTNER], &[(NameKind::Dns, "*.partner.example")]]);
        let leaf = || TestLeaf::new().uri("spiffe://partner.example/web");
        for (bad, claim) in [
            (
                leaf().dns("orders.prod.example"),
                "dns \"orders.prod.example\"",
            ),
            (
                leaf().dns("a.partner.example").dns("b.prod.example"),
                "dns \"b.prod.example\"",
            ),
            (
                leaf().email("admin@prod.example"),
                "email \"admin@prod.example\"",
            ),
            (
                leaf().upn("admin@prod.example"),
                "upn \"admin@prod.example\"",
            ),
        ] {
            assert_eq!(claim_of(&entries, &bad).as_deref(), Some(claim), "{bad:?}");
        }
        let two = TestLeaf::new().uri("urn:partner:web").uri("urn:prod:web");
        let entries = assertable(&[&[(NameKind::Uri, "urn:partner:*")]]);
        assert_eq!(
            claim_of(&entries, &two).as_deref(),
            Some("uri \"urn:prod:web\"")
        );
    }

    #[test]
    fn condition_covers_a_name_only_where_its_whole_entry_matches() {
        let dns = (NameKind::Dns, "a.partner.example");
        let entries = assertable(&[
            &[PARTNER, dns],
            &[(NameKind::Uri, "https://partner.example/")],
        ]);
        let leaf = TestLeaf::new().dns("a.partner.example");
        let both = leaf.clone().uri("spiffe://partner.example/web");
        assert_eq!(claim_of(&entries, &both), None);
        let other = leaf.uri("https://partner.example/");
        assert_eq!(
            claim_of(&entries, &other).as_deref(),
            Some("dns \"a.partner.example\"")
        );
    }

    #[test]
    fn fingerprint_means_the_certificate_with_all_that_is_in_it() {
        let leaf = TestLeaf::new().dns("a.example").email("b@example");
        let names = CertificateNames::read(&leaf.der()).unwrap();
        let fingerprint = names.fingerprint().to_string();
        let entries = assertable(&[&[(NameKind::Fingerprint, &fingerprint)]]);
        assert_eq!(claim_of(&entries, &leaf), None);
        assert!(claim_of(&entries, &TestLeaf::new().dns("a.example")).is_some());
        assert!(entries.permits_host("a.example"));
    }

    #[test]
    fn email_names_have_entries_of_their_own_and_an_entry_may_be_for_one_anchor() {
        let leaf = TestLeaf::new().email("ops@partner.example");
        let emails = assertable(&[&[(NameKind::Email, "*@partner.example")]]);
        assert_eq!(claim_of(&emails, &leaf), None);
        let others = assertable(&[&[PARTNER]]);
        assert!(claim_of(&others, &leaf).is_some());

        let web = TestLeaf::new().uri("spiffe://partner.example/web");
        let of_root = assertable(&[&[PARTNER, (NameKind::Anchor, "CN=Root")]]);
        assert_eq!(claim_of(&of_root, &web), None);
        let of_another = assertable(&[&[PARTNER, (NameKind::Anchor, "CN=Another")]]);
        assert!(claim_of(&of_another, &web).is_some());
    }

    #[test]
    fn refusal_says_what_to_write_and_shows_no_more_than_a_few_names() {
        let entries = assertable(&[&[PARTNER]]);
        let many = (0..20).fold(TestLeaf::new(), |leaf, n| {
            leaf.dns(&format!("n{n}.example"))
        });
        let names = CertificateNames::read(&many.der()).unwrap();
        let refused = entries.check(names, &anchor()).unwrap_err();
        assert!(refused.claim.ends_with("dns \"n3.example\" and 16 more"));
        assert_eq!(refused.entry.as_deref(), Some("{ dns = \"n0.example\" }"));
        let long = TestLeaf::new().dns(&"a".repeat(5_000));
        assert!(claim_of(&entries, &long).unwrap().len() < 300);
        assert_eq!(
            entries.to_string(),
            "{ uri = \"spiffe://partner.example/*\" }"
        );
    }

    #[test]
    fn host_is_permitted_by_its_name_or_by_the_wildcard_above_it() {
        let entries = assertable(&[&[(NameKind::Dns, "*.internal")], &[PARTNER]]);
        assert!(entries.permits_host("orders.internal"));
        assert!(!entries.permits_host("orders.prod.example"));
        let exact = assertable(&[&[(NameKind::Dns, "*.prod.example")]]);
        assert!(exact.permits_host("orders.prod.example"));
        assert!(!exact.permits_host("orders.internal"));
    }
}
