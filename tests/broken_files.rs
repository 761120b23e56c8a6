//! What is broken on disk is never put in force: what was good stays, the
//! operator is told once, and what is put right is in force by itself.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::geteuid;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::support::change::{counted, is_failing};
use crate::support::disk::{Way, permits, replace};
use crate::support::eventually;
use crate::support::pki::PROXY_NAME;
use crate::support::things::{Scene, Thing};

/// Nothing is found by polling: it is noticed that files were put right.
const NO_POLLING: &str = "server.poll_interval = '1h'";

/// Things whose files have a form that can be broken.
const WITH_FORM: [Thing; 13] = [
    Thing::Bundle,
    Thing::BundleFolder,
    Thing::OwnCertificate,
    Thing::RevocationList,
    Thing::RevocationFolder,
    Thing::Config,
    Thing::UpstreamBundle,
    Thing::UpstreamCertificate,
    Thing::TicketKeys,
    Thing::CallersCredentials,
    Thing::SigningKey,
    Thing::KeysOfOthers,
    Thing::MachineAuthorities,
];

/// Breaks the file at a path.
type Break = fn(&Scene, &Path);

/// Breaks these things, and asserts what must come of it.
async fn for_each(things: &[Thing], word: &'static str, break_it: Break) {
    let mut all = JoinSet::new();
    for thing in things.iter().copied() {
        all.spawn(async move {
            let scene = Scene::new(thing, Way::RenameOver, NO_POLLING).await;
            broken_and_put_right(scene, word, break_it).await;
        });
    }
    ended(all).await;
}

/// Waits for the end of all, and fails as the first of them does.
async fn ended(mut all: JoinSet<()>) {
    while let Some(ended) = all.join_next().await {
        if let Err(cause) = ended {
            std::panic::resume_unwind(cause.into_panic());
        }
    }
}

/// Breaks the thing twice, each of its files if it has several, and puts it
/// right: what was there comes back, then something new.
async fn broken_and_put_right(mut scene: Scene, word: &str, break_it: Break) {
    let mut open = scene.connection().await;
    let before = scene.proxy.trust().await;
    assert_eq!(before["failing"], false);
    assert_eq!(before["last_failure"], Value::Null);
    let paths = scene.paths();
    let mut lines = 0;
    for (round, path) in [&paths[0], &paths[paths.len() - 1]].into_iter().enumerate() {
        let good = scene.proxy.trust().await["last_success"].clone();
        break_it(&scene, path);
        scene.proxy.metrics_where("a failure", is_failing).await;
        lines = told_once(&scene, word, path, lines).await;
        let now = scene.proxy.trust().await;
        assert_eq!(now["failing"], true);
        assert_eq!(now["last_success"], good);
        assert!(scene.has_in_force(0).await, "{:?}", scene.thing);
        scene.goes_on(&mut open).await;
        assert_eq!(scene.proxy.generation().await, 1);
        assert!(scene.proxy.published().is_empty());
        put_right(&mut scene, path, round).await;
    }
    assert_eq!(scene.proxy.logged("reload.failed").len(), lines);
}

/// What failed is told once, however often it is looked at. `before`: the lines
/// before it; returns those after it.
async fn told_once(scene: &Scene, word: &str, path: &Path, before: usize) -> usize {
    let proxy = &scene.proxy;
    let since = counted(&proxy.metrics().await, "failure");
    assert!(since >= 1.0);
    let first = proxy.trust().await["last_failure"].clone();
    let problems = first["problems"].as_array().unwrap();
    // The log is written a moment after it is counted.
    let lines = eventually("a line for each problem", || {
        let lines = proxy.logged("reload.failed").split_off(before);
        Some(lines).filter(|lines| lines.len() >= problems.len())
    })
    .await;
    assert_eq!(lines.len(), problems.len());
    let name = path.file_name().unwrap().to_str().unwrap();
    let causes: Vec<_> = lines.iter().map(|l| l["cause"].as_str().unwrap()).collect();
    assert!(
        causes.iter().any(|cause| cause.contains(word)
            && (!word.is_empty() || cause.contains(name) || cause.contains("live/"))),
        "{:?}: {word} and {name} in {causes:#?}",
        scene.thing
    );
    for line in &lines {
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["generation"], 1);
    }
    for _ in 0..2 {
        let (status, answer) = proxy.reload().await;
        assert_eq!(status, 422, "{answer}");
        assert_eq!(answer["outcome"], "failed");
        assert_eq!(answer["problems"], first["problems"]);
    }
    proxy.hang_up();
    let failures = |metrics: &_| counted(metrics, "failure") >= since + 3.0;
    proxy.metrics_where("each attempt", failures).await;
    let last = proxy.trust().await["last_failure"].clone();
    assert_eq!(last["since"], first["since"]);
    assert_eq!(last["problems"], first["problems"]);
    assert!(last["last"].as_str() > first["last"].as_str());
    let attempts = |failure: &Value| failure["attempts"].as_u64().unwrap();
    assert!(attempts(&last) >= attempts(&first) + 3, "{last}");
    let after = proxy.logged("reload.failed").len();
    assert_eq!(after, before + lines.len());
    after
}

/// Puts a broken thing right, by what was there before (round 0) or by its next
/// version (round 1): it is in force without a signal, and told of once.
async fn put_right(scene: &mut Scene, path: &Path, round: usize) {
    let failed = scene.proxy.trust().await["last_failure"].clone();
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    }
    let asked = scene.proxy.logged("reload.requested").len();
    let since = Instant::now();
    scene.change(round);
    let good = |metrics: &_| !is_failing(metrics);
    scene.proxy.metrics_where("no failure", good).await;
    let took = scene.comes_into_force(round, since).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Said each time, and what is new is a generation.
    let recovered = || Some(scene.proxy.logged("reload.recovered")).filter(|l| l.len() > round);
    let recovered = eventually("that it is said", recovered).await;
    assert_eq!(recovered.len(), round + 1, "{:?}", scene.thing);
    assert_eq!(scene.proxy.published().len(), round, "{:?}", scene.thing);
    assert_eq!(scene.proxy.logged("reload.requested").len(), asked);
    let now = scene.proxy.trust().await;
    assert_eq!(now["failing"], false);
    assert_eq!(now["generation"], 1 + round);
    assert_eq!(now["last_failure"]["since"], failed["since"]);
    assert_eq!(now["last_failure"]["problems"], failed["problems"]);
    assert!(now["last_success"].as_str() > failed["last"].as_str());
}

#[tokio::test]
async fn truncated_file_is_not_put_in_force() {
    for_each(&WITH_FORM, "", |_, path| {
        let whole = fs::read_to_string(path).unwrap();
        // Of a bundle of two, not just the first.
        let part = &whole[..whole.trim_end().len() / 3];
        fs::write(path, part).unwrap();
    })
    .await;
}

#[tokio::test]
async fn empty_file_is_not_put_in_force() {
    for_each(&Thing::ALL, "", |_, path| fs::write(path, "").unwrap()).await;
}

#[tokio::test]
async fn garbage_is_not_put_in_force() {
    for_each(&Thing::ALL, "", |_, path| {
        let noise: Vec<u8> = (0..=255).cycle().take(3000).collect();
        replace(path, noise);
    })
    .await;
}

#[tokio::test]
async fn directory_in_the_place_of_a_file_is_not_put_in_force() {
    for_each(&Thing::ALL, "", |_, path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn link_without_a_target_is_not_put_in_force() {
    for_each(&Thing::ALL, "No such file", |_, path| {
        fs::remove_file(path).unwrap();
        symlink("nowhere", path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn file_that_may_not_be_read_is_not_put_in_force() {
    // Root reads everything, unless it may not.
    const BOUND: &str = "setpriv --bounding-set=-dac_override,-dac_read_search";
    let is_root = geteuid().is_root();
    if is_root && !permits(&format!("{BOUND} true")) {
        return;
    }
    let launcher = is_root.then(|| format!(r#"exec {BOUND} "$0" "$@""#));
    let mut all = JoinSet::new();
    for thing in Thing::ALL {
        let launcher = launcher.clone();
        all.spawn(async move {
            let way = Way::RenameOver;
            let scene = Scene::launched(thing, way, NO_POLLING, launcher.as_deref()).await;
            broken_and_put_right(scene, "Permission denied", |_, path| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            })
            .await;
        });
    }
    ended(all).await;
}

#[tokio::test]
async fn file_that_is_gone_is_not_put_in_force() {
    let things = Thing::ALL;
    for_each(&things, "", |_, path| fs::remove_file(path).unwrap()).await;
}

#[tokio::test]
async fn key_of_another_leaf_is_not_put_in_force() {
    let things = [Thing::OwnCertificate, Thing::UpstreamCertificate];
    for_each(&things, "key", |scene, _| {
        fs::write(scene.path(), scene.makers().other_key()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn expired_leaf_is_not_put_in_force_and_told_once_while_time_goes_on() {
    for thing in [Thing::OwnCertificate, Thing::UpstreamCertificate] {
        let mut scene = Scene::new(thing, Way::RenameOver, NO_POLLING).await;
        let leaf = scene.makers().pki.root().leaf().dns(PROXY_NAME);
        let leaf = leaf.ended(Duration::from_secs(9)).issue();
        let paths = scene.paths();
        replace(&paths[1], leaf.key_pem());
        replace(&paths[0], leaf.chain_pem());
        let expired = |line: &Value| line["cause"].as_str().unwrap().contains("has expired");
        scene.proxy.log_line("reload.failed", expired).await;
        let before = scene.proxy.logged("reload.failed").len();
        let since = Instant::now();
        let (_, first) = scene.proxy.reload().await;
        // Longer than the least unit in which a text might count.
        while since.elapsed() < Duration::from_millis(1200) {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(scene.proxy.reload().await, (422, first.clone()));
        }
        assert_eq!(scene.proxy.logged("reload.failed").len(), before);
        assert!(scene.has_in_force(0).await, "{thing:?}");
    }
}

/// Nobody is revoked by it who was, so it waits for somebody to confirm that.
#[tokio::test]
async fn revocation_list_of_another_authority_is_held_back_and_said_once() {
    for thing in [Thing::RevocationList, Thing::RevocationFolder] {
        let mut scene = Scene::new(thing, Way::RenameOver, NO_POLLING).await;
        let mut open = scene.connection().await;
        replace(&scene.path(), scene.makers().authorities[0].crl(&[]));
        let line = scene.proxy.log_line("reload.held_back", |_| true).await;
        assert_eq!(line["bundle"], "clients");
        assert!(
            line["cause"]
                .as_str()
                .unwrap()
                .contains("CN=Countersign Test Root")
        );
        for _ in 0..2 {
            let (status, answer) = scene.proxy.reload().await;
            assert_eq!(status, 409, "{answer}");
            assert_eq!(answer["held_back"][0]["bundle"], "clients");
        }
        let held_back = |metrics: &_| is_failing(metrics) && counted(metrics, "held_back") >= 3.0;
        let metrics = scene.proxy.metrics_where("each attempt", held_back).await;
        assert_eq!(counted(&metrics, "failure"), 0.0);
        let told = scene.proxy.trust().await;
        assert_eq!(told["failing"], true);
        assert!(told["last_failure"]["attempts"].as_u64().unwrap() >= 3);
        assert_eq!(told["last_failure"]["held_back"][0]["bundle"], "clients");
        assert_eq!(scene.proxy.logged("reload.held_back").len(), 1);
        assert!(scene.has_in_force(0).await);
        scene.goes_on(&mut open).await;
        assert_eq!(scene.proxy.generation().await, 1);
        let since = Instant::now();
        scene.change(1);
        scene.comes_into_force(1, since).await;
        scene.proxy.generation_becomes(2).await;
        assert_eq!(scene.proxy.trust().await["failing"], false);
    }
}

#[tokio::test]
async fn revocation_list_of_the_same_name_and_another_key_is_not_put_in_force() {
    let things = [Thing::RevocationList, Thing::RevocationFolder];
    for_each(&things, "", |scene, path| {
        let rekeyed = scene.makers().pki.root().same_name_other_key();
        replace(path, rekeyed.crl(&[]));
    })
    .await;
}

/// Breaks the config alone, with this instead of that.
async fn config_with(word: &'static str, break_it: Break) {
    for_each(&[Thing::Config], word, break_it).await;
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    replace(path, text.replacen(from, to, 1));
}

#[tokio::test]
async fn config_with_a_syntax_error_is_not_put_in_force() {
    config_with("", |_, path| edit(path, "[server]", "[server")).await;
}

#[tokio::test]
async fn config_with_an_unknown_key_is_not_put_in_force() {
    config_with("workrs", |_, path| edit(path, "workers", "workrs")).await;
}

#[tokio::test]
async fn config_with_another_number_of_workers_is_not_put_in_force() {
    config_with("server.workers", |_, path| {
        edit(path, "workers = 2", "workers = 3");
    })
    .await;
}

#[tokio::test]
async fn config_with_another_admin_address_is_not_put_in_force() {
    config_with("admin.bind", |scene, path| {
        let text = scene.makers().config(0);
        let (before, after) = text.split_once("[admin]\nbind = \"127.0.0.1:0\"").unwrap();
        replace(
            path,
            format!("{before}[admin]\nbind = \"127.0.0.1:1\"{after}"),
        );
    })
    .await;
}

#[tokio::test]
async fn config_with_a_new_listener_on_a_taken_address_is_not_put_in_force() {
    config_with("in use", |scene, path| {
        // The proxy itself has it.
        let taken = scene.proxy.admin();
        assert!(TcpListener::bind(taken).is_err());
        let text = scene.makers().config(0);
        let listener = format!("[listeners.other]\nbind = \"{taken}\"\n");
        replace(path, format!("{text}\n{listener}"));
    })
    .await;
}

#[tokio::test]
async fn part_of_a_file_is_never_in_force_while_its_writer_pauses() {
    let mut all = JoinSet::new();
    for thing in WITH_FORM {
        all.spawn(async move {
            let mut scene = Scene::new(thing, Way::RenameOver, NO_POLLING).await;
            let mut open = scene.connection().await;
            for (path, (_, content)) in scene.paths().iter().zip(scene.files(1)) {
                let text = String::from_utf8(content).unwrap();
                let part = text.trim_end().len() / 3;
                fs::write(path, &text[..part]).unwrap();
                // The pause is what is tested: longer than any is waited for.
                sleep(Duration::from_millis(300)).await;
                let published = scene.proxy.published();
                assert!(published.is_empty(), "{thing:?}: {published:#?}");
                scene.goes_on(&mut open).await;
                fs::write(path, text).unwrap();
            }
            scene.comes_into_force(1, Instant::now()).await;
            scene
                .proxy
                .metrics_where("no failure", |m| !is_failing(m))
                .await;
            scene.proxy.generation_becomes(2).await;
            assert_eq!(scene.proxy.published().len(), 1);
        });
    }
    ended(all).await;
}
