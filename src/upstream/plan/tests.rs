use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::tls;

const CONFIG: &str = r#"
[trust.internal]
ca = ["ca.pem"]

[listeners.public]
bind = "127.0.0.1:8080"

[[routes]]
upstream = "orders"

[upstreams.orders]
endpoints = ["https://127.0.0.1:8443"]

[upstreams.orders.tls]
trust = "internal"

[upstreams.orders.outbound]
basic_authentication = "supported"

[upstreams.orders.outbound.credential]
source = "basic"
user = "countersign"
password_file = "password"

[upstreams.other]
endpoints = ["http://127.0.0.1:8081"]
"#;

/// A generation of this room and of the one below it.
struct Generation {
    material: Material,
    plans: Vec<Arc<Plan>>,
}

fn generation(folder: &Path, text: &str, former: Option<&Generation>) -> Generation {
    let config = config::parse(text, &folder.join("config.toml"))
        .finish(Vec::new())
        .unwrap();
    let files = Files::new();
    let material = tls::load(&config, &files, former.map(|f| &f.material)).unwrap();
    let plans = former.map_or(&[][..], |former| &former.plans);
    let plans = load(&config, &files, Some(&material), plans).unwrap();
    Generation { material, plans }
}

/// Whether the plan of each upstream is the very same, in the order of `after`.
fn kept(before: &Generation, after: &Generation) -> Vec<bool> {
    after
        .plans
        .iter()
        .map(|plan| before.plans.iter().any(|known| Arc::ptr_eq(known, plan)))
        .collect()
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), authority()).unwrap();
    fs::write(folder.path().join("password"), "one\n").unwrap();
    folder
}

fn authority() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

#[test]
fn plan_is_kept_until_its_credential_or_its_trust_has_changed() {
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let mut before = generation(folder.path(), CONFIG, None);
    for (name, text, same) in [
        ("password", "one\n".to_owned(), true),
        ("password", "two\n".to_owned(), false),
        ("password", "two\n".to_owned(), true),
        ("ca.pem", authority(), false),
        ("unrelated", "text".to_owned(), true),
    ] {
        fs::write(file(name), &text).unwrap();
        let after = generation(folder.path(), CONFIG, Some(&before));
        assert_eq!(kept(&before, &after), [same, true], "{name}: {text}");
        before = after;
    }
}

#[test]
fn plan_is_kept_wherever_its_upstream_stands_and_made_anew_when_its_settings_change() {
    let folder = folder();
    let before = generation(folder.path(), CONFIG, None);
    let (start, other) = CONFIG.split_once("[upstreams.other]").unwrap();
    let moved = format!("[upstreams.other]{other}\n{start}");
    let another_bundle = format!("[trust.a]\nca = [\"ca.pem\"]\n{CONFIG}");
    let added = format!("[upstreams.new]\nendpoints = [\"http://127.0.0.1:1\"]\n{CONFIG}");
    let changed = CONFIG.replace(
        "[upstreams.other]",
        "[upstreams.other]\nconnect_timeout = \"9s\"",
    );
    let renamed = CONFIG.replace("other", "another");
    let cases: [(&str, &[bool]); 5] = [
        (&moved, &[true, true]),
        (&another_bundle, &[true, true]),
        (&added, &[false, true, true]),
        (&changed, &[true, false]),
        (&renamed, &[true, false]),
    ];
    for (text, same) in cases {
        let after = generation(folder.path(), text, Some(&before));
        assert_eq!(kept(&before, &after), same, "{text}");
    }
}

#[test]
fn credential_that_is_gone_is_a_problem_although_there_is_a_former_plan() {
    let folder = folder();
    let before = generation(folder.path(), CONFIG, None);
    fs::remove_file(folder.path().join("password")).unwrap();
    let text = problems_after(&before, folder.path());
    assert!(text.contains("password cannot be read"), "{text}");
}

#[test]
fn password_with_control_characters_within_is_a_problem_and_a_last_line_end_is_none() {
    let folder = folder();
    let before = generation(folder.path(), CONFIG, None);
    for text in ["one\ntwo\n", "o\0ne", "one\t", "\u{7f}one"] {
        fs::write(folder.path().join("password"), text).unwrap();
        let text = problems_after(&before, folder.path());
        assert!(text.contains("password holds control characters"), "{text}");
    }
    for text in ["one\r\n", "pass phrase", "p\u{e4}ss"] {
        fs::write(folder.path().join("password"), text).unwrap();
        generation(folder.path(), CONFIG, None);
    }
}

/// What stands against the files as they are now.
fn problems_after(before: &Generation, folder: &Path) -> String {
    let config = config::parse(CONFIG, &folder.join("config.toml"))
        .finish(Vec::new())
        .unwrap();
    let material = Some(&before.material);
    let problems = load(&config, &Files::new(), material, &before.plans).unwrap_err();
    format!("{problems:?}")
}

#[test]
fn plan_is_another_when_a_key_of_its_assertions_is() {
    let folder = folder();
    let write = |name: &str| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        fs::write(folder.path().join(name), key.serialize_pem()).unwrap();
    };
    write("a.pem");
    write("b.pem");
    let table = "[upstreams.other.outbound.assertion]\nencode = ['jwt']\n\
         jwt = { keys = ['a.pem', 'b.pem'], issuer = 'i' }\n";
    let text = format!("{CONFIG}{table}");
    let mut before = generation(folder.path(), &text, None);
    for (key, same) in [(None, true), (Some("a.pem"), false), (Some("b.pem"), false)] {
        if let Some(key) = key {
            write(key);
        }
        let after = generation(folder.path(), &text, Some(&before));
        assert_eq!(kept(&before, &after), [true, same], "{key:?}");
        before = after;
    }
}
