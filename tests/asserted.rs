//! Peers that speak for others: whose word is taken, in which forms, and that
//! everything goes by the caller whom they name.

use data_encoding::{BASE64, HEXLOWER};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client, Session, get, with};
use crate::support::pki::{Leaf, PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tokens;
use crate::support::upstream::{Received, Reply, Upstream};

const EDGE: &str = "spiffe://edge.example/proxy";
const WEB: &str = "spiffe://prod.example/web";
const OTHER: &str = "spiffe://prod.example/other";

/// What makes a listener take the edge's word, in every form.
const ACCEPTING: &str = "
[listeners.public]
accept_assertions_from = [{ uri = 'spiffe://edge.example/*' }]
accept_assertions = ['xfcc', 'client-cert', 'jwt']
assertion_jwt = { jwks = 'edge.jwks.json', issuer = 'https://edge.example', audience = 'inner' }
";

/// Names and values.
type Fields<'f> = &'f [(&'f str, &'f str)];

struct Scene {
    pki: Pki,
    key: KeyPair,
    proxy: Proxy,
    upstream: Upstream,
}

impl Scene {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        Self::answering(more, |_| Reply::ok("")).await
    }

    async fn answering(
        more: &str,
        reply: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::answering(reply).await);
        let key = tokens::signing_key();
        let proxy = Setup::new(&pki, &upstream)
            .file("edge.jwks.json", &tokens::key_set(&key))
            .with(ACCEPTING)
            .with(more)
            .start()
            .await;
        Self {
            pki,
            key,
            proxy,
            upstream,
        }
    }

    fn client(&self, uri: &str) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client_as(uri))
    }

    async fn ask(&self, client: &Client, path: &str, fields: Fields<'_>) -> Answer {
        let request = fields.iter().fold(get(path), |request, (name, value)| {
            with(request, name, value)
        });
        client.send(self.proxy.public(), request).await.unwrap()
    }

    fn token(&self, change: Value) -> String {
        tokens::sign(&self.key, change)
    }

    /// For whom the service takes the last request.
    fn told(&self) -> Option<String> {
        let all = self.upstream.requests();
        let [field] = all.last().unwrap().values("x-forwarded-client-cert")[..] else {
            return None;
        };
        let (_, rest) = field.split_once("URI=")?;
        Some(rest.split(';').next()?.to_owned())
    }

    async fn fault(&self, path: &str) -> Value {
        self.proxy.access_line(path).await["fault"].clone()
    }
}

fn xfcc(uri: &str) -> String {
    format!("Hash={};URI={uri}", HEXLOWER.encode(&[7; 32]))
}

fn client_cert(leaf: &Leaf) -> String {
    format!(":{}:", BASE64.encode(&leaf.chain()[0]))
}

#[tokio::test]
async fn callers_are_those_whom_a_listed_peer_names_in_each_form() {
    let scene = Scene::new().await;
    let web = client_cert(&scene.pki.client_as(WEB));
    let token = scene.token(json!({}));
    let xfcc = xfcc(WEB);
    for client in scene.client(EDGE).in_both_protocols() {
        for (path, name, value) in [
            ("/xfcc", "X-Forwarded-Client-Cert", &xfcc),
            ("/certificate", "Client-Cert", &web),
            ("/jwt", "X-Client-Assertion", &token),
        ] {
            let answer = scene.ask(&client, path, &[(name, value)]).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(scene.told().as_deref(), Some(WEB), "{path}");
            let received = scene.upstream.requests().pop().unwrap();
            assert_eq!(received.header("client-cert"), None);
            assert_eq!(received.header("x-client-assertion"), None);
            let line = scene.proxy.access_line(path).await;
            assert_eq!(line["peer"], EDGE, "{line}");
            assert_eq!(line["for"], WEB, "{line}");
        }
    }
}

#[tokio::test]
async fn listed_peer_that_names_nobody_calls_for_itself() {
    let scene = Scene::new().await;
    scene.ask(&scene.client(EDGE), "/own", &[]).await;
    assert_eq!(scene.told().as_deref(), Some(EDGE));
    let line = scene.proxy.access_line("/own").await;
    assert_eq!(line.get("for"), None, "{line}");
}

#[tokio::test]
async fn nobody_else_is_listened_to_and_what_they_say_is_removed() {
    let scene = Scene::new().await;
    let token = scene.token(json!({}));
    let (web, forged) = (client_cert(&scene.pki.client_as(WEB)), xfcc(WEB));
    for uri in [OTHER, "spiffe://edge.example.evil/proxy"] {
        for client in scene.client(uri).in_both_protocols() {
            let said = [
                ("x-forwarded-client-cert", forged.as_str()),
                ("client-cert", &web),
                ("x-client-assertion", &token),
                ("X_Client_Assertion", &token),
            ];
            assert_eq!(scene.ask(&client, "/", &said).await.status, 200);
            assert_eq!(scene.told().as_deref(), Some(uri));
            let received = scene.upstream.requests().pop().unwrap();
            for (name, _) in said.iter().skip(1) {
                assert_eq!(received.header(name), None, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn other_spellings_are_no_assertions_and_are_removed() {
    let scene = Scene::new().await;
    let forged = xfcc(WEB);
    for name in [
        "x_forwarded_client_cert",
        "x-forwarded_client-cert",
        "x.forwarded.client.cert",
    ] {
        let client = scene.client(EDGE);
        assert_eq!(
            scene.ask(&client, "/", &[(name, &forged)]).await.status,
            200
        );
        assert_eq!(scene.told().as_deref(), Some(EDGE), "{name}");
        let received = scene.upstream.requests().pop().unwrap();
        assert_eq!(received.header(name), None);
    }
    // Case makes no difference to a field's name.
    let shouted = [("X-FORWARDED-CLIENT-CERT", &*forged)];
    scene.ask(&scene.client(EDGE), "/", &shouted).await;
    assert_eq!(scene.told().as_deref(), Some(WEB));
}

#[tokio::test]
async fn what_cannot_be_read_and_what_contradicts_itself_is_refused() {
    let scene = Scene::new().await;
    let web = scene.pki.client_as(WEB);
    let certificate = client_cert(&web);
    let right = xfcc(WEB);
    let token = scene.token(json!({}));
    let other = scene.token(json!({ "sub": OTHER, "uri": [OTHER] }));
    let (cert, elements, jwt) = (
        "client-cert",
        "x-forwarded-client-cert",
        "x-client-assertion",
    );
    let cases: [(&str, Fields<'_>, &str); 12] = [
        ("/empty", &[(elements, "")], elements),
        ("/key", &[(elements, "Hash=00;Who=me")], elements),
        ("/nobody", &[(elements, "By=spiffe://a/b")], elements),
        ("/bytes", &[(cert, ":AAAA:")], cert),
        ("/bare", &[(cert, "AAAA")], cert),
        (
            "/twice",
            &[(cert, &certificate), (cert, &certificate)],
            cert,
        ),
        ("/tokens", &[(jwt, &token), (jwt, &token)], jwt),
        ("/scheme", &[(jwt, "Bearer x")], jwt),
        (
            "/forms",
            &[(elements, &right), (jwt, &other)],
            "name different callers",
        ),
        (
            "/hash",
            &[(elements, &right), (cert, &certificate)],
            "name different callers",
        ),
        ("/one-bad", &[(elements, &right), (jwt, "x.y.z")], jwt),
        (
            "/nominated",
            &[("connection", elements), (elements, &right)],
            "is named in `Connection`",
        ),
    ];
    for (path, fields, why) in cases {
        let answer = scene.ask(&scene.client(EDGE), path, fields).await;
        assert_eq!(answer.status, 400, "{path}");
        let line = scene.proxy.access_line(path).await;
        let fault = "downstream/request_head/assertion_refused";
        assert_eq!(line["fault"], fault, "{line}");
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains(EDGE) && cause.contains(why), "{cause}");
        assert!(!cause.contains(&token));
    }
    assert!(scene.upstream.requests().is_empty());
    let same = xfcc(WEB).replace(&HEXLOWER.encode(&[7; 32]), &web.fingerprint());
    let both = [(elements, &*same), (cert, &*certificate), (jwt, &*token)];
    assert_eq!(
        scene.ask(&scene.client(EDGE), "/same", &both).await.status,
        200
    );
    assert_eq!(scene.told().as_deref(), Some(WEB));
}

#[tokio::test]
async fn tokens_of_others_for_others_and_of_yesterday_are_refused() {
    let scene = Scene::new().await;
    let stranger = tokens::signing_key();
    for (path, token) in [
        ("/key", tokens::sign(&stranger, json!({}))),
        ("/audience", scene.token(json!({ "aud": "elsewhere" }))),
        (
            "/issuer",
            scene.token(json!({ "iss": "https://evil.example" })),
        ),
        ("/expired", scene.token(json!({ "exp": 1_000_000 }))),
        ("/name", scene.token(json!({ "sub": OTHER }))),
    ] {
        let said = [("x-client-assertion", &*token)];
        let answer = scene.ask(&scene.client(EDGE), path, &said).await;
        assert_eq!(answer.status, 400, "{path}");
        let fault = scene.fault(path).await;
        assert_eq!(fault, "downstream/request_head/assertion_refused");
    }
    assert!(scene.upstream.requests().is_empty());
}

#[tokio::test]
async fn token_in_authorization_is_taken_out_and_another_credential_is_not() {
    let carrier = "listeners.public.assertion_jwt = { jwks = 'edge.jwks.json', issuer = 'https://edge.example', audience = 'inner', header = 'Authorization', scheme = 'Bearer' }";
    let scene = Scene::with(carrier).await;
    let bearer = format!("bearer {}", scene.token(json!({})));
    let authorization = |scene: &Scene| {
        let received = scene.upstream.requests().pop().unwrap();
        received.header("authorization").map(str::to_owned)
    };
    let edge = scene.client(EDGE);
    scene.ask(&edge, "/", &[("authorization", &bearer)]).await;
    assert_eq!(scene.told().as_deref(), Some(WEB));
    assert_eq!(authorization(&scene), None);
    scene
        .ask(&edge, "/", &[("authorization", "Basic YTpi")])
        .await;
    assert_eq!(scene.told().as_deref(), Some(EDGE));
    assert_eq!(authorization(&scene).as_deref(), Some("Basic YTpi"));
    // It is nobody else's business what others send there.
    let other = scene.client(OTHER);
    scene.ask(&other, "/", &[("authorization", &bearer)]).await;
    assert_eq!(scene.told().as_deref(), Some(OTHER));
    assert_eq!(authorization(&scene), Some(bearer));
}

#[tokio::test]
async fn token_beside_another_credential_is_refused_though_it_is_known() {
    let carrier = "listeners.public.assertion_jwt = { jwks = 'edge.jwks.json', issuer = 'https://edge.example', audience = 'inner', header = 'Authorization', scheme = 'Bearer' }";
    let scene = Scene::with(carrier).await;
    let bearer = format!("Bearer {}", scene.token(json!({})));
    let edge = scene.client(EDGE).h2();
    let mut session = edge.connect(scene.proxy.public()).await.unwrap();
    let alone = with(get("/alone"), "authorization", &bearer);
    assert_eq!(session.send(alone).await.unwrap().status, 200);
    for [first, second] in [["Basic YTpi", &*bearer], [&*bearer, "Basic YTpi"]] {
        let both = with(get("/both"), "authorization", first);
        let both = with(both, "authorization", second);
        assert_eq!(session.send(both).await.unwrap().status, 400);
    }
    let fault = scene.fault("/both").await;
    assert_eq!(fault, "downstream/request_head/assertion_refused");
    assert_eq!(scene.upstream.only_request().path, "/alone");
}

#[tokio::test]
async fn subject_of_a_token_is_no_further_name_where_it_only_repeats_the_others() {
    let scene = Scene::new().await;
    let named = |uri: &[&str]| {
        let names = uri.iter().map(|uri| format!("URI={uri}"));
        names.collect::<Vec<_>>().join(";")
    };
    let distinguished = "CN=web,O=https://prod.example/";
    let (one, other) = ("https://prod.example/a", "https://prod.example/b");
    for (claims, names) in [
        // As countersign fills in `{uri}`.
        (
            json!({ "sub": format!("{one},{other}"), "uri": [one, other] }),
            named(&[one, other]),
        ),
        (
            json!({ "sub": "https://prod.example/x\\,y", "uri": ["https://prod.example/x,y"] }),
            named(&["\"https://prod.example/x,y\""]),
        ),
        (
            json!({ "sub": distinguished, "uri": [] }),
            format!("Subject=\"{distinguished}\""),
        ),
    ] {
        let token = scene.token(claims);
        let said = [("x-client-assertion", &*token)];
        let answer = scene.ask(&scene.client(EDGE), "/", &said).await;
        assert_eq!(answer.status, 200, "{names}");
        let received = scene.upstream.requests().pop().unwrap();
        let told = received.header("x-forwarded-client-cert");
        assert_eq!(told, Some(&*names));
    }
}

#[tokio::test]
async fn policy_goes_by_the_caller_and_can_ask_who_speaks() {
    let scene = Scene::with(&format!(
        "routes = [
            {{ path = '/web', allow = [{{ uri = '{WEB}' }}], upstream = 'orders' }},
            {{ path = '/via', allow = [{{ uri = '{WEB}', via = {{ uri = '{EDGE}' }} }}], upstream = 'orders' }},
            {{ path = '/elsewhere', allow = [{{ uri = '{WEB}', via = {{ uri = '{OTHER}' }} }}], upstream = 'orders' }},
        ]"
    ))
    .await;
    let (edge, web) = (scene.client(EDGE), scene.client(WEB));
    let said = [("x-forwarded-client-cert", &*xfcc(WEB))];
    let wrong = [("x-forwarded-client-cert", &*xfcc(OTHER))];
    let table: [(&Client, &str, Fields<'_>, u16); 7] = [
        (&edge, "/web", &said, 200),
        (&edge, "/web", &wrong, 403),
        (&edge, "/web", &[], 403),
        (&web, "/web", &[], 200),
        (&edge, "/via", &said, 200),
        (&web, "/via", &[], 403),
        (&edge, "/elsewhere", &said, 403),
    ];
    for (client, path, fields, status) in table {
        let answer = scene.ask(client, path, fields).await;
        assert_eq!(answer.status, status, "{path} {fields:?}");
    }
    let denied = |line: &Value| line["path"] == "/elsewhere";
    let cause = scene.proxy.access_line_where(denied).await["cause"].clone();
    let cause = cause.as_str().unwrap();
    let both = format!("the caller `{WEB}`, for whom `{EDGE}` speaks");
    assert!(cause.contains(&both), "{cause}");
}

#[tokio::test]
async fn fingerprint_is_that_of_the_certificate_that_the_peer_states() {
    let stated = HEXLOWER.encode(&[7; 32]);
    let scene = Scene::with(&format!(
        "routes = [
            {{ path = '/one', allow = [{{ fingerprint = '{stated}' }}], upstream = 'orders' }},
        ]"
    ))
    .await;
    let confirmed = |byte: u8| {
        let digest = data_encoding::BASE64URL_NOPAD.encode(&[byte; 32]);
        scene.token(json!({ "cnf": { "x5t#S256": digest } }))
    };
    let (jwt, elements) = ("x-client-assertion", "x-forwarded-client-cert");
    let (right, wrong, none) = (confirmed(7), confirmed(8), scene.token(json!({})));
    let element = xfcc(WEB);
    let table: [(Fields<'_>, u16); 7] = [
        (&[(jwt, &right)], 200),
        (&[(jwt, &wrong)], 403),
        (&[(jwt, &none)], 403),
        (&[(elements, &element)], 200),
        (&[(elements, &element), (jwt, &right)], 200),
        (&[(elements, &element), (jwt, &wrong)], 400),
        (&[], 403),
    ];
    for client in scene.client(EDGE).in_both_protocols() {
        for (fields, status) in table {
            let answer = scene.ask(&client, "/one", fields).await;
            assert_eq!(answer.status, status, "{fields:?}");
        }
    }
    // Nobody else can say so of itself.
    let said = [(jwt, &*right)];
    let answer = scene.ask(&scene.client(WEB), "/one", &said).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn what_was_accepted_and_what_was_refused_is_counted_by_listener() {
    let scene = Scene::new().await;
    let (edge, other) = (scene.client(EDGE), scene.client(OTHER));
    let field = "x-forwarded-client-cert";
    let (right, wrong) = (xfcc(WEB), "Hash=00");
    for _ in 0..2 {
        scene.ask(&edge, "/", &[(field, &right)]).await;
    }
    scene.ask(&edge, "/", &[(field, wrong)]).await;
    // Neither is an assertion of a peer that may make one.
    scene.ask(&edge, "/", &[]).await;
    scene.ask(&other, "/", &[(field, &right)]).await;
    let (_, metrics) = scene.proxy.ask_admin("/metrics").await;
    for line in [
        "countersign_assertions_received_total{listener=\"public\",result=\"accepted\"} 2",
        "countersign_assertions_received_total{listener=\"public\",result=\"refused\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}

#[tokio::test]
async fn fields_of_our_own_can_name_who_speaks_and_parts_of_the_subject() {
    let scene = Scene::with(
        "[upstreams.orders.outbound.assertion]\nencode = ['headers']\n\
         headers = { X-Via = '{speaker}', X-Name = '{cn}', X-Who = '{uri}' }",
    )
    .await;
    let web = client_cert(&scene.pki.client_as(WEB));
    let said = [("client-cert", &*web), ("x-via", "forged")];
    for (uri, via) in [(EDGE, &[EDGE][..]), (OTHER, &[])] {
        for client in scene.client(uri).in_both_protocols() {
            assert_eq!(scene.ask(&client, "/", &said).await.status, 200);
            let received = scene.upstream.requests().pop().unwrap();
            assert_eq!(received.values("x-via"), via);
            assert_eq!(received.values("x-name"), ["billing"]);
            let who = if uri == EDGE { WEB } else { OTHER };
            assert_eq!(received.values("x-who"), [who]);
        }
    }
}

#[tokio::test]
async fn credentials_and_connections_are_those_of_the_caller() {
    let callers = format!(
        "[[callers]]\nuri = \"{WEB}\"\ntoken = \"web\"\n[[callers]]\nuri = \"{OTHER}\"\ntoken = \"other\"\n"
    );
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .file("callers.toml", &callers)
        .with("server.workers = 1")
        .with(
            "[listeners.public]\naccept_assertions_from = [{ uri = 'spiffe://edge.example/*' }]\n\
             accept_assertions = ['xfcc']",
        )
        .with(
            "[upstreams.orders.outbound]\npool_per = 'connection'\n\
             credential = { source = 'per_caller', file = 'callers.toml' }",
        )
        .start()
        .await;
    let edge = Client::new(&pki).presenting(&pki.client_as(EDGE));
    let mut session: Session = edge.connect(proxy.public()).await.unwrap();
    for (uri, token) in [
        (WEB, "web"),
        (OTHER, "other"),
        (WEB, "web"),
        (OTHER, "other"),
    ] {
        let request = with(get("/"), "x-forwarded-client-cert", &xfcc(uri));
        assert_eq!(session.send(request).await.unwrap().status, 200);
        let received = upstream.requests().pop().unwrap();
        let expected = format!("Bearer {token}");
        assert_eq!(received.header("authorization"), Some(&*expected));
    }
    assert_eq!(upstream.connections(), 2, "one for each caller");
}

#[tokio::test]
async fn one_connection_speaks_for_more_callers_than_it_remembers() {
    let scene = Scene::new().await;
    let mut session = scene
        .client(EDGE)
        .connect(scene.proxy.public())
        .await
        .unwrap();
    for turn in 0..2 {
        for caller in 0..100 {
            let uri = format!("{WEB}/{caller}");
            let request = with(get("/"), "x-forwarded-client-cert", &xfcc(&uri));
            assert_eq!(session.send(request).await.unwrap().status, 200);
            assert_eq!(scene.told(), Some(uri), "{turn}");
        }
    }
    session.send(get("/")).await.unwrap();
    assert_eq!(scene.told().as_deref(), Some(EDGE));
}

#[tokio::test]
async fn trailers_assert_nothing() {
    let scene = Scene::answering("", |_| Reply::ok("")).await;
    let mut raw = scene.client(EDGE).raw(scene.proxy.public()).await;
    raw.write(format!(
        "POST / HTTP/1.1\r\nHost: {PROXY_NAME}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Forwarded-Client-Cert: {}\r\n\r\n",
        xfcc(WEB)
    ))
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    assert_eq!(scene.told().as_deref(), Some(EDGE));
}

/// An edge before an inner countersign: `edge` is how it says who is calling,
/// `inner` how that is read.
async fn chain(edge: &str, inner: &str) -> (Received, Value) {
    let (pki, service) = (Pki::new(), Upstream::start().await);
    let key = tokens::signing_key();
    let inner = Setup::new(&pki, &service)
        .file("edge.jwks.json", &tokens::key_set(&key))
        .file("own.pem", &key.serialize_pem())
        .with("listeners.public.accept_assertions_from = [{ uri = 'spiffe://edge.example/*' }]")
        .with(inner)
        .with(
            "[upstreams.orders.outbound.assertion]\nencode = ['xfcc', 'jwt']\n\
             jwt = { keys = ['own.pem'], issuer = 'https://inner.example' }",
        )
        .start()
        .await;
    let endpoint = format!("https://{}", inner.public());
    let front = Setup::to(&pki, &endpoint)
        .certificate("edge", &pki.client_as(EDGE))
        .file("assertion.pem", &key.serialize_pem())
        .with(
            "[upstreams.orders.tls]\ntrust = 'clients'\nserver_name = 'SERVER'\n\
             certificate = { chain = 'edge.pem', key = 'edge.key' }"
                .replace("SERVER", PROXY_NAME)
                .as_str(),
        )
        .with("upstreams.orders.outbound.client_certificate_authentication = 'required'")
        .with(edge)
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client_as(WEB));
    let forged = with(get("/chain"), "x-forwarded-client-cert", &xfcc(OTHER));
    let answer = client.send(front.public(), forged).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    (service.only_request(), inner.access_line("/chain").await)
}

#[tokio::test]
async fn countersign_behind_countersign_knows_the_client_and_the_edge() {
    let jwt = "[upstreams.orders.outbound.assertion]\nencode = ['jwt']\n\
         jwt = { keys = ['assertion.pem'], issuer = 'https://edge.example', audience = 'inner' }";
    let reads_jwt = "[listeners.public]\naccept_assertions = ['jwt']\n\
         assertion_jwt = { jwks = 'edge.jwks.json', issuer = 'https://edge.example', audience = 'inner' }";
    let certificate = "upstreams.orders.outbound.assertion.encode = ['client-cert']";
    for (edge, inner) in [
        ("", "listeners.public.accept_assertions = ['xfcc']"),
        (
            certificate,
            "listeners.public.accept_assertions = ['client-cert']",
        ),
        (jwt, reads_jwt),
    ] {
        let (received, line) = chain(edge, inner).await;
        assert_eq!((&line["peer"], &line["for"]), (&json!(EDGE), &json!(WEB)));
        let element = received.header("x-forwarded-client-cert").unwrap();
        assert!(element.contains(&format!("URI={WEB}")), "{element}");
        assert!(!element.contains(OTHER), "{element}");
        let token = received.header("x-client-assertion").unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let payload = data_encoding::BASE64URL_NOPAD
            .decode(payload.as_bytes())
            .unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(claims["sub"], WEB);
        let actors = json!({ "sub": "https://inner.example", "act": { "sub": EDGE } });
        assert_eq!(claims["act"], actors);
    }
}
