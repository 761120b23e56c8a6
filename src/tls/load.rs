//! Loads everything that a config names on disk, and reports every problem at once.

use std::path::PathBuf;
use std::sync::Arc;

use super::bundle::Bundle;
use super::choices;
use super::client::ClientTls;
use super::own_certificate::{OwnChain, describe, unix_now};
use super::pem;
use super::server::ServerTls;
use super::sessions::{Sessions, TicketKeys};
use super::sni;
use super::verifier::ClientVerifier;
use crate::config::{self, ClientAuth, Config, Located, Place, Problem, UpstreamTrust};
use crate::identity::CertificateNames;

/// From how long before its end a certificate is warned about.
const EXPIRY_WARNING: i64 = 14 * 24 * 3600;

/// All certificates, keys and trust of one generation, ready for use.
#[derive(Debug, Default)]
pub struct Material {
    /// In the order of the config's bundles.
    pub bundles: Vec<Arc<Bundle>>,
    /// In the order of the config's listeners; `None` for plaintext ones.
    pub servers: Vec<Option<Arc<ServerTls>>>,
    /// In the order of the config's upstreams; `None` where no endpoint speaks TLS.
    pub clients: Vec<Option<Arc<ClientTls>>>,
    /// What session tickets are sealed with, on every listener.
    pub ticket_keys: Arc<TicketKeys>,
    /// The end of validity of each certificate of countersign's own and of each anchor.
    pub expiries: Vec<Expiry>,
}

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

    /// A sentence for the log, if it is past or near.
    pub fn warning(&self) -> Option<String> {
        let left = self.not_after.saturating_sub(unix_now());
        let what = format!(
            "{} certificate {} of {} (\"{}\")",
            self.kind, self.index, self.name, self.subject
        );
        match left {
            ..0 => Some(format!(
                "{what} expired {} ago",
                describe(left.saturating_neg())
            )),
            0..EXPIRY_WARNING => Some(format!("{what} expires in {}", describe(left))),
            _ => None,
        }
    }
}

/// Loads the files of a config.
///
/// # Errors
///
/// Every problem found: of each file, and of what does not fit together.
pub fn load(config: &Config) -> Result<Material, Vec<Problem>> {
    let mut loader = Loader::default();
    let bundles: Vec<_> = config
        .bundles()
        .iter()
        .map(|bundle| loader.bundle(bundle))
        .collect();
    let ticket_keys = loader.ticket_keys(config.server(), None);
    let servers: Vec<_> = config
        .listeners()
        .iter()
        .map(|listener| loader.server(listener, &bundles, &ticket_keys))
        .collect();
    let clients: Vec<_> = config
        .upstreams()
        .iter()
        .map(|upstream| loader.client(upstream, &bundles))
        .collect();
    if !loader.problems.is_empty() {
        return Err(loader.problems);
    }
    Ok(Material {
        bundles: bundles.into_iter().flatten().collect(),
        servers,
        clients,
        ticket_keys,
        expiries: loader.expiries,
    })
}

/// Gathers what was loaded and what was wrong.
#[derive(Default)]
struct Loader {
    problems: Vec<Problem>,
    expiries: Vec<Expiry>,
    system: Option<Arc<Bundle>>,
}

impl Loader {
    fn bundle(&mut self, config: &config::TrustBundle) -> Option<Arc<Bundle>> {
        let bundle = self.kept(Bundle::load(config))?;
        for (index, anchor) in bundle.anchors().iter().enumerate() {
            self.expiries.push(Expiry {
                kind: "anchor",
                name: config.name.clone(),
                index,
                subject: anchor.subject.clone(),
                not_after: anchor.not_after,
            });
        }
        Some(Arc::new(bundle))
    }

    /// The keys of session tickets: `former` itself, if nothing about them has
    /// changed, so that sessions outlive a reload.
    fn ticket_keys(
        &mut self,
        server: &config::Server,
        former: Option<&Arc<TicketKeys>>,
    ) -> Arc<TicketKeys> {
        let keys = match &server.session_ticket_keys {
            None => Ok(TicketKeys::random_or(former)),
            Some(path) => shared_keys(path, former).map_err(|problem| vec![problem]),
        };
        self.kept(keys).unwrap_or_default()
    }

    fn server(
        &mut self,
        listener: &config::Listener,
        bundles: &[Option<Arc<Bundle>>],
        ticket_keys: &Arc<TicketKeys>,
    ) -> Option<Arc<ServerTls>> {
        let tls = listener.tls.as_ref()?;
        let whose = format!("listeners.{}.tls", listener.name);
        let mut chains = Vec::new();
        for certificate in &tls.certificates {
            let chain = self.chain(certificate, &listener.name, &whose);
            chains.extend(chain.map(|chain| (certificate, chain)));
        }
        let borrowed: Vec<_> = chains
            .iter()
            .map(|(config, chain)| (*config, chain))
            .collect();
        self.problems
            .extend(choices::unusable(tls, &whose, &borrowed));
        self.problems.extend(sni::unservable(&whose, &borrowed));
        let trust = match (tls.client_auth, tls.trust) {
            (ClientAuth::None, _) => None,
            (_, Some(bundle)) => Some(Arc::clone(bundles.get(bundle.0)?.as_ref()?)),
            // The config has refused this already; without a bundle there is no listener.
            (_, None) => return None,
        };
        let mandatory = tls.client_auth == ClientAuth::Require;
        let verifier = trust
            .clone()
            .map(|bundle| ClientVerifier::new(bundle, mandatory));
        let sessions = tls
            .session_resumption
            .then(|| Sessions::new(ticket_keys, &listener.name, tls, trust));
        let chains: Vec<_> = chains.into_iter().map(|(_, chain)| chain).collect();
        if chains.len() != tls.certificates.len() {
            return None;
        }
        let built = ServerTls::new(tls, &listener.protocols, &chains, verifier, sessions)
            .map_err(|e| vec![unusable(tls.place, &whose, &e.to_string())]);
        self.kept(built).map(Arc::new)
    }

    fn client(
        &mut self,
        upstream: &config::Upstream,
        bundles: &[Option<Arc<Bundle>>],
    ) -> Option<Arc<ClientTls>> {
        let tls = upstream.tls.as_ref()?;
        let whose = format!("upstreams.{}.tls", upstream.name);
        let chain = match &tls.certificate {
            Some(certificate) => Some(self.chain(certificate, &upstream.name, &whose)?),
            None => None,
        };
        let trust = match tls.trust {
            UpstreamTrust::Bundle(bundle) => Arc::clone(bundles.get(bundle.0)?.as_ref()?),
            UpstreamTrust::System(place) => self.system(place, &whose)?,
        };
        let layer = upstream.outbound.client_certificate;
        let built = ClientTls::new(tls, upstream.protocol, layer, trust, chain.as_ref())
            .map_err(|e| vec![unusable(tls.place, &whose, &e)]);
        self.kept(built).map(Arc::new)
    }

    fn chain(
        &mut self,
        config: &config::OwnCertificate,
        name: &str,
        whose: &str,
    ) -> Option<OwnChain> {
        let chain = self.kept(OwnChain::load(config, whose))?;
        let index = self
            .expiries
            .iter()
            .filter(|e| e.kind == "own" && e.name == name)
            .count();
        self.expiries.push(Expiry {
            kind: "own",
            name: name.to_owned(),
            index,
            subject: label(&chain.names),
            not_after: chain.names.not_after(),
        });
        Some(chain)
    }

    /// The machine's own authorities, read once.
    fn system(&mut self, place: Place, whose: &str) -> Option<Arc<Bundle>> {
        if let Some(bundle) = &self.system {
            return Some(Arc::clone(bundle));
        }
        let found = rustls_native_certs::load_native_certs();
        let bundle = Bundle::of_system(found.certs);
        if bundle.anchors().is_empty() {
            let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            self.problems.push(
                Problem::at(
                    place,
                    format!(
                        "{whose}.trust: this machine has no certificate authorities of its own {}",
                        causes.join(", ")
                    ),
                )
                .causes("no upstream certificate could be verified")
                .remedy("install them (on Debian the package ca-certificates), or name a bundle"),
            );
            return None;
        }
        self.system = Some(Arc::new(bundle));
        self.system.clone()
    }

    fn kept<T>(&mut self, result: Result<T, Vec<Problem>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }
}

/// The keys that follow from a file of secrets.
fn shared_keys(
    path: &Located<PathBuf>,
    former: Option<&Arc<TicketKeys>>,
) -> Result<Arc<TicketKeys>, Problem> {
    let problem = |what: &str| {
        Problem::at(path.place, format!("server.session_ticket_keys: {what}"))
            .causes("no instance could resume the sessions of another")
    };
    let content = pem::secrets(&path.value).map_err(|e| {
        problem(&e.to_string()).remedy(
            "write the path of a file with one secret a line, as `openssl rand -base64 48` prints it",
        )
    })?;
    TicketKeys::shared(&content, former)
        .map_err(|e| problem(&format!("{} {e}", path.value.display())).remedy(e.remedy()))
}

/// What a certificate is known by: its names, and its subject where it has none.
fn label(names: &CertificateNames) -> String {
    let all: Vec<_> = names
        .dns()
        .iter()
        .chain(names.uri())
        .map(String::as_str)
        .collect();
    if all.is_empty() {
        names.subject().to_owned()
    } else {
        all.join(", ")
    }
}

fn unusable(place: Place, whose: &str, cause: &str) -> Problem {
    Problem::at(
        place,
        format!("{whose}: these settings cannot be used together: {cause}"),
    )
    .causes("no handshake would succeed")
}
