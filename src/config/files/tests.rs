//! Tests of one load: what it is given, and what its parts rest on.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 1024;

/// Files that let `turn` have its way each time they wait, with the number of
/// the wait counted from 1.
fn interrupted(turn: impl Fn(u32) + 'static) -> Files {
    let count = Cell::new(0);
    Files::pausing(move |_| {
        count.set(count.get() + 1);
        turn(count.get());
    })
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn text(outcome: Result<Contents, FileError>) -> Result<String, String> {
    outcome
        .map(|contents| String::from_utf8(contents.to_vec()).unwrap())
        .map_err(|cause| cause.to_string())
}

/// A folder with one file in it.
fn folder_with(content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, content).unwrap();
    (folder, file)
}

#[test]
fn path_has_one_content_for_the_whole_load() {
    let (_folder, file) = folder_with("old");
    let files = Files::new();
    assert_eq!(text(files.read(&file, LIMIT)), Ok("old".to_owned()));
    fs::write(&file, "new").unwrap();
    assert_eq!(text(files.read(&file, LIMIT)), Ok("old".to_owned()));
    fs::remove_file(&file).unwrap();
    assert_eq!(text(files.read(&file, LIMIT)), Ok("old".to_owned()));
    assert!(files.list(&file).is_err(), "a question of its own");
}

#[test]
fn path_that_was_missing_stays_so_for_the_whole_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let files = Files::new();
    let missing = text(files.read(&file, LIMIT)).unwrap_err();
    assert!(missing.contains("No such file"), "{missing}");
    fs::write(&file, "there").unwrap();
    assert_eq!(text(files.read(&file, LIMIT)), Err(missing));
    assert_eq!(
        text(Files::new().read(&file, LIMIT)),
        Ok("there".to_owned())
    );
}

#[test]
fn only_regular_files_are_read_directly_or_through_links() {
    let (folder, file) = folder_with("text");
    let (socket, link) = (folder.path().join("socket"), folder.path().join("link"));
    let _listener = UnixListener::bind(&socket).unwrap();
    let files = Files::new();
    for path in [&socket, Path::new("/dev/zero")] {
        let outcome = files.read(path, LIMIT);
        assert!(matches!(outcome, Err(FileError::NotAFile)), "{outcome:?}");
    }
    let outcome = files.read(folder.path(), LIMIT);
    assert!(matches!(outcome, Err(FileError::Directory)), "{outcome:?}");
    symlink(&file, &link).unwrap();
    assert_eq!(text(files.read(&link, LIMIT)), Ok("text".to_owned()));
}

#[test]
fn file_of_the_limit_is_read_and_one_byte_more_is_refused() {
    let (_folder, file) = folder_with("12345678");
    assert!(Files::new().read(&file, 8).is_ok());
    let outcome = Files::new().read(&file, 7);
    assert!(
        matches!(outcome, Err(FileError::TooLarge { limit: 7 })),
        "{outcome:?}"
    );
}

#[test]
fn limit_is_that_of_each_reader_whoever_reads_first() {
    let (_folder, file) = folder_with("12345678");
    let files = Files::new();
    for (limit, fits) in [(7, false), (3, false), (8, true), (7, false), (9, true)] {
        let outcome = files.read(&file, limit);
        assert_eq!(outcome.is_ok(), fits, "{limit}: {outcome:?}");
    }
}

#[test]
fn empty_file_is_read_as_nothing() {
    let (_folder, file) = folder_with("");
    assert_eq!(text(Files::new().read(&file, LIMIT)), Ok(String::new()));
}

#[test]
fn file_that_grows_while_it_is_read_is_read_until_it_is_whole() {
    let (_folder, file) = folder_with("1");
    let path = file.clone();
    let files = interrupted(move |turn| {
        if turn < 5 {
            append(&path, "+");
        }
    });
    assert_eq!(text(files.read(&file, LIMIT)), Ok("1++++".to_owned()));
}

#[test]
fn file_that_is_written_in_place_in_the_same_length_is_read_again() {
    let (_folder, file) = folder_with("first half");
    let path = file.clone();
    let files = interrupted(move |turn| {
        if turn == 1 {
            fs::write(&path, "other half").unwrap();
        }
    });
    assert_eq!(text(files.read(&file, LIMIT)), Ok("other half".to_owned()));
}

#[test]
fn file_that_another_takes_the_place_of_is_read_again() {
    let (folder, file) = folder_with("old");
    let (path, other) = (file.clone(), folder.path().join("other"));
    let files = interrupted(move |turn| {
        if turn == 1 {
            fs::write(&other, "new").unwrap();
            fs::rename(&other, &path).unwrap();
        }
    });
    assert_eq!(text(files.read(&file, LIMIT)), Ok("new".to_owned()));
}

#[test]
fn file_that_never_rests_is_an_error_and_is_not_waited_for_again() {
    let (_folder, file) = folder_with("1");
    let (path, turns) = (file.clone(), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&turns);
    let files = interrupted(move |turn| {
        append(&path, "+");
        counted.set(turn);
    });
    let expected = Err("it keeps changing while it is read".to_owned());
    assert_eq!(text(files.read(&file, LIMIT)), expected);
    let waited = turns.get();
    assert!(waited > 0);
    assert_eq!(text(files.read(&file, LIMIT)), expected);
    assert_eq!(turns.get(), waited);
}

#[test]
fn listing_has_the_regular_files_in_order_without_the_hidden_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["b", "a", ".hidden", "target"] {
        fs::write(path(name), name).unwrap();
    }
    fs::create_dir(path("folder")).unwrap();
    symlink(path("target"), path("link")).unwrap();
    symlink(path("folder"), path("link-to-folder")).unwrap();
    let _listener = UnixListener::bind(path("socket")).unwrap();
    let files = Files::new();
    let expected = ["a", "b", "link", "target"].map(path);
    let listed = files.list(folder.path()).unwrap().unwrap();
    assert_eq!(*listed, expected);
    fs::write(path("c"), "").unwrap();
    let again = files.list(folder.path()).unwrap().unwrap();
    assert_eq!(*again, expected, "one listing for the whole load");
    assert!(files.list(&path("a")).unwrap().is_none());
}

#[test]
fn folder_that_is_being_filled_is_listed_until_it_is_complete() {
    let (folder, file) = folder_with("");
    let more = folder.path().join("more");
    let path = more.clone();
    let files = interrupted(move |turn| {
        if turn == 1 {
            fs::write(&path, "").unwrap();
        }
    });
    let listed = files.list(folder.path()).unwrap().unwrap();
    assert_eq!(*listed, [file, more]);
}

#[test]
fn link_without_a_target_is_waited_for_and_then_refused() {
    let (folder, file) = folder_with("");
    let link = folder.path().join("link");
    symlink(folder.path().join("nowhere"), &link).unwrap();
    let outcome = Files::new().list(folder.path());
    let cause = outcome.unwrap_err().to_string();
    assert!(cause.contains("No such file"), "{cause}");
    // Kubernetes takes it away a moment later.
    let files = interrupted(move |turn| {
        if turn == 1 {
            fs::remove_file(&link).unwrap();
        }
    });
    assert_eq!(*files.list(folder.path()).unwrap().unwrap(), [file]);
}

#[test]
fn nothing_of_what_was_read_is_shown() {
    let (_folder, file) = folder_with("secret");
    let files = Files::new();
    let contents = files.read(&file, LIMIT).unwrap();
    let shown = format!("{contents:?} {files:?} {:?}", contents.digest());
    assert!(shown.contains("6 bytes"), "{shown}");
    let first = contents.digest().as_bytes()[0];
    for secret in [
        "secret".to_owned(),
        "115, 101".to_owned(),
        format!("[{first},"),
    ] {
        assert!(!shown.contains(&secret), "{shown}");
    }
}

#[test]
fn digest_is_sha_256() {
    let digest = Digest::of(b"");
    assert_eq!(
        data_encoding::HEXLOWER.encode(digest.as_bytes()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

/// What a load of a folder and all that is in it rests on.
fn inputs(files: &Files, folder: &Path) -> Inputs {
    let work = || {
        let listed = files.list(folder).unwrap();
        let listed = listed.unwrap_or_else(|| Rc::new([folder.to_owned()]));
        for file in listed.iter() {
            drop(files.read(file, LIMIT));
        }
    };
    files.inputs_of(work).1
}

#[test]
fn inputs_hold_until_any_of_them_has_changed() {
    let (folder, file) = folder_with("old");
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 4] = [
        ("contents", |file| fs::write(file, "new").unwrap()),
        ("one more", |file| {
            fs::write(file.with_extension("more"), "").unwrap();
        }),
        ("one less", |file| fs::remove_file(file).unwrap()),
        ("no folder", |file| {
            let folder = file.parent().unwrap();
            fs::remove_dir_all(folder).unwrap();
            fs::write(folder, "old").unwrap();
        }),
    ];
    for (what, change) in changes {
        let before = inputs(&Files::new(), folder.path());
        assert!(before.hold(&Files::new()), "{what}");
        change(&file);
        assert!(!before.hold(&Files::new()), "{what}");
    }
    let single = inputs(&Files::new(), folder.path());
    assert!(single.hold(&Files::new()));
    fs::remove_file(folder.path()).unwrap();
    fs::create_dir(folder.path()).unwrap();
    fs::write(&file, "old").unwrap();
    assert!(!single.hold(&Files::new()), "a folder in place of a file");
}

#[test]
fn inputs_include_what_others_have_read_before() {
    let (_folder, file) = folder_with("old");
    let files = Files::new();
    files.read(&file, LIMIT).unwrap();
    let (_, none) = files.inputs_of(|| ());
    let (_, shared) = files.inputs_of(|| files.read(&file, LIMIT));
    fs::write(&file, "new").unwrap();
    assert!(none.hold(&Files::new()));
    assert!(!shared.hold(&Files::new()));
    assert!(shared.hold(&files), "this load still sees the old");
}

#[test]
fn inputs_that_could_not_be_read_never_hold() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new();
    let missing = folder.path().join("missing");
    let (_, contents) = files.inputs_of(|| files.read(&missing, LIMIT));
    let (_, listing) = files.inputs_of(|| files.list(&missing));
    for inputs in [contents, listing] {
        assert!(!inputs.hold(&files));
        assert!(!inputs.hold(&Files::new()));
    }
}
