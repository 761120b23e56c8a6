//! Which certificate a client gets, and which names a listener answers for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::own_certificate::OwnChain;
use crate::config::{OwnCertificate, Problem};

/// The certificates of one listener, by the names in them.
///
/// A client that asks for a name gets a certificate that carries it, exactly or
/// by a wildcard, or none at all. A client that asks for no name gets the first
/// one: those that connect to an address cannot ask for it (RFC 6066 §3). A
/// certificate with neither DNS names nor addresses, but a URI (such as a SPIFFE
/// identity), serves every name that no other certificate carries.
#[derive(Debug)]
pub(super) struct Certificates {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By the part after `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    nameless: Vec<Arc<CertifiedKey>>,
    /// For clients that ask for no name: what stands first, and any other
    /// chain for the very same names with another kind of key.
    default: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Sorts chains by name. In each name the order of the config is kept.
    pub(super) fn new(chains: &[&OwnChain]) -> Self {
        let mut sorted = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            nameless: Vec::new(),
            default: Vec::new(),
        };
        for chain in chains {
            let names = chain.names.dns();
            for name in names {
                match name.strip_prefix("*.") {
                    Some(suffix) => sorted.wildcard.entry(suffix.to_owned()).or_default(),
                    None => sorted.exact.entry(name.clone()).or_default(),
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

    /// Whether requests for `host` may come over a connection to this listener:
    /// whether a client that asked for it would have got a certificate.
    ///
    /// `host` is in lower case, without port and final dot. An address cannot
    /// be asked for in a handshake (RFC 6066 §3), so it goes with no name.
    pub(super) fn cover(&self, host: &str) -> bool {
        host.parse::<IpAddr>().is_ok() || !self.for_name(host).is_empty()
    }

    fn for_name(&self, name: &str) -> &[Arc<CertifiedKey>] {
        if let Some(found) = self.exact.get(name) {
            return found;
        }
        let suffix = name.split_once('.').map(|(_, suffix)| suffix);
        match suffix.and_then(|suffix| self.wildcard.get(suffix)) {
            Some(found) => found,
            None => &self.nameless,
        }
    }

    /// The certificates for what a client asked for, in order of preference.
    pub(super) fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        match name {
            Some(name) => self.for_name(name),
            None => &self.default,
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(normalise);
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

/// The one form in which names are compared: lower case, no final dot.
pub(super) fn normalise(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
