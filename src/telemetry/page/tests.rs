use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::super::metrics::{MetricNames, Metrics};
use super::*;

/// A program in which all is well; tests change one thing.
fn well() -> Overview {
    let then = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    Overview {
        generation: GenerationFacts {
            number: 7,
            published: then,
            last_success: then,
            last_failure: None,
            failing: false,
        },
        warnings: Vec::new(),
        listeners: vec![ListenerFacts {
            name: "public".to_owned(),
            address: "0.0.0.0:8443".to_owned(),
            demands: "certificate required (partners)".to_owned(),
        }],
        ends: Vec::new(),
        upstreams: vec![UpstreamFacts {
            name: "orders".to_owned(),
            protocol: "HTTP/1.1",
            endpoints: vec![
                endpoint("http://10.0.0.1:80"),
                endpoint("http://10.0.0.2:80"),
            ],
        }],
        peers: Vec::new(),
        peers_connected: 0,
        peers_known: 0,
        sections: Vec::new(),
    }
}

fn endpoint(name: &str) -> EndpointFacts {
    EndpointFacts {
        name: name.to_owned(),
        well: Some(true),
        ..EndpointFacts::default()
    }
}

fn metrics() -> std::sync::Arc<Metrics> {
    Metrics::new(MetricNames {
        listeners: vec!["public".to_owned()],
        routes: vec!["api".to_owned()],
        upstreams: vec!["orders".to_owned()],
    })
}

/// Draws the page, with one thing changed.
fn drawn_with(overview: &Overview, refusals: &Value, change: impl FnOnce(&mut View<'_>)) -> String {
    drawn_of(overview, (refusals, &metrics().survey()), change)
}

fn drawn_of(
    overview: &Overview,
    (refusals, survey): (&Value, &Survey),
    change: impl FnOnce(&mut View<'_>),
) -> String {
    let history = History::default();
    let mut view = View {
        now: (
            UNIX_EPOCH + Duration::from_secs(1_795_000_060),
            Instant::now(),
        ),
        started: 1_794_999_000,
        stage: Stage::Ready,
        overview,
        sections: &[],
        survey,
        history: &history,
        refusals,
        token: None,
        read_only: "This page changes nothing.",
        done: None,
    };
    change(&mut view);
    draw(&view)
}

fn drawn(overview: &Overview) -> String {
    drawn_with(overview, &json!({}), |_| {})
}

#[test]
fn page_of_a_program_in_which_all_is_well_says_so() {
    let page = drawn(&well());
    assert!(page.contains("<b>All is well.</b>"), "{page}");
    assert!(page.contains("<title>countersign</title>"));
    for (id, _) in SECTIONS {
        assert_eq!(
            page.matches(&format!("<section id=\"{id}\"")).count(),
            1,
            "{id}"
        );
    }
}

#[test]
fn what_is_wrong_stands_first_and_counts_in_the_title() {
    let mut overview = well();
    overview.warnings = vec![
        Warned {
            is_bad: false,
            text: "runs out in 3 days".to_owned(),
        },
        Warned {
            is_bad: true,
            text: "expired 2 days ago".to_owned(),
        },
    ];
    overview.upstreams[0].endpoints[1].well = Some(false);
    overview.generation.failing = true;
    overview.generation.last_failure = Some(FailureFacts {
        since: overview.generation.published,
        last: overview.generation.published,
        problems: vec!["clients.pem: not a certificate".to_owned()],
        held_back: vec![("partners".to_owned(), "it drops 2 of its 2".to_owned())],
    });
    let page = drawn(&overview);
    assert!(page.contains("<title>(5) countersign</title>"), "{page}");
    assert!(page.contains("5 things need attention"));
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(at("expired 2 days ago") < at("runs out in 3 days"));
    assert!(at("clients.pem: not a certificate") < at("1 of 2 endpoints are failing"));
    assert!(page.contains("POST /reload?accept_shrink=partners"));
}

#[test]
fn endpoint_that_is_left_alone_says_why_and_until_when() {
    let mut overview = well();
    let endpoints = &mut overview.upstreams[0].endpoints;
    endpoints[1].left_alone = Some(LeftAloneFacts {
        workers: 2,
        remaining: Duration::from_millis(11_500),
        cause: "<refused>".to_owned(),
    });
    let page = drawn(&overview);
    assert!(page.contains("<title>(1) countersign</title>"), "{page}");
    let words = "left alone by 2 workers, for 12 s more at most: &lt;refused&gt;";
    // In the list of what needs attention, and in the table.
    assert_eq!(page.matches(words).count(), 2, "{page}");
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(at(">left alone</b> http://10.0.0.2") < at(">well</b> http://10.0.0.1"));
    let endpoints = &mut overview.upstreams[0].endpoints;
    endpoints[0].well = Some(false);
    endpoints[0].unwell = Some("it answered with 500".to_owned());
    let page = drawn(&overview);
    assert!(
        page.contains(
            "2 of 2 endpoints are failing (http://10.0.0.1:80: its probe: it answered with 500)"
        ),
        "{page}"
    );
}

#[test]
fn buttons_are_there_only_with_a_token_and_carry_it() {
    let mut overview = well();
    overview.generation.failing = true;
    overview.generation.last_failure = Some(FailureFacts {
        since: overview.generation.published,
        last: overview.generation.published,
        problems: Vec::new(),
        held_back: vec![("partners".to_owned(), "it drops 2 of its 2".to_owned())],
    });
    let page = drawn(&overview);
    assert!(!page.contains("<form"), "{page}");
    assert!(page.contains("This page changes nothing."));
    let page = drawn_with(&overview, &json!({}), |view| view.token = Some("5ecret"));
    assert_eq!(page.matches("<form").count(), 3);
    assert_eq!(page.matches("name=\"token\" value=\"5ecret\"").count(), 3);
    assert!(page.contains("name=\"bundle\" value=\"partners\""));
}

#[test]
fn nothing_from_the_wire_becomes_markup_wherever_it_is_shown() {
    let evil = "\"><script>alert('x')</script><img src=x onerror=alert(1)>\u{202e}";
    let mut overview = well();
    overview.ends = vec![End {
        kind: EndKind::Anchor,
        of: evil.to_owned(),
        name: evil.to_owned(),
        at: Some(0),
        soon: true,
        note: evil.to_owned(),
    }];
    overview.peers = vec![PeerFacts {
        name: evil.to_owned(),
        subject: format!("CN={evil}"),
        bundle: evil.to_owned(),
        anchor: evil.to_owned(),
        connections: 1,
        since: 0,
        requests: 1,
    }];
    overview.warnings = vec![Warned {
        is_bad: true,
        text: evil.to_owned(),
    }];
    overview.sections = vec![Facts {
        title: evil.to_owned(),
        lines: vec![(evil.to_owned(), evil.to_owned())],
    }];
    let keys = OF_EVERYTHING.iter().map(|key| (*key, Value::from(evil)));
    let mut known: serde_json::Map<_, _> =
        keys.map(|(key, value)| (key.to_owned(), value)).collect();
    known.insert("certificate".to_owned(), Value::Object(known.clone()));
    known.insert("names".to_owned(), json!([evil, evil]));
    let refusals = json!({ "handshakes": [known.clone()], "requests": [known] });
    let metrics = metrics();
    metrics.listener(0).handshake_refused("expired");
    metrics.route(0).rule(evil);
    let survey = metrics.survey();
    let page = drawn_of(&overview, (&refusals, &survey), |_| {});

    assert_eq!(page.matches("<script").count(), 1, "its own: {page}");
    assert!(!page.contains("<img"), "{page}");
    assert!(!page.contains('\u{202e}'), "{page}");
    // Every place from which it could leave an attribute or become a tag.
    assert!(!page.contains(evil), "{page}");
    assert!(page.matches("&lt;script&gt;alert(&#39;x&#39;)").count() > 20);
}

/// Every key of what is kept of a refusal.
const OF_EVERYTHING: [&str; 28] = [
    "at",
    "bundle",
    "cause",
    "client",
    "fault",
    "fingerprint",
    "for",
    "host",
    "issuer",
    "kind",
    "list",
    "listener",
    "method",
    "nearest_miss",
    "not_after",
    "not_before",
    "outcome",
    "path",
    "peer",
    "reason",
    "reference",
    "remedy",
    "route",
    "serial",
    "sni",
    "step",
    "subject",
    "via",
];

#[test]
fn refusal_says_what_it_needs_and_only_fifty_are_shown() {
    let metrics = metrics();
    metrics.listener(0).handshake_refused("expired");
    let survey = metrics.survey();
    let known: Vec<_> = (0..60)
        .map(|index| {
            json!({
                "reference": format!("{index:016x}"),
                "at": "2026-11-21T22:45:12.529Z",
                "reason": "expired",
                "cause": "the certificate expired 2 days ago",
                "remedy": "renew it",
            })
        })
        .collect();
    let refusals = json!({ "handshakes": known });
    let page = drawn_of(&well(), (&refusals, &survey), |_| {});
    assert_eq!(
        page.matches("<b>Needs:</b> <bdi>renew it</bdi>").count(),
        50
    );
    assert!(
        page.contains("<time datetime=\"2026-11-21T22:45:12.529Z\">2026-11-21 22:45:12</time>")
    );
    assert!(page.contains("<li>expired <b>1</b></li>"), "{page}");
}

#[test]
fn busiest_peers_stand_first_and_those_left_out_are_counted() {
    let mut overview = well();
    overview.peers = (0..30)
        .map(|index| PeerFacts {
            name: format!("spiffe://a.test/{index}"),
            subject: String::new(),
            bundle: "partners".to_owned(),
            anchor: "CN=Root".to_owned(),
            connections: 1,
            since: 1_795_000_000,
            requests: index,
        })
        .collect();
    overview.peers_connected = 1_030;
    let page = drawn(&overview);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("spiffe://a.test/29<") < at("spiffe://a.test/28<"));
    assert!(at("10 that asked for less") < at("spiffe://a.test/9<"));
    assert!(page.contains("1\u{202f}000"), "{page}");
}

#[test]
fn page_asks_for_nothing_from_elsewhere() {
    let page = drawn(&well());
    for scheme in ["https://", "//cdn", "@import", "url("] {
        assert!(!page.contains(scheme), "{scheme}");
    }
    let elsewhere = page.matches("http://").count();
    // Two endpoints, and the name space of SVG in the icon.
    assert_eq!(elsewhere, 3);
    assert!(!page.contains(" style="), "its policy forbids them");
    assert!(!page.contains(" onclick"), "its policy forbids them");
}
