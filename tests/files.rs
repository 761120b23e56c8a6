//! Every way in which files are changed puts what they hold in force, each time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::support::change::{counted, is_failing};
use crate::support::disk::{Way, permits, replace};
use crate::support::things::{Scene, Thing, start_without};

/// How long a change may take: 2 s where only polling finds it, and what a busy
/// machine takes to run the test.
const IN_FORCE: Duration = Duration::from_secs(2 + 3);

/// Nothing is found by polling: what is in force was noticed, or asked for.
const NO_POLLING: &str = "server.poll_interval = '1h'";

/// Runs a test of one thing for each of them at a time.
async fn for_each<F>(things: &[Thing], test: impl Fn(Thing) -> F)
where
    F: Future<Output = Duration> + Send + 'static,
{
    let mut all = JoinSet::new();
    for thing in things {
        all.spawn(test(*thing));
    }
    let mut longest = Duration::ZERO;
    while let Some(took) = all.join_next().await {
        match took {
            Ok(took) => longest = longest.max(took),
            Err(cause) => std::panic::resume_unwind(cause.into_panic()),
        }
    }
    println!("in force after {longest:?} at most");
    assert!(longest <= IN_FORCE, "{longest:?}");
}

/// Changes a thing in this way twice; returns the longest time that it took.
async fn twice(mut scene: Scene, way: Way, same_length: bool) -> Duration {
    let mut longest = Duration::ZERO;
    for version in [1, 2] {
        let files = if same_length {
            scene.files(version)
        } else {
            scene.files_of_other_length(version)
        };
        if way == Way::GoneThenBack {
            scene.volume.remove(&files);
            let failing = scene.proxy.metrics_where("a failure", is_failing).await;
            assert_eq!(counted(&failing, "failure"), version as f64);
            assert!(scene.has_in_force(version - 1).await, "{:?}", scene.thing);
        }
        let since = Instant::now();
        scene.volume.change(&files, scene.proxy.pid());
        let took = scene.comes_into_force(version, since).await;
        longest = longest.max(took);
    }
    each_was_one_generation(&scene, 2).await;
    longest
}

/// So many generations came after the first, each of this thing alone.
async fn each_was_one_generation(scene: &Scene, count: u64) {
    let (thing, proxy) = (scene.thing, &scene.proxy);
    proxy.generation_becomes(1 + count).await;
    let published = proxy.published();
    let numbers = published.iter().map(|line| line["generation"].as_u64());
    let wanted: Vec<_> = (2..=1 + count).map(Some).collect();
    assert_eq!(numbers.collect::<Vec<_>>(), wanted, "{thing:?}");
    for line in published {
        let changed = line["changed"].as_str().unwrap();
        let mut words = changed.split(' ');
        assert!(
            words.any(|word| word == thing.change()),
            "{thing:?}: {line}"
        );
    }
}

async fn every_thing_twice(way: Way) {
    for_each(&Thing::ALL, |thing| async move {
        twice(Scene::new(thing, way, NO_POLLING).await, way, true).await
    })
    .await;
}

#[tokio::test]
async fn files_written_in_place_with_the_same_length_are_in_force() {
    every_thing_twice(Way::InPlace).await;
}

#[tokio::test]
async fn files_written_in_place_with_another_length_are_in_force() {
    for_each(&Thing::ALL, |thing| async move {
        let scene = Scene::new(thing, Way::InPlace, NO_POLLING).await;
        twice(scene, Way::InPlace, false).await
    })
    .await;
}

#[tokio::test]
async fn files_renamed_over_others_are_in_force() {
    every_thing_twice(Way::RenameOver).await;
}

#[tokio::test]
async fn kubernetes_volumes_that_are_updated_are_in_force() {
    every_thing_twice(Way::DataSwap).await;
}

#[tokio::test]
async fn folders_removed_and_made_again_are_in_force() {
    every_thing_twice(Way::FolderAgain).await;
}

#[tokio::test]
async fn folders_exchanged_for_others_are_in_force() {
    every_thing_twice(Way::FolderExchanged).await;
}

#[tokio::test]
async fn replaced_targets_of_links_are_in_force() {
    every_thing_twice(Way::LinkTarget).await;
}

#[tokio::test]
async fn links_turned_to_other_files_are_in_force() {
    every_thing_twice(Way::LinkTurned).await;
}

#[tokio::test]
async fn folders_that_are_links_and_turned_are_in_force() {
    every_thing_twice(Way::FolderLinkTurned).await;
}

#[tokio::test]
async fn files_that_were_gone_and_come_back_are_in_force() {
    every_thing_twice(Way::GoneThenBack).await;
}

#[tokio::test]
async fn changes_that_the_system_does_not_tell_of_are_found_by_polling() {
    for_each(&Thing::ALL, |thing| async move {
        let way = Way::OtherName;
        twice(Scene::new(thing, way, "").await, way, true).await
    })
    .await;
}

#[tokio::test]
async fn files_mounted_over_others_are_in_force() {
    if !permits("unshare --mount true") {
        return;
    }
    let launcher = r#"exec unshare --mount "$0" "$@""#;
    for_each(&Thing::ALL, |thing| async move {
        let scene = Scene::launched(thing, Way::BindMount, "", Some(launcher)).await;
        twice(scene, Way::BindMount, true).await
    })
    .await;
}

#[tokio::test]
async fn without_notifications_of_the_system_the_log_says_so_and_polling_finds_changes() {
    const NONE: &str = "echo 0 > /proc/sys/user/max_inotify_instances";
    if !permits(&format!("unshare --user --map-root-user sh -c '{NONE}'")) {
        return;
    }
    let launcher = format!(
        r#"exec unshare --user --map-root-user sh -c '{NONE} && exec "$0" "$@"' "$0" "$@""#
    );
    for_each(&[Thing::Bundle, Thing::Config], |thing| {
        let launcher = launcher.clone();
        async move {
            let way = Way::RenameOver;
            let scene = Scene::launched(thing, way, "", Some(&launcher)).await;
            let told = scene.proxy.log_line("watch.unavailable", |_| true).await;
            assert!(
                told["message"]
                    .as_str()
                    .unwrap()
                    .contains("server.poll_interval")
            );
            twice(scene, way, true).await
        }
    })
    .await;
}

#[tokio::test]
async fn interval_of_polling_is_what_the_config_says() {
    let more = "server.poll_interval = '100ms'";
    let mut scene = Scene::new(Thing::Bundle, Way::OtherName, more).await;
    let mut shortest = Duration::MAX;
    for version in [1, 2, 3] {
        let since = Instant::now();
        scene.change(version);
        let took = scene.comes_into_force(version, since).await;
        // By default each look follows the last one, in which the change before
        // was found, after 1.6 s; of the first, nobody knows when it was.
        if version > 1 {
            shortest = shortest.min(took);
        }
    }
    // The machine may be busy in one of them, and hardly in both.
    assert!(shortest < Duration::from_millis(1200), "{shortest:?}");
    each_was_one_generation(&scene, 3).await;
}

/// What nobody hears of: the system does not tell, and nobody polls.
async fn unheard(thing: Thing) -> Scene {
    let scene = Scene::new(thing, Way::OtherName, NO_POLLING).await;
    // The looks with which it begins are over: one at once, and one for what had
    // changed before its folders were watched. An answer says that all before it is.
    for _ in 0..2 {
        let (_, answer) = scene.proxy.reload().await;
        assert_eq!(answer["outcome"], "unchanged", "{thing:?}: {answer}");
    }
    scene
}

#[tokio::test]
async fn sighup_puts_in_force_what_was_not_noticed() {
    for_each(&Thing::ALL, |thing| async move {
        let mut scene = unheard(thing).await;
        let mut longest = Duration::ZERO;
        for version in [1, 2] {
            scene.change(version);
            assert!(scene.has_in_force(version - 1).await, "{thing:?}");
            let since = Instant::now();
            scene.proxy.hang_up();
            longest = longest.max(scene.comes_into_force(version, since).await);
        }
        assert_eq!(scene.proxy.logged("reload.requested").len(), 2);
        each_was_one_generation(&scene, 2).await;
        longest
    })
    .await;
}

#[tokio::test]
async fn posted_reload_puts_in_force_what_was_not_noticed_and_says_so() {
    for_each(&Thing::ALL, |thing| async move {
        let mut scene = unheard(thing).await;
        let mut longest = Duration::ZERO;
        for version in [1, 2] {
            scene.change(version);
            assert!(scene.has_in_force(version - 1).await, "{thing:?}");
            let since = Instant::now();
            let (status, answer) = scene.proxy.reload().await;
            longest = longest.max(since.elapsed());
            // When it is answered, it is in force.
            assert!(scene.has_in_force(version).await, "{thing:?} {version}");
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["outcome"], "published");
            assert_eq!(answer["generation"], version + 1);
            assert_eq!(answer["changed"][0], thing.change());
            let (status, answer) = scene.proxy.reload().await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["outcome"], "unchanged");
            assert_eq!(answer["generation"], version + 1);
        }
        each_was_one_generation(&scene, 2).await;
        longest
    })
    .await;
}

#[tokio::test]
async fn burst_of_changes_is_one_generation() {
    for_each(&Thing::ALL, |thing| async move {
        let mut scene = Scene::new(thing, Way::RenameOver, NO_POLLING).await;
        let mut longest = Duration::ZERO;
        for (round, last) in [(1, 1), (2, 2)] {
            let since = Instant::now();
            for change in 0..20 {
                scene.change(if change == 19 {
                    last
                } else {
                    (change + round) % 2
                });
            }
            longest = longest.max(scene.comes_into_force(last, since).await);
        }
        // It may be in force for a moment before it is told.
        let told = |line: &Value| line["generation"].as_u64() >= Some(3);
        scene.proxy.log_line("generation.published", told).await;
        let number = scene.proxy.generation().await;
        assert!((3..=5).contains(&number), "{thing:?}: {number}");
        longest
    })
    .await;
}

#[tokio::test]
async fn file_that_a_new_config_names_is_in_force_when_it_appears() {
    let mut scene = Scene::new(Thing::Bundle, Way::RenameOver, NO_POLLING).await;
    let config = scene.proxy.path("countersign.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    let pem = |scene: &Scene, version: usize| scene.makers().authorities[version].pem();
    for (round, version) in [(1, 1), (2, 2)] {
        // The one of the round takes the place of the one before.
        let name = format!("later/{round}.pem");
        let former = text.clone();
        text = match round {
            1 => text.replace("live/ca.pem", &name),
            _ => text.replace("later/1.pem", &name),
        };
        assert_ne!(text, former);
        replace(&config, &text);
        let failing = scene.proxy.metrics_where("a failure", is_failing).await;
        assert_eq!(counted(&failing, "failure"), f64::from(round));
        assert!(scene.has_in_force(version - 1).await);
        fs::create_dir_all(scene.proxy.path("later")).unwrap();
        let since = Instant::now();
        fs::write(scene.proxy.path(&name), pem(&scene, version)).unwrap();
        let took = scene.comes_into_force(version, since).await;
        assert!(took <= IN_FORCE, "{took:?}");
    }
    scene.proxy.generation_becomes(3).await;
    assert_eq!(scene.proxy.logged("reload.failed").len(), 2);
}

#[tokio::test]
async fn authorities_added_to_a_folder_and_removed_from_it_are_followed() {
    let more = format!("{NO_POLLING}\ntrust.clients.max_shrink = '100%'");
    let mut scene = Scene::new(Thing::BundleFolder, Way::RenameOver, &more).await;
    let (old, new) = (scene.path(), scene.volume.path("new.pem"));
    let pem = |scene: &Scene, version: usize| scene.makers().authorities[version].pem();
    let mut longest = Duration::ZERO;
    for version in [1, 2] {
        // Two of them, then one.
        fs::write(&new, pem(&scene, version)).unwrap();
        let number = 2 * version as u64;
        scene.proxy.in_force(number).await;
        let anchors = scene.proxy.trust().await["bundles"][0]["anchors"].clone();
        assert_eq!(anchors.as_array().unwrap().len(), 3, "{anchors}");
        let since = Instant::now();
        fs::rename(&new, &old).unwrap();
        longest = longest.max(scene.comes_into_force(version, since).await);
    }
    assert!(longest <= IN_FORCE, "{longest:?}");
    each_was_one_generation(&scene, 4).await;
}

#[tokio::test]
async fn file_that_is_missing_at_the_start_refuses_it() {
    for thing in Thing::ALL
        .into_iter()
        .filter(|thing| *thing != Thing::Config)
    {
        let ended = start_without(thing).await;
        let words = ["live/", "cannot be read", "No such file"];
        ended.expect_code(2).expect_words(&words);
    }
}

/// What leaves the content as it is.
type Touch = fn(&Path);

#[tokio::test]
async fn unchanged_content_publishes_no_generation() {
    const TOUCHES: [Touch; 6] = [
        |path| {
            let now = std::time::SystemTime::now();
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(now + Duration::from_secs(5)).unwrap();
        },
        |path| fs::write(path, fs::read(path).unwrap()).unwrap(),
        |path| replace(path, fs::read(path).unwrap()),
        |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        },
        |path| {
            let aside = path.with_file_name(".aside");
            fs::rename(path, &aside).unwrap();
            fs::rename(aside, path).unwrap();
        },
        |path| fs::write(path.with_file_name(".hidden"), "of no interest").unwrap(),
    ];
    for_each(&Thing::ALL, |thing| async move {
        let more = "server.poll_interval = '100ms'";
        let mut scene = Scene::new(thing, Way::RenameOver, more).await;
        for touch in TOUCHES {
            touch(&scene.path());
            let (status, answer) = scene.proxy.reload().await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["outcome"], "unchanged", "{thing:?}");
        }
        // Without being asked, too: what comes after it is the second generation.
        for touch in TOUCHES {
            touch(&scene.path());
        }
        let since = Instant::now();
        scene.change(1);
        let took = scene.comes_into_force(1, since).await;
        each_was_one_generation(&scene, 1).await;
        assert!(scene.proxy.logged("reload.failed").is_empty());
        took
    })
    .await;
}
