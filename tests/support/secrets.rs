//! What passes through in a test and nobody may find in what the binary writes.
//!
//! Every request and answer of the fixtures plants what it carries in the fields of
//! credentials and cookies, and every file with a key or a password its content.
//! Whatever the binary has written, to either output or from the admin address, is
//! searched for all of it when a proxy or a command ends, in every test.

use std::collections::BTreeSet;
use std::sync::Mutex;

use data_encoding::BASE64;
use http::HeaderMap;

/// Shorter ones stand in texts by chance.
const SHORTEST: usize = 12;

/// The fields whose values are secrets.
const FIELDS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];

static PLANTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Plants one.
pub(crate) fn plant(secret: &str) {
    if secret.len() >= SHORTEST {
        PLANTED.lock().unwrap().insert(secret.to_owned());
    }
}

/// Plants what these fields carry.
pub(crate) fn plant_fields(fields: &HeaderMap) {
    for name in FIELDS {
        for value in fields.get_all(name) {
            plant_value(name, &String::from_utf8_lossy(value.as_bytes()));
        }
    }
}

/// Plants what such fields of a head in plain text carry.
pub(crate) fn plant_head(head: &[u8]) {
    for line in String::from_utf8_lossy(head).lines() {
        if let Some((name, value)) = line.split_once(':')
            && FIELDS.contains(&name.to_ascii_lowercase().as_str())
        {
            plant_value(&name.to_ascii_lowercase(), value.trim());
        }
    }
}

/// Plants the keys and passwords of a file.
pub(crate) fn plant_file(name: &str, content: &str) {
    let mut is_key = false;
    for line in content.lines().map(str::trim) {
        if line.starts_with("-----") {
            is_key = line.contains("PRIVATE KEY") && line.contains("BEGIN");
        } else if is_key {
            plant(line);
        }
        for key in ["password", "token"] {
            let value = line.strip_prefix(key).map(str::trim_start);
            if let Some(value) = value.and_then(|rest| rest.strip_prefix('=')) {
                plant(value.trim().trim_matches(['"', '\'']));
            }
        }
    }
    let is_one = |word| name.to_ascii_lowercase().contains(word);
    if ["secret", "password", "token", "ticket"]
        .into_iter()
        .any(is_one)
        && !content.contains(['[', '{'])
    {
        content.lines().for_each(plant);
    }
}

/// Fails the test if any of them stands in what was written.
#[track_caller]
pub(crate) fn expect_none(whose: &str, text: &str) {
    let mut found = PLANTED.lock().unwrap().clone();
    found.retain(|secret| text.contains(secret.as_str()));
    assert!(found.is_empty(), "{whose} has secrets: {found:#?}\n{text}");
}

/// Whether there is anything to look for.
pub(crate) fn planted() -> usize {
    PLANTED.lock().unwrap().len()
}

fn plant_value(name: &str, value: &str) {
    plant(value);
    match name {
        "cookie" => value.split(';').for_each(plant_pair),
        "set-cookie" => plant_pair(value.split(';').next().unwrap_or_default()),
        _ => {
            let (scheme, credential) = value.split_once(' ').unwrap_or(("", value));
            plant(credential);
            let decoded = BASE64.decode(credential.as_bytes());
            if scheme.eq_ignore_ascii_case("basic")
                && let Ok(pair) = decoded
                && let Ok(pair) = String::from_utf8(pair)
            {
                plant(pair.split_once(':').map_or("", |(_, password)| password));
            }
        }
    }
}

fn plant_pair(pair: &str) {
    plant(pair.split_once('=').map_or("", |(_, value)| value.trim()));
}
