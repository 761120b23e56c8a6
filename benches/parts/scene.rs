//! A listener and what it needs on disk, loaded as the program loads it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use countersign::config::{Config, ListenerId};
use countersign::generation::{Loaded, Prepared, prepare};
use countersign::proxy::{Caller, Downstream, Proxy, Site};
use countersign::telemetry::{AccessLog, MetricNames, Metrics, Refusals};
use countersign::tls::{Bundle, RehearsedPeer};
use rustls_pki_types::UnixTime;

use super::pki::{Leaf, PROXY_NAME, Pki};

/// Where callers come from.
pub(crate) const CLIENT: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), 40_000);

/// A generation with one listener, which demands certificates of the PKI's root.
pub(crate) struct Scene {
    prepared: Prepared,
}

impl Scene {
    /// With one route, for everything.
    pub(crate) fn new(pki: &Pki) -> Self {
        Self::of(pki, None, ROUTE)
    }

    /// With these routes, to the upstream `orders`.
    pub(crate) fn with_routes(pki: &Pki, routes: &str) -> Self {
        Self::of(pki, None, routes)
    }

    /// With a revocation list of that root, as PEM.
    pub(crate) fn with_list(pki: &Pki, list: &str) -> Self {
        Self::of(pki, Some(list), ROUTE)
    }

    fn of(pki: &Pki, list: Option<&str>, routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let own = pki.proxy();
        write("ca.pem", &pki.root().pem());
        write("own.pem", &own.chain_pem());
        write("own.key", &own.key_pem());
        let crl = list.map_or("", |list| {
            write("list.pem", list);
            "crl = ['list.pem']"
        });
        let config = write("config.toml", &format!("{TRUST}{crl}{REST}{routes}"));
        let prepared = prepare(&config).unwrap_or_else(|problems| panic!("{problems}"));
        Self { prepared }
    }

    fn loaded(&self) -> &Loaded {
        self.prepared.loaded()
    }

    pub(crate) fn config(&self) -> &Config {
        self.loaded().config()
    }

    pub(crate) fn bundle(&self) -> &Bundle {
        &self.loaded().material().bundles[0]
    }

    /// Who a client with this leaf is, which it is taken to have the key of.
    pub(crate) fn peer(&self, leaf: &Leaf) -> RehearsedPeer {
        let server = self.loaded().material().servers[0].as_ref();
        let server = server.expect("the listener speaks TLS");
        let handshake = server.rehearse(Some(PROXY_NAME), &leaf.chain(), UnixTime::now());
        let peer = handshake.outcome.expect("its chain is good");
        peer.expect("it has presented a certificate")
    }

    pub(crate) fn site(&self) -> Arc<Site> {
        let loaded = self.loaded();
        let (config, material) = (loaded.config(), loaded.material());
        let names = MetricNames {
            listeners: config.listeners().iter().map(|l| l.name.clone()).collect(),
            routes: config.routes().iter().map(|r| r.name.clone()).collect(),
            upstreams: config.upstreams().iter().map(|u| u.name.clone()).collect(),
        };
        Arc::new(Site::new(
            1,
            Arc::clone(config),
            loaded.plans().to_vec(),
            (
                material.servers.clone(),
                material.bundles.clone(),
                loaded.accepted().to_vec(),
            ),
            (Metrics::new(names), Refusals::new()),
        ))
    }

    /// The connection of a client with this leaf.
    pub(crate) fn caller(&self, leaf: &Leaf, http2: bool) -> Rc<Caller> {
        let RehearsedPeer { identity, anchor } = self.peer(leaf);
        let proxy = Proxy::new(self.site(), &AccessLog::disabled(), None);
        let asked = Some(PROXY_NAME.to_owned());
        let downstream = Downstream::tls(Some(CLIENT), (Some(identity), asked), http2);
        Caller::new(&proxy, ListenerId(0), downstream, Some(anchor))
    }
}

const TRUST: &str = "
[trust.partners]
ca = ['ca.pem']
";

const REST: &str = "
[listeners.public]
bind = '127.0.0.1:0'
[listeners.public.tls]
certificates = [{ chain = 'own.pem', key = 'own.key' }]
client_auth = 'require'
trust = 'partners'
[upstreams.orders]
endpoints = ['http://127.0.0.1:80']
[upstreams.orders.outbound]
identity_assertion = 'required'
[upstreams.orders.outbound.assertion]
encode = ['xfcc']
";

const ROUTE: &str = "
[[routes]]
upstream = 'orders'
";
