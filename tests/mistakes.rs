//! Twenty mistakes that people really make, and what they are told: the line of
//! the log at its default level and `countersign explain` both name the cause
//! and the remedy.
//!
//! Each starts from what works ([`nothing_is_said_where_there_is_no_mistake`])
//! and changes one thing. What must be said is so specific that the diagnosis of
//! another mistake would not do.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::geteuid;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::client::{Client, get, with};
use crate::support::command::{BINARY, Finished, finish};
use crate::support::pki::{Authority, CLIENT_URI, Leaf, PROXY_NAME, Pki};
use crate::support::proxy::Setup;
use crate::support::raw::Raw;
use crate::support::upstream::{Received, Reply, Upstream};

/// A client and a request, on a config; each mistake changes one thing.
struct Mistake {
    what: &'static str,
    pki: Pki,
    setup: Setup,
    leaf: Option<Leaf>,
    sni: &'static str,
    host: &'static str,
    path: &'static str,
    /// Runs for as long as this does.
    upstream: Upstream,
}

/// What is said of a mistake.
#[derive(Debug)]
struct Told {
    cause: String,
    remedy: String,
    /// All of it.
    whole: String,
}

impl Mistake {
    async fn new(what: &'static str) -> Self {
        Self::with_upstream(what, Pki::new(), Upstream::start().await)
    }

    fn with_upstream(what: &'static str, pki: Pki, upstream: Upstream) -> Self {
        Self {
            what,
            setup: Setup::new(&pki, &upstream),
            leaf: Some(pki.client()),
            sni: PROXY_NAME,
            host: PROXY_NAME,
            path: "/orders",
            pki,
            upstream,
        }
    }

    /// The client has this certificate instead.
    async fn presenting(what: &'static str, leaf: impl FnOnce(&Pki) -> Leaf) -> Self {
        let mistake = Self::new(what).await;
        let leaf = leaf(&mistake.pki);
        Self {
            leaf: Some(leaf),
            ..mistake
        }
    }

    fn configured(self, toml: &str) -> Self {
        Self {
            setup: self.setup.with(toml),
            ..self
        }
    }

    /// Asks `explain`, which has nothing but the files.
    async fn explained(&self) -> Finished {
        let mut command = Command::new(BINARY);
        command
            .arg("explain")
            .arg("--config")
            .arg(self.setup.write());
        if let Some(leaf) = &self.leaf {
            let path = self.setup.path("of-the-client.pem");
            std::fs::write(&path, leaf.chain_pem()).unwrap();
            command.arg("--cert").arg(path);
        }
        command.args(["--sni", self.sni, "--host", self.host, "--path", self.path]);
        finish(&mut command).await
    }

    /// What `explain` says in the end.
    async fn foretold(&self) -> Told {
        let finished = self.explained().await;
        finished.expect_code(4);
        let end: Vec<_> = finished.stdout.lines().rev().take(2).collect();
        let remedy = end[0].strip_prefix("what to do: ");
        Told {
            cause: end[1].to_owned(),
            remedy: remedy.expect("a remedy").to_owned(),
            whole: finished.stdout.clone(),
        }
    }

    /// Makes it on the running proxy; returns what the log says.
    async fn made(self) -> Told {
        let proxy = self.setup.start().await;
        let client = Client::new(&self.pki).sni(self.sni);
        let client = match &self.leaf {
            Some(leaf) => client.presenting(leaf),
            None => client,
        };
        let request = with(get(self.path), "host", self.host);
        let line = match client.send(proxy.public(), request).await {
            Err(_) => proxy.log_line("handshake.refused", |_| true).await,
            Ok(answer) => {
                assert_ne!(answer.status, 200, "{}", self.what);
                proxy.access_line(self.path).await
            }
        };
        assert!(self.upstream.requests().is_empty(), "{}", self.what);
        told_by(&line)
    }
}

fn told_by(line: &Value) -> Told {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    Told {
        cause: format!("{} {}", text("cause"), text("nearest_miss")),
        remedy: text("remedy"),
        whole: line.to_string(),
    }
}

impl Told {
    fn names(&self, who: &str, causes: &[String], remedies: &[&str]) {
        for word in causes {
            assert!(
                self.cause.contains(word),
                "{who}: cause {word:?}: {self:#?}"
            );
        }
        for word in remedies {
            assert!(
                self.remedy.contains(word),
                "{who}: remedy {word:?}: {self:#?}"
            );
        }
    }
}

/// Each mistake, the words of its cause, and those of its remedy: of the log and
/// of `explain` alike.
type Table = Vec<(Mistake, Vec<String>, Vec<&'static str>)>;

async fn are_told(table: Table) {
    let mut all = JoinSet::new();
    for (mistake, causes, remedies) in table {
        all.spawn(async move {
            let what = mistake.what;
            let foretold = mistake.foretold().await;
            foretold.names(&format!("{what}, explain"), &causes, &remedies);
            let told = mistake.made().await;
            told.names(&format!("{what}, log"), &causes, &remedies);
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(ToOwned::to_owned).to_vec()
}

fn client(authority: &Authority) -> Leaf {
    authority.leaf().client().uri(CLIENT_URI).issue()
}

#[tokio::test]
async fn nothing_is_said_where_there_is_no_mistake() {
    let good = Mistake::new("none").await;
    let finished = good.explained().await;
    finished.expect_code(0);
    assert!(!finished.stdout.contains("what to do"), "{finished:#?}");
    let client = Client::new(&good.pki).presenting(&pki_client(&good));
    let proxy = good.setup.start().await;
    let answer = client.get(proxy.public(), good.path).await.unwrap();
    assert_eq!(answer.status, 200);
    let line = proxy.access_line(good.path).await;
    for name in ["fault", "cause", "remedy"] {
        assert!(line[name].is_null(), "{line}");
    }
    assert!(proxy.logged("handshake.refused").is_empty());
}

fn pki_client(mistake: &Mistake) -> Leaf {
    mistake.leaf.clone().expect("it has one")
}

#[tokio::test]
async fn mistakes_with_the_clients_chain_are_told_with_their_remedies() {
    let bare = Mistake::new("no certificate").await;
    let bare = Mistake { leaf: None, ..bare };
    let elsewhere = Authority::root("Elsewhere").intermediate("Elsewhere Issuing");
    let rekeyed = |pki: &Pki| client(&pki.root().same_name_other_key());
    let rekeyed = Mistake::presenting("CA re-keyed", rekeyed).await;
    let anchor = rekeyed.pki.root().fingerprint();
    let alone = |pki: &Pki| client(&pki.root().intermediate("Issuing")).without_intermediates();
    are_told(vec![
        (
            bare,
            words(["the client presented no certificate"]),
            vec![
                "configure the client with a certificate",
                "client_auth = \"want\"",
            ],
        ),
        (
            Mistake::presenting("wrong CA", |_| client(&elsewhere)).await,
            words([
                "the intermediate CN=Elsewhere Issuing was issued by CN=Elsewhere, which is neither an anchor",
                "the bundle has CN=Countersign Test Root",
            ]),
            vec!["add CN=Elsewhere to trust.clients"],
        ),
        (
            rekeyed,
            vec![
                "names CN=Countersign Test Root, an authority of trust.clients".to_owned(),
                format!("with another key (anchor {anchor}"),
            ],
            vec!["re-keyed, add its new certificate to trust.clients beside the old one"],
        ),
        (
            Mistake::presenting("missing intermediate", alone).await,
            words([
                "was issued by CN=Issuing, which is neither an anchor of the bundle nor was sent",
                "the client sent its certificate alone: if CN=Issuing is an intermediate, it is missing",
            ]),
            vec!["have the client send its whole chain, its intermediates included"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn mistakes_with_the_clients_leaf_are_told_with_their_remedies() {
    let valid = |pki: &Pki| pki.root().leaf().client().uri(CLIENT_URI);
    let server = |pki: &Pki| pki.root().leaf().server().uri(CLIENT_URI).issue();
    let narrow = |pki: &Pki| {
        let narrow = pki.root().intermediate_within("Narrow", "narrow.example");
        narrow.leaf().client().dns("wide.example").issue()
    };
    are_told(vec![
        (
            Mistake::presenting("expired", |pki| valid(pki).expired().issue()).await,
            words(["the certificate ", "expired ", " ago by this clock"]),
            vec!["renew the certificate"],
        ),
        (
            Mistake::presenting("clock wrong", |pki| valid(pki).not_yet_valid().issue()).await,
            words([
                "is not valid before ",
                "from now by this clock",
                "clocks that are ",
                "apart would explain it",
            ]),
            vec!["check the clocks of this machine and of the authority"],
        ),
        (
            Mistake::presenting("no clientAuth in EKU", server).await,
            words(["does not permit TLS clients: it has serverAuth, and not clientAuth"]),
            vec!["extendedKeyUsage clientAuth"],
        ),
        (
            Mistake::presenting("name constraint", narrow).await,
            words([
                "for which the intermediate CN=Narrow may not vouch",
                "permitted dns narrow.example",
            ]),
            vec!["within the authority's nameConstraints"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn mistakes_with_revocation_lists_are_told_with_their_remedies() {
    let listed = async |what, list: fn(&Authority, &[&Leaf]) -> String| {
        let mistake = Mistake::new(what).await;
        let leaf = pki_client(&mistake);
        let named: &[&Leaf] = if what == "revoked" { &[&leaf] } else { &[] };
        let list = list(mistake.pki.root(), named);
        let setup = mistake.setup.file("root.crl", &list);
        let setup = setup.with("trust.clients.crl = ['root.crl']");
        Mistake { setup, ..mistake }
    };
    are_told(vec![
        (
            listed("revoked", Authority::crl).await,
            words([
                "the certificate CN=billing is on the revocation list of CN=Countersign Test Root (trust.clients), since ",
            ]),
            vec!["issue another certificate to this client"],
        ),
        (
            listed("stale CRL", Authority::stale_crl).await,
            words([
                "the revocation list of CN=Countersign Test Root, which is needed here, ran out ",
                "the client can do nothing about it",
            ]),
            vec!["bring the list up to date", "crl_stale"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn mistakes_with_hosts_are_told_with_their_remedies() {
    let typo = Mistake {
        sni: "proxi.test",
        ..Mistake::new("SNI typo").await
    };
    let differs = Mistake {
        host: "orders.test",
        ..Mistake::new("Host differs").await
    };
    are_told(vec![
        (
            typo,
            words([
                "no certificate of this listener carries the name proxi.test; they carry proxy.test",
            ]),
            vec!["correct the client's address", "add a certificate for this name"],
        ),
        (
            differs,
            words([
                "no certificate of this listener covers orders.test (the connection was opened for proxy.test)",
            ]),
            vec!["ask in the handshake (SNI) for the host that it means"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn mistakes_with_rules_are_told_with_their_remedies() {
    let wrong_type = Mistake::presenting("wrong SAN type", |pki| {
        let leaf = pki.root().leaf().client();
        leaf.uri("spiffe://prod.example/billing")
            .common_name("billing.prod.example")
            .issue()
    })
    .await
    .configured("routes = [{ allow = [{ dns = '*.prod.example' }], upstream = 'orders' }]");
    let narrow = Mistake::presenting("wildcard too narrow", |pki| {
        pki.client_as("spiffe://prod.example/team/billing")
    })
    .await
    .configured(
        "routes = [{ allow = [{ uri = 'spiffe://sales.example/*' }, { uri = 'spiffe://prod.example/*' }], upstream = 'orders' }]",
    );
    let passed_over = Mistake::new("route passed over").await.configured(
        "[[routes]]
        name = 'all'
        host = '*.test'
        allow = [{ uri = 'spiffe://prod.example/sales' }]
        upstream = 'orders'
        [[routes]]
        name = 'orders'
        path = '/orders'
        upstream = 'orders'",
    );
    are_told(vec![
        (
            wrong_type,
            words([
                "its names are uri spiffe://prod.example/billing, subject CN=billing.prod.example",
                "allow[0]: dns = \"*.prod.example\" would match billing.prod.example if that were dns and not cn",
            ]),
            vec!["with that name as dns, or write cn in place of dns in allow[0]"],
        ),
        (
            narrow,
            words([
                "nearest is allow[1]: uri = \"spiffe://prod.example/*\" would match spiffe://prod.example/team/billing if `*` did not end at the next separator, where `**` goes on",
            ]),
            vec!["write `**` in place of `*` in allow[1]"],
        ),
        (
            passed_over,
            words(["of route `all`", "route `orders` (routes[1]) in line ", "comes after it"]),
            vec!["move it up before route `all`"],
        ),
    ])
    .await;
}

/// Trusts the internal authority for the upstream and expects `orders.internal`.
async fn to_an_upstream(what: &'static str, own: &Leaf, trusted: &Authority) -> Mistake {
    let hello = |_: &Received| Reply::ok("hello");
    let upstream = Upstream::build(hello).tls(own).start().await;
    let mistake = Mistake::with_upstream(what, Pki::new(), upstream);
    let setup = mistake.setup.file("internal.pem", &trusted.pem()).with(
        "trust.internal.ca = ['internal.pem']
        upstreams.orders.tls = { trust = 'internal', server_name = 'orders.internal' }",
    );
    Mistake { setup, ..mistake }
}

/// What an upstream is shows in a handshake alone. `explain` sends nothing, so it
/// says what the upstream must be; the log says in which way it is not.
#[tokio::test]
async fn mistakes_of_upstreams_are_told_and_what_they_must_be_is_told_before() {
    let internal = Authority::root("Internal");
    let server = |authority: &Authority, name| authority.leaf().server().dns(name).issue();
    let good = server(&internal, "orders.internal");
    let misnamed = server(&internal, "orders.example");
    let own = internal.leaf().client().common_name("countersign").issue();
    let unasked = to_an_upstream("upstream wants no certificate", &good, &internal).await;
    let setup = unasked.setup.certificate("own", &own).with(
        "[upstreams.orders]
        tls.certificate = { chain = 'own.pem', key = 'own.key' }
        outbound.client_certificate_authentication = 'required'",
    );
    let unasked = Mistake { setup, ..unasked };
    let other = server(&Authority::root("Other Internal"), "orders.internal");
    let demanded = "its certificate must be for orders.internal (server_name) and issued by an authority of trust.internal";
    for (mistake, foretold, causes, remedies) in [
        (
            to_an_upstream("upstream name mismatch", &misnamed, &internal).await,
            demanded,
            words([
                "the upstream's certificate is not for orders.internal",
                "it has dns:orders.example",
            ]),
            vec!["server_name in the tls table of the upstream"],
        ),
        (
            unasked,
            "ends a connection where it is not asked to",
            words([
                "the upstream did not ask for a client certificate",
                "\"required\"",
            ]),
            vec![
                "have the service ask for client certificates",
                "client_certificate_authentication = \"supported\"",
            ],
        ),
        (
            to_an_upstream("upstream CA missing", &other, &internal).await,
            demanded,
            words([
                "was issued by CN=Other Internal, which is neither an anchor of the bundle nor was sent",
                "the upstream sent its certificate alone",
                "the bundle has CN=Internal",
            ]),
            vec!["add CN=Other Internal to trust.internal"],
        ),
    ] {
        let what = mistake.what;
        let finished = mistake.explained().await;
        finished.expect_code(0);
        assert!(finished.stdout.contains(foretold), "{what}: {finished:#?}");
        let told = mistake.made().await;
        told.names(&format!("{what}, log"), &causes, &remedies);
        assert!(told.whole.contains("\"status\":502"), "{what}: {told:#?}");
    }
}

/// Runs both commands on its config, which is refused; by `launcher` if there is one.
async fn is_refused(mistake: &Mistake, launcher: &[&str], told: &[&str]) {
    let config = mistake.setup.write();
    for name in ["run", "explain"] {
        let line = [launcher, &[BINARY, name]].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("--config").arg(&config);
        let finished = finish(&mut command).await;
        finished.expect_code(2).expect_words(told);
    }
}

#[tokio::test]
async fn route_that_another_one_takes_everything_from_is_told_with_its_remedy() {
    let mistake = Mistake::new("route shadowed").await.configured(
        "[[routes]]
        name = 'all'
        upstream = 'orders'
        [[routes]]
        name = 'orders'
        path = '/orders'
        upstream = 'orders'",
    );
    let told = [
        "routes[1]",
        "this route is never reached",
        "all in line ",
        "comes first and takes all of its requests",
        "move it up, or remove one of the two",
    ];
    is_refused(&mistake, &[], &told).await;
}

#[tokio::test]
async fn key_that_may_not_be_read_is_told_with_its_remedy() {
    const BOUND: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let mistake = Mistake::new("key file unreadable").await;
    let key = mistake.setup.path("proxy.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, unless it may not.
    let is_root = geteuid().is_root();
    let works = || Command::new(BOUND[0]).args([BOUND[1], "true"]).status();
    if is_root && !works().is_ok_and(|status| status.success()) {
        return;
    }
    let launcher = if is_root { &BOUND[..] } else { &[] };
    let told = ["proxy.key", "Permission denied", "readable by"];
    is_refused(&mistake, launcher, &told).await;
}

/// `explain` has no such case: it is asked about clients that speak what the
/// listener speaks, and this one is told at once, in its own language.
#[tokio::test]
async fn plain_http_on_the_port_is_told_with_its_remedy() {
    let mistake = Mistake::new("plain HTTP on the port").await;
    let proxy = mistake.setup.start().await;
    let mut raw = Raw::plain(proxy.public()).await;
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("use https://"), "{}", answer.body);
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(line["reason"], "http_on_tls_port");
    let causes = words(["HTTP", "TLS"]);
    told_by(&line).names(mistake.what, &causes, &["use https:// for this port"]);
}
