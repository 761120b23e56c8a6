//! Upstream connections obey what changes on disk, too: those that rest on it
//! are made anew, and the others are kept.

use http::Response;
use hyper::body::Incoming;

use crate::support::client::{Client, Session, get};
use crate::support::pki::{Authority, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Gate, Received, Reply, Upstream};
use crate::support::{eventually, within};

/// An upstream with mutual TLS and a credential, and one client's connection,
/// so that everything happens on one worker.
struct Scene {
    pki: Pki,
    internal: Authority,
    server: Leaf,
    upstream: Upstream,
    gate: Gate,
    proxy: Proxy,
    session: Session,
}

impl Scene {
    async fn start(h2: bool) -> Self {
        let (pki, internal) = (Pki::new(), Authority::root("Internal"));
        let server = internal.leaf().server().dns("orders.internal").issue();
        let gate = Gate::closed();
        let behind = gate.clone();
        let upstream = Upstream::build(move |received| match received.path.as_str() {
            "/held" => Reply::ok("hello").behind(&behind),
            _ => Reply::ok("hello"),
        });
        let upstream = upstream.tls(&server).clients(&internal);
        let upstream = if h2 { upstream.h2() } else { upstream };
        let upstream = upstream.start().await;
        let protocol = if h2 { "h2" } else { "http/1.1" };
        let setup = Setup::new(&pki, &upstream)
            .file("internal.pem", &internal.pem())
            .file("token", "first")
            .certificate("out", &internal.leaf().client().dns("proxy").issue())
            .with("trust.internal = { ca = ['internal.pem'], max_shrink = '100%' }")
            .with(
                "
[upstreams.orders.tls]
trust = 'internal'
server_name = 'orders.internal'
certificate = { chain = 'out.pem', key = 'out.key' }

[upstreams.orders.outbound]
client_certificate_authentication = 'supported'
credential = { source = 'bearer', token_file = 'token' }
",
            )
            .with(&format!("upstreams.orders.protocol = '{protocol}'"));
        let proxy = setup.start().await;
        let client = Client::new(&pki).presenting(&pki.client()).h2();
        let session = Box::pin(client.connect(proxy.public())).await.unwrap();
        Self {
            pki,
            internal,
            server,
            upstream,
            gate,
            proxy,
            session,
        }
    }

    /// Asks for a path; returns what the upstream saw.
    async fn ask(&mut self, path: &str) -> Received {
        let answer = self.session.send(get(path)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        self.seen(path)
            .unwrap_or_else(|| panic!("{path} did not arrive"))
    }

    fn seen(&self, path: &str) -> Option<Received> {
        let requests = self.upstream.requests();
        requests.into_iter().find(|seen| seen.path == path)
    }

    /// Has a request in flight, and beside it a connection at rest, if there
    /// may be two. Returns the answer to come, and the connections.
    async fn occupy(
        &mut self,
    ) -> (
        impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<>,
        [Received; 2],
    ) {
        let pending = self.session.begin(get("/held")).await;
        let held = eventually("the request in flight", || self.seen("/held")).await;
        let resting = self.ask("/before").await;
        (pending, [held, resting])
    }
}

/// What changes, and what the next request is then to bring along.
struct Change {
    what: &'static str,
    make: fn(&Scene) -> Option<Leaf>,
    token: &'static str,
}

const CHANGES: [Change; 3] = [
    Change {
        what: "the client certificate",
        make: |scene| {
            let new = scene.internal.leaf().client().dns("renewed").issue();
            scene.proxy.rename_over("out.pem", &new.chain_pem());
            scene.proxy.rename_over("out.key", &new.key_pem());
            Some(new)
        },
        token: "Bearer first",
    },
    Change {
        what: "the trust bundle",
        make: |scene| {
            let both = scene.internal.pem() + &Authority::root("Another").pem();
            scene.proxy.rename_over("internal.pem", &both);
            None
        },
        token: "Bearer first",
    },
    Change {
        what: "the credential",
        make: |scene| {
            scene.proxy.rename_over("token", "second");
            None
        },
        token: "Bearer second",
    },
];

#[tokio::test]
async fn upstream_connections_are_renewed_when_what_they_rest_on_has_changed() {
    for h2 in [false, true] {
        for Change { what, make, token } in CHANGES {
            let mut scene = Scene::start(h2).await;
            let (pending, former) = scene.occupy().await;
            let certificate = make(&scene).map_or_else(
                || former[0].certificate.clone(),
                |leaf| leaf.chain().first().cloned(),
            );
            scene.proxy.in_force(2).await;
            let next = scene.ask("/next").await;
            for former in &former {
                assert_ne!(next.connection, former.connection, "{what}, h2: {h2}");
            }
            assert_eq!(next.certificate, certificate, "{what}");
            assert_eq!(next.header("authorization"), Some(token), "{what}");
            scene.gate.open();
            let answer = within("the answer in flight", pending).await.unwrap();
            assert_eq!(answer.status(), 200, "{what}");
            // The one that was in use is not used again either.
            let last = scene.ask("/last").await;
            assert_eq!(last.connection, next.connection, "{what}, h2: {h2}");
            let opened = scene.proxy.metrics().await;
            let opened = opened.sum("upstream_connections_total", &["result=\"opened\""]);
            assert_eq!(opened, if h2 { 2.0 } else { 3.0 }, "{what}, h2: {h2}");
        }
    }
}

#[tokio::test]
async fn upstream_connections_are_kept_when_nothing_of_theirs_has_changed() {
    for h2 in [false, true] {
        let mut scene = Scene::start(h2).await;
        let first = scene.ask("/first").await;
        let another = Authority::root("Another");
        let changes: [&dyn Fn(&Scene); 4] = [
            &|scene| {
                let both = scene.pki.root().pem() + &another.pem();
                scene.proxy.rename_over("clients.pem", &both);
            },
            &|scene| {
                let own = scene.pki.proxy();
                scene.proxy.rename_over("proxy.pem", &own.chain_pem());
                scene.proxy.rename_over("proxy.key", &own.key_pem());
            },
            &|scene| {
                scene
                    .proxy
                    .configure("routes = [{ host = 'proxy.test', upstream = 'orders' }]")
            },
            // What is written anew, and is what it was, is no change: another
            // one is needed to see that it was looked at.
            &|scene| {
                scene.proxy.rename_over("token", "first");
                scene
                    .proxy
                    .rename_over("internal.pem", &scene.internal.pem());
                scene
                    .proxy
                    .rename_over("clients.pem", &scene.pki.root().pem());
            },
        ];
        for (generation, change) in (2..).zip(changes) {
            change(&scene);
            scene.proxy.in_force(generation).await;
            let next = scene.ask(&format!("/{generation}")).await;
            assert_eq!(next.connection, first.connection, "h2: {h2}, {generation}");
        }
        assert_eq!(scene.upstream.connections(), 1);
    }
}

#[tokio::test]
async fn upstream_that_is_trusted_no_more_is_sent_nothing_and_callers_get_502() {
    let removed: fn(&Scene) = |scene| {
        scene
            .proxy
            .rename_over("internal.pem", &Authority::root("Other").pem());
    };
    let rekeyed: fn(&Scene) = |scene| {
        let rekeyed = scene.internal.same_name_other_key();
        scene.proxy.rename_over("internal.pem", &rekeyed.pem());
    };
    let revoked: fn(&Scene) = |scene| {
        scene
            .proxy
            .rename_over("internal.crl", &scene.internal.crl(&[&scene.server]));
        scene
            .proxy
            .configure("trust.internal.crl = ['internal.crl']");
    };
    for h2 in [false, true] {
        for withdraw in [removed, rekeyed, revoked] {
            let mut scene = Scene::start(h2).await;
            let (pending, _) = scene.occupy().await;
            withdraw(&scene);
            scene.proxy.in_force(2).await;
            let before = scene.upstream.requests().len();
            for path in ["/refused", "/refused-again"] {
                let answer = scene.session.send(get(path)).await.unwrap();
                assert_eq!(answer.status, 502, "{path}");
                let line = scene.proxy.access_line(path).await;
                let fault = line["fault"].as_str().unwrap();
                assert!(fault.starts_with("upstream/"), "{line}");
            }
            assert_eq!(scene.upstream.requests().len(), before);
            // What had begun is finished.
            scene.gate.open();
            let answer = within("the answer in flight", pending).await.unwrap();
            assert_eq!(answer.status(), 200);
            let answer = scene.session.send(get("/refused")).await.unwrap();
            assert_eq!(answer.status, 502);
            assert_eq!(scene.upstream.requests().len(), before);
        }
    }
}
