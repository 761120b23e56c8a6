//! Each kind of thing that is read from disk: what its versions hold, and how
//! one sees from outside which version is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;

use data_encoding::BASE64;
use rcgen::KeyPair;
use rustls::AlertDescription;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::client::{Client, Refusal, Session, get, with};
use super::command::Finished;
use super::disk::{Content, Volume, Way};
use super::pki::{Authority, Leaf, PROXY_NAME, Pki};
use super::proxy::{Proxy, Setup};
use super::tokens;
use super::upstream::{Reply, Upstream};

/// A kind of thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Thing {
    Bundle,
    BundleFolder,
    OwnCertificate,
    RevocationList,
    RevocationFolder,
    Credential,
    Config,
    UpstreamBundle,
    UpstreamCertificate,
    TicketKeys,
    CallersCredentials,
    SigningKey,
    KeysOfOthers,
    MachineAuthorities,
}

impl Thing {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Bundle,
        Self::BundleFolder,
        Self::OwnCertificate,
        Self::RevocationList,
        Self::RevocationFolder,
        Self::Credential,
        Self::Config,
        Self::UpstreamBundle,
        Self::UpstreamCertificate,
        Self::TicketKeys,
        Self::CallersCredentials,
        Self::SigningKey,
        Self::KeysOfOthers,
        Self::MachineAuthorities,
    ];

    /// What the config says so that the thing is read from `live/`.
    fn config(self) -> &'static str {
        match self {
            Self::Bundle => "trust.clients.ca = ['clients.pem', 'live/ca.pem']",
            Self::BundleFolder => "trust.clients.ca = ['clients.pem', 'live/']",
            Self::OwnCertificate => {
                "listeners.public.tls.certificates = [{ chain = 'live/own.pem', key = 'live/own.key' }]"
            }
            Self::RevocationList => "trust.clients.crl = ['live/list.pem']",
            Self::RevocationFolder => "trust.clients.crl = ['live/']",
            Self::Credential => {
                "upstreams.orders.outbound.basic_authentication = 'required'
                 upstreams.orders.outbound.credential = { source = 'basic', user = 'countersign', password_file = 'live/password' }"
            }
            Self::Config => "",
            Self::UpstreamBundle => {
                "trust.internal.ca = ['live/ca.pem']
                 upstreams.orders.tls = { trust = 'internal', server_name = 'orders.internal' }"
            }
            Self::UpstreamCertificate => {
                "trust.internal.ca = ['clients.pem']
                 upstreams.orders.outbound.client_certificate_authentication = 'required'
                 [upstreams.orders.tls]
                 trust = 'internal'
                 server_name = 'orders.internal'
                 certificate = { chain = 'live/own.pem', key = 'live/own.key' }"
            }
            Self::TicketKeys => "server.session_ticket_keys = 'live/ticket.keys'",
            Self::CallersCredentials => {
                "upstreams.orders.outbound.basic_authentication = 'required'
                 upstreams.orders.outbound.credential = { source = 'per_caller', file = 'live/callers.toml' }"
            }
            Self::SigningKey => {
                "[upstreams.orders.outbound.assertion]
                 encode = ['jwt']
                 jwt = { keys = ['live/key.pem'], issuer = 'https://proxy.example' }"
            }
            Self::KeysOfOthers => {
                "[listeners.public]
                 accept_assertions_from = [{ uri = 'spiffe://prod.example/*' }]
                 accept_assertions = ['jwt']
                 assertion_jwt = { jwks = 'live/jwks.json', issuer = 'https://edge.example', audience = 'inner' }"
            }
            Self::MachineAuthorities => {
                "upstreams.orders.tls = { trust = 'system', server_name = 'orders.internal' }"
            }
        }
    }

    /// Whether it takes an upstream over TLS.
    fn is_of_tls_to_the_upstream(self) -> bool {
        matches!(
            self,
            Self::UpstreamBundle | Self::UpstreamCertificate | Self::MachineAuthorities
        )
    }

    /// What makes it known where the thing is, if the config does not.
    fn launched(self, setup: Setup) -> Setup {
        match self {
            Self::MachineAuthorities => {
                let path = setup.path("live/ca.pem");
                setup.after_shell(&format!("export SSL_CERT_FILE='{}'", path.display()))
            }
            _ => setup,
        }
    }

    /// What `generation.published` names when it has changed.
    pub(crate) fn change(self) -> &'static str {
        match self {
            Self::Bundle | Self::BundleFolder | Self::RevocationList | Self::RevocationFolder => {
                "trust.clients"
            }
            Self::OwnCertificate | Self::TicketKeys | Self::KeysOfOthers => "listeners.public",
            Self::Credential
            | Self::CallersCredentials
            | Self::SigningKey
            | Self::MachineAuthorities
            | Self::UpstreamCertificate => "upstreams.orders",
            Self::Config => "routes",
            Self::UpstreamBundle => "trust.internal",
        }
    }
}

/// A proxy that reads one thing from a volume, and all that it takes to see
/// which version of the thing is in force.
pub(crate) struct Scene {
    pub(crate) thing: Thing,
    pub(crate) proxy: Proxy,
    pub(crate) volume: Volume,
    makers: Makers,
    upstream: Upstream,
    /// A client that holds a ticket of this version.
    tickets: BTreeMap<usize, Client>,
}

/// What the versions are made of.
pub(crate) struct Makers {
    pub(crate) pki: Pki,
    /// The authority of each version.
    pub(crate) authorities: Vec<Authority>,
    /// The leaf of each version, under `pki`.
    leaves: Vec<Leaf>,
    /// The config of each version.
    configs: Vec<String>,
    own: Vec<Leaf>,
    /// The key of each version that signs assertions.
    signing: Vec<KeyPair>,
    /// The revocation list of each version: no two of the same content are the same.
    lists: Vec<String>,
}

/// As many versions as there are.
const VERSIONS: usize = 4;

/// Each file is as long as this: in a way that changes its length, longer by
/// the number of its version.
const LENGTH: usize = 4096;

impl Scene {
    /// Starts a proxy on version 0, which polls every 2 s unless `more` says otherwise.
    pub(crate) async fn new(thing: Thing, way: Way, more: &str) -> Self {
        Self::launched(thing, way, more, None).await
    }

    /// As [`Scene::new`], started from a shell by this command.
    pub(crate) async fn launched(
        thing: Thing,
        way: Way,
        more: &str,
        launcher: Option<&str>,
    ) -> Self {
        let pki = Pki::new();
        let upstream = Upstream::build(|_| Reply::ok("hello"));
        let upstream = match thing {
            Thing::UpstreamCertificate => upstream
                .tls(&pki.server("orders.internal"))
                .clients(pki.root()),
            _ if thing.is_of_tls_to_the_upstream() => upstream.tls(&pki.server("orders.internal")),
            _ => upstream,
        };
        let upstream = upstream.start().await;
        let setup = Setup::new(&pki, &upstream).with(thing.config()).with(more);
        let mut setup = thing.launched(setup);
        if let Some(launcher) = launcher {
            setup = setup.after_shell(launcher);
        }
        if thing == Thing::Config {
            let path = |name: &str| setup.path(name).display().to_string();
            let (ca, chain, key) = (path("clients.pem"), path("proxy.pem"), path("proxy.key"));
            setup = setup
                .with(&format!("trust.clients.ca = ['{ca}']"))
                .with(&format!(
                    "listeners.public.tls.certificates = [{{ chain = '{chain}', key = '{key}' }}]"
                ))
                .with(&routes(0))
                .config_at("live/countersign.toml");
        }
        let makers = Makers::new(pki, thing, &setup);
        let volume = Volume::new(&setup.path(""), way, &makers.files(thing, 0, true));
        let proxy = setup.start().await;
        let mut scene = Self {
            thing,
            proxy,
            volume,
            makers,
            upstream,
            tickets: BTreeMap::new(),
        };
        assert!(scene.has_in_force(0).await, "{thing:?} at the start");
        scene
    }

    pub(crate) fn makers(&self) -> &Makers {
        &self.makers
    }

    /// The files of a version, all of the same length.
    pub(crate) fn files(&self, version: usize) -> Content {
        self.makers.files(self.thing, version, true)
    }

    /// The files of a version, whose length is another in each.
    pub(crate) fn files_of_other_length(&self, version: usize) -> Content {
        self.makers.files(self.thing, version, false)
    }

    /// The path of the thing's file, or of the last of them.
    pub(crate) fn path(&self) -> PathBuf {
        self.paths().pop().unwrap()
    }

    /// The paths of the thing's files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let files = self.files(0).into_iter();
        files.map(|(name, _)| self.volume.path(name)).collect()
    }

    /// A connection, which has been good for a request.
    pub(crate) async fn connection(&self) -> Session {
        let makers = &self.makers;
        let client = match self.thing {
            Thing::OwnCertificate => Client::trusting(&makers.authorities[0]),
            _ => Client::new(&makers.pki),
        };
        let client = client.presenting(&makers.pki.client());
        let mut session = client.connect(self.proxy.public()).await.unwrap();
        self.goes_on(&mut session).await;
        session
    }

    /// A request on an open connection is answered as version 0 has it.
    pub(crate) async fn goes_on(&self, session: &mut Session) {
        let path = match self.thing {
            Thing::Config => "/v0/",
            _ => "/",
        };
        let answer = session.send(get(path)).await;
        let answer = answer.unwrap_or_else(|cause| panic!("{:?}: {cause:?}", self.thing));
        assert_eq!(answer.status, 200, "{:?}", self.thing);
    }

    /// Puts a version on disk.
    pub(crate) fn change(&mut self, version: usize) {
        let files = self.files(version);
        self.volume.change(&files, self.proxy.pid());
    }

    /// Waits until a version is in force; returns how long after `since` it was.
    pub(crate) async fn comes_into_force(&mut self, version: usize, since: Instant) -> Duration {
        let deadline = since + Duration::from_secs(10);
        loop {
            let asked = Instant::now();
            if self.has_in_force(version).await {
                return asked - since;
            }
            let thing = self.thing;
            assert!(asked < deadline, "{thing:?} {version} never came in force");
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// Whether this version is in force, and no other, for a new connection.
    pub(crate) async fn has_in_force(&mut self, version: usize) -> bool {
        let makers = &self.makers;
        let known = Client::new(&makers.pki).presenting(&makers.pki.client());
        match self.thing {
            Thing::Bundle | Thing::BundleFolder => self.trusts_only(version).await,
            Thing::RevocationList | Thing::RevocationFolder => self.revokes_only(version).await,
            Thing::OwnCertificate => {
                let authority = &makers.authorities[version];
                let client = Client::trusting(authority).presenting(&makers.pki.client());
                match self.answers(&client).await {
                    Ok(()) => true,
                    Err(alert) => {
                        assert_eq!(alert, Some(AlertDescription::UnknownCA));
                        false
                    }
                }
            }
            Thing::Credential => {
                self.answers(&known).await.unwrap();
                let pair = format!("countersign:{}", password(version));
                let sent = self.upstream.requests().pop().unwrap();
                let sent = sent.header("authorization").unwrap().to_owned();
                let sent = BASE64.decode(sent.strip_prefix("Basic ").unwrap().as_bytes());
                sent.unwrap().starts_with(pair.as_bytes())
            }
            Thing::Config => self.routes_only(&known, version).await,
            Thing::CallersCredentials => {
                self.answers(&known).await.unwrap();
                let sent = self.upstream.requests().pop().unwrap();
                let held = format!("Bearer {}", password(version));
                sent.header("authorization").unwrap().starts_with(&held)
            }
            Thing::SigningKey => {
                self.answers(&known).await.unwrap();
                let sent = self.upstream.requests().pop().unwrap();
                let token = sent.header("x-client-assertion").unwrap();
                tokens::is_signed_by(token, &self.makers.signing[version])
            }
            Thing::KeysOfOthers => self.believes_only(&known, version).await,
            Thing::UpstreamBundle | Thing::MachineAuthorities => {
                let answer = known.get(self.proxy.public(), "/").await.unwrap();
                let status = if version.is_multiple_of(2) { 200 } else { 502 };
                answer.status == status
            }
            Thing::UpstreamCertificate => {
                self.answers(&known).await.unwrap();
                let sent = self.upstream.requests().pop().unwrap();
                sent.certificate.as_ref() == self.makers.own[version].chain().first()
            }
            Thing::TicketKeys => self.resumes_of(version).await,
        }
    }

    /// Whether the route of this version is there alone.
    async fn routes_only(&self, client: &Client, version: usize) -> bool {
        let mut session = client.connect(self.proxy.public()).await.unwrap();
        let mut found = Vec::new();
        for each in 0..VERSIONS {
            let answer = session.send(get(&format!("/v{each}/"))).await.unwrap();
            if answer.status == 200 {
                found.push(each);
            }
        }
        found == [version]
    }

    async fn trusts_only(&self, version: usize) -> bool {
        let mut accepted = Vec::new();
        for (each, authority) in from(version, &self.makers.authorities) {
            let leaf = authority.leaf().client().uri("spiffe://prod.example/x");
            let client = Client::new(&self.makers.pki).presenting(&leaf.issue());
            match self.answers(&client).await {
                Ok(()) => accepted.push(each),
                Err(Some(alert)) => assert_eq!(alert, AlertDescription::UnknownCA),
                Err(None) => {}
            }
            if accepted.is_empty() {
                return false;
            }
        }
        accepted == [version]
    }

    async fn revokes_only(&self, version: usize) -> bool {
        let mut refused = Vec::new();
        for (each, leaf) in from(version, &self.makers.leaves) {
            let client = Client::new(&self.makers.pki).presenting(leaf);
            match self.answers(&client).await {
                Ok(()) => {}
                Err(Some(alert)) => {
                    assert_eq!(alert, AlertDescription::CertificateRevoked);
                    refused.push(each);
                }
                Err(None) => refused.push(each),
            }
            if refused.is_empty() {
                return false;
            }
        }
        refused == [version]
    }

    /// Whether a listed peer is believed with a token of this version's key alone.
    async fn believes_only(&self, peer: &Client, version: usize) -> bool {
        let mut believed = Vec::new();
        for (each, key) in from(version, &self.makers.signing) {
            let token = tokens::sign(key, json!({}));
            let request = with(get("/"), "x-client-assertion", &token);
            let answer = peer.send(self.proxy.public(), request).await.unwrap();
            if answer.status == 200 {
                believed.push(each);
            }
        }
        believed == [version]
    }

    /// Whether a session of this version is resumed. When there is none yet:
    /// whether those of the version before are not, and the new ones are.
    async fn resumes_of(&mut self, version: usize) -> bool {
        if let Some(client) = self.tickets.get(&version) {
            return self.is_resumed(client).await;
        }
        let fresh = Client::new(&self.makers.pki).presenting(&self.makers.pki.client());
        let client = match self.tickets.pop_last() {
            Some((former, client)) => {
                if self.is_resumed(&client).await {
                    self.tickets.insert(former, client);
                    return false;
                }
                client
            }
            None => {
                let client = fresh.resuming();
                assert!(!self.is_resumed(&client).await);
                client
            }
        };
        assert!(self.is_resumed(&client).await, "a session of the new key");
        self.tickets.insert(version, client);
        true
    }

    async fn is_resumed(&self, client: &Client) -> bool {
        let mut session = client.connect(self.proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        session.tls().resumed
    }

    /// One request on a connection of its own, which is answered, or refused
    /// with an alert; or it was withdrawn right after its handshake, and is
    /// closed or denied the request.
    async fn answers(&self, client: &Client) -> Result<(), Option<AlertDescription>> {
        match client.get(self.proxy.public(), "/").await {
            Ok(answer) if answer.status == 403 => Err(None),
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                Ok(())
            }
            Err(Refusal::Alert(alert)) => Err(Some(alert)),
            // The client does not trust the certificate of this version.
            Err(Refusal::Other(text)) if text.contains("UnknownIssuer") => {
                Err(Some(AlertDescription::UnknownCA))
            }
            Err(Refusal::Other(text)) => {
                assert!(text.contains("connection closed"), "{text}");
                Err(None)
            }
        }
    }
}

impl Makers {
    fn new(pki: Pki, thing: Thing, setup: &Setup) -> Self {
        let each = 0..VERSIONS;
        let authorities: Vec<_> = each
            .clone()
            .map(|version| Authority::root(&format!("Authority {version}")))
            .collect();
        let leaves: Vec<_> = each.clone().map(|_| pki.client()).collect();
        let own = authorities.iter().map(|authority| match thing {
            Thing::UpstreamCertificate => pki.client(),
            _ => authority.leaf().server().dns(PROXY_NAME).issue(),
        });
        Self {
            own: own.collect(),
            lists: leaves.iter().map(|leaf| pki.root().crl(&[leaf])).collect(),
            leaves,
            signing: each.clone().map(|_| tokens::signing_key()).collect(),
            configs: each.map(|v| setup.text_with(&routes(v))).collect(),
            authorities,
            pki,
        }
    }

    /// What the files of a version hold.
    fn files(&self, thing: Thing, version: usize, same_length: bool) -> Content {
        let length = if same_length {
            LENGTH
        } else {
            LENGTH + version
        };
        let pad = |text: String| format!("{text:\n<length$}").into_bytes();
        let ca = || self.authorities[version].pem();
        match thing {
            Thing::Bundle | Thing::BundleFolder => vec![("ca.pem", pad(ca()))],
            Thing::OwnCertificate | Thing::UpstreamCertificate => vec![
                ("own.pem", pad(self.own[version].chain_pem())),
                ("own.key", pad(self.own[version].key_pem())),
            ],
            Thing::RevocationList | Thing::RevocationFolder => {
                vec![("list.pem", pad(self.lists[version].clone()))]
            }
            // A line break would be part of it.
            Thing::Credential => {
                let more = if same_length { 0 } else { version };
                let text = format!("{}{}", password(version), "x".repeat(more));
                vec![("password", text.into_bytes())]
            }
            Thing::Config => vec![("countersign.toml", pad(self.configs[version].clone()))],
            // Every other one trusts the upstream; half of it stays each time.
            Thing::UpstreamBundle | Thing::MachineAuthorities => {
                let other = &self.authorities[version / 2];
                let text = if version.is_multiple_of(2) {
                    self.pki.root().pem()
                } else {
                    self.authorities[version / 2 + 1].pem()
                };
                vec![("ca.pem", pad(format!("{}{text}", other.pem())))]
            }
            Thing::CallersCredentials => {
                let token = password(version);
                let text = format!("[[callers]]\nuri = 'spiffe://**'\ntoken = '{token}'\n");
                vec![("callers.toml", pad(text))]
            }
            Thing::SigningKey => vec![("key.pem", pad(self.signing[version].serialize_pem()))],
            Thing::KeysOfOthers => {
                vec![("jwks.json", pad(tokens::key_set(&self.signing[version])))]
            }
            Thing::TicketKeys => {
                let secret = BASE64.encode(&[b'0' + version as u8; 48]);
                vec![("ticket.keys", pad(secret))]
            }
        }
    }

    /// The key of the leaf of another version.
    pub(crate) fn other_key(&self) -> String {
        self.own[3].key_pem()
    }

    /// The config of a version.
    pub(crate) fn config(&self, version: usize) -> &str {
        &self.configs[version]
    }
}

/// All of them with their numbers, the one of this version first.
fn from<T>(version: usize, all: &[T]) -> impl Iterator<Item = (usize, &T)> {
    let first = (version, &all[version]);
    let others = all.iter().enumerate();
    std::iter::once(first).chain(others.filter(move |(each, _)| *each != version))
}

/// A route for a version alone.
fn routes(version: usize) -> String {
    format!("routes = [{{ path = '/v{version}/', upstream = 'orders' }}]")
}

fn password(version: usize) -> String {
    format!("open-sesame-{version}")
}

/// Starts a proxy whose files of this thing are not there; it must not start.
pub(crate) async fn start_without(thing: Thing) -> Finished {
    let pki = Pki::new();
    let scheme = if thing.is_of_tls_to_the_upstream() {
        "https"
    } else {
        "http"
    };
    let setup = Setup::to(&pki, &format!("{scheme}://127.0.0.1:1"));
    thing
        .launched(setup.with(thing.config()))
        .run_to_its_end()
        .await
}
