//! What `explain` says, and what the live proxy does: for generated clients and
//! requests the two agree, down to the fields that go up.

use std::collections::BTreeMap;
use std::process::Command;

use data_encoding::BASE64URL_NOPAD;
use http::Method;
use serde_json::{Value, json};

use crate::support::body::Body;
use crate::support::client::{Answer, Client, HttpVersion, Refusal, request, with};
use crate::support::command::{BINARY, finish};
use crate::support::eventually;
use crate::support::pki::{Authority, Leaf, PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

/// How many cases; the first that fails names its number, and is the same in
/// every run.
const CASES: u64 = 560;
const SEED: u64 = 0x00C0_FFEE;

/// The policies: a listener of each.
const LISTENERS: &str = "
[trust.listed]
ca = ['clients.pem', 'spare.pem']
crl = ['good.crl']
crl_missing = 'allow'
[log]
refusals_per_minute = 10000
[trust.scoped]
ca = ['clients.pem']
crl = ['good.crl']
crl_missing = 'allow'
enforce_crl = false
may_assert = [{ uri = 'spiffe://prod.example/*' }, { dns = '*.batch.example' }]
[trust.internal]
ca = ['internal.pem']
[trust.stale]
ca = ['clients.pem']
crl = ['stale.crl']
[trust.partners]
ca = ['partners.pem', 'clients.pem']

[listeners.listed]
bind = '127.0.0.1:0'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }, { chain = 'apps.pem', key = 'apps.key' }], client_auth = 'require', trust = 'listed' }
[listeners.stale]
bind = '127.0.0.1:0'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'want', trust = 'stale' }
[listeners.wanting]
bind = '127.0.0.1:0'
trusted_proxies = ['127.0.0.0/8']
accept_assertions_from = [{ uri = 'spiffe://prod.example/edge' }]
accept_assertions = ['xfcc']
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }, { chain = 'apps.pem', key = 'apps.key' }], client_auth = 'want', trust = 'partners' }
[listeners.named]
bind = '127.0.0.1:0'
[listeners.named.tls]
certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }, { chain = 'apps.pem', key = 'apps.key' }]
client_auth = 'want'
trust = 'partners'
[listeners.named.tls.names.'*.apps.test']
client_auth = 'require'
trust = 'listed'
[listeners.strict]
bind = '127.0.0.1:0'
[listeners.strict.tls]
certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }, { chain = 'apps.pem', key = 'apps.key' }]
client_auth = 'none'
unknown_sni = 'strictest'
[listeners.strict.tls.names.'one.apps.test']
client_auth = 'require'
trust = 'clients'
[listeners.telling]
bind = '127.0.0.1:0'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'require', trust = 'listed', on_missing = 'http', on_invalid = 'http', outcomes = { untrusted = 'alert' } }
[listeners.lenient]
bind = '127.0.0.1:0'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'want', trust = 'listed', on_invalid = 'anonymous' }
[listeners.vouched]
bind = '127.0.0.1:0'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'require', trust = 'scoped' }
[listeners.open]
bind = '127.0.0.1:0'
jwks_path = '/keys.json'
tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'none' }
[listeners.plain]
bind = '127.0.0.1:0'
";

/// Some are met more often than others.
const NAMES: [&str; 16] = [
    "public", "public", "public", "listed", "listed", "wanting", "wanting", "stale", "open",
    "named", "named", "strict", "telling", "lenient", "lenient", "vouched",
];

/// The routes and their upstreams, all of which are the same service.
fn routes([service, second, third]: &[Upstream; 3]) -> String {
    let (service, second) = (service.endpoint(), second.endpoint());
    let third = third.endpoint();
    format!(
        "
[rules]
staff = [{{ name = 'web', uri = 'spiffe://prod.example/web', methods = ['GET', 'HEAD'] }}, {{ uri = 'spiffe://prod.example/*', methods = ['GET'] }}]
[[routes]]
name = 'billing'
path = '/billing/'
allow = [{{ uri = 'spiffe://prod.example/billing' }}]
upstream = 'orders'
[[routes]]
name = 'team'
path = '/team'
deny = [{{ name = 'no-edge', uri = 'spiffe://prod.example/edge' }}, {{ methods = ['DELETE'] }}]
allow = [{{ dns = '*.batch.example' }}, {{ rule = 'staff', path = '/team/' }}, {{ subject = 'CN=nameless', from = ['127.0.0.0/8'] }}, {{ email = '*@prod.example', from = ['10.0.0.0/8'] }}]
upstream = 'basic'
[[routes]]
name = 'apps'
host = '*.apps.test'
client_auth = 'require'
upstream = 'signed'
[[routes]]
name = 'told'
path = '/told'
upstream = 'told'
[[routes]]
name = 'credential'
path = '/credential'
upstream = 'credential'
[[routes]]
name = 'each'
path = '/each'
upstream = 'each'
[[routes]]
name = 'old'
path = '/old'
upstream = 'old'
[[routes]]
name = 'mutual'
path = '/mutual'
upstream = 'mutual'
[[routes]]
name = 'anybody'
path = '/anybody'
enforce = false
deny = [{{ anonymous = true, methods = ['HEAD'] }}]
allow = [{{ anchor = 'CN=Partners' }}, {{ anonymous = true, path = '/anybody/x' }}]
upstream = 'orders'

[upstreams.mutual]
endpoints = ['{third}']
[upstreams.mutual.tls]
trust = 'internal'
server_name = 'orders.internal'
certificate = {{ chain = 'own.pem', key = 'own.key' }}
[upstreams.mutual.outbound]
identity_assertion = 'never'
client_certificate_authentication = 'required'
[upstreams.orders]
endpoints = ['{service}']
outbound.assertion.encode = ['xfcc']
[upstreams.basic]
endpoints = ['{service}']
[upstreams.basic.outbound]
basic_authentication = 'required'
credential = {{ source = 'basic', user = 'countersign', password_file = 'password' }}
assertion.encode = ['headers', 'client-cert']
assertion.headers = {{ X-Caller = '{{uri}}' }}
[upstreams.signed]
endpoints = ['{second}']
protocol = 'h2'
[upstreams.signed.outbound.assertion]
encode = ['jwt']
jwt = {{ keys = ['assertion.key'], issuer = 'https://edge.example', header = 'X-Caller-Token' }}
[upstreams.told]
endpoints = ['{service}']
outbound.identity_assertion = 'required'
outbound.assertion.encode = ['nginx', 'apache']
[upstreams.credential]
endpoints = ['{second}']
protocol = 'h2'
[upstreams.credential.outbound]
basic_authentication = 'required'
identity_assertion = 'never'
[upstreams.each]
endpoints = ['{service}']
[upstreams.each.outbound]
basic_authentication = 'required'
identity_assertion = 'never'
credential = {{ source = 'per_caller', file = 'callers.toml' }}
[upstreams.old]
endpoints = ['{service}']
[upstreams.old.outbound]
basic_authentication = 'never'
run_as = 'specified'
identity = {{ uri = 'spiffe://old.example/everybody' }}
assertion.encode = ['xfcc']
"
    )
}

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

/// Where, among those who may call, the one is who speaks for others.
const EDGE: usize = 2;

/// Numbers that are the same in every run (splitmix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.next() % all.len() as u64).unwrap()]
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.next() % times == 0
    }
}

/// One client and one request.
#[derive(Debug)]
struct Case {
    listener: &'static str,
    certificate: Option<usize>,
    /// `None`: no SNI.
    sni: Option<&'static str>,
    host: &'static str,
    method: Method,
    path: String,
    fields: Vec<(&'static str, &'static str)>,
    http2: bool,
    tls12: bool,
}

impl Case {
    fn generate(number: u64, leaves: usize) -> Self {
        let mut choices = Choices(SEED.wrapping_add(number << 20));
        let listener = if choices.once_in(12) {
            "plain"
        } else {
            choices.of(&NAMES)
        };
        let http2 = choices.once_in(2);
        let certificate = (!choices.once_in(7)).then(|| {
            // Those who are in order meet more rules than the others.
            let most = if choices.once_in(3) { leaves as u64 } else { 7 };
            usize::try_from(choices.next() % most).unwrap()
        });
        // Few others say for whom they speak.
        let speaks = certificate == Some(EDGE) && choices.once_in(2);
        let listener = if speaks { "wanting" } else { listener };
        let sni = match choices.next() % 16 {
            0 => None,
            1 | 2 => Some("one.apps.test"),
            3 => Some("unknown.test"),
            _ => Some(PROXY_NAME),
        };
        // Whoever gets another certificate than that which was asked for goes away.
        let sni = sni.filter(|name| listener != "strict" || *name != "unknown.test");
        let usual = sni.unwrap_or(PROXY_NAME);
        let host = match choices.next() % 10 {
            0 => choices.of(&[
                "ONE.Apps.test:443",
                "unknown.test",
                "127.0.0.1:8443",
                "a.b.apps.test",
                "proxy.test.",
                "a..b",
                "proxy.test:99999",
            ]),
            _ => usual,
        };
        let method = match choices.next() % 20 {
            0 => Method::TRACE,
            1 | 2 => Method::DELETE,
            3 | 4 => Method::HEAD,
            _ => Method::GET,
        };
        let usual_paths = [
            "/billing/1",
            "/team/a",
            "/team",
            "/told/x",
            "/credential/x",
            "/each/x",
            "/old",
            "/mutual",
            "/mutual/x",
            "/billing/2/3",
            "/anybody/x",
            "/anybody",
        ];
        let odd_paths = [
            "/billing",
            "/keys.json",
            "/keys.json",
            "/other",
            "/%62illing/1",
            "/team//a",
            "/team/../billing/1",
            "/team/a;x=y",
            "/billing%2f1",
            "/teams",
            "/",
        ];
        let path = match choices.next() % 5 {
            0 => choices.of(&odd_paths),
            _ => choices.of(&usual_paths),
        };
        let mut fields = Vec::new();
        for (times, field) in [
            (3, ("authorization", "Bearer of-the-caller")),
            (
                3,
                (
                    "x-forwarded-client-cert",
                    "URI=spiffe://prod.example/billing",
                ),
            ),
            (3, ("x-forwarded-client-cert", "nonsense")),
            (4, ("x-forwarded-for", "203.0.113.7")),
            (4, ("X-SSL-Client-S-DN", "CN=forged")),
            (5, ("cookie", "a=b")),
            (5, ("te", "trailers")),
        ] {
            if choices.once_in(times) {
                fields.push(field);
            }
        }
        if speaks && choices.once_in(2) {
            fields.push(("x-forwarded-client-cert", "nonsense"));
        }
        if !http2 && choices.once_in(5) {
            fields.push(("connection", "cookie, x-forwarded-client-cert"));
        }
        Self {
            listener,
            certificate,
            sni,
            host,
            method,
            path: format!("{path}?case={number}"),
            fields,
            http2,
            tls12: choices.once_in(3),
        }
    }
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
        let own = internal.leaf().client().common_name("countersign").issue();
        let apps = pki.server("*.apps.test");
        let root = pki.root();
        let mut setup = Setup::new(&pki, &services[0])
            .without("routes")
            .without("upstreams.orders")
            .with(LISTENERS)
            .with(&routes(&services))
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

    /// What `explain` says, in text if `json` is not wanted.
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
        let status = match live {
            Live::Refused(line) => {
                assert_eq!(told["refusal"]["at"], "handshake", "{}", context());
                assert_eq!(told["refusal"]["reason"], line["reason"], "{}", context());
                let without_numbers = |cause: &Value| {
                    let cause = cause.as_str().unwrap().to_owned();
                    cause.replace(|char: char| char.is_ascii_digit(), "")
                };
                let (told, said) = (&told["refusal"]["cause"], &line["cause"]);
                assert_eq!(
                    without_numbers(told),
                    without_numbers(said),
                    "{}",
                    context()
                );
                return line["reason"].as_str().unwrap().to_owned();
            }
            Live::Answered(status) => u64::from(*status),
        };
        assert_ne!(told["refusal"]["at"], "handshake", "{}", context());
        let line = self.proxy.access_line(&case.path).await;
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
        let expected = told["refusal"]["status"].as_u64();
        let is_read = matches!(case.method, Method::GET | Method::HEAD);
        let usual = if told["verdict"] == "answered" && !is_read {
            405
        } else {
            200
        };
        assert_eq!(status, expected.unwrap_or(usual), "{}", context());
        let arrived = self.services.iter().flat_map(Upstream::requests);
        let arrived = arrived
            .into_iter()
            .find(|request| request.path == case.path);
        assert_eq!(
            arrived.is_some(),
            told["verdict"] == "permitted",
            "{}",
            context()
        );
        let Some(arrived) = arrived else {
            let fault = told["refusal"]["fault"].as_str();
            return fault.unwrap_or("answered").to_owned();
        };
        let layer = told["known_as"]["layer"].as_str().unwrap();
        assert_eq!(layer, line["asserted"], "{}", context());
        assert_eq!(said(told), heard(&arrived), "{}", context());
        let target = told["request_line"]
            .as_str()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap();
        assert!(target.ends_with(&arrived.path), "{}", context());
        layer.to_owned()
    }
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
