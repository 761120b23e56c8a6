//! What holds the house together: the order of the rooms and the rules of the
//! files, read from the sources.

use std::path::{Path, PathBuf};

/// The rooms from the ground up; each uses only those before it.
const ROOMS: [&str; 11] = [
    "telemetry",
    "identity",
    "config",
    "process",
    "policy",
    "tls",
    "upstream",
    "proxy",
    "listener",
    "generation",
    // The commands stand above all rooms.
    "cli",
];

/// More product lines than this, and a file does more than one thing.
const LONGEST_FILE: usize = 500;

/// A file of the sources.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines that are neither comments nor tests.
    fn product(&self) -> impl Iterator<Item = &str> {
        let tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let lines = self
            .text
            .lines()
            .take_while(move |line| !tests && line.trim() != "#[cfg(test)]");
        lines.filter(|line| !line.trim_start().starts_with("//"))
    }

    /// The room that the file stands in; `None` directly under `src`.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let floor = ROOMS.iter().position(|known| *known == room);
        let floor =
            floor.unwrap_or_else(|| panic!("{}: {room} is no room of the plan", source.path));
        let used = crate_names(&source.product().collect::<Vec<_>>().join("\n"));
        let above = used
            .into_iter()
            // The commands use the wiring, which stands at the root.
            .filter(|name| room != "cli" && !ROOMS[..=floor].contains(&name.as_str()));
        wrong.extend(above.map(|name| format!("{} uses crate::{name}", source.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_says_its_one_job_first() {
    for room in ROOMS {
        let path = format!("src/{room}/mod.rs");
        let text = std::fs::read_to_string(root().join(&path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.starts_with("//! "), "{path} begins with its sentence");
    }
}

#[test]
fn only_the_tls_room_attests_a_verified_leaf() {
    for source in sources("src") {
        let attests = source
            .product()
            .any(|line| line.contains("VerifiedLeaf::attest("));
        // Compiled for tests alone.
        let for_tests = source.path == "src/identity/testing.rs";
        let may = for_tests || source.room() == Some("tls");
        assert!(!attests || may, "{}", source.path);
    }
}

#[test]
fn only_the_proxy_room_takes_the_word_of_a_peer_for_another() {
    for source in sources("src") {
        let asserts = source
            .product()
            .any(|line| line.contains("PeerIdentity::asserted("));
        let may = source.room() == Some("proxy");
        assert!(!asserts || may, "{}", source.path);
    }
}

#[test]
fn files_stay_short() {
    for source in sources("src") {
        let lines = source
            .text
            .lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .count();
        let tests = source.product().next().is_none();
        assert!(
            tests || lines <= LONGEST_FILE,
            "{}: {lines} lines",
            source.path
        );
    }
}

#[test]
fn main_does_nothing_but_begin() {
    let text = std::fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(text.lines().count() <= 30, "{} lines", text.lines().count());
}

#[test]
fn config_has_no_public_field() {
    let text: String = sources("src/config")
        .into_iter()
        .map(|source| source.text)
        .collect();
    let (_, body) = text
        .split_once("pub struct Config {")
        .expect("the config is a struct");
    let (body, _) = body.split_once("\n}").unwrap();
    assert!(
        !body.contains("pub "),
        "only `read` makes a legal one:\n{body}"
    );
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
    ];
    for source in sources("src").into_iter().chain(sources("tests")) {
        for mark in marks {
            assert!(!source.text.contains(mark), "{}: {mark}", source.path);
        }
    }
}

#[test]
fn names_of_modules_say_what_they_hold() {
    for source in sources("src") {
        for word in ["util", "utils", "common", "helpers", "manager", "misc"] {
            let named = source.path.split(['/', '.']).any(|part| part == word);
            assert!(!named, "{}", source.path);
        }
    }
}

#[test]
fn names_after_crate_are_read_from_every_form_of_use() {
    let text = "use crate::a::B;\nuse crate::{c, d::{e, f}, g as h};\nfn x() -> crate::i::J { crate::k() }";
    assert_eq!(crate_names(text), ["a", "c", "d", "g", "i", "k"]);
}

/// The first name after each `crate::`, those in braces included.
fn crate_names(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut names = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let mut depth = 0_i32;
        let mut item = String::new();
        for c in list.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => names.push(name(&std::mem::take(&mut item))),
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth > 0 || c != ',' {
                item.push(c);
            }
        }
        names.push(name(&item));
    }
    names.retain(|name| !name.is_empty());
    names
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no source in {folder}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
