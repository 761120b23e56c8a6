//! One listener demands different certificates for different names, and no
//! name is a way around what another one demands.

use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::support::client::{Client, Session, host};
use crate::support::eventually;
use crate::support::pki::{Authority, Leaf, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

const XFCC: &str = "x-forwarded-client-cert";

/// Staff at `staff.test`, partners at `partner.test`, everybody at `open.test`,
/// and below `wild.test` whoever likes, but at `exact.wild.test` partners.
pub(crate) const NAMES: &str = "
    [listeners.public.tls.names.'partner.test']
    client_auth = 'require'
    trust = 'partners'
    [listeners.public.tls.names.'Open.Test.']
    client_auth = 'none'
    [listeners.public.tls.names.'*.wild.test']
    client_auth = 'want'
    [listeners.public.tls.names.'exact.wild.test']
    client_auth = 'require'
    trust = 'partners'";

/// Who may come, and where.
pub(crate) struct Scene {
    pub(crate) pki: Pki,
    partners: Authority,
    upstream: Upstream,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self {
            pki: Pki::new(),
            partners: Authority::root("Partners"),
            upstream: Upstream::start().await,
        }
    }

    /// The listener `public`, whose own policy is to require staff.
    pub(crate) fn setup(&self) -> Setup {
        let leaf = self.pki.root().leaf().server();
        let names = [
            "proxy.test",
            "staff.test",
            "partner.test",
            "open.test",
            "*.wild.test",
        ];
        let leaf = names.into_iter().fold(leaf, |leaf, name| leaf.dns(name));
        Setup::new(&self.pki, &self.upstream)
            .certificate("proxy", &leaf.issue())
            .file("partners.pem", &self.partners.pem())
            .with("trust.partners.ca = ['partners.pem']")
    }

    fn staff(&self) -> Leaf {
        self.pki.client_as("spiffe://prod.example/staff")
    }

    fn partner(&self) -> Leaf {
        let leaf = self.partners.leaf().client();
        leaf.uri("spiffe://partner.example/them").issue()
    }

    fn client(&self, name: &str) -> Client {
        Client::new(&self.pki).sni(name)
    }

    /// The same, with a connection store that offers every session everywhere.
    fn anywhere(&self) -> Client {
        Client::new(&self.pki).resuming_anywhere()
    }
}

async fn ask(session: &mut Session, name: &str) -> u16 {
    session.send(host(name)).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn each_name_is_for_those_that_its_own_policy_trusts() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let (staff, partner) = (scene.staff(), scene.partner());
    let (staff, partner) = (Some(&staff), Some(&partner));
    let unknown = Err(AlertDescription::UnknownCA);
    let missing = Err(AlertDescription::CertificateRequired);
    for (name, leaf, outcome) in [
        ("staff.test", staff, Ok(Some("staff"))),
        ("staff.test", partner, unknown),
        ("staff.test", None, missing),
        ("partner.test", partner, Ok(Some("them"))),
        ("partner.test", staff, unknown),
        ("partner.test", None, missing),
        ("open.test", None, Ok(None)),
        // It is not asked for, so it is not shown.
        ("open.test", partner, Ok(None)),
        ("any.wild.test", None, Ok(None)),
        ("any.wild.test", staff, Ok(Some("staff"))),
        ("any.wild.test", partner, unknown),
        ("exact.wild.test", partner, Ok(Some("them"))),
        ("exact.wild.test", None, missing),
    ] {
        let client = scene.client(name);
        let client = leaf.map_or(client.clone(), |leaf| client.presenting(leaf));
        for client in client.in_every_version() {
            let before = scene.upstream.requests().len();
            let answer = client.send(proxy.public(), host(name)).await;
            let alert = answer.map_err(|refusal| match refusal.alert() {
                // TLS 1.2 has no word of its own for a missing certificate.
                AlertDescription::HandshakeFailure => AlertDescription::CertificateRequired,
                alert => alert,
            });
            let requests = scene.upstream.requests();
            let told = alert.map(|answer| {
                assert_eq!(answer.status, 200, "{name}");
                requests[before].header(XFCC)
            });
            let is_told = |whom: &'static str| {
                let text = told.as_ref().ok().copied().flatten();
                text.is_some_and(|text| text.contains(whom))
            };
            match outcome {
                Ok(Some(whom)) => assert!(is_told(whom), "{name}: {told:?}"),
                nothing => assert_eq!(told, nothing, "{name}"),
            }
        }
    }
}

#[tokio::test]
async fn request_for_a_name_with_another_policy_gets_421_and_its_connection_goes_on() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let (staff, partner) = (scene.staff(), scene.partner());
    for (own, leaf, others) in [
        (
            "staff.test",
            Some(&staff),
            ["partner.test", "open.test", "any.wild.test"],
        ),
        (
            "partner.test",
            Some(&partner),
            ["staff.test", "open.test", "any.wild.test"],
        ),
        (
            "open.test",
            None,
            ["staff.test", "partner.test", "exact.wild.test"],
        ),
        (
            "any.wild.test",
            Some(&staff),
            ["staff.test", "partner.test", "exact.wild.test"],
        ),
    ] {
        let client = scene.client(own);
        let client = leaf.map_or(client.clone(), |leaf| client.presenting(leaf));
        for client in client.in_every_version() {
            for other in others {
                let mut session = client.connect(proxy.public()).await.unwrap();
                assert_eq!(ask(&mut session, own).await, 200, "{own}");
                let before = scene.upstream.requests().len();
                let upper = other.to_uppercase();
                for written in [
                    other,
                    &upper,
                    &format!("{other}."),
                    &format!("{other}.:443"),
                ] {
                    let status = ask(&mut session, written).await;
                    assert_eq!(status, 421, "{written} over {own}");
                }
                assert_eq!(ask(&mut session, "192.0.2.1").await, 421, "over {own}");
                assert_eq!(scene.upstream.requests().len(), before);
                let upper = own.to_uppercase();
                for written in [own, &upper, &format!("{own}."), &format!("{own}:443")] {
                    assert_eq!(ask(&mut session, written).await, 200, "{written}");
                }
            }
        }
    }
}

#[tokio::test]
async fn line_of_a_misdirected_request_says_whether_its_host_is_unknown_or_has_another_policy() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let client = scene.client("open.test");
    let mut session = client.connect(proxy.public()).await.unwrap();
    for (name, cause) in [
        ("partner.test", "demands other client certificates"),
        ("unknown.test", "no certificate of this listener covers"),
    ] {
        assert_eq!(ask(&mut session, name).await, 421);
        let is_ours = |line: &Value| line["host"] == name;
        let line = proxy.access_line_where(is_ours).await;
        assert!(line.to_string().contains(cause), "{line}");
        assert!(line.to_string().contains("authority_not_served"), "{line}");
    }
}

#[tokio::test]
async fn request_for_another_name_with_the_same_policy_is_not_bothered() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    for (own, leaf, other) in [
        ("staff.test", scene.staff(), "proxy.test"),
        ("partner.test", scene.partner(), "exact.wild.test"),
        ("any.wild.test", scene.staff(), "other.wild.test"),
    ] {
        let client = scene.client(own).presenting(&leaf);
        for client in client.in_every_version() {
            let mut session = client.connect(proxy.public()).await.unwrap();
            for name in [other, own] {
                assert_eq!(ask(&mut session, name).await, 200, "{name} over {own}");
            }
        }
    }
}

#[tokio::test]
async fn client_that_asks_for_no_name_is_refused_where_policies_depend_on_it() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let client = scene.client("staff.test").presenting(&scene.staff());
    for client in client.without_sni().in_every_version() {
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::UnrecognisedName);
    }
    let is_ours = |line: &Value| line["reason"] == "unknown_name";
    let line = proxy.log_line("handshake.refused", is_ours).await;
    assert_eq!(line["sni"], Value::Null);
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("unknown_sni = \"strictest\""), "{line}");
}

#[tokio::test]
async fn unknown_name_and_none_get_the_strictest_policy_where_the_config_says_so() {
    let scene = Scene::new().await;
    let strictest = "
        listeners.public.tls.unknown_sni = 'strictest'
        listeners.public.tls.names.'open.test'.client_auth = 'none'
        listeners.public.tls.names.'*.wild.test'.client_auth = 'want'";
    let proxy = scene.setup().with(strictest).start().await;
    // Its certificate cannot be for the unknown name, so the client takes any.
    let unknown = scene.client("unknown.test").trusting_every_name();
    for client in [unknown, scene.client("proxy.test").without_sni()] {
        for client in client.clone().in_every_version() {
            let refusal = client.refusal(proxy.public()).await.alert();
            let missing = [
                AlertDescription::CertificateRequired,
                AlertDescription::HandshakeFailure,
            ];
            assert!(missing.contains(&refusal), "{refusal:?}");
        }
        for client in client.presenting(&scene.staff()).in_every_version() {
            let mut session = client.connect(proxy.public()).await.unwrap();
            for (name, status) in [
                ("staff.test", 200),
                ("unknown.test", 200),
                ("192.0.2.1", 200),
                ("open.test", 421),
                ("any.wild.test", 421),
            ] {
                assert_eq!(ask(&mut session, name).await, status, "{name}");
            }
        }
    }
    // A name of the listener is under its own policy all the same.
    for client in scene.client("open.test").in_every_version() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        for (name, status) in [
            ("open.test", 200),
            ("staff.test", 421),
            ("unknown.test", 421),
        ] {
            assert_eq!(ask(&mut session, name).await, status, "{name}");
        }
    }
}

#[tokio::test]
async fn unknown_name_is_let_in_by_a_listener_with_one_policy_only_where_it_says_so() {
    let scene = Scene::new().await;
    for (lines, refused) in [
        ("", true),
        ("listeners.public.tls.unknown_sni = 'refuse'", true),
        ("listeners.public.tls.unknown_sni = 'strictest'", false),
    ] {
        let proxy = scene.setup().with(lines).start().await;
        let client = scene.client("unknown.test").trusting_every_name();
        let client = client.presenting(&scene.staff());
        let outcome = client.send(proxy.public(), host("unknown.test")).await;
        match outcome {
            Ok(answer) => assert!(!refused && answer.status == 200, "{lines}"),
            Err(refusal) => {
                assert_eq!(refusal.alert(), AlertDescription::UnrecognisedName);
                assert!(refused, "{lines}");
            }
        }
        // As before there were names: whoever asks for none has the one policy.
        let client = scene.client("staff.test").presenting(&scene.staff());
        let client = client.without_sni();
        let answer = client.send(proxy.public(), host("staff.test"));
        assert_eq!(answer.await.unwrap().status, 200, "{lines}");
    }
}

/// Two listeners that differ in their names alone share the keys of tickets.
fn with_a_second_listener(setup: Setup) -> Setup {
    let second = NAMES.replace("listeners.public", "listeners.second");
    setup
        .with(NAMES)
        .with(&second)
        .with(
            "[listeners.second]
            bind = '127.0.0.1:0'
            protocols = ['h2', 'http/1.1']
            tls.certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }]
            tls.client_auth = 'require'
            tls.trust = 'clients'",
        )
        .with("server.session_ticket_keys = 'ticket.keys'")
        .with("log.level = 'debug'")
        .file("ticket.keys", &data_encoding::BASE64.encode(&[7; 48]))
}

#[tokio::test]
async fn session_of_one_name_opens_no_other_name_on_no_listener() {
    let scene = Scene::new().await;
    let proxy = with_a_second_listener(scene.setup()).start().await;
    let (staff, partner) = (scene.staff(), scene.partner());
    let names = [
        ("staff.test", Some(&staff)),
        ("partner.test", Some(&partner)),
        ("open.test", None),
        ("any.wild.test", Some(&staff)),
        // The same policy as another one above, and another name.
        ("proxy.test", Some(&staff)),
        ("exact.wild.test", Some(&partner)),
    ];
    let mut offered = 0;
    for version in [&TLS12, &TLS13] {
        for (from, leaf) in names {
            for (to, _) in names {
                for listener in ["public", "second"] {
                    let client = scene.anywhere().version(version);
                    let client = leaf.map_or(client.clone(), |leaf| client.presenting(leaf));
                    let first = client.also_asking_for(from);
                    let mut session = first.connect(proxy.public()).await.unwrap();
                    assert!(!session.tls().resumed);
                    assert_eq!(ask(&mut session, from).await, 200);
                    let same = from == to && listener == "public";
                    let there = client.also_asking_for(to);
                    let there = there.connect(proxy.listener(listener)).await;
                    let Ok(mut there) = there else {
                        // What a full handshake comes to; TLS 1.2 says so at once.
                        assert!(!same, "{from} to {to} on {listener}");
                        offered += 1;
                        continue;
                    };
                    assert_eq!(there.tls().resumed, same, "{from} to {to} on {listener}");
                    offered += usize::from(!same);
                    if same {
                        assert_eq!(ask(&mut there, to).await, 200);
                    }
                }
            }
        }
    }
    // Each of these tickets was offered, and turned down.
    let turned_down = || {
        let lines = proxy.diagnostics();
        let not_ours = |line: &&String| line.contains("it is not a ticket of this listener");
        (lines.iter().filter(not_ours).count() >= offered).then_some(())
    };
    eventually("every ticket is turned down", turned_down).await;
}

#[tokio::test]
async fn session_is_verified_again_by_the_policy_that_its_name_has_by_then() {
    let scene = Scene::new().await;
    for version in [&TLS12, &TLS13] {
        let proxy = scene.setup().with(NAMES).start().await;
        let client = scene.client("partner.test").version(version).resuming();
        let client = client.presenting(&scene.partner());
        for resumed in [false, true] {
            let mut session = client.connect(proxy.public()).await.unwrap();
            assert_eq!(session.tls().resumed, resumed);
            assert_eq!(ask(&mut session, "partner.test").await, 200);
        }
        let clients = "listeners.public.tls.names.'partner.test'.trust = 'clients'";
        proxy.after(|proxy| proxy.configure(clients)).await;
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::UnknownCA);
    }
}

/// Partners at `staff.test`, and staff at `partner.test`.
const SWAPPED: &str = "
    listeners.public.tls.names.'partner.test' = { client_auth = 'require', trust = 'clients' }
    listeners.public.tls.names.'staff.test' = { client_auth = 'require', trust = 'partners' }";

#[tokio::test]
async fn connections_are_judged_by_the_new_policy_of_their_name_when_policies_swap() {
    let scene = Scene::new().await;
    for h2 in [false, true] {
        let names = "
            listeners.public.tls.names.'partner.test' = { client_auth = 'require', trust = 'partners' }
            listeners.public.tls.names.'staff.test' = { client_auth = 'require', trust = 'clients' }";
        let proxy = scene.setup().with(names).start().await;
        let mut open = Vec::new();
        for (name, leaf) in [
            ("staff.test", scene.staff()),
            ("partner.test", scene.partner()),
            // The listener's own policy is the same before and after.
            ("proxy.test", scene.staff()),
        ] {
            let client = scene.client(name).presenting(&leaf);
            let client = if h2 { client.h2() } else { client };
            let mut session = client.connect(proxy.public()).await.unwrap();
            assert_eq!(ask(&mut session, name).await, 200, "{name}");
            open.push((name, session));
        }
        proxy.after(|proxy| proxy.configure(SWAPPED)).await;
        for (name, session) in &mut open[..2] {
            eventually("the connection ends", || session.is_closed().then_some(())).await;
            let is_ours = |line: &Value| {
                line["bundle"]
                    == if *name == "staff.test" {
                        "partners"
                    } else {
                        "clients"
                    }
            };
            let line = proxy.log_line("connection.withdrawn", is_ours).await;
            assert_eq!(line["reason"], "untrusted", "{line}");
        }
        let (name, session) = &mut open[2];
        assert_eq!(ask(session, name).await, 200);
        // By its policy of now it may ask for the one, and for the other no more.
        assert_eq!(ask(session, "partner.test").await, 200);
        assert_eq!(ask(session, "staff.test").await, 421);
        for (name, leaf, status) in [
            ("staff.test", scene.partner(), Some(200)),
            ("staff.test", scene.staff(), None),
            ("partner.test", scene.staff(), Some(200)),
            ("partner.test", scene.partner(), None),
        ] {
            let client = scene.client(name).presenting(&leaf);
            let answer = client.send(proxy.public(), host(name)).await;
            assert_eq!(
                answer.ok().map(|answer| answer.status.as_u16()),
                status,
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn connection_whose_peer_both_policies_trust_stays_when_they_swap_and_keeps_to_its_own() {
    let scene = Scene::new().await;
    let both = format!("{}{}", scene.pki.root().pem(), scene.partners.pem());
    let names = "
        listeners.public.tls.names.'partner.test' = { client_auth = 'require', trust = 'partners' }
        listeners.public.tls.names.'staff.test' = { client_auth = 'require', trust = 'clients' }";
    let setup = scene.setup().file("partners.pem", &both).with(names);
    let proxy = setup.start().await;
    for client in scene
        .client("staff.test")
        .presenting(&scene.staff())
        .in_both_protocols()
    {
        let mut session = client.connect(proxy.public()).await.unwrap();
        for round in [SWAPPED, names] {
            assert_eq!(ask(&mut session, "staff.test").await, 200);
            assert_eq!(ask(&mut session, "partner.test").await, 421);
            proxy.after(|proxy| proxy.configure(round)).await;
        }
        assert_eq!(ask(&mut session, "staff.test").await, 200);
        assert_eq!(ask(&mut session, "partner.test").await, 421);
    }
}

#[tokio::test]
async fn connection_that_a_bundle_keeps_gets_nowhere_where_that_bundle_is_not_asked() {
    let scene = Scene::new().await;
    let name = |trust: &str| {
        format!(
            "listeners.public.tls.names.'partner.test' = {{ client_auth = 'require', trust = '{trust}' }}"
        )
    };
    for lenient in ["on_withdrawal = 'keep'", "enforce_withdrawal = false"] {
        let setup = scene
            .setup()
            .with(&name("partners"))
            .with(&format!("trust.partners.{lenient}"))
            .with(&format!("trust.clients.{lenient}"));
        let proxy = setup.start().await;
        let client = scene.client("partner.test").presenting(&scene.partner());
        let mut session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(ask(&mut session, "partner.test").await, 200);
        assert_eq!(ask(&mut session, "staff.test").await, 421);
        // From now on the name has the policy of staff, who never trusted this one.
        proxy.after(|proxy| proxy.configure(&name("clients"))).await;
        eventually("it ends", || session.is_closed().then_some(())).await;
        let line = proxy.log_line("connection.withdrawn", |_| true).await;
        assert_eq!(line["reason"], "untrusted", "{line}");
    }
}

#[tokio::test]
async fn anonymous_connection_ends_when_its_own_name_begins_to_demand_a_certificate() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let mut open = scene
        .client("open.test")
        .connect(proxy.public())
        .await
        .unwrap();
    let mut wild = scene
        .client("any.wild.test")
        .connect(proxy.public())
        .await
        .unwrap();
    for (session, name) in [(&mut open, "open.test"), (&mut wild, "any.wild.test")] {
        assert_eq!(ask(session, name).await, 200);
    }
    let demand = "listeners.public.tls.names.'Open.Test.' = { client_auth = 'require' }";
    proxy.after(|proxy| proxy.configure(demand)).await;
    eventually("it ends", || open.is_closed().then_some(())).await;
    let line = proxy.log_line("connection.withdrawn", |_| true).await;
    assert_eq!(line["reason"], "no_certificate", "{line}");
    assert_eq!(ask(&mut wild, "any.wild.test").await, 200);
}

#[tokio::test]
async fn connection_of_a_name_that_is_served_no_more_ends() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let client = scene.client("partner.test").presenting(&scene.partner());
    let mut session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(ask(&mut session, "partner.test").await, 200);
    let leaf = scene.pki.root().leaf().server();
    let leaf = leaf.dns("open.test").dns("*.wild.test").issue();
    proxy.overwrite("narrow.pem", &leaf.chain_pem());
    proxy.overwrite("narrow.key", &leaf.key_pem());
    let gone = |config: &mut toml::Table| {
        let tls = config["listeners"]["public"]["tls"].as_table_mut().unwrap();
        tls["names"].as_table_mut().unwrap().remove("partner.test");
        let certificates = "a = [{ chain = 'narrow.pem', key = 'narrow.key' }]";
        let certificates: toml::Table = certificates.parse().unwrap();
        tls.insert("certificates".to_owned(), certificates["a"].clone());
    };
    proxy.after(|proxy| proxy.edit_config(gone)).await;
    let line = proxy.log_line("connection.withdrawn", |_| true).await;
    assert_eq!(line["reason"], "unknown_name", "{line}");
    eventually("it ends", || session.is_closed().then_some(())).await;
}

#[tokio::test]
async fn check_tells_the_policy_of_each_name_and_refuses_one_that_no_certificate_carries() {
    let scene = Scene::new().await;
    let finished = scene.setup().with(NAMES).run("check").await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for line in [
        "clients that ask for partner.test: client certificates required, checked against trust partners",
        "clients that ask for open.test: client certificates not asked for",
        "clients that ask for *.wild.test: client certificates asked for, checked against trust clients",
    ] {
        assert!(
            finished.stdout.contains(line),
            "{line}: {}",
            finished.stdout
        );
    }
    assert!(!finished.stdout.contains("NOT ACCEPTED"));
    let lenient = "listeners.public.tls.outcomes.expired = 'anonymous'";
    let finished = scene.setup().with(NAMES).with(lenient).run("check").await;
    let line = "clients that ask for partner.test: client certificates required, checked against trust partners, but whoever shows one that is NOT ACCEPTED may be let in as nobody";
    assert!(finished.stdout.contains(line), "{}", finished.stdout);
    let typo = "listeners.public.tls.names.'parnter.test'.client_auth = 'none'";
    let finished = scene.setup().with(typo).run("check").await;
    assert_eq!(finished.code, Some(2));
    let problem =
        "listeners.public.tls.names: no certificate of this listener carries parnter.test";
    assert!(finished.stderr.contains(problem), "{}", finished.stderr);
}

#[tokio::test]
async fn check_warns_where_authorities_of_one_name_could_certify_callers_of_another() {
    let scene = Scene::new().await;
    let route = |keys: &str| format!("routes = [{{ upstream = 'orders', {keys} }}]");
    let by_name = "allow = [{ uri = 'spiffe://prod.example/*' }]";
    let speaker = "listeners.public = { accept_assertions = ['xfcc'], accept_assertions_from";
    let scoped = "trust.clients.may_assert = [{ uri = 'spiffe://prod.example/*' }]
        trust.partners.may_assert = [{ uri = 'spiffe://partner.example/*' }]";
    for (routes, more, warns) in [
        (route(by_name), String::new(), true),
        (route(by_name), scoped.to_owned(), false),
        (
            route(&format!("host = 'staff.test', {by_name}")),
            String::new(),
            false,
        ),
        (
            route("allow = [{ uri = 'spiffe://prod.example/*', anchor = 'CN=**' }]"),
            String::new(),
            false,
        ),
        (route(""), String::new(), false),
        (
            route(""),
            format!("{speaker} = [{{ dns = 'edge.test' }}] }}"),
            true,
        ),
        (
            route(""),
            format!("{speaker} = [{{ dns = 'edge.test', anchor = 'CN=**' }}] }}"),
            false,
        ),
    ] {
        let setup = scene.setup().with(NAMES).with(&routes).with(&more);
        let finished = setup.run("check").await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let warned = finished.stdout.contains("names have several bundles");
        assert_eq!(warned, warns, "{routes} {more}: {}", finished.stdout);
    }
}
