use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::config::Files;

const LIMIT: u64 = 1024;

/// What a load sees that reads the file, and lists its folder.
fn load(file: &Path) -> Seen {
    let files = Files::new();
    drop(files.read(file, LIMIT));
    drop(files.list(file.parent().unwrap()));
    files.into_seen()
}

/// Whether both ways of looking say the same.
#[track_caller]
fn assert_changed(seen: &mut Seen, expected: bool, what: &str) {
    assert_eq!(seen.has_changed(), expected, "{what}");
    assert_eq!(seen.has_changed_in_content(), expected, "{what}");
}

/// Makes a change, and sees it; loads again, and sees nothing more.
#[track_caller]
fn assert_seen(seen: &mut Seen, file: &Path, what: &str, change: impl FnOnce()) {
    assert_changed(seen, false, what);
    change();
    assert_changed(seen, true, what);
    *seen = load(file);
    assert_changed(seen, false, what);
}

fn folder_with(content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, content).unwrap();
    (folder, file)
}

/// A moment so long after the look that the times tell.
fn much_later(print: &mut Print) {
    print.began += Duration::from_secs(3600);
}

/// The print of the only file that was read.
fn print_of<'a>(seen: &'a mut Seen, file: &Path) -> &'a mut Print {
    let sights = seen.paths.get_mut(file).unwrap();
    match sights.first_mut().unwrap() {
        Sight::Contents { outcome, .. } => outcome.as_mut().unwrap(),
        Sight::Listing(_) => panic!("no contents"),
    }
}

#[test]
fn every_way_of_changing_a_file_is_seen_the_second_time_too() {
    let (folder, file) = folder_with("0");
    let other = folder.path().join(".other");
    let mut seen = load(&file);
    for text in ["1", "2"] {
        assert_seen(&mut seen, &file, "in place, same length", || {
            fs::write(&file, text).unwrap();
        });
    }
    for text in ["3", "4"] {
        assert_seen(&mut seen, &file, "renamed over", || {
            fs::write(&other, text).unwrap();
            fs::rename(&other, &file).unwrap();
        });
    }
    for _ in 0..2 {
        assert_seen(&mut seen, &file, "removed", || {
            fs::remove_file(&file).unwrap();
        });
        assert_seen(&mut seen, &file, "appeared", || {
            fs::write(&file, "5").unwrap();
        });
    }
    for text in ["6", "7"] {
        assert_seen(&mut seen, &file, "folder made again", || {
            fs::remove_dir_all(folder.path()).unwrap();
            fs::create_dir(folder.path()).unwrap();
            fs::write(&file, text).unwrap();
        });
    }
    for name in ["more", "yet more"] {
        assert_seen(&mut seen, &file, "another file beside it", || {
            fs::write(folder.path().join(name), "").unwrap();
        });
    }
}

#[test]
fn link_to_another_folder_is_seen_as_kubernetes_sets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let publish = |version: &str, text: &str| {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("file"), text).unwrap();
        symlink(version, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    publish("..1", "1");
    let file = path("file");
    symlink("..data/file", &file).unwrap();
    let mut seen = load(&file);
    for (version, text) in [("..2", "2"), ("..3", "3")] {
        assert_seen(&mut seen, &file, version, || publish(version, text));
    }
    assert_changed(&mut seen, false, "what was published last");
    publish("..4", "3");
    assert_changed(&mut seen, false, "the same contents again");
}

#[test]
fn missing_file_in_a_missing_folder_is_seen_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("not/yet");
    let mut seen = load(&file);
    assert_seen(&mut seen, &file, "it comes", || {
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
    });
    assert_seen(&mut seen, &file, "it goes", || {
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    });
}

#[test]
fn error_that_stays_is_no_change_and_another_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    // No user may follow it.
    symlink("file", &file).unwrap();
    let mut seen = load(&file);
    assert_seen(&mut seen, &file, "a directory", || {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
    });
    assert_seen(&mut seen, &file, "too large", || {
        fs::remove_dir(&file).unwrap();
        fs::write(&file, [0; LIMIT as usize + 1]).unwrap();
    });
    fs::write(&file, [1; LIMIT as usize + 2]).unwrap();
    assert_changed(&mut seen, false, "still too large");
    assert_seen(&mut seen, &file, "readable", || {
        fs::write(&file, [1; LIMIT as usize]).unwrap();
    });
}

#[test]
fn permission_that_is_taken_away_is_a_change_if_it_closes_the_file() {
    let (_folder, file) = folder_with("text");
    let mut seen = load(&file);
    let closed = !rustix::process::geteuid().is_root();
    for (mode, changed) in [(0o640, false), (0o000, closed), (0o640, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_changed(&mut seen, changed, &format!("{mode:o}"));
    }
}

#[test]
fn same_contents_in_another_file_are_no_change_and_are_not_read_again() {
    let (folder, file) = folder_with("text");
    let other = folder.path().join(".other");
    let mut seen = load(&file);
    let before = print_of(&mut seen, &file).stat;
    fs::write(&other, "text").unwrap();
    fs::rename(&other, &file).unwrap();
    assert_changed(&mut seen, false, "the same contents");
    let print = print_of(&mut seen, &file);
    assert_ne!(print.stat, before, "the file as it is now is remembered");
    much_later(print);
    print.digest = Digest::of(b"what a read would not find");
    assert!(!seen.has_changed());
}

#[test]
fn file_is_read_again_unless_its_times_tell() {
    let (_folder, file) = folder_with("text");
    let mut seen = load(&file);
    // As if it had been written within the tick of the first look.
    print_of(&mut seen, &file).digest = Digest::of(b"test");
    assert!(seen.has_changed(), "the last change was fresh");
    much_later(print_of(&mut seen, &file));
    assert!(!seen.has_changed(), "its times tell that nothing happened");
    assert!(seen.has_changed_in_content(), "contents are compared");
}

#[test]
fn file_that_became_larger_than_its_limit_is_a_change_although_nothing_is_read() {
    let (_folder, file) = folder_with("text");
    let mut seen = load(&file);
    much_later(print_of(&mut seen, &file));
    fs::write(&file, [0; LIMIT as usize + 1]).unwrap();
    assert_changed(&mut seen, true, "too large");
}

#[test]
fn every_path_is_named_and_the_digest_of_every_file_that_was_read() {
    let (folder, file) = folder_with("text");
    let missing = folder.path().join("missing");
    let files = Files::new();
    files.list(folder.path()).unwrap();
    files.list(&file).unwrap();
    let contents = files.read(&file, LIMIT).unwrap();
    files.read(&missing, LIMIT).unwrap_err();
    let seen = files.into_seen();
    let paths: Vec<_> = seen.paths().collect();
    assert_eq!(paths, [folder.path(), &file, &missing]);
    assert_eq!(seen.digest(&file), Some(contents.digest()));
    assert_eq!(seen.digest(&file), Some(Digest::of(b"text")));
    for unread in [folder.path(), &missing, Path::new("/never")] {
        assert_eq!(seen.digest(unread), None);
    }
}

#[test]
fn merged_sights_change_with_either() {
    let ((_first, one), (_second, two)) = (folder_with("1"), folder_with("2"));
    for changed in [&one, &two] {
        let mut seen = load(&one);
        seen.merge(load(&two));
        assert_changed(&mut seen, false, "nothing has happened");
        fs::write(changed, "3").unwrap();
        assert_changed(&mut seen, true, "one has changed");
    }
}

#[test]
fn path_that_two_loads_found_differently_counts_as_changed() {
    let (_folder, file) = folder_with("old");
    let mut seen = load(&file);
    fs::write(&file, "new").unwrap();
    seen.merge(load(&file));
    assert_changed(&mut seen, true, "new");
    fs::write(&file, "old").unwrap();
    assert_changed(&mut seen, true, "old");
}

#[test]
fn seen_can_be_kept_by_another_thread() {
    fn is_send(_: impl Send + 'static) {}
    is_send(Seen::default());
}
