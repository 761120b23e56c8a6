//! Which certificate a client gets, and which names a listener answers for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::own_certificate::OwnChain;
use crate::config::{HostPattern, ListenerTls, Located, OwnCertificate, Problem, UnknownSni};
use crate::identity::canonical_dns;

/// The certificates of one listener, by the names in them.
///
/// A client that asks for a name gets a certificate that carries it, exactly or
/// by a wildcard, or none at all. A client that asks for no name gets the first
/// one: those that connect to an address cannot ask for it (RFC 6066 §3). A
/// certificate with neither DNS names nor addresses, but a URI (such as a SPIFFE
/// identity), serves every name that no other certificate carries.
#[derive(Debug)]
pub(super) struct Certificates {
    named: ByName<Vec<Arc<CertifiedKey>>>,
    nameless: Vec<Arc<CertifiedKey>>,
    /// For clients that ask for no name: what stands first, and any other
    /// chain for the very same names with another kind of key.
    default: Vec<Arc<CertifiedKey>>,
    /// Whether a name that no certificate carries gets the default.
    for_unknown: bool,
    /// Some of the names, for people.
    told: Box<str>,
}

/// Something for each of some names. A name finds what stands for it exactly,
/// or else for `*.` and all but its first label.
#[derive(Debug)]
pub(super) struct ByName<T> {
    exact: HashMap<String, T>,
    /// By the part after `*.`.
    wildcard: HashMap<String, T>,
}

impl<T> ByName<T> {
    /// What stands for `name`, in the form in which names are compared.
    pub(super) fn find(&self, name: &str) -> Option<&T> {
        let suffix = || name.split_once('.').map(|(_, suffix)| suffix);
        let exact = self.exact.get(name);
        exact.or_else(|| self.wildcard.get(suffix()?))
    }

    pub(super) fn insert(&mut self, pattern: &HostPattern, thing: T) {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name.clone(), thing),
            HostPattern::Wildcard(suffix) => self.wildcard.insert(suffix.clone(), thing),
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }
}

impl Certificates {
    /// Sorts chains by name. In each name the order of the config is kept.
    pub(super) fn new(chains: &[&OwnChain], unknown: UnknownSni) -> Self {
        let mut sorted = Self {
            named: ByName::default(),
            nameless: Vec::new(),
            default: Vec::new(),
            for_unknown: unknown == UnknownSni::Strictest,
            told: told(chains).into(),
        };
        for chain in chains {
            let names = chain.names.dns();
            for name in names {
                match name.strip_prefix("*.") {
                    Some(suffix) => sorted.named.wildcard.entry(suffix.to_owned()).or_default(),
                    None => sorted.named.exact.entry(name.clone()).or_default(),
                }
                .push(Arc::clone(&chain.key));
            }
            if names.is_empty() && chain.names.ip().is_empty() {
                sorted.nameless.push(Arc::clone(&chain.key));
            }
        }
        if let Some(first) = chains.first() {
            sorted.default = chains
                .iter()
                .filter(|chain| chain.has_names_of(first))
                .map(|chain| Arc::clone(&chain.key))
                .collect();
        }
        sorted
    }

    /// Some of the names that the certificates carry, in the order of the config.
    pub(super) fn told(&self) -> &str {
        &self.told
    }

    /// Whether a certificate carries this name, or serves every name.
    pub(super) fn cover(&self, name: &str) -> bool {
        !self.for_name(name).is_empty()
    }

    /// Whether a certificate carries this name.
    pub(super) fn name(&self, name: &str) -> bool {
        self.named.find(name).is_some()
    }

    /// Whether a certificate carries one of these names, or serves every name.
    /// `above`: what follows the first label of each name that it carries exactly.
    fn cover_any(&self, names: &HostPattern, above: &HashSet<&str>) -> bool {
        let HostPattern::Wildcard(suffix) = names else {
            return self.cover(&names.to_string());
        };
        !self.nameless.is_empty()
            || self.named.wildcard.contains_key(suffix)
            || above.contains(suffix.as_str())
    }

    fn for_name(&self, name: &str) -> &[Arc<CertifiedKey>] {
        self.named.find(name).unwrap_or(&self.nameless)
    }

    /// The certificates for what a client asked for, in order of preference.
    pub(super) fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        match name.map(|name| self.for_name(name)) {
            Some([]) if self.for_unknown => &self.default,
            Some(carry_it) => carry_it,
            None => &self.default,
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(canonical_dns);
        let candidates = self.candidates(name.as_deref());
        // The first whose key the client can verify, else the first: its
        // failure then says what the client lacks.
        candidates
            .iter()
            .find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some())
            .or_else(|| candidates.first())
            .cloned()
    }
}

fn told(chains: &[&OwnChain]) -> String {
    let names = || chains.iter().flat_map(|chain| chain.names.dns());
    let mut told: Vec<_> = names().take(MOST_TOLD).cloned().collect();
    match names().count().saturating_sub(MOST_TOLD) {
        0 if told.is_empty() => return "none".to_owned(),
        0 => {}
        more => told.push(format!("{more} more")),
    }
    told.join(", ")
}

/// So many names are told to whoever asks for another.
const MOST_TOLD: usize = 8;

/// The chains of a listener that no client could verify, or that none would get.
pub(super) fn unservable(whose: &str, chains: &[(&OwnCertificate, &OwnChain)]) -> Vec<Problem> {
    let Some((_, first)) = chains.first() else {
        return Vec::new();
    };
    let unservable = |(config, chain): &(&OwnCertificate, &OwnChain)| {
        let names = &chain.names;
        let (what, consequence, remedy) = match (names.dns(), names.ip(), names.uri()) {
            ([], [], []) => (
                "has no subject alternative name that says whose it is",
                "no client would accept it: the common name counts for nothing (RFC 9525 §2)",
                "have it issued again with the DNS names, or addresses, that clients connect to",
            ),
            ([], [_, ..], _) if !chain.has_names_of(first) => (
                "has addresses, but no DNS name, and is not the first certificate",
                "no client would get it: those that connect to an address ask for no name, and get the first",
                "put it first",
            ),
            _ => return None,
        };
        let what = format!("{whose}: {} {what}", config.chain.value.display());
        let problem = Problem::at(config.chain.place, what);
        Some(problem.causes(consequence).remedy(remedy))
    };
    chains.iter().filter_map(unservable).collect()
}

/// The names with a policy of their own that no client could ask for.
pub(super) fn uncovered(whose: &str, tls: &ListenerTls, chains: &[&OwnChain]) -> Vec<Problem> {
    let certificates = Certificates::new(chains, tls.unknown_sni);
    let exact = certificates.named.exact.keys();
    let above = exact.filter_map(|name| name.split_once('.').map(|(_, above)| above));
    let above: HashSet<&str> = above.collect();
    let names = tls.names.iter().map(|named| &named.name);
    let uncovered = names.filter(|name| !certificates.cover_any(&name.value, &above));
    let problem = |name: &Located<HostPattern>| {
        let what = format!(
            "{whose}.names: no certificate of this listener carries {}",
            name.value
        );
        Problem::at(name.place, what)
            .causes("no client would ever come under this policy")
            .remedy("add a certificate for the name, or correct or remove it")
    };
    uncovered.map(problem).collect()
}
