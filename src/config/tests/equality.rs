//! What makes two configs equal, and what makes them differ.

use std::path::Path;

use super::super::{Place, Problem, Problems, reference};
use super::documents::uncommented;
use super::{BASELINE, accepted, with};

#[test]
fn what_only_moved_in_the_file_has_not_changed() {
    let written = accepted(&uncommented());
    let moved: String = uncommented()
        .lines()
        .map(|line| format!("\n# a comment\n   {}\n", line.replace(" = ", "   =  ")))
        .collect();
    let moved = accepted(&moved);
    assert_ne!(format!("{written:?}"), format!("{moved:?}"), "places moved");
    assert!(written == moved);
}

#[test]
fn the_order_of_the_keys_of_a_table_is_no_difference() {
    let text = uncommented();
    let tables: Vec<Vec<&str>> = text
        .split("\n[")
        .map(|table| table.lines().filter(|line| !line.is_empty()).collect())
        .collect();
    let reordered: Vec<String> = tables
        .iter()
        .map(|table| match table.split_first() {
            Some((header, keys)) if header.ends_with(']') => {
                let keys = keys.iter().rev().copied();
                std::iter::once(*header).chain(keys).collect()
            }
            _ => table.clone(),
        })
        .map(|table: Vec<&str>| table.join("\n"))
        .collect();
    let reordered = reordered.join("\n[");
    assert_ne!(text, reordered);
    assert!(accepted(&text) == accepted(&reordered));
}

#[test]
fn every_changed_value_makes_a_difference() {
    let [on, all] = [reference(), uncommented()];
    for (at, (as_it_is, line)) in on.lines().zip(all.lines()).enumerate() {
        let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        if WITHOUT_A_DIFFERENCE.contains(&key) {
            continue;
        }
        let above = all.lines().take(at);
        let table = above.filter(|line| line.starts_with('[')).last();
        // Another word goes with what it is checked against.
        if (table, key) == (Some("[admin.tls]"), "client_auth") {
            continue;
        }
        // What is off needs others that are off; what is on must not meet them.
        let is_on = as_it_is == line;
        let text = if is_on { &on } else { &all };
        let written = accepted(text);
        let others = others(key, value, is_on);
        assert!(!others.is_empty(), "what else could it be: {line}");
        for other in others {
            let lines = text.lines().enumerate();
            let changed: String = lines
                .map(|(index, line)| if index == at { other.as_str() } else { line })
                // Connections are counted over HTTP/1.1 alone.
                .filter(|line| key != "protocol" || *line != "max_connections = 1024")
                .map(|line| format!("{line}\n"))
                .collect();
            assert!(accepted(&changed) != written, "{line} became {other}");
        }
    }
}

#[test]
fn another_source_of_the_credential_makes_a_difference() {
    let forward = accepted(BASELINE);
    let table = "[upstreams.orders.outbound.credential]\n";
    let bearer = |file: &str| {
        let source = format!("source = \"bearer\"\ntoken_file = \"{file}\"\n");
        accepted(&format!("{BASELINE}{table}{source}"))
    };
    assert!(forward == accepted(&format!("{BASELINE}{table}source = \"forward\"\n")));
    assert!(forward != bearer("a"));
    assert!(bearer("a") == bearer("a"));
    assert!(bearer("a") != bearer("b"));
}

#[test]
fn a_prefix_that_is_taken_away_makes_a_difference() {
    let strip = |strip: bool| {
        let route = format!("[[routes]]\npath = \"/api\"\nstrip_prefix = {strip}");
        accepted(&with("[[routes]]", &route))
    };
    assert!(strip(true) != strip(false));
}

#[test]
fn privileges_that_are_left_make_a_difference() {
    let both = "[server.confinement]\nunsafe_no_landlock = true\nunsafe_no_seccomp = true";
    let left = |left: bool| {
        accepted(&format!(
            "{BASELINE}{both}\nunsafe_new_privileges = {left}\n"
        ))
    };
    assert!(left(true) == left(true));
    assert!(left(true) != left(false));
}

#[test]
fn problems_are_told_in_the_order_of_the_file_though_places_are_equal() {
    let place = |line, column| Place { line, column };
    assert_eq!(place(1, 2), place(3, 4));
    let problem = |place, what| Problem::at(place, what);
    assert_ne!(problem(place(1, 2), "a"), problem(place(3, 4), "a"));
    let list = vec![
        problem(place(10, 1), "d"),
        problem(place(9, 20), "c"),
        problem(place(9, 3), "b"),
        Problem::new("a"),
    ];
    let problems = Problems::new(Path::new("f"), list).to_string();
    assert_eq!(
        problems,
        "f: a\nf:9:3: b\nf:9:20: c\nf:10:1: d\n4 problems; nothing was started"
    );
}

/// What only decides whether the rest is legal, what has no other value or no
/// effect in this version, and what has a test of its own.
const WITHOUT_A_DIFFERENCE: [&str; 7] = [
    "allow_plaintext",
    // On a listener with TLS.
    "redirect_to_https",
    "run_as",
    "source",
    "stateful_sessions",
    "strip_prefix",
    // With two others alone.
    "unsafe_new_privileges",
];

/// Every part of a value that has another beside it, which is as legal in the reference.
const OTHERS: &[(&str, &str)] = &[
    ("0s\"", "1s\""),
    ("/upgrade.sock", "/other.sock"),
    ("/srv/certificates", "/srv/others"),
    ("2KiB", "1KiB"),
    ("64KiB", "63KiB"),
    ("512MiB", "511MiB"),
    ("10MiB", "11MiB"),
    ("100/s", "100/m"),
    ("\"source\"", "\"identity\""),
    ("at six", "at five"),
    ("30m", "29m"),
    ("302 /login", "302 /start"),
    ("1GiB", "2GiB"),
    ("240B/s", "241B/s"),
    ("1h", "2h"),
    ("JSESSIONID", "SID"),
    ("\"/app\"", "\"/other\""),
    ("\"keep\"", "\"endpoint\""),
    ("\"Lax\"", "\"Strict\""),
    ("\"example.com\"", "\"example.org\""),
    ("max-age=", "max-age=1"),
    ("{bytes_sent}", "{duration_ms}"),
    ("\"trusted\"", "\"join\""),
    ("\"countersign\"", "\"edge\""),
    ("X-Request-Id", "X-Other-Id"),
    ("X-Internal", "X-Other"),
    ("\"Server\"", "\"X-Server\""),
    ("\"none\"", "\"identity\""),
    ("\"none\"", "\"connection\""),
    ("\"alert\"", "\"http\""),
    ("\"http\"", "\"alert\""),
    ("2s\"", "3s\""),
    ("50%", "49%"),
    ("20%", "19%"),
    ("\"1MiB", "\"2MiB"),
    ("256KiB", "255KiB"),
    ("64MiB", "63MiB"),
    ("[\"503\"]", "[\"502\"]"),
    ("8h", "7h"),
    ("5s\"", "6s\""),
    ("8080", "8081"),
    ("\"1s\"", "\"2s\""),
    ("8090", "8091"),
    ("\"least_requests\"", "\"round_robin\""),
    ("\"2xx\"", "\"3xx\""),
    ("502, ", ""),
    ("8443", "8444"),
    ("9901", "9902"),
    ("[]", "[\"10.0.0.0/8\"]"),
    ("[\"X25519MLKEM768\", ", "["),
    ("[\"Cert\"]", "[\"Cert\", \"Chain\"]"),
    ("[\"headers\"]", "[\"headers\", \"xfcc\"]"),
    ("[\"headers\", \"jwt\"]", "[\"xfcc\", \"headers\", \"jwt\"]"),
    ("[\"xfcc\", \"jwt\"]", "[\"client-cert\", \"jwt\"]"),
    ("CN=gateway", "CN=portal"),
    ("/gateway", "/portal"),
    ("gateway.example", "portal.example"),
    ("gateway@", "portal@"),
    (".well-known", "keys"),
    ("\"1.2\"", "\"1.3\""),
    ("\"Bearer\"", "\"DPoP\""),
    ("\"X-Client-Assertion\"", "\"X-Assertion\""),
    ("\"TLS_AES_256_GCM_SHA384", "\"TLS_AES_128_GCM_SHA256"),
    ("\"billing\"", "\"orders\""),
    ("\"certificate\"", "\"name\""),
    ("\"chain\"", "\"leaf\""),
    ("\"drain\"", "\"cut\""),
    ("\"drop\"", "\"keep\""),
    ("\"drop\"", "\"strict\""),
    ("\"h2\", \"http/1.1\"", "\"http/1.1\", \"h2\""),
    ("\"info\"", "\"warn\""),
    ("\"internal\"", "\"partners\""),
    ("\"orders\"", "\"billing\""),
    ("\"partners\"", "\"internal\""),
    ("\"refuse\"", "\"strictest\""),
    ("\"reject\"", "\"allow\""),
    ("\"reject\"", "\"log\""),
    ("\"supported\"", "\"required\""),
    ("\"text\"", "\"json\""),
    ("edge.example", "other.example"),
    ("[\"DELETE\"]", "[\"PUT\"]"),
    ("203.0.113.0/24", "198.51.100.0/24"),
    ("enforce = false", "enforce = true"),
    ("Contractors", "Guests"),
    ("Engineering", "Sales"),
    ("@example.com", "@example.org"),
    ("keys/", "other/"),
    ("www.example.com", "shop.example.com"),
    ("orders-api", "orders-apis"),
    ("orders.example.com", "orders.example.org"),
    ("orders.internal", "orders.example"),
    ("partners.example", "others.example"),
    ("status.example", "state.example"),
    ("prod.example", "test.example"),
    ("secrets/", "other/"),
    ("tls/proxy.key", "tls/other.key"),
    ("tls/proxy.pem", "tls/other.pem"),
    ("tls/server.key", "tls/other.key"),
    ("tls/server.pem", "tls/other.pem"),
    ("trust/", "other/"),
    ("true", "false"),
    ("{subject}", "{issuer}"),
    ("{uri}", "{dns}"),
];

/// The lines that say something else under this key.
fn others(key: &str, value: &str, is_on: bool) -> Vec<String> {
    let line = |value: &str| format!("{key} = {value}");
    match (key, value) {
        ("encode", "[\"xfcc\"]") => {
            vec!["encode = [\"headers\"]\nheaders = { X-A = \"{dns}\" }".to_owned()]
        }
        // There is one listener; without the key the route is on every one.
        ("listener", _) => vec![String::new()],
        // A listener has three words for it, a route this one alone.
        ("client_auth", _) if is_on => vec![line("\"want\"")],
        ("client_auth", "\"want\"") => vec![line("\"require\"")],
        ("client_auth", _) => vec![String::new()],
        (
            "burst"
            | "max_connections"
            | "max_queue"
            | "max_requests"
            | "max_sessions"
            | "refusals_per_minute"
            | "sample_one_in"
            | "workers",
            number,
        ) => {
            vec![line(&format!("1{number}"))]
        }
        // Half as many: the share of one is at most what all have.
        (key, number) if key.starts_with("max_") && number.parse::<u64>().is_ok() => {
            vec![line(
                &(number.parse::<u64>().expect("a number") / 2).to_string(),
            )]
        }
        ("consecutive_failures" | "healthy" | "unhealthy", number) => {
            vec![line(&format!("1{number}"))]
        }
        ("retries", _) => vec![line("2")],
        ("tell_client" | "require_length" | "secure" | "http_only", _) => vec![line("true")],
        (key, "false") if key.starts_with("unsafe_") => vec![line("true")],
        ("max_version", _) => vec![line("\"1.2\"")],
        ("path", "\"reject\"") => vec![line("\"normalize\""), line("\"raw\"")],
        ("path", path) => vec![line(&path.replace('/', "/x"))],
        ("proxy_protocol", _) if !is_on => vec![String::new()],
        ("protocol", _) => vec![line("\"h2\"")],
        ("port", _) => vec![line("444")],
        ("status", list) if list.starts_with('[') => vec![line("[\"3xx\"]")],
        ("status", _) => vec![line("301")],
        ("user", _) => vec![line("\"other\"")],
        ("client_certificate_authentication", _) => vec![line("\"supported\"")],
        _ => OTHERS
            .iter()
            .filter(|(part, _)| value.contains(part))
            .map(|(part, other)| line(&value.replace(part, other)))
            .collect(),
    }
}
