use http::header::HOST;

use super::*;
use crate::upstream::testing::{Service, in_both_protocols, plan_of};

fn check(more: &str) -> HealthCheck {
    let health = format!("health = {{ path = \"/\", healthy = 2, unhealthy = 3{more} }}");
    let plan = plan_of(&["http://127.0.0.1:1"], &health);
    plan.health().unwrap().clone()
}

/// What it says after each of these probes: `+` well, `-` unwell, `.` nothing new.
fn said(row: &mut Row, probes: &str) -> String {
    let check = check("");
    let say = |probe| match row.count(probe == '+', &check) {
        Some(true) => '+',
        Some(false) => '-',
        None => '.',
    };
    probes.chars().map(say).collect()
}

#[test]
fn first_probe_decides_alone() {
    assert_eq!(said(&mut Row::new(true), "-"), "-");
    assert_eq!(said(&mut Row::new(true), "+"), ".");
    assert_eq!(said(&mut Row::new(false), "+"), "+");
}

#[test]
fn later_it_takes_several_in_a_row() {
    let mut row = Row::new(true);
    assert_eq!(said(&mut row, "+--+--+"), ".......");
    assert_eq!(said(&mut row, "---"), "..-");
    assert_eq!(said(&mut row, "-+-+-"), ".....");
    assert_eq!(said(&mut row, "++"), ".+");
}

#[test]
fn time_between_probes_is_the_interval_give_or_take_a_tenth() {
    let interval = Duration::from_secs(10);
    let all: Vec<_> = (0..200).map(|_| jittered(interval)).collect();
    for time in &all {
        assert!((9..=11).contains(&time.as_secs()), "{time:?}");
    }
    assert!(all.iter().any(|time| *time != all[0]));
}

#[test]
fn probe_asks_for_the_path_at_the_host_in_both_protocols() {
    let endpoints = [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]", "[::1]"),
        ("unix:/run/orders", "localhost"),
    ];
    for (text, host) in endpoints {
        let more = "health.path = \"/well?deep=1\"";
        let plan = plan_of(&[text], more);
        let (endpoint, check) = (&plan.endpoints()[0], plan.health().unwrap());
        let h1 = request(Protocol::Http1, endpoint, check).unwrap();
        assert_eq!(h1.headers()[HOST], host);
        assert_eq!(h1.uri(), "/well?deep=1");
        let h2 = request(Protocol::Http2, endpoint, check).unwrap();
        assert_eq!(*h2.uri(), format!("http://{host}/well?deep=1").as_str());
        assert!(!h2.headers().contains_key(HOST));
    }
    let plan = plan_of(
        &["http://127.0.0.1:1"],
        "health = { path = \"/\", host = \"orders.test\" }",
    );
    let request = request(
        Protocol::Http1,
        &plan.endpoints()[0],
        plan.health().unwrap(),
    );
    assert_eq!(request.unwrap().headers()[HOST], "orders.test");
}

#[test]
fn probe_succeeds_with_the_status_that_is_wanted_and_fails_with_another() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let endpoint = format!("http://{}", service.address);
        for (status, succeeds) in [("2xx", true), ("204", false)] {
            let more = format!(
                "protocol = \"{protocol}\"\nhealth = {{ path = \"/\", status = [\"{status}\"] }}"
            );
            let plan = plan_of(&[&endpoint], &more);
            let check = plan.health().unwrap();
            let found = probe(&plan, (0, &plan.endpoints()[0]), check).await;
            assert_eq!(found.is_ok(), succeeds, "{protocol} {status}");
            if let Err(fault) = found {
                assert_eq!(fault.cause, "GET / was answered with 200");
            }
        }
        service.sees_no_connection().await;
    });
}
