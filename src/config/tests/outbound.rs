//! What is accepted of the outbound layers, and what becomes of it.

use std::path::Path;
use std::time::Duration;

use super::super::{CredentialSource, PoolPer, RunAs, SessionPer};
use super::{BASELINE, accepted, with};

#[test]
fn each_reason_to_believe_an_assertion_is_enough() {
    let remote = with("http://127.0.0.1:8080", "https://10.0.0.5");
    let tls = "[upstreams.orders.tls]\ntrust = \"system\"\n";
    let certificate = "certificate = { chain = \"a\", key = \"b\" }\n";
    let outbound = "[upstreams.orders.outbound]\n";
    let credential =
        "[upstreams.orders.outbound.credential]\nsource = \"bearer\"\ntoken_file = \"t\"\n";
    let by_caller = "basic_authentication = \"required\"\ncredential = { source = \"per_caller\", file = \"f\" }\n";
    let signed = "[upstreams.orders.outbound.assertion]\nencode = [\"jwt\"]\n\
         jwt = { keys = [\"k\"], issuer = \"https://edge.example\" }\n";
    for reason in [
        format!("{tls}{credential}"),
        format!("{tls}{outbound}{by_caller}"),
        format!("{tls}{signed}"),
        format!("{tls}{certificate}{outbound}client_certificate_authentication = \"required\"\n"),
        format!("{tls}{outbound}identity_assertion = \"never\"\n"),
    ] {
        accepted(&format!("{remote}{reason}"));
    }
}

#[test]
fn signed_assertion_has_defaults_and_may_stand_in_authorization_alone() {
    let table = "[upstreams.orders.outbound.assertion]\nencode = [\"jwt\"]\n\
         [upstreams.orders.outbound.assertion.jwt]\nkeys = [\"k\"]\nissuer = \"i\"\n";
    let signed = |text: &str| {
        let config = accepted(&format!("{BASELINE}{text}"));
        let outbound = &config.upstreams()[0].outbound;
        assert!(outbound.encodings.is_empty());
        outbound.signed.clone().unwrap()
    };
    let plain = signed(table);
    assert_eq!(plain.keys[0].value, Path::new("/etc/cs/k"));
    assert_eq!(plain.audience, "orders");
    assert_eq!(plain.lifetime, Duration::from_secs(60));
    assert_eq!(plain.header, "x-client-assertion");
    assert_eq!(plain.scheme, None);

    let never = "[upstreams.orders.outbound]\nbasic_authentication = \"never\"\n";
    let bearer = "header = \"Authorization\"\nscheme = \"Bearer\"\n";
    let alone = signed(&format!("{never}{table}{bearer}"));
    assert_eq!(alone.header, "authorization");
    assert_eq!(alone.scheme.as_deref(), Some("Bearer"));
}

#[test]
fn what_is_written_of_sessions_and_connections_is_held() {
    let text = format!(
        r#"{BASELINE}
[upstreams.orders.outbound]
session_cookies = ["JSESSIONID", "__Host-sid"]
session_lost = ["403", "302 /login"]
session_lifetime = "24h"
max_sessions = 1000000
session_per = "name"
authentication_retry = false
replay_limit = "16MiB"
pool_per = "connection"
credential = {{ source = "per_caller", file = "callers.toml" }}
"#
    );
    let config = accepted(&text);
    let outbound = &config.upstreams()[0].outbound;
    let sessions = outbound.sessions.as_ref().expect("they are kept");
    assert_eq!(sessions.cookies, ["JSESSIONID", "__Host-sid"]);
    let lost = sessions.lost.iter();
    let lost: Vec<_> = lost
        .map(|lost| (lost.status, lost.location.as_deref()))
        .collect();
    assert_eq!(lost, [(403, None), (302, Some("/login"))]);
    assert_eq!(sessions.lifetime, Duration::from_secs(24 * 3600));
    assert_eq!(sessions.most.get(), 1_000_000);
    assert_eq!(sessions.per, SessionPer::Name);
    assert!(!outbound.authentication_retry);
    assert_eq!(outbound.replay_limit, 16 * 1024 * 1024);
    assert_eq!(outbound.pool_per, PoolPer::Connection);
    assert!(
        matches!(&outbound.source, CredentialSource::PerCaller { file } if file.value == Path::new("/etc/cs/callers.toml"))
    );
}

#[test]
fn sessions_are_kept_only_where_their_cookies_are_named() {
    let outbound = |lines: &str| {
        let config = accepted(&format!("{BASELINE}[upstreams.orders.outbound]\n{lines}"));
        config.upstreams()[0].outbound.clone()
    };
    let unnamed = outbound("stateful_sessions = true\n");
    assert_eq!(unnamed.sessions, None);
    assert!(unnamed.authentication_retry);
    assert_eq!(unnamed.replay_limit, 64 * 1024);
    assert_eq!(unnamed.pool_per, PoolPer::None);
    let named = outbound("session_cookies = [\"SID\"]\n")
        .sessions
        .expect("they are kept");
    let [lost] = &named.lost[..] else {
        panic!("{:?}", named.lost)
    };
    assert_eq!((lost.status, &lost.location), (401, &None));
    assert_eq!(named.lifetime, Duration::from_secs(30 * 60));
    assert_eq!(named.most.get(), 10_000);
    assert_eq!(named.per, SessionPer::Certificate);
    assert_eq!(outbound("stateful_sessions = false\n").sessions, None);
}

#[test]
fn whose_identity_is_asserted_is_the_callers_unless_another_is_written() {
    let run_as = |lines: &str| {
        let config = accepted(&format!("{BASELINE}[upstreams.orders.outbound]\n{lines}"));
        config.upstreams()[0].outbound.run_as.clone()
    };
    assert_eq!(run_as(""), RunAs::Client);
    assert_eq!(run_as("run_as = \"client\"\n"), RunAs::Client);
    let specified = run_as(
        "run_as = \"specified\"\nidentity = { subject = \"cn=gateway\", uri = \"SPIFFE://prod.example/gateway\" }\n",
    );
    let RunAs::Specified(identity) = specified else {
        panic!("{specified:?}")
    };
    assert_eq!(identity.value.names().subject(), Some("CN=gateway"));
    assert_eq!(identity.value.primary(), "spiffe://prod.example/gateway");
    // What is never asserted need not be possible.
    let unfit = "identity_assertion = \"never\"\nrun_as = \"system\"\n";
    assert_eq!(run_as(unfit), RunAs::System);
}

#[test]
fn fields_of_an_assertion_that_is_switched_off_are_still_known() {
    let text = format!(
        "{BASELINE}[upstreams.orders.outbound]\nidentity_assertion = \"never\"\n[upstreams.orders.outbound.assertion]\nencode = [\"headers\"]\nheaders = {{ X-Caller = \"{{subject}}\" }}\n"
    );
    let config = accepted(&text);
    let outbound = &config.upstreams()[0].outbound;
    let names: Vec<_> = outbound.encodings[0].field_names().collect();
    assert_eq!(names, ["x-caller"]);
}
