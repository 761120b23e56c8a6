//! The status page: what it shows, to whom, and what may be done there.

use aws_lc_rs::digest;
use data_encoding::BASE64;

use crate::support::client::{Client, get};
use crate::support::pki::{Authority, CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::{Raw, RawAnswer};
use crate::support::upstream::{Gate, Reply, Upstream};

/// Asks for the page under this name.
async fn page_as(proxy: &Proxy, host: &str) -> RawAnswer {
    ask(proxy, "GET /", host, "").await
}

async fn page(proxy: &Proxy) -> String {
    let answer = page_as(proxy, &proxy.admin().to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer.body
}

/// Sends a request with more fields, and perhaps a body after an empty line.
async fn ask(proxy: &Proxy, line: &str, host: &str, more: &str) -> RawAnswer {
    let mut raw = Raw::plain(proxy.admin()).await;
    let end = if more.contains("\r\n\r\n") {
        ""
    } else {
        "\r\n"
    };
    raw.write(format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}{end}"
    ))
    .await;
    raw.read_response().await
}

/// Sends a form as a browser does that shows the page; `change` may change that.
async fn submit(proxy: &Proxy, form: &str, change: impl Fn(String) -> String) -> RawAnswer {
    let host = proxy.admin().to_string();
    let fields = format!(
        "Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    ask(proxy, "POST /actions", &host, &change(fields)).await
}

/// The token that the forms of the page carry.
async fn token(proxy: &Proxy) -> String {
    let page = page(proxy).await;
    let (_, rest) = page.split_once("name=\"token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

/// The row of a table that holds this text.
fn row(page: &str, text: &str) -> String {
    let rows = page.split("<tr role=\"row\">");
    let mut found = rows.filter(|row| row.contains(text));
    found
        .next()
        .unwrap_or_else(|| panic!("no row with {text}: {page}"))
        .to_owned()
}

#[tokio::test]
async fn page_is_one_document_whose_policy_knows_its_own_style_and_script_alone() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let answer = page_as(&proxy, "localhost").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.values("content-type"), ["text/html; charset=utf-8"]);
    assert_eq!(answer.values("cache-control"), ["no-store"]);
    assert_eq!(answer.values("x-frame-options"), ["DENY"]);
    let policy = answer.values("content-security-policy").join("");
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let (_, rest) = answer.body.split_once(&format!("<{tag}>")).unwrap();
        let (content, rest) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert!(!rest.contains(&format!("<{tag}")), "there is one {tag}");
        let hash = digest::digest(&digest::SHA256, content.as_bytes());
        let hash = BASE64.encode(hash.as_ref());
        let wanted = format!("{directive} 'sha256-{hash}';");
        assert!(policy.contains(&wanted), "{wanted}\n{policy}");
    }
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let mut raw = Raw::plain(proxy.admin()).await;
    raw.write("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(raw.read_head().await.status, 200);
}

#[tokio::test]
async fn page_shows_who_is_connected_and_what_they_asked_for() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    for _ in 0..3 {
        session.send(get("/")).await.unwrap();
    }
    let shown = page(&proxy).await;
    let peer = row(&shown, CLIENT_URI);
    assert!(
        peer.contains("data-label=\"Requests\"><div>3</div>"),
        "{peer}"
    );
    assert!(
        peer.contains("data-label=\"Connections\"><div>1</div>"),
        "{peer}"
    );
    assert!(
        peer.contains("data-label=\"Bundle\"><div>clients</div>"),
        "{peer}"
    );
    let listener = row(&shown, ">public<");
    assert!(
        listener.contains("certificate required (clients)"),
        "{listener}"
    );
    assert!(
        listener.contains("data-label=\"Open\"><div>1</div>"),
        "{listener}"
    );
    assert!(row(&shown, ">orders<").contains(upstream.endpoint()));
    assert!(shown.contains("Generation 1</h3>"));
    for kind in ["own certificate", "anchor"] {
        row(&shown, &format!("<small>{kind}</small>"));
    }
    drop(session);
    // Those that have ended count on.
    let mut again = client.connect(proxy.public()).await.unwrap();
    again.send(get("/")).await.unwrap();
    crate::support::trust::open_are(&proxy, "public", 1).await;
    let peer = row(&page(&proxy).await, CLIENT_URI);
    assert!(
        peer.contains("data-label=\"Requests\"><div>4</div>"),
        "{peer}"
    );
}

#[tokio::test]
async fn endpoint_that_is_left_alone_stands_there_with_its_cause_and_its_time() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let nobody = Upstream::refused_endpoint().await;
    let both = format!(
        "upstreams.orders.endpoints = ['{nobody}', '{}']",
        upstream.endpoint()
    );
    let proxy = Setup::new(&pki, &upstream)
        .with(&both)
        .with("server.workers = 1")
        .with("upstreams.orders.balance = 'round_robin'")
        .with("upstreams.orders.ejection = { base = '10m', longest = '10m' }")
        .start()
        .await;
    assert!(!page(&proxy).await.contains("left alone"));
    let client = Client::new(&pki).presenting(&pki.client());
    for _ in 0..2 {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let shown = page(&proxy).await;
    let upstreams = row(&shown, ">orders<");
    assert!(
        upstreams.contains("left alone by 1 worker, for "),
        "{upstreams}"
    );
    assert!(upstreams.contains("min"), "{upstreams}");
    assert!(upstreams.contains("refused"), "{upstreams}");
    assert!(shown.contains("1 of 2 endpoints are failing"), "{shown}");
    let ejected = |endpoint: &str| {
        let label = format!("endpoint=\"{endpoint}\"");
        let proxy = &proxy;
        async move {
            proxy
                .metrics()
                .await
                .sum("endpoint_ejected_workers", &[&*label])
        }
    };
    assert_eq!(ejected(&nobody).await, 1.0);
    assert_eq!(ejected(upstream.endpoint()).await, 0.0);
}

#[tokio::test]
async fn refusals_stand_on_the_page_with_what_they_need_and_their_names_are_no_markup() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ path = '/open', upstream = 'orders' }]")
        .start()
        .await;
    let evil = "\"><script>alert(1)</script>";
    let stranger = Authority::root(evil);
    let leaf = stranger.leaf().client().uri("spiffe://evil.example/'><b>");
    let leaf = leaf.common_name(evil).issue();
    Client::new(&pki)
        .presenting(&leaf)
        .refusal(proxy.public())
        .await;
    let mut raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    raw.write("GET /nowhere\"onclick=\"alert(1) HTTP/1.1\r\nHost: \"onload=x\r\n\r\n")
        .await;
    raw.read_head().await;
    proxy.log_line("handshake.refused", |_| true).await;
    let shown = page(&proxy).await;
    assert!(shown.contains("untrusted"), "{shown}");
    assert!(shown.contains("<b>Needs:</b>"), "{shown}");
    assert!(shown.contains("&lt;script\\&gt;alert(1)"), "{shown}");
    assert_eq!(shown.matches("<script").count(), 1, "its own: {shown}");
    for markup in ["<b>'", "'><b>", "\"onclick=", "\"onload="] {
        assert!(!shown.contains(markup), "{markup}: {shown}");
    }
}

#[tokio::test]
async fn name_that_others_may_own_gets_421_and_a_known_one_gets_the_page() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("admin.hosts = ['status.example.com']")
        .start()
        .await;
    for path in ["/", "/trust", "/trust/peers", "/refusals", "/metrics"] {
        let line = format!("GET {path}");
        for (host, status) in [
            ("evil.example", 421),
            ("127.0.0.1.evil.example:9901", 421),
            ("status.example.com:9901", 200),
            ("[::1]:9901", 200),
            ("countersign:9901", 200),
        ] {
            let answer = ask(&proxy, &line, host, "").await;
            assert_eq!(answer.status, status, "{path} under {host}");
        }
    }
    let answer = ask(&proxy, "POST /reload", "evil.example", "").await;
    assert_eq!(answer.status, 421);
    let health = ask(&proxy, "GET /healthz", "evil.example", "").await;
    assert_eq!(health.status, 200, "probes may ask under any name");
}

#[tokio::test]
async fn page_changes_nothing_unless_the_config_lets_it() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let shown = page(&proxy).await;
    assert!(!shown.contains("<form"), "{shown}");
    assert!(shown.contains("admin.allow_changes is not set"));
    let answer = submit(&proxy, "token=&do=drain", |fields| fields).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body.contains("admin.allow_changes"), "{answer:?}");
    assert_eq!(proxy.ask_admin("/readyz").await.0, 200);
}

#[tokio::test]
async fn only_the_pages_own_form_is_obeyed() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("admin.allow_changes = true")
        .start()
        .await;
    let form = format!("token={}&do=reload", token(&proxy).await);
    let host = proxy.admin().to_string();
    let origin = format!("Origin: http://{host}\r\n");
    let evil = "Origin: http://evil.example\r\n";
    let site = "Sec-Fetch-Site: same-origin";
    for (from, to) in [
        (origin.as_str(), ""),
        (&origin, "Origin: null\r\n"),
        (&origin, evil),
        (site, "Sec-Fetch-Site: cross-site"),
        (site, "Sec-Fetch-Site: same-site"),
    ] {
        let answer = submit(&proxy, &form, |fields| fields.replace(from, to)).await;
        assert_eq!(answer.status, 403, "{to}: {answer:?}");
        assert!(answer.body.contains("nothing was done"), "{answer:?}");
    }
    let forged = format!("token={}&do=drain", "0".repeat(64));
    assert_eq!(submit(&proxy, &forged, |fields| fields).await.status, 403);
    for (host, status) in [("evil.example", 421), ("countersign", 421)] {
        let fields = format!(
            "Origin: http://{host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let answer = ask(&proxy, "POST /actions", host, &fields).await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
    }
    let bare = page_as(&proxy, "countersign").await.body;
    assert!(
        !bare.contains("name=\"token\""),
        "no token under such a name"
    );
    assert_eq!(ask(&proxy, "GET /actions", &host, "").await.status, 405);
    let answer = submit(&proxy, &form, |fields| fields).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.values("location"), ["/?done=unchanged"]);
    let told = ask(&proxy, "GET /?done=unchanged", &host, "").await;
    assert!(told.body.contains("nothing has changed on the disk"));
}

#[tokio::test]
async fn bundle_that_is_held_back_is_shown_and_can_be_accepted_from_the_page() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let authorities = ["First", "Second", "Third"].map(Authority::root);
    let all: String = authorities.iter().map(Authority::pem).collect();
    let proxy = Setup::new(&pki, &upstream)
        .file("clients.pem", &all)
        .with("admin.allow_changes = true")
        .start()
        .await;
    proxy.rename_over("clients.pem", &authorities[0].pem());
    proxy.log_line("reload.held_back", |_| true).await;
    let shown = page(&proxy).await;
    assert!(
        shown.contains("trust bundle clients waits to be confirmed"),
        "{shown}"
    );
    assert!(shown.contains("it drops 2 of its 3 anchors"), "{shown}");
    let form = format!("token={}&bundle=clients&do=accept", token(&proxy).await);
    let answer = submit(&proxy, &form, |fields| fields).await;
    assert_eq!(
        answer.values("location"),
        ["/?done=published"],
        "{answer:?}"
    );
    let shown = page(&proxy).await;
    assert!(shown.contains("Generation 2</h3>"), "{shown}");
    assert!(!shown.contains("waits to be confirmed"), "{shown}");
}

#[tokio::test]
async fn listener_is_shown_where_it_is_reached_also_after_a_reload() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream);
    let changed = setup.text_with("listeners.first = { bind = '127.0.0.1:0' }");
    let proxy = setup.start().await;
    let shown = page(&proxy).await;
    assert!(shown.contains(&proxy.public().to_string()), "{shown}");
    assert!(!shown.contains("127.0.0.1:0<"), "{shown}");
    std::fs::write(proxy.path("countersign.toml"), changed).unwrap();
    proxy.hang_up();
    let is_it = |line: &serde_json::Value| line["listener"] == "first";
    proxy.log_line("listener.ready", is_it).await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    let first = proxy.listener("first").to_string();
    while !page(&proxy).await.contains(&first) {
        assert!(tokio::time::Instant::now() < deadline, "never shown");
    }
    assert!(page(&proxy).await.contains(&proxy.public().to_string()));
}

#[tokio::test]
async fn drain_from_the_page_finishes_what_is_under_way_and_ends() {
    let (pki, gate) = (Pki::new(), Gate::closed());
    let held = gate.clone();
    let upstream = Upstream::answering(move |_| Reply::ok("hello").behind(&held)).await;
    let mut proxy = Setup::new(&pki, &upstream)
        .with("admin.allow_changes = true")
        .start()
        .await;
    let mut session = Client::new(&pki)
        .presenting(&pki.client())
        .connect(proxy.public())
        .await
        .unwrap();
    let answer = tokio::spawn(session.begin(get("/")).await);
    upstream.received(1).await;
    let form = format!("token={}&do=drain", token(&proxy).await);
    let done = submit(&proxy, &form, |fields| fields).await;
    assert_eq!(done.values("location"), ["/?done=draining"], "{done:?}");
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !page(&proxy).await.contains("countersign is draining") {
        assert!(tokio::time::Instant::now() < deadline, "never draining");
    }
    gate.open();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn drain_from_the_page_waits_out_the_drain_delay_however_often_it_is_asked_for() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let mut proxy = Setup::new(&pki, &upstream)
        .with("admin.allow_changes = true")
        .with("server.drain_timeout = '1m'\nserver.drain_delay = '8s'")
        .start()
        .await;
    let form = format!("token={}&do=drain", token(&proxy).await);
    for _ in 0..3 {
        let done = submit(&proxy, &form, |fields| fields).await;
        assert_eq!(done.values("location"), ["/?done=draining"], "{done:?}");
    }
    proxy
        .log_line("server.stopping", |line| line["drain_delay_ms"] == 8_000)
        .await;
    assert_eq!(proxy.ask_admin("/readyz").await.0, 503);
    let client = Client::new(&pki).presenting(&pki.client());
    let answer = client.get(proxy.public(), "/").await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn changes_are_not_allowed_where_others_can_reach_the_page() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let open = "admin = { bind = '0.0.0.0:9901', allow_changes = true }";
    let refused = Setup::new(&pki, &upstream).with(open).run("check").await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("admin.allow_changes"),
        "{refused:?}"
    );
    let own = "admin = { bind = '127.0.0.1:9901', allow_changes = true }";
    let taken = Setup::new(&pki, &upstream).with(own).run("check").await;
    assert_eq!(taken.code, Some(0), "{taken:?}");
}

#[tokio::test]
async fn what_is_on_the_disk_and_not_in_force_stands_on_the_page() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    assert!(page(&proxy).await.contains("All is well"));
    proxy.overwrite("clients.pem", "no certificate");
    proxy.log_line("reload.failed", |_| true).await;
    let shown = page(&proxy).await;
    assert!(
        shown.contains("what is on the disk is not in force"),
        "{shown}"
    );
    assert!(shown.contains("clients.pem"), "{shown}");
    proxy.overwrite("clients.pem", &pki.root().pem());
    proxy.log_line("reload.recovered", |_| true).await;
    assert!(page(&proxy).await.contains("All is well"));
}
