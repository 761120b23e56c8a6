//! Holds the reference, the manual and the examples equal to the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::options;
use super::super::section::{Reader, Section};
use super::super::{Files, manual, read, reference, whole};
use super::{accepted, draft};
use crate::identity::NameKind;

const START: &str = "<!-- options: begin (generated; BLESS=1 cargo test --lib config) -->\n";
const END: &str = "<!-- options: end -->\n";

/// Options of families whose other members are in the reference.
const FAMILIES: [&str; 7] = [
    "subject",
    "cn",
    "issuer",
    "fingerprint",
    "spki",
    "anchor",
    // It excludes what the reference shows.
    "anonymous",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Compares a file with what it should hold, or writes it if `BLESS` is set.
#[track_caller]
fn golden(file: &Path, expected: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(file).expect("the file can be read");
    let differs = found
        .lines()
        .zip(expected.lines())
        .position(|(a, b)| a != b);
    assert!(
        found == expected,
        "{} is not what the registry says, from line {:?} on; \
         run `BLESS=1 cargo test --lib config` and look at the difference",
        file.display(),
        differs.map(|line| line + 1),
    );
}

#[test]
fn the_reference_file_is_what_the_code_prints() {
    golden(&folder().join("reference.toml"), &reference());
}

#[test]
fn the_option_part_of_the_manual_is_what_the_code_prints() {
    let file = folder().join("README.md");
    let text = std::fs::read_to_string(&file).expect("the manual can be read");
    let (head, rest) = text
        .split_once(START)
        .expect("the manual has the begin line");
    let (_, tail) = rest.split_once(END).expect("the manual has the end line");
    golden(&file, &format!("{head}{START}{}\n{END}{tail}", manual()));
}

#[test]
fn the_reference_loads_as_it_is() {
    accepted(&reference());
}

#[test]
fn the_reference_loads_with_every_option_uncommented() {
    let config = accepted(&uncommented());
    assert!(config.admin().is_some());
    assert_eq!(config.server().workers.get(), 2);
}

#[test]
fn every_option_is_in_the_reference() {
    let text = uncommented();
    for path in options::paths() {
        let key = match path.rsplit('.').next() {
            Some("FIELD") | None => "\"X-Client-Subject\"",
            // One of a family whose other members are there.
            Some(family) if FAMILIES.contains(&family) => continue,
            Some("NAME") => "staff",
            Some(key) => key,
        };
        assert!(
            text.contains(&format!("{key} = ")),
            "{path} is not in the reference"
        );
    }
}

#[test]
fn every_default_in_the_registry_is_the_one_that_holds() {
    let text = reference();
    let with_all = format!("{:?}", accepted(&text));
    let mut compared = 0;
    for (index, (above, line)) in text.lines().zip(text.lines().skip(1)).enumerate() {
        let Some((_, value)) = line.split_once(" = ") else {
            continue;
        };
        if !above.ends_with(&format!("Default: {value}")) {
            continue;
        }
        compared += 1;
        let blanked: String = text
            .lines()
            .enumerate()
            .map(|(at, line)| {
                if at == index + 1 {
                    "\n".to_owned()
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
        assert_eq!(
            format!("{:?}", accepted(&blanked)),
            with_all,
            "without {line}"
        );
    }
    assert!(compared > 25, "only {compared} defaults were compared");
}

#[test]
fn the_registry_and_the_readers_know_the_same_options() {
    let everything = uncommented();
    let reader = Reader::new(&everything, Path::new(""), &|_| None);
    let (table, _) = toml::de::DeTable::parse_recoverable(&everything);
    whole::config(Section::root(&reader, table.get_ref()), Path::new(""));

    let asked = reader.asked.take();
    let known: BTreeSet<&str> = options::paths().collect();
    let is_table = |path: &str| {
        let within = |known: &&str| known.starts_with(&format!("{path}."));
        known.iter().any(within)
            || known
                .iter()
                .any(|known| known.starts_with(&format!("{path}[].")))
    };
    let asked: BTreeSet<&str> = asked
        .iter()
        .map(String::as_str)
        .filter(|path| known.contains(path) || !is_table(path))
        .collect();
    assert_eq!(asked, known);
}

#[test]
fn place_of_a_byte_is_the_same_whatever_was_asked_before() {
    let text = "a = 1\n\nbü = [ä, 2] # é\nlast";
    let place = |reader: &Reader<'_>, at| reader.place(at).position();
    let alone = |at| place(&Reader::new(text, Path::new(""), &|_| None), at);
    let counted = |at: usize| {
        let before = text[..at].rsplit('\n').next().unwrap();
        let lines = text[..at].matches('\n').count();
        (lines + 1, before.chars().count() + 1)
    };
    let reader = Reader::new(text, Path::new(""), &|_| None);
    let bytes = || text.char_indices().map(|(at, _)| at);
    for (one, other) in bytes().flat_map(|one| bytes().map(move |other| (one, other))) {
        place(&reader, one);
        let (line, column) = place(&reader, other);
        assert_eq!((line, column), alone(other), "{other} after {one}");
        assert_eq!((line as usize, column as usize), counted(other));
    }
}

#[test]
fn every_option_refers_only_to_options() {
    for path in options::paths() {
        let option = options::find(path).expect("it is in the registry");
        for other in option.see {
            assert!(options::find(other).is_some(), "{path} refers to {other}");
        }
    }
}

#[test]
fn each_pattern_that_the_registry_shows_is_legal() {
    for key in NameKind::ALL.map(NameKind::key) {
        let option = options::find(&format!("routes[].allow[].{key}")).expect("it is there");
        let route = format!("[[routes]]\nallow = [{{ {key} = {} }}]", option.example);
        accepted(&super::with("[[routes]]", &route));
    }
}

#[test]
fn each_example_loads() {
    for name in ["sidecar", "legacy-backend", "mutual-upstream", "egress"] {
        let file = folder().join(name).with_extension("toml");
        if let Err(problems) = read(&file, &Files::new()).finish(Vec::new()) {
            panic!("{problems}");
        }
    }
}

#[test]
fn what_the_manual_shows_as_toml_loads() {
    let text = std::fs::read_to_string(folder().join("README.md")).expect("the manual can be read");
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (toml, _) = block.split_once("```").expect("the block ends");
        accepted(toml);
    }
}

#[test]
fn what_the_manual_shows_as_an_error_is_what_is_printed() {
    let text = std::fs::read_to_string(folder().join("README.md")).expect("the manual can be read");
    let shown = text
        .split("```text\n")
        .nth(1)
        .and_then(|block| block.split_once("\n```"));
    let (shown, _) = shown.expect("the manual shows an error");
    let broken = super::with("trust = \"partners\"", "trust_bundle = \"partners\"")
        + "connect_timeout = \"30\"\n";
    let printed = draft(&broken)
        .finish(Vec::new())
        .expect_err("it is broken")
        .to_string();
    assert_eq!(printed.replace("/etc/cs/", ""), shown);
}

/// The reference without the `#` of options that are off.
pub(super) fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(option) if !option.is_empty() && !option.starts_with(' ') => format!("{option}\n"),
        _ => format!("{line}\n"),
    };
    reference().lines().map(line).collect()
}
