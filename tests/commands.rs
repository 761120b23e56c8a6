//! The commands that end by themselves.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::command::{BINARY, countersign, countersign_on, finish};
use crate::support::pki::{Authority, PROXY_NAME, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn version_is_that_of_the_package() {
    let finished = countersign(&["--version"]).await;
    finished.expect_code(0);
    assert_eq!(
        finished.stdout.trim(),
        concat!("countersign ", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn help_names_every_command() {
    let finished = countersign(&["--help"]).await;
    finished.expect_code(0);
    for command in [
        "run",
        "check",
        "demo",
        "healthcheck",
        "explain",
        "trust",
        "reference",
    ] {
        assert!(
            finished.stdout.contains(command),
            "{command} is missing in:\n{}",
            finished.stdout
        );
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_code_2() {
    for arguments in [
        &["--bogus"][..],
        &["bogus"],
        &["run"],
        &["run", "--config"],
        &["check"],
        &["trust"],
        &["trust", "preview"],
        &["explain"],
    ] {
        let finished = countersign(arguments).await;
        finished.expect_code(2);
        assert!(!finished.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn check_prints_what_it_found() {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    let setup = Setup::new(&pki, &upstream);
    let finished = setup.run("check").await;
    finished.expect_code(0);
    let found = format!("{}{}", finished.stdout, finished.stderr);
    for word in ["public", "proxy.test", "clients", "orders"] {
        assert!(found.contains(word), "{word} is missing in:\n{found}");
    }
}

/// What `check` prints of a config that is in order.
async fn checked(setup: &Setup) -> String {
    let finished = setup.run("check").await;
    finished.expect_code(0);
    finished.stdout
}

#[tokio::test]
async fn check_says_when_a_bundle_first_runs_out() {
    let pki = Pki::new();
    let setup = Setup::to(&pki, "http://127.0.0.1:1");
    let found = checked(&setup).await;
    let anchors = "anchors of clients: first to expire is \"CN=Countersign Test Root\", in ";
    assert!(found.contains(anchors), "{found}");
    assert!(!found.contains("revocation lists of clients"), "{found}");
    let setup = setup
        .file("root.crl", &pki.root().crl(&[]))
        .with("trust.clients.crl = ['root.crl']");
    let found = checked(&setup).await;
    let lists = "revocation lists of clients: first to run out is that of \"CN=Countersign Test Root\", in ";
    assert!(found.contains(lists), "{found}");
}

#[tokio::test]
async fn check_warns_of_a_list_that_covers_no_anchor() {
    let pki = Pki::new();
    let setup = Setup::to(&pki, "http://127.0.0.1:1")
        .file("root.crl", &pki.root().crl(&[]))
        .with("trust.clients.crl = ['root.crl']");
    assert!(!checked(&setup).await.contains("warning"));
    let stranger = Authority::root("Stranger");
    let setup = setup
        .file("stranger.crl", &stranger.crl(&[]))
        .with("trust.clients.crl = ['root.crl', 'stranger.crl']");
    let found = checked(&setup).await;
    let warning = "warning: trust.clients: the revocation list of CN=Stranger in ";
    assert!(found.contains(warning), "{found}");
    assert!(found.contains("covers no anchor"), "{found}");
}

#[tokio::test]
async fn check_warns_of_a_certificate_that_is_not_meant_for_its_use() {
    let pki = Pki::new();
    let setup = Setup::to(&pki, "https://127.0.0.1:1")
        .certificate("ours", &pki.client())
        .with(
            "upstreams.orders.tls = { trust = 'clients', server_name = 'orders.internal', certificate = { chain = 'ours.pem', key = 'ours.key' } }",
        );
    let found = checked(&setup).await;
    assert!(!found.contains("warning"), "{found}");

    let setup = setup
        .certificate("ours", &pki.proxy())
        .certificate("proxy", &pki.root().leaf().client().dns(PROXY_NAME).issue());
    let found = checked(&setup).await;
    for (whose, lacks) in [
        ("listeners.public.tls", "serverAuth"),
        ("upstreams.orders.tls", "clientAuth"),
    ] {
        let warned = found.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with(&format!("warning: {whose}: ")) && line.contains(lacks)
        });
        assert!(warned, "{whose} in:\n{found}");
    }

    let layer = "upstreams.orders.outbound.client_certificate_authentication = 'never'";
    let found = checked(&setup.with(layer)).await;
    assert!(!found.contains("clientAuth"), "{found}");
}

#[tokio::test]
async fn completions_know_the_commands_within_commands() {
    for shell in ["bash", "fish", "zsh"] {
        let finished = countersign(&["completions", shell]).await;
        finished.expect_code(0);
        for word in ["preview", "admin", "json"] {
            assert!(finished.stdout.contains(word), "{word} in {shell}");
        }
    }
}

#[tokio::test]
async fn check_opens_no_port() {
    let pki = Pki::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::to(&pki, "http://127.0.0.1:1");
    let setup = setup.with(&format!(
        "listeners.public.bind = '{}'",
        taken.local_addr().unwrap()
    ));
    setup.run("check").await.expect_code(0);
}

#[tokio::test]
async fn reference_is_the_file_in_the_repository() {
    let finished = countersign(&["reference"]).await;
    finished.expect_code(0);
    let kept = std::fs::read_to_string(repository("config/reference.toml")).unwrap();
    let mut pairs = finished.stdout.lines().zip(kept.lines()).enumerate();
    if let Some((number, (printed, kept))) = pairs.find(|(_, (printed, kept))| printed != kept) {
        panic!(
            "config/reference.toml:{}: printed {printed:?}, kept {kept:?}",
            number + 1
        );
    }
    assert_eq!(finished.stdout.len(), kept.len(), "one of them goes on");
}

#[tokio::test]
async fn examples_of_the_repository_have_no_problem_but_missing_files() {
    for name in ["sidecar", "legacy-backend", "mutual-upstream", "egress"] {
        let path = repository(&format!("config/{name}.toml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        text.parse::<toml::Table>()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let finished = countersign_on("check", &path).await;
        let unknown = finished.stderr.to_lowercase().contains("unknown");
        assert!(!unknown, "{name}:\n{}", finished.stderr);
    }
}

#[tokio::test]
async fn demo_proves_itself_once_and_leaves_nothing_behind() {
    let (temporary, working) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--once"])
        .env("TMPDIR", temporary.path())
        .current_dir(working.path());
    let finished = finish(&mut demo).await;
    finished.expect_code(0);
    let text = format!("{}{}", finished.stdout, finished.stderr).to_lowercase();
    assert!(
        text.contains("accepted") && text.contains("refused"),
        "{text}"
    );
    for folder in [&temporary, &working] {
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn demo_keeps_its_files_where_it_is_told_to() {
    let folder = TempDir::new().unwrap();
    let kept = folder.path().join("kept");
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--once", "--dir"]).arg(&kept);
    finish(&mut demo).await.expect_code(0);
    let config = std::fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let config = config
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect::<Vec<_>>();
    assert_eq!(config.len(), 1, "{config:?}");
    countersign_on("check", &config[0]).await.expect_code(0);
}

#[tokio::test]
async fn demo_keeps_its_keys_from_others() {
    let folder = TempDir::new().unwrap();
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--once", "--dir"]).arg(folder.path());
    finish(&mut demo).await.expect_code(0);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn demo_overwrites_nothing_and_writes_nothing_beside_it() {
    for name in ["countersign.toml", "server.key", "ca.pem"] {
        let folder = TempDir::new().unwrap();
        let mine = folder.path().join(name);
        std::fs::write(&mine, "mine").unwrap();
        let mut demo = Command::new(BINARY);
        demo.args(["demo", "--once", "--dir"]).arg(folder.path());
        let finished = finish(&mut demo).await;
        finished
            .expect_code(2)
            .expect_words(&[&mine.to_string_lossy(), "overwrites nothing"]);
        assert_eq!(std::fs::read_to_string(&mine).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    // Not through a link either, wherever it leads.
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("client.key");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--once", "--dir"]).arg(folder.path());
    finish(&mut demo).await.expect_code(2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn demo_does_not_take_a_file_for_a_folder() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--once", "--dir"]).arg(&file);
    let finished = finish(&mut demo).await;
    finished
        .expect_code(2)
        .expect_words(&[&file.to_string_lossy()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn demo_invites_to_the_port_that_it_serves_until_it_is_told_to_stop() {
    let mut demo = Command::new(BINARY)
        .arg("demo")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (said, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(demo.stdout.take().unwrap());
    std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| said.send(line))
    });
    let connected = (0..20).find_map(|_| {
        let line = lines.recv_timeout(PATIENCE).ok()?;
        let (_, rest) = line.split_once("https://localhost:")?;
        let port: u16 = rest.trim_end_matches('/').parse().ok()?;
        Some(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    });
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&demo),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert_eq!(connected, Some(true));
}

#[tokio::test]
async fn demo_that_is_kept_has_ports_that_stay() {
    let folder = TempDir::new().unwrap();
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--once", "--dir"]).arg(folder.path());
    finish(&mut demo).await.expect_code(0);
    let text = std::fs::read_to_string(folder.path().join("countersign.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    let (admin, public) = (&config["admin"], &config["listeners"]["public"]);
    let ports = [admin, public].map(|table| {
        let bind: std::net::SocketAddr = table["bind"].as_str().unwrap().parse().unwrap();
        bind.port()
    });
    assert!(!ports.contains(&0) && ports[0] != ports[1], "{text}");
    assert_eq!(text.matches("any free port will do").count(), 2, "{text}");
}

#[tokio::test]
async fn healthcheck_tells_a_running_proxy_from_a_dead_one() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let mut proxy = Setup::new(&pki, &upstream).start().await;
    let url = format!("http://{}/healthz", proxy.admin());
    countersign(&["healthcheck", "--url", &url])
        .await
        .expect_code(0);
    let missing = format!("http://{}/elsewhere", proxy.admin());
    countersign(&["healthcheck", "--url", &missing])
        .await
        .expect_code(1);
    proxy.terminate();
    proxy.exit_code().await;
    countersign(&["healthcheck", "--url", &url])
        .await
        .expect_code(1);
}

#[tokio::test]
async fn healthcheck_finds_the_admin_address_in_the_config() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let mut proxy = Setup::new(&pki, &upstream)
        .with("admin.bind = 'unix:admin.sock'")
        .start()
        .await;
    let config = proxy.path("countersign.toml");
    countersign_on("healthcheck", &config).await.expect_code(0);
    proxy.terminate();
    proxy.exit_code().await;
    countersign_on("healthcheck", &config).await.expect_code(1);
}
