//! What `explain` says, and what the live proxy does: for generated clients and
//! requests the two agree, down to the fields that go up.

use std::collections::BTreeMap;
use std::process::Command;

use data_encoding::BASE64URL_NOPAD;
use http::Method;
use serde_json::{Value, json};

use super::cases::Case;
use crate::support::body::Body;
use crate::support::client::{Answer, Client, HttpVersion, Refusal, request, with};
use crate::support::command::{BINARY, finish};
use crate::support::eventually;
use crate::support::pki::{Authority, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

/// How many cases; the first that fails names its number, and is the same in
/// every run.
const CASES: u64 = 500;

/// Listeners, routes and upstreams.
const CONFIG: &str = include_str!("agreement.toml");

const CALLERS: &str = "
[[callers]]
uri = 'spiffe://prod.example/billing'
user = 'billing'
password = 'planted-for-billing'
[[callers]]
dns = '*.batch.example'
token = 'planted-for-batch'
";

/// Everybody who may call, by name.
fn leaves(pki: &Pki, partners: &Authority, revoked: &Leaf) -> Vec<(&'static str, Leaf)> {
    let (root, spare) = (pki.root(), Authority::root("A stranger"));
    let issuing = root.intermediate("Issuing");
    let client = |authority: &Authority| authority.leaf().client();
    let web = "spiffe://prod.example/web";
    let both = client(root).uri(web).uri("spiffe://prod.example/other");
    vec![
        ("billing", pki.client()),
        ("web", pki.client_as(web)),
        ("edge", pki.client_as("spiffe://prod.example/edge")),
        ("below", client(&issuing).uri(web).issue()),
        (
            "alone",
            client(&issuing).uri(web).issue().without_intermediates(),
        ),
        ("revoked", revoked.clone()),
        ("batch", client(root).dns("one.batch.example").issue()),
        ("deep", client(root).dns("a.b.batch.example").issue()),
        (
            "partner",
            client(partners).uri("spiffe://partner.example/x").issue(),
        ),
        ("stranger", client(&spare).uri(web).issue()),
        (
            "rekeyed",
            client(&root.same_name_other_key()).uri(web).issue(),
        ),
        ("expired", client(root).uri(web).expired().issue()),
        ("early", client(root).uri(web).not_yet_valid().issue()),
        ("server", root.leaf().server().uri(web).issue()),
        ("two", both.issue()),
        ("nameless", client(root).common_name("nameless").issue()),
        (
            "mail",
            client(root)
                .email("ops@prod.example")
                .ip("10.0.0.1")
                .issue(),
        ),
        ("authority", client(root).uri(web).authority().issue()),
        (
            "pretended",
            client(&root.pretender("Pretender")).uri(web).issue(),
        ),
    ]
}

/// The live proxy, its services, and those who call.
struct Scene {
    pki: Pki,
    proxy: Proxy,
    services: [Upstream; 3],
    leaves: Vec<(&'static str, Leaf)>,
}

impl Scene {
    async fn start() -> Self {
        let (pki, partners) = (Pki::new(), Authority::root("Partners"));
        let revoked = pki.client_as("spiffe://prod.example/gone");
        let leaves = leaves(&pki, &partners, &revoked);
        let internal = Authority::root("Internal");
        let service = || Upstream::build(|_| Reply::ok(""));
        let leaf = internal.leaf().server().dns("orders.internal").issue();
        let services = [
            service().start().await,
            service().h2().start().await,
            service().tls(&leaf).clients(&internal).start().await,
        ];
        let endpoints = ["PLAIN", "H2", "MUTUAL"].into_iter().zip(&services);
        let config = endpoints.fold(CONFIG.to_owned(), |config, (name, service)| {
            config.replace(&format!("'{name}'"), &format!("'{}'", service.endpoint()))
        });
        let own = internal.leaf().client().common_name("countersign").issue();
        let apps = pki.server("*.apps.test");
        let root = pki.root();
        let mut setup = Setup::new(&pki, &services[0])
            .without("routes")
            .without("upstreams.orders")
            .with(&config)
            .file("internal.pem", &internal.pem())
            .certificate("own", &own)
            .certificate("apps", &apps)
            .file("spare.pem", &Authority::root("Spare").pem())
            .file("partners.pem", &partners.pem())
            .file("good.crl", &root.crl(&[&revoked]))
            .file("stale.crl", &root.stale_crl(&[&revoked]))
            .file("password", "planted-password\n")
            .file("callers.toml", CALLERS)
            .file("assertion.key", &pki.client().key_pem());
        for (name, leaf) in &leaves {
            setup = setup.file(&format!("of-{name}.pem"), &leaf.chain_pem());
        }
        Self {
            proxy: setup.start().await,
            pki,
            services,
            leaves,
        }
    }

    fn client(&self, case: &Case) -> Client {
        let mut client = if case.listener == "plain" {
            Client::plaintext(&self.pki)
        } else {
            Client::new(&self.pki)
        };
        client = match case.sni {
            Some(name) => client.sni(name),
            None => client.without_sni(),
        };
        if let Some(index) = case.certificate {
            client = client.presenting(&self.leaves[index].1);
        }
        if case.tls12 {
            client = client.version(&rustls::version::TLS12);
        }
        client.speaking(if case.http2 {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        })
    }

    /// What the live proxy does.
    async fn live(&self, case: &Case) -> Result<Answer, Refusal> {
        let mut asked = request(case.method.clone(), &case.path, Body::empty());
        asked = with(asked, "host", case.host);
        for (name, value) in &case.fields {
            asked = with(asked, name, value);
        }
        let listener = self.proxy.listener(case.listener);
        self.client(case).send(listener, asked).await
    }

    /// What `explain` says.
    async fn explained(&self, case: &Case) -> Value {
        let mut command = Command::new(BINARY);
        command.args(["explain", "--json", "--from", "127.0.0.1"]);
        command
            .arg("--config")
            .arg(self.proxy.path("countersign.toml"));
        command.args(["--listener", case.listener, "--host", case.host]);
        command.args(["--method", case.method.as_str(), "--path", &case.path]);
        command.args(["--sni", case.sni.unwrap_or_default()]);
        command.args(["--http", if case.http2 { "2" } else { "1.1" }]);
        if let Some(index) = case.certificate {
            let file = format!("of-{}.pem", self.leaves[index].0);
            command.arg("--cert").arg(self.proxy.path(&file));
        }
        for (name, value) in &case.fields {
            command.arg("--header").arg(format!("{name}: {value}"));
        }
        let finished = finish(&mut command).await;
        let document: Value = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{case:#?}: {error}: {finished:#?}"));
        let code = if document["verdict"] == "refused" {
            4
        } else {
            0
        };
        finished.expect_code(code);
        let text = finished.stdout.as_str();
        assert!(
            !text.contains("planted") && !text.contains("of-the-caller"),
            "{text}"
        );
        document
    }

    /// Lets the live proxy answer every case, one after the other: the line of a
    /// refused handshake says nothing of the request that would have come.
    async fn live_of_all(&self, cases: &[Case]) -> Vec<Live> {
        let mut all = Vec::new();
        let mut refused = 0;
        for case in cases {
            all.push(match self.live(case).await {
                Ok(answer) => Live::Answered(answer.status.as_u16()),
                Err(refusal) => {
                    let what = format!("a line of the refusal {refusal:?} of {case:#?}");
                    let line = eventually(&what, || {
                        let lines = self.proxy.logged("handshake.refused").into_iter();
                        lines.filter(|line| line["outcome"] == "alert").nth(refused)
                    });
                    let line = line.await;
                    refused += 1;
                    Live::Refused(line)
                }
            });
        }
        all
    }

    /// Lets `explain` answer every case, several at a time.
    async fn explained_of_all(&self, cases: &[Case]) -> Vec<Value> {
        let mut all = Vec::new();
        for some in cases.chunks(2) {
            match some {
                [one, other] => {
                    let (one, other) = tokio::join!(self.explained(one), self.explained(other));
                    all.extend([one, other]);
                }
                some => {
                    for case in some {
                        all.push(self.explained(case).await);
                    }
                }
            }
        }
        all
    }

    /// Compares the two, and says what came of both.
    async fn compare(&self, case: &Case, live: &Live, told: &Value) -> String {
        let context = || format!("{case:#?}\nlive: {live:?}\nexplain says {told:#}");
        match live {
            Live::Refused(line) => same_refusal(line, &told["refusal"], &context),
            Live::Answered(status) => {
                let line = self.proxy.access_line(&case.path).await;
                same_decision((*status, case), (&line, told), &context);
                let asserted = &line["asserted"];
                self.same_request(case, (asserted, told), &context)
            }
        }
    }

    /// Compares what went up.
    fn same_request(
        &self,
        case: &Case,
        (asserted, told): (&Value, &Value),
        context: &dyn Fn() -> String,
    ) -> String {
        let arrived = self.services.iter().flat_map(Upstream::requests);
        // Its path may have been brought into another form, and its query has not.
        let number = case.path.split('?').next_back();
        let mut arrived = arrived.filter(|request| request.path.split('?').next_back() == number);
        let arrived = arrived.next();
        let is_permitted = told["verdict"] == "permitted";
        assert_eq!(arrived.is_some(), is_permitted, "{}", context());
        let Some(arrived) = arrived else {
            let fault = told["refusal"]["fault"].as_str();
            return fault.unwrap_or("answered").to_owned();
        };
        let layer = told["known_as"]["layer"].as_str().unwrap();
        assert_eq!(layer, asserted, "{}", context());
        assert_eq!(said(told), heard(&arrived), "{}", context());
        let line = told["request_line"].as_str().unwrap();
        let target = line.split(' ').nth(1).unwrap();
        let path = target.split_once("://").map_or(target, |(_, rest)| {
            rest.find('/').map_or("", |at| &rest[at..])
        });
        assert_eq!(path, arrived.path, "{}", context());
        layer.to_owned()
    }
}

/// Compares the line of a refused handshake; returns the reason.
fn same_refusal(line: &Value, told: &Value, context: &dyn Fn() -> String) -> String {
    assert_eq!(told["at"], "handshake", "{}", context());
    // How long ago something was differs by the time between the two.
    let without_numbers = |text: &Value| {
        let text = text.as_str().unwrap_or_default().to_owned();
        text.replace(|char: char| char.is_ascii_digit(), "")
    };
    for name in ["reason", "cause", "nearest_miss", "remedy"] {
        let (told, said) = (without_numbers(&told[name]), without_numbers(&line[name]));
        assert_eq!(told, said, "{name}: {}", context());
    }
    line["reason"].as_str().unwrap().to_owned()
}

/// Compares the status and the line of the access log.
fn same_decision(
    (status, case): (u16, &Case),
    (line, told): (&Value, &Value),
    context: &dyn Fn() -> String,
) {
    assert_ne!(told["refusal"]["at"], "handshake", "{}", context());
    for (told, said) in [
        (&told["route"]["name"], "route"),
        (&told["rule"], "rule"),
        (&told["refusal"]["fault"], "fault"),
        (&told["refusal"]["cause"], "cause"),
        (&told["caller"]["peer"], "peer"),
        (&told["caller"]["spoken_for"], "for"),
        (&told["upstream"]["name"], "upstream"),
        (&told["would_allow"], "would_allow"),
        (&told["would_deny"]["rule"], "would_deny"),
    ] {
        let line = line.get(said).unwrap_or(&Value::Null);
        assert_eq!(told, line, "{said}: {}", context());
    }
    let is_read = matches!(case.method, Method::GET | Method::HEAD);
    let usual = if told["verdict"] == "answered" && !is_read {
        405
    } else {
        200
    };
    let expected = told["refusal"]["status"].as_u64().unwrap_or(usual);
    assert_eq!(u64::from(status), expected, "{}", context());
}

/// What the live proxy did.
#[derive(Debug)]
enum Live {
    /// The status that it answered.
    Answered(u16),
    /// The line of its log.
    Refused(Value),
}

/// The fields that `explain` says, without what each request has of its own.
fn said(told: &Value) -> Vec<(String, Value)> {
    let fields = told["fields"].as_array().unwrap();
    let mut fields: Vec<_> = fields
        .iter()
        .map(|field| {
            let name = field["name"].as_str().unwrap().to_owned();
            let secret = &field["secret"];
            if secret.is_null() {
                return (name, field["value"].clone());
            }
            let value = match &secret["claims"] {
                Value::Null => json!({ "scheme": secret["scheme"], "bytes": secret["bytes"] }),
                claims => json!({ "claims": lasting(claims) }),
            };
            (name, value)
        })
        .collect();
    fields.sort_by_key(|(name, value)| (name.clone(), value.to_string()));
    fields
}

/// The fields that the service got, in the same form.
fn heard(received: &Received) -> Vec<(String, Value)> {
    let mut fields: Vec<_> = received
        .headers
        .iter()
        .map(|(name, value)| {
            let text = value.to_str().unwrap();
            let value = match name.as_str() {
                "authorization" | "cookie" => {
                    let scheme = ["Basic", "Bearer"]
                        .into_iter()
                        .find(|scheme| text.starts_with(&format!("{scheme} ")));
                    let before = scheme.map_or(0, |scheme| scheme.len() + 1);
                    json!({ "scheme": scheme.unwrap_or_default(), "bytes": text.len() - before })
                }
                "x-caller-token" => {
                    let claims = text.split('.').nth(1).unwrap();
                    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
                    let claims: Value = serde_json::from_slice(&claims).unwrap();
                    json!({ "claims": lasting(&claims) })
                }
                _ => Value::from(text),
            };
            (name.to_string(), value)
        })
        .collect();
    fields.sort_by_key(|(name, value)| (name.clone(), value.to_string()));
    fields
}

/// Claims without those that every token has of its own.
fn lasting(claims: &Value) -> Value {
    let mut claims = claims.clone();
    for name in ["iat", "exp", "jti"] {
        claims.as_object_mut().unwrap().remove(name).unwrap();
    }
    claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_and_the_live_proxy_agree_on_every_generated_case() {
    let scene = Scene::start().await;
    let leaves = scene.leaves.len();
    let cases: Vec<_> = (0..CASES).map(|n| Case::generate(n, leaves)).collect();
    let live = scene.live_of_all(&cases).await;
    let told = scene.explained_of_all(&cases).await;
    let mut seen = BTreeMap::<String, usize>::new();
    for ((case, live), told) in cases.iter().zip(&live).zip(&told) {
        let what = scene.compare(case, live, told).await;
        *seen.entry(what).or_default() += 1;
    }
    for what in WANTED {
        assert!(seen.contains_key(what), "no case came to {what}: {seen:#?}");
    }
    assert!(seen["assertion"] > 50, "{seen:#?}");
}

/// What some case comes to, so that nothing is left out unseen.
const WANTED: [&str; 26] = [
    "answered",
    "assertion",
    "certificate",
    "credential",
    "downstream/request_head/assertion_refused",
    "downstream/policy/certificate_refused",
    "downstream/policy/certificate_required",
    "downstream/request_head/malformed",
    "downstream/request_head/method_not_served",
    "expired",
    "malformed",
    "no_certificate",
    "none",
    "not_yet_valid",
    "proxy/outbound/assertion_missing",
    "proxy/outbound/credential_missing",
    "proxy/policy/certificate_required",
    "proxy/policy/denied_by_rule",
    "proxy/policy/no_rule_matched",
    "proxy/route/authority_not_served",
    "proxy/route/no_route",
    "revocation_unknown",
    "revoked",
    "unknown_name",
    "untrusted",
    "wrong_purpose",
];
