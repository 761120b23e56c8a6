use std::fs;
use std::os::unix::fs::symlink;
use std::panic::Location;

use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind, RenameMode};
use tempfile::TempDir;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{sleep, timeout};

use super::*;

mod gathering;

/// How long a hint may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited for a hint that must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// A folder, a watch of some paths in it, and the hints that come of it.
struct Scene {
    root: TempDir,
    watch: Watch,
    hints: mpsc::Receiver<()>,
    paths: Vec<PathBuf>,
}

impl Scene {
    /// A folder that `arrange` has filled, where these paths are followed.
    async fn new(paths: &[&str], arrange: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        arrange(root.path());
        let (hint, hints) = mpsc::channel(1);
        let mut scene = Self {
            paths: paths.iter().map(|path| root.path().join(path)).collect(),
            root,
            watch: Watch::start(hint),
            hints,
        };
        scene.settle(SILENCE).await;
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Does what its user does, until no hint came for this long.
    async fn settle(&mut self, quiet: Duration) {
        self.watch.follow(&self.paths);
        while timeout(quiet, self.hints.recv()).await.is_ok() {
            self.watch.follow(&self.paths);
        }
    }

    /// Changes something, which must give a hint, and looks at what has become of it.
    #[track_caller]
    fn hint_of(&mut self, change: impl FnOnce(&Path)) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            change(self.root.path());
            let hint = timeout(PATIENCE, self.hints.recv()).await;
            assert_eq!(hint, Ok(Some(())), "no hint of the change at {caller}");
            self.settle(GATHER_QUIET).await;
        }
    }

    /// Does something that must give no hint.
    #[track_caller]
    fn no_hint_of(&mut self, act: impl FnOnce(&Path)) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.settle(SILENCE).await;
            act(self.root.path());
            let hint = timeout(SILENCE, self.hints.recv()).await;
            assert!(hint.is_err(), "a hint of what was done at {caller}");
        }
    }
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::write(path, text).unwrap();
}

/// Writes a file beside the path, and renames it over it.
fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    write(&aside, text);
    fs::rename(aside, path).unwrap();
}

/// Makes a link beside the path, and renames it over it.
fn relink(target: impl AsRef<Path>, path: &Path) {
    let aside = path.with_extension("new");
    symlink(target, &aside).unwrap();
    fs::rename(aside, path).unwrap();
}

/// Puts the next version into a volume in the way of kubelet: `file` is a link to
/// `..data/file`, and `..data` one to the folder of the version.
fn project(volume: &Path, version: &str) {
    let folder = format!("..2026_{version}");
    fs::create_dir(volume.join(&folder)).unwrap();
    write(volume.join(&folder).join("file"), version);
    let data = volume.join("..data");
    let former = fs::read_link(&data);
    symlink(&folder, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), &data).unwrap();
    match former {
        Ok(former) => fs::remove_dir_all(volume.join(former)).unwrap(),
        Err(_) => symlink("..data/file", volume.join("file")).unwrap(),
    }
}

#[tokio::test]
async fn a_file_that_is_written_in_place_gives_a_hint_each_time() {
    let mut scene = Scene::new(&["file"], |root| write(root.join("file"), "0")).await;
    for text in ["1", "2"] {
        scene.hint_of(|root| write(root.join("file"), text)).await;
    }
}

#[tokio::test]
async fn a_file_that_is_renamed_over_gives_a_hint_each_time() {
    let mut scene = Scene::new(&["file"], |root| write(root.join("file"), "0")).await;
    for text in ["1", "2"] {
        scene
            .hint_of(|root| replace(&root.join("file"), text))
            .await;
        // The new file, too, is written to.
        scene.hint_of(|root| write(root.join("file"), "more")).await;
    }
}

#[tokio::test]
async fn a_projected_volume_gives_a_hint_of_each_version() {
    let mut scene = Scene::new(&["volume/file"], |root| {
        fs::create_dir(root.join("volume")).unwrap();
        project(&root.join("volume"), "1");
    })
    .await;
    for version in ["2", "3"] {
        scene
            .hint_of(|root| project(&root.join("volume"), version))
            .await;
        let now = fs::read_to_string(scene.path("volume/file")).unwrap();
        assert_eq!(now, version);
    }
    let inner = scene.path("volume/..data/file");
    scene.hint_of(|_| write(inner, "in place")).await;
}

#[tokio::test]
async fn a_folder_that_is_removed_and_made_again_gives_a_hint_of_each_step() {
    let mut scene = Scene::new(&["folder/file"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
        write(root.join("folder/file"), "0");
    })
    .await;
    for text in ["1", "2"] {
        scene
            .hint_of(|root| fs::remove_dir_all(root.join("folder")).unwrap())
            .await;
        scene
            .hint_of(|root| fs::create_dir(root.join("folder")).unwrap())
            .await;
        scene
            .hint_of(|root| write(root.join("folder/file"), text))
            .await;
    }
}

#[tokio::test]
async fn a_folder_that_is_made_again_at_once_is_watched_again() {
    let mut scene = Scene::new(&["folder/file"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
        write(root.join("folder/file"), "0");
    })
    .await;
    for text in ["1", "2"] {
        scene
            .hint_of(|root| {
                fs::remove_dir_all(root.join("folder")).unwrap();
                fs::create_dir(root.join("folder")).unwrap();
            })
            .await;
        scene
            .hint_of(|root| write(root.join("folder/file"), text))
            .await;
    }
}

#[tokio::test]
async fn a_folder_that_is_exchanged_for_another_is_watched_again() {
    let mut scene = Scene::new(&["folder/file"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
    })
    .await;
    for old in ["old-1", "old-2"] {
        scene
            .hint_of(|root| {
                fs::create_dir(root.join("next")).unwrap();
                fs::rename(root.join("folder"), root.join(old)).unwrap();
                fs::rename(root.join("next"), root.join("folder")).unwrap();
            })
            .await;
        scene
            .hint_of(|root| write(root.join("folder/file"), "1"))
            .await;
        // What was moved away is no longer of interest.
        scene
            .no_hint_of(|root| write(root.join(old).join("file"), "1"))
            .await;
    }
}

#[tokio::test]
async fn a_file_that_was_missing_gives_a_hint_when_it_appears() {
    let mut scene = Scene::new(&["file"], |_| ()).await;
    for text in ["1", "2"] {
        scene.hint_of(|root| write(root.join("file"), text)).await;
        scene
            .hint_of(|root| fs::remove_file(root.join("file")).unwrap())
            .await;
    }
}

#[tokio::test]
async fn a_file_whose_folders_were_missing_gives_a_hint_when_it_appears() {
    let mut scene = Scene::new(&["a/b/file"], |_| ()).await;
    for text in ["1", "2"] {
        scene
            .hint_of(|root| fs::create_dir(root.join("a")).unwrap())
            .await;
        scene
            .hint_of(|root| fs::create_dir(root.join("a/b")).unwrap())
            .await;
        scene
            .hint_of(|root| write(root.join("a/b/file"), text))
            .await;
        scene
            .hint_of(|root| fs::remove_dir_all(root.join("a")).unwrap())
            .await;
    }
}

#[tokio::test]
async fn folders_that_appear_all_at_once_are_watched() {
    let mut scene = Scene::new(&["a/b/file"], |_| ()).await;
    for text in ["1", "2"] {
        scene
            .hint_of(|root| fs::create_dir_all(root.join("a/b")).unwrap())
            .await;
        scene
            .hint_of(|root| write(root.join("a/b/file"), text))
            .await;
        scene
            .hint_of(|root| fs::remove_dir_all(root.join("a")).unwrap())
            .await;
    }
}

#[tokio::test]
async fn the_target_of_a_link_gives_a_hint_each_time_it_is_replaced() {
    let mut scene = Scene::new(&["here/file"], |root| {
        for folder in ["here", "there"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        write(root.join("there/target"), "0");
        symlink(root.join("there/target"), root.join("here/file")).unwrap();
    })
    .await;
    for text in ["1", "2"] {
        scene
            .hint_of(|root| replace(&root.join("there/target"), text))
            .await;
        scene
            .hint_of(|root| write(root.join("there/target"), "in place"))
            .await;
    }
}

#[tokio::test]
async fn a_link_that_is_turned_elsewhere_gives_a_hint_wherever_it_stands_in_the_path() {
    let mut scene = Scene::new(&["current/tls/file"], |root| {
        for release in ["r0", "r1", "r2"] {
            fs::create_dir_all(root.join("releases").join(release).join("tls")).unwrap();
            write(
                root.join("releases").join(release).join("tls/file"),
                release,
            );
        }
        symlink("releases/r0", root.join("current")).unwrap();
    })
    .await;
    for (release, former) in [("r1", "r0"), ("r2", "r1")] {
        let target = Path::new("releases").join(release);
        scene
            .hint_of(|root| relink(&target, &root.join("current")))
            .await;
        scene
            .hint_of(|root| write(root.join(target).join("tls/file"), "1"))
            .await;
        let former = scene.path("releases").join(former).join("tls/file");
        scene.no_hint_of(|_| write(former, "1")).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_followed_gives_a_hint_of_each_file_in_it() {
    let mut scene = Scene::new(&["folder"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
    })
    .await;
    for name in ["a.pem", "b.pem"] {
        scene
            .hint_of(|root| write(root.join("folder").join(name), "1"))
            .await;
        scene
            .hint_of(|root| write(root.join("folder").join(name), "2"))
            .await;
        scene
            .hint_of(|root| fs::remove_file(root.join("folder").join(name)).unwrap())
            .await;
    }
}

#[tokio::test]
async fn a_file_that_becomes_readable_gives_a_hint() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut scene = Scene::new(&["file"], |root| write(root.join("file"), "0")).await;
    for mode in [0o000, 0o600] {
        let permissions = fs::Permissions::from_mode(mode);
        scene
            .hint_of(|root| fs::set_permissions(root.join("file"), permissions).unwrap())
            .await;
    }
}

#[tokio::test]
async fn a_look_at_the_files_gives_no_hint() {
    let mut scene = Scene::new(&["folder", "folder/file"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
        write(root.join("folder/file"), "0");
    })
    .await;
    for text in ["0", "1"] {
        scene
            .no_hint_of(|root| {
                assert_eq!(fs::read_to_string(root.join("folder/file")).unwrap(), text);
                assert_eq!(fs::read_dir(root.join("folder")).unwrap().count(), 1);
                fs::canonicalize(root.join("folder/file")).unwrap();
            })
            .await;
        scene
            .hint_of(|root| write(root.join("folder/file"), "1"))
            .await;
    }
}

#[tokio::test]
async fn what_is_no_longer_followed_gives_no_hint() {
    let mut scene = Scene::new(&["old/file", "kept/file"], |root| {
        for folder in ["old", "kept", "next"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
    })
    .await;
    scene
        .hint_of(|root| write(root.join("old/file"), "1"))
        .await;
    scene.paths = vec![scene.path("next/file"), scene.path("kept/file")];
    scene.settle(GATHER_QUIET).await;
    scene
        .no_hint_of(|root| write(root.join("old/file"), "2"))
        .await;
    for name in ["next/file", "kept/file"] {
        scene.hint_of(|root| write(root.join(name), "1")).await;
    }
}

#[tokio::test]
async fn to_follow_something_new_gives_a_hint_and_to_follow_the_same_again_none() {
    let mut scene = Scene::new(&["file"], |root| {
        fs::create_dir(root.join("folder")).unwrap();
    })
    .await;
    scene.watch.follow(&scene.paths);
    assert_eq!(scene.hints.try_recv(), Err(TryRecvError::Empty));
    scene.paths.push(scene.path("folder/file"));
    scene.watch.follow(&scene.paths);
    assert_eq!(scene.hints.try_recv(), Ok(()));
}

#[tokio::test]
async fn without_a_notifier_nothing_is_heard_and_the_channel_stays_open() {
    let (hint, mut hints) = mpsc::channel(1);
    let mut watch = Watch {
        notifier: None,
        ..Watch::start(hint)
    };
    let root = tempfile::tempdir().unwrap();
    watch.follow(&[root.path().join("file")]);
    write(root.path().join("file"), "1");
    let heard = timeout(SILENCE, hints.recv()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_closed_has_nothing_to_gather() {
    let (hint, mut hints) = mpsc::channel(1);
    drop(hint);
    let begin = Instant::now();
    gather(&mut hints, GATHER_QUIET, GATHER_AT_MOST).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[test]
fn a_way_through_links_has_each_of_their_folders_once() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    for folder in ["a", "b/c", "d"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    write(root.join("d/file"), "0");
    symlink("../b", root.join("a/link")).unwrap();
    symlink(root.join("d/file"), root.join("b/c/file")).unwrap();
    let paths = ["a/link/c/file", "a/link/../b/c/./file", "d/file/below"];
    let paths = paths.map(|path| root.join(path));
    let found = folders(&paths);
    let mut found: Vec<_> = found.values().map(PathBuf::as_path).collect();
    found.sort();
    assert_eq!(found, ["a", "b/c", "d"].map(|name| root.join(name)));
}

#[test]
fn links_that_go_round_and_paths_that_are_none_have_an_end() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    symlink("other", root.join("one")).unwrap();
    symlink("one/x", root.join("other")).unwrap();
    let found = folders(&[root.join("one"), PathBuf::new()]);
    assert_eq!(found.into_values().collect::<Vec<_>>(), [root]);
    let above = folders(&[PathBuf::from("/../..")]);
    assert_eq!(above.into_values().collect::<Vec<_>>(), [Path::new("/")]);
}
