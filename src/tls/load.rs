//! Loads everything that a config names on disk, and reports every problem at once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::bundle::Bundle;
use super::choices;
use super::client::ClientTls;
use super::doubts;
use super::expiry::Expiry;
use super::front::{Front, bundle_of};
use super::machine;
use super::origins::{ClientRecipe, Labelled, Origins, ServerRecipe};
use super::own_certificate::OwnChain;
use super::peers::Peers;
use super::pem;
use super::purpose::{self, Side, WrongPurpose};
use super::server::ServerTls;
use super::sessions::TicketKeys;
use super::sni;
use crate::config::{
    self, Config, Files, Inputs, LayerMode, Located, Place, Problem, UpstreamTrust,
};
use crate::identity::CertificateNames;

/// All certificates, keys and trust of one generation, ready for use.
#[derive(Debug, Default)]
pub struct Material {
    /// In the order of the config's bundles.
    pub bundles: Vec<Arc<Bundle>>,
    /// In the order of the config's listeners; `None` for plaintext ones.
    pub servers: Vec<Option<Arc<ServerTls>>>,
    /// That of the admin address, if it has one.
    pub admin: Option<Arc<ServerTls>>,
    /// In the order of the config's upstreams; `None` where no endpoint speaks TLS.
    pub clients: Vec<Option<Arc<ClientTls>>>,
    /// Everybody whose chain was verified, in this generation and before it.
    pub peers: Arc<Peers>,
    /// What session tickets are sealed with, on every listener.
    pub ticket_keys: Arc<TicketKeys>,
    /// The end of validity of each certificate of countersign's own and of each anchor.
    pub expiries: Vec<Expiry>,
    /// The certificates of countersign's own that are not meant for their use.
    pub wrong_purposes: Vec<WrongPurpose>,
    /// What is legal and likely a mistake, in the order of the config.
    pub doubts: Vec<Problem>,
    pub(super) origins: Origins,
}

/// Loads the files of a config through `files`.
///
/// What is as it was in `former` is the same [`Arc`] again: a bundle or a chain
/// when its settings and all its files are, and what is built of these when its
/// settings and its parts are. The machine's own authorities are read each time,
/// past `files`, and are the same when their certificates are.
///
/// # Errors
///
/// Every problem found: of each file, and of what does not fit together.
pub fn load(
    config: &Config,
    files: &Files,
    former: Option<&Material>,
) -> Result<Material, Vec<Problem>> {
    load_keeping(config, files, former, &[])
}

/// As [`load`]; but trust bundles of the names in `keep` are those of `former`,
/// whatever their files hold.
///
/// # Errors
///
/// As [`load`].
pub fn load_keeping(
    config: &Config,
    files: &Files,
    former: Option<&Material>,
    keep: &[String],
) -> Result<Material, Vec<Problem>> {
    let nothing = Origins::default();
    let mut loader = Loader {
        files,
        former: former.map_or(&nothing, |material| &material.origins),
        keep,
        origins: Origins::default(),
        peers: former.map_or_else(Arc::default, |material| Arc::clone(&material.peers)),
        problems: Vec::new(),
        expiries: Vec::new(),
        own_counts: HashMap::new(),
        wrong_purposes: Vec::new(),
    };
    let bundles: Vec<_> = config
        .bundles()
        .iter()
        .map(|bundle| loader.bundle(bundle))
        .collect();
    let former_keys = former.map(|material| &material.ticket_keys);
    let ticket_keys = loader.ticket_keys(config.server(), former_keys);
    let servers: Vec<_> = config
        .listeners()
        .iter()
        .map(|one| loader.server(Front::of_listener(one)?, &bundles, &ticket_keys))
        .collect();
    let admin = config.admin().and_then(Front::of_admin);
    let admin = admin.and_then(|front| loader.server(front, &bundles, &ticket_keys));
    let clients: Vec<_> = config
        .upstreams()
        .iter()
        .map(|upstream| loader.client(upstream, &bundles))
        .collect();
    if !loader.problems.is_empty() {
        return Err(loader.problems);
    }
    let bundles: Vec<_> = bundles.into_iter().flatten().collect();
    Ok(Material {
        doubts: doubts::doubts(config, &bundles, &loader.origins, machine::unwatched),
        bundles,
        servers,
        admin,
        clients,
        peers: loader.peers,
        ticket_keys,
        expiries: loader.expiries,
        wrong_purposes: loader.wrong_purposes,
        origins: loader.origins,
    })
}

/// Gathers what was loaded and what was wrong.
struct Loader<'a> {
    files: &'a Files,
    /// What the former generation was made of.
    former: &'a Origins,
    /// The names of the bundles that stay as they were.
    keep: &'a [String],
    /// What this one is made of, as far as it is loaded.
    origins: Origins,
    peers: Arc<Peers>,
    problems: Vec<Problem>,
    expiries: Vec<Expiry>,
    /// How many certificates of countersign's own each name has in `expiries`.
    own_counts: HashMap<String, usize>,
    wrong_purposes: Vec<WrongPurpose>,
}

impl Loader<'_> {
    fn bundle(&mut self, config: &config::TrustBundle) -> Option<Arc<Bundle>> {
        let kept = self.keep.contains(&config.name).then(|| {
            let former = &self.former.bundles;
            former.labelled(config.label()).cloned()
        });
        if let Some((settings, inputs, bundle)) = kept.flatten() {
            return Some(self.add_bundle(settings, inputs, bundle));
        }
        let (inputs, bundle) = match self.former.bundles.find(config, self.files) {
            Some(same) => same,
            None => {
                let former = self.former.bundles.labelled(config.label());
                let former = former.map(|(_, _, bundle)| &**bundle);
                let load = || Bundle::load(config, self.files, former);
                let (loaded, inputs) = self.files.inputs_of(load);
                (inputs, Arc::new(self.kept(loaded)?))
            }
        };
        Some(self.add_bundle(config.clone(), inputs, bundle))
    }

    fn add_bundle(
        &mut self,
        config: config::TrustBundle,
        inputs: Inputs,
        bundle: Arc<Bundle>,
    ) -> Arc<Bundle> {
        for (index, anchor) in bundle.anchors().iter().enumerate() {
            self.expiries.push(Expiry {
                kind: "anchor",
                name: config.name.clone(),
                index,
                subject: anchor.subject.clone(),
                not_after: anchor.not_after,
            });
        }
        let origins = &mut self.origins.bundles;
        origins.push(config, inputs, Arc::clone(&bundle));
        bundle
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
            Some(path) => shared_keys(self.files, path, former).map_err(|problem| vec![problem]),
        };
        self.kept(keys).unwrap_or_default()
    }

    fn server(
        &mut self,
        front: Front<'_>,
        bundles: &[Option<Arc<Bundle>>],
        ticket_keys: &Arc<TicketKeys>,
    ) -> Option<Arc<ServerTls>> {
        let Front { name, tls, .. } = front;
        let whose = front.whose();
        let mut chains = Vec::new();
        for certificate in &tls.certificates {
            let chain = self.chain(certificate, name, &whose);
            if let Some(chain) = chain {
                self.note_purpose(certificate, &chain, &whose, Side::Server);
                chains.push((certificate, chain));
            }
        }
        let borrowed: Vec<_> = chains
            .iter()
            .map(|(config, chain)| (*config, &**chain))
            .collect();
        self.problems
            .extend(choices::unusable(tls, &whose, &borrowed));
        self.problems.extend(sni::unservable(&whose, &borrowed));
        let borrowed: Vec<_> = borrowed.into_iter().map(|(_, chain)| chain).collect();
        self.problems.extend(sni::uncovered(&whose, tls, &borrowed));
        // The config has refused what lacks a bundle; without one there is no listener.
        let trust: Option<Vec<_>> = tls
            .policies()
            .map(|policy| bundle_of(policy, bundles))
            .collect();
        let trust = trust?;
        let chains: Vec<_> = chains.into_iter().map(|(_, chain)| chain).collect();
        if chains.len() != tls.certificates.len() {
            return None;
        }
        let recipe = ServerRecipe::new(front, chains, (trust, ticket_keys));
        let server = match self.former.servers.find(&recipe) {
            Some(same) => same,
            None => {
                let built = front
                    .build(&recipe, &self.peers)
                    .map_err(|e| vec![unusable(tls.place, &whose, &e.to_string())]);
                Arc::new(self.kept(built)?)
            }
        };
        self.origins.servers.push(recipe, Arc::clone(&server));
        Some(server)
    }

    fn client(
        &mut self,
        upstream: &config::Upstream,
        bundles: &[Option<Arc<Bundle>>],
    ) -> Option<Arc<ClientTls>> {
        let tls = upstream.tls.as_ref()?;
        let whose = format!("upstreams.{}.tls", upstream.name);
        let chain = match &tls.certificate {
            Some(certificate) => {
                let chain = self.chain(certificate, &upstream.name, &whose)?;
                if upstream.outbound.client_certificate != LayerMode::Never {
                    self.note_purpose(certificate, &chain, &whose, Side::Client);
                }
                Some(chain)
            }
            None => None,
        };
        let trust = match tls.trust {
            UpstreamTrust::Bundle(bundle) => Arc::clone(bundles.get(bundle.0)?.as_ref()?),
            UpstreamTrust::System(place) => self.system(place, &whose)?,
        };
        let recipe = ClientRecipe::new(upstream, tls, chain, trust);
        let client = match self.former.clients.find(&recipe) {
            Some(same) => same,
            None => {
                let built = build_client(tls, upstream, &recipe)
                    .map_err(|e| vec![unusable(tls.place, &whose, &e)]);
                Arc::new(self.kept(built)?)
            }
        };
        self.origins.clients.push(recipe, Arc::clone(&client));
        Some(client)
    }

    fn chain(
        &mut self,
        config: &config::OwnCertificate,
        name: &str,
        whose: &str,
    ) -> Option<Arc<OwnChain>> {
        let chain = self.loaded_chain(config, whose)?;
        let counted = self.own_counts.entry(name.to_owned()).or_default();
        let index = *counted;
        *counted = index.saturating_add(1);
        self.expiries.push(Expiry {
            kind: "own",
            name: name.to_owned(),
            index,
            subject: label(chain.first_to_end()),
            not_after: chain.first_to_end().not_after(),
        });
        Some(chain)
    }

    /// Notes a chain whose leaf is not meant to be presented by this side.
    fn note_purpose(
        &mut self,
        config: &config::OwnCertificate,
        chain: &OwnChain,
        whose: &str,
        side: Side,
    ) {
        let permitted = chain
            .key
            .end_entity_cert()
            .is_ok_and(|leaf| purpose::permits(leaf, side));
        if !permitted {
            self.wrong_purposes.push(WrongPurpose {
                whose: whose.to_owned(),
                source: config.chain.value.clone(),
                subject: label(&chain.names),
                side,
            });
        }
    }

    /// One chain for all that name the same files.
    fn loaded_chain(
        &mut self,
        config: &config::OwnCertificate,
        whose: &str,
    ) -> Option<Arc<OwnChain>> {
        if let Some((_, same)) = self.origins.chains.find(config, self.files) {
            return Some(same);
        }
        let (inputs, chain) = match self.former.chains.find(config, self.files) {
            Some(same) => same,
            None => {
                let load = || OwnChain::load(config, self.files, whose);
                let (loaded, inputs) = self.files.inputs_of(load);
                (inputs, Arc::new(self.kept(loaded)?))
            }
        };
        let origins = &mut self.origins.chains;
        origins.push(config.clone(), inputs, Arc::clone(&chain));
        Some(chain)
    }

    /// The machine's own authorities, read once.
    fn system(&mut self, place: Place, whose: &str) -> Option<Arc<Bundle>> {
        if let Some(bundle) = &self.origins.system {
            return Some(Arc::clone(bundle));
        }
        let found = machine::certificates(self.files);
        let bundle = Bundle::of_system(found.as_deref().unwrap_or_default());
        if bundle.anchors().is_empty() {
            let cause = found.err().map(|cause| format!(": {cause}"));
            self.problems.push(
                Problem::at(
                    place,
                    format!(
                        "{whose}.trust: no certificate authority of this machine can be used{}",
                        cause.unwrap_or_default()
                    ),
                )
                .causes("no upstream certificate could be verified")
                .remedy("install them (on Debian the package ca-certificates), or name a bundle"),
            );
            return None;
        }
        let former = self.former.system.as_ref();
        let bundle = match former.filter(|former| has_same_anchors(former, &bundle)) {
            Some(same) => Arc::clone(same),
            None => Arc::new(bundle),
        };
        self.origins.system = Some(Arc::clone(&bundle));
        Some(bundle)
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

fn build_client(
    tls: &config::UpstreamTls,
    upstream: &config::Upstream,
    recipe: &ClientRecipe,
) -> Result<ClientTls, String> {
    let layer = upstream.outbound.client_certificate;
    let trust = Arc::clone(&recipe.trust.0);
    let certificate = recipe.certificate.as_deref();
    ClientTls::new(tls, upstream.protocol, layer, trust, certificate)
}

/// Whether two bundles without revocation lists trust the same.
fn has_same_anchors(one: &Bundle, other: &Bundle) -> bool {
    let fingerprints = |bundle: &'_ Bundle| -> Vec<_> {
        bundle
            .anchors()
            .iter()
            .map(|anchor| anchor.fingerprint)
            .collect()
    };
    fingerprints(one) == fingerprints(other)
}

/// The keys that follow from a file of secrets.
fn shared_keys(
    files: &Files,
    path: &Located<PathBuf>,
    former: Option<&Arc<TicketKeys>>,
) -> Result<Arc<TicketKeys>, Problem> {
    let problem = |what: &str| {
        Problem::at(path.place, format!("server.session_ticket_keys: {what}"))
            .causes("no instance could resume the sessions of another")
    };
    let content = pem::secrets(files, &path.value).map_err(|e| {
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

#[cfg(test)]
mod tests;
