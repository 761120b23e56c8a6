//! What the process gives up, and what a reload makes of it.

use std::fs;

use serde_json::Value;

use crate::support::client::{Client, get};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

async fn started(toml: &str) -> (Pki, Upstream, Proxy) {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).with(toml).start().await;
    (pki, upstream, proxy)
}

/// A line of what the system says of the process, and of one of its workers.
fn status(proxy: &Proxy, key: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let all = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let mut values: Vec<_> = all
        .map(|text| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        })
        .collect();
    values.sort();
    values.dedup();
    values
}

#[tokio::test]
async fn every_thread_is_confined_and_the_log_and_the_metrics_say_so() {
    let (_pki, _upstream, proxy) = started("").await;
    let line = proxy.log_line("process.confined", |_| true).await;
    let words = line["message"].as_str().unwrap();
    assert_eq!(
        words,
        "core_dumps in force; no_new_privileges in force; landlock in force; seccomp in force"
    );
    assert_eq!(status(&proxy, "NoNewPrivs:"), ["1"]);
    assert_eq!(status(&proxy, "Seccomp:"), ["2"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.id())).unwrap();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    assert_eq!(cores.unwrap().split_whitespace().nth(4), Some("0"));
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("countersign_confinement", &[]), 4.0);
    let (_, trust) = proxy.ask_admin("/trust").await;
    assert!(trust.contains("\"landlock\":\"in force\""), "{trust}");
}

#[tokio::test]
async fn each_part_is_switched_off_by_its_own_option_and_the_log_warns() {
    let off = "server.confinement = { unsafe_no_seccomp = true, unsafe_core_dumps = true }";
    let (_pki, _upstream, proxy) = started(off).await;
    let line = proxy.log_line("process.confined", |_| true).await;
    assert_eq!(line["level"], "WARN");
    let words = line["message"].as_str().unwrap();
    assert!(
        words.contains("core_dumps NOT in force: unsafe_core_dumps = true"),
        "{words}"
    );
    assert!(words.contains("landlock in force"), "{words}");
    assert_eq!(status(&proxy, "Seccomp:"), ["0"]);
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.sum("countersign_confinement", &["part=\"seccomp\""]),
        0.0
    );
    assert_eq!(
        metrics.sum("countersign_confinement", &["part=\"landlock\""]),
        1.0
    );
}

#[tokio::test]
async fn folder_of_an_open_socket_that_was_made_anew_holds_no_reload_back() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).with("admin.bind = 'unix:sockets/admin.sock'");
    let folder = setup.path("sockets");
    fs::create_dir(&folder).unwrap();
    let changed = setup.text_with("server.drain_timeout = '7s'");
    let proxy = setup.start().await;
    fs::rename(&folder, proxy.path("former")).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(proxy.path("countersign.toml"), changed).unwrap();
    proxy.hang_up();
    proxy.in_force(2).await;
    // A socket that is not there yet could not be made.
    let more = "[listeners.more]\nbind = 'unix:sockets/more.sock'\n";
    let text = fs::read_to_string(proxy.path("countersign.toml")).unwrap();
    fs::write(proxy.path("countersign.toml"), format!("{text}{more}")).unwrap();
    proxy.hang_up();
    let line = proxy.log_line("reload.failed", |_| true).await;
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("more.sock cannot be made"), "{cause}");
}

#[tokio::test]
async fn nothing_is_given_up_where_every_option_says_so_and_privileges_are_not_left_alone() {
    let privileges = "server.confinement.unsafe_new_privileges = true";
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let refused = Setup::new(&pki, &upstream)
        .with(privileges)
        .run("check")
        .await;
    refused
        .expect_code(2)
        .expect_words(&["unsafe_new_privileges", "unsafe_no_seccomp"]);
    let off = "server.confinement = { unsafe_no_landlock = true, unsafe_no_seccomp = true, unsafe_core_dumps = true, unsafe_new_privileges = true }";
    let (_pki, _upstream, proxy) = started(off).await;
    let line = proxy.log_line("process.confined", |_| true).await;
    let words = line["message"].as_str().unwrap();
    let said = "no_new_privileges NOT in force: unsafe_new_privileges = true";
    assert!(words.contains(said), "{words}");
    assert_eq!(status(&proxy, "NoNewPrivs:"), ["0"]);
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("countersign_confinement", &[]), 0.0);
}

#[tokio::test]
async fn reload_that_needs_a_folder_out_of_reach_is_refused_and_says_what_to_do() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let elsewhere = tempfile::tempdir().unwrap();
    let bundle = elsewhere.path().join("clients.pem");
    fs::write(&bundle, pki.root().pem()).unwrap();
    let change = format!("trust.clients.ca = ['{}']", bundle.display());
    for named in [false, true] {
        let mut setup = Setup::new(&pki, &upstream);
        if named {
            let folder = elsewhere.path().display();
            setup = setup.with(&format!("server.confinement.also_readable = ['{folder}']"));
        }
        let changed = setup.text_with(&change);
        let proxy = setup.start().await;
        fs::write(proxy.path("countersign.toml"), changed).unwrap();
        proxy.hang_up();
        if named {
            proxy.in_force(2).await;
        } else {
            let line = proxy.log_line("reload.failed", |_| true).await;
            let cause = line["cause"].as_str().unwrap();
            assert!(cause.contains("clients.pem"), "{cause}");
            assert!(
                cause.contains("has confined itself at its start"),
                "{cause}"
            );
            assert!(cause.contains("restart countersign"), "{cause}");
            assert!(
                cause.contains("server.confinement.also_readable"),
                "{cause}"
            );
        }
        let client = Client::new(&pki).presenting(&pki.client());
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn reload_after_a_folder_was_exchanged_says_so_and_needs_the_folder_above() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let other = Pki::new();
    let both = format!("{}{}", pki.root().pem(), other.root().pem());
    for named in [false, true] {
        let elsewhere = tempfile::tempdir().unwrap();
        let folder = elsewhere.path().join("trust");
        let bundle = folder.join("clients.pem");
        fs::create_dir(&folder).unwrap();
        fs::write(&bundle, pki.root().pem()).unwrap();
        let mut setup = Setup::new(&pki, &upstream)
            .with(&format!("trust.clients.ca = ['{}']", bundle.display()));
        if named {
            let above = elsewhere.path().display();
            setup = setup.with(&format!("server.confinement.also_readable = ['{above}']"));
        }
        let proxy = setup.start().await;
        let next = elsewhere.path().join("next");
        fs::create_dir(&next).unwrap();
        fs::write(next.join("clients.pem"), &both).unwrap();
        fs::rename(&folder, elsewhere.path().join("former")).unwrap();
        fs::rename(&next, &folder).unwrap();
        proxy.hang_up();
        if named {
            proxy.in_force(2).await;
        } else {
            let fits = |line: &Value| line["cause"].as_str().unwrap().contains("had this name");
            let line = proxy.log_line("reload.failed", fits).await;
            let cause = line["cause"].as_str().unwrap();
            assert!(cause.contains(&*bundle.to_string_lossy()), "{cause}");
            assert!(cause.contains("restart countersign"), "{cause}");
            assert!(cause.contains("also_readable"), "{cause}");
        }
        let client = Client::new(&pki).presenting(&pki.client());
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn unix_socket_that_a_reload_brings_is_made_in_a_known_folder_and_refused_elsewhere() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let elsewhere = tempfile::tempdir().unwrap();
    let listener = |path: &str| format!("listeners.inside = {{ bind = 'unix:{path}' }}");
    let setup = Setup::new(&pki, &upstream)
        .folder("sockets")
        .with("listeners.first.bind = 'unix:sockets/first.sock'");
    let there = setup.text_with(&listener("sockets/second.sock"));
    let path = elsewhere.path().join("third.sock");
    let not_there = setup.text_with(&listener(path.to_str().unwrap()));
    let proxy = setup.start().await;
    fs::write(proxy.path("countersign.toml"), not_there).unwrap();
    proxy.hang_up();
    let line = proxy.log_line("reload.failed", |_| true).await;
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("third.sock cannot be made"), "{cause}");
    assert!(cause.contains("restart it"), "{cause}");
    fs::write(proxy.path("countersign.toml"), there).unwrap();
    proxy.hang_up();
    proxy.in_force(2).await;
    let client = Client::plaintext(&pki);
    let mut session = client
        .connect(proxy.path("sockets/second.sock"))
        .await
        .unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn unix_socket_is_bound_anew_by_a_reload_in_a_folder_of_its_own_and_not_beside_files() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    for (name, works) in [("sockets/in.sock", true), ("in.sock", false)] {
        let setup = Setup::new(&pki, &upstream).folder("sockets");
        let without = setup.text_with("");
        let setup = setup.with(&format!("listeners.inside.bind = 'unix:{name}'"));
        let with = setup.text_with("");
        let proxy = setup.start().await;
        let config = proxy.path("countersign.toml");
        let published = |number: u64| {
            let is_it = move |line: &Value| line["generation"] == number;
            proxy.log_line("generation.published", is_it)
        };
        fs::write(&config, without).unwrap();
        proxy.hang_up();
        published(2).await;
        fs::write(&config, with).unwrap();
        proxy.hang_up();
        if works {
            published(3).await;
            let client = Client::plaintext(&pki);
            let mut session = client.connect(proxy.path(name)).await.unwrap();
            assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        } else {
            let line = proxy.log_line("reload.failed", |_| true).await;
            let cause = line["cause"].as_str().unwrap();
            assert!(cause.contains("has left its file there"), "{cause}");
            assert!(cause.contains("a folder of their own"), "{cause}");
        }
    }
}

#[tokio::test]
async fn names_of_upstreams_are_looked_up_in_confinement() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let endpoint = upstream.endpoint().replace("127.0.0.1", "localhost");
    assert!(endpoint.contains("localhost"), "{endpoint}");
    let proxy = Setup::to(&pki, &endpoint).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn memory_of_the_process_is_of_small_pages() {
    let (_pki, _upstream, proxy) = started("").await;
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    // Kernels before 5.0 do not say.
    let huge = status.lines().find(|line| line.starts_with("THP_enabled"));
    assert!(huge.is_none_or(|line| line.ends_with('0')), "{huge:?}");
}
