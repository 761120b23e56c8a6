use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::server::ProducesTickets;
use rustls::version::TLS13;

use super::super::testing::{Authority, Client, Files, Leaf, NAMES, VERSIONS, listener};
use super::*;

const A: &str = NAMES[0];
const B: &str = NAMES[1];

#[tokio::test]
async fn session_is_resumed_with_the_same_identity_again_and_again() {
    for version in VERSIONS {
        let files = Files::new();
        let below = files.clients.intermediate("Below");
        let leaf = below.client("billing");
        let (client, server) = (files.client(version), files.listener(""));
        for round in 0..5 {
            client.presents(Some(&leaf).filter(|_| round == 0));
            let done = client.meets(&server, A).await.unwrap();
            assert_eq!(done.resumed, round > 0, "{round}");
            assert_eq!(names(&done), ["billing"]);
            assert_eq!(done.peer.unwrap().known.chain(), leaf.chain);
            assert_eq!(done.server_name.as_deref(), Some(A));
        }
    }
}

#[tokio::test]
async fn full_handshake_brings_two_tickets_and_a_resumed_one_takes_one_for_another() {
    let files = Files::new();
    let (client, server) = (files.client(&TLS13), files.listener(""));
    client.presents(Some(&files.clients.client("billing")));
    for expected in [2, 3, 4] {
        client.meets(&server, A).await.unwrap();
        assert_eq!(client.tickets(), expected);
    }
}

#[tokio::test]
async fn anonymous_session_is_resumed_where_nobody_has_to_be_known() {
    for (version, client_auth) in every_version(["none", "want"]) {
        let files = Files::new();
        let server = files.load(&listener("", "public", client_auth, "clients", ""));
        let client = files.client(version);
        for resumed in [false, true, true] {
            let done = client.meets(&server, A).await.unwrap();
            assert_eq!(done.resumed, resumed, "{client_auth}");
            assert!(done.peer.is_none());
        }
    }
}

#[tokio::test]
async fn no_session_is_resumed_where_that_is_turned_off() {
    for version in VERSIONS {
        let files = Files::new();
        let server = files.listener("session_resumption = false");
        let client = files.client(version);
        client.presents(Some(&files.clients.client("billing")));
        for _ in 0..3 {
            assert!(!client.meets(&server, A).await.unwrap().resumed);
        }
        assert_eq!(client.tickets(), 0);
    }
}

#[tokio::test]
async fn session_of_another_policy_is_not_resumed() {
    let shared = "session_ticket_keys = 'ticket.keys'";
    let original = listener(shared, "public", "want", "clients", "");
    for (version, other) in every_version([
        listener(shared, "private", "want", "clients", ""),
        listener(shared, "public", "require", "clients", ""),
        listener(shared, "public", "want", "partners", ""),
    ]) {
        let files = Files::new();
        let (first, second) = (files.load(&original), files.load(&other));
        let client = known(&files, version, &first).await;
        let done = client.meets(&second, A).await.unwrap();
        assert!(!done.resumed, "{other}");
        assert_eq!(names(&done), ["billing"]);
        // The very same policy, loaded again, does resume.
        let client = known(&files, version, &first).await;
        assert!(
            client
                .meets(&files.load(&original), A)
                .await
                .unwrap()
                .resumed
        );
    }
}

#[tokio::test]
async fn anonymous_session_is_no_way_into_a_listener_that_requires_a_certificate() {
    let shared = "session_ticket_keys = 'ticket.keys'";
    for (version, before) in every_version(["none", "want"]) {
        let files = Files::new();
        let open = files.load(&listener(shared, "public", before, "clients", ""));
        let client = files.client(version);
        assert!(client.meets(&open, A).await.unwrap().peer.is_none());
        let refused = client.meets(&files.listener(""), A).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::NoCertificate);
    }
}

#[tokio::test]
async fn session_of_another_server_name_is_not_resumed() {
    for version in VERSIONS {
        let files = Files::new();
        let server = files.listener("");
        let client = known(&files, version, &server).await;
        assert!(!client.meets(&server, B).await.unwrap().resumed);
        assert!(client.meets(&server, B).await.unwrap().resumed);
    }
}

#[tokio::test]
async fn session_of_a_withdrawn_authority_goes_on_as_a_full_handshake_which_decides() {
    for (version, (successor, reason)) in every_version([
        ("Another Root", Refusal::Untrusted),
        // The same name with another key is another authority.
        ("Client Root", Refusal::BadSignature),
    ]) {
        let files = Files::new();
        let server = files.listener("");
        let refused = known(&files, version, &server).await;
        let renewed = known(&files, version, &server).await;
        let successor = Authority::root(successor);
        files.write("clients.pem", &successor.pem());
        let server = files.listener("");

        let refusal = refused.meets(&server, A).await.unwrap_err();
        assert_eq!(refusal.reason, reason);
        assert_eq!(refusal.presented.unwrap().dns(), ["billing"]);

        renewed.presents(Some(&successor.client("renewed")));
        let done = renewed.meets(&server, A).await.unwrap();
        assert!(!done.resumed);
        assert_eq!(names(&done), ["renewed"]);
    }
}

#[tokio::test]
async fn session_of_an_expired_chain_goes_on_as_a_full_handshake() {
    for version in VERSIONS {
        let files = Files::new();
        let server = files.listener("");
        let client = files.client(version);
        client.presents(Some(
            &files.clients.client_for("brief", Duration::from_secs(2)),
        ));
        let done = client.meets(&server, A).await.unwrap();
        let end = done.peer.unwrap().good_until;
        let unix_now = || {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
            i64::try_from(now).unwrap()
        };
        while unix_now() <= end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.presents(Some(&files.clients.client("renewed")));
        let done = client.meets(&server, A).await.unwrap();
        assert!(!done.resumed);
        assert_eq!(names(&done), ["renewed"]);
    }
}

#[tokio::test]
async fn sessions_of_a_process_that_has_ended_cost_a_full_handshake_and_nothing_else() {
    for version in VERSIONS {
        let files = Files::new();
        let own_keys = listener("", "public", "require", "clients", "");
        let client = known(&files, version, &files.load(&own_keys)).await;
        let restarted = files.load(&own_keys);
        for resumed in [false, true] {
            let done = client.meets(&restarted, A).await.unwrap();
            assert_eq!(done.resumed, resumed);
        }
    }
}

#[tokio::test]
async fn instances_with_the_same_secrets_resume_each_others_sessions_while_the_lines_rotate() {
    let secret = |byte| data_encoding::BASE64.encode(&[byte; 48]);
    let (old, new) = (secret(1), secret(2));
    for version in VERSIONS {
        let files = Files::new();
        files.write("ticket.keys", &old);
        let before = files.listener("");
        files.write("ticket.keys", &format!("{new}\n{old}\n"));
        let between = files.listener("");
        files.write("ticket.keys", &new);
        let after = files.listener("");

        let client = known(&files, version, &before).await;
        assert!(client.meets(&between, A).await.unwrap().resumed);
        // That one gave a ticket of the new secret in return.
        assert!(client.meets(&after, A).await.unwrap().resumed);
        let client = known(&files, version, &before).await;
        assert!(!client.meets(&after, A).await.unwrap().resumed);
    }
}

#[tokio::test]
async fn ticket_that_was_tampered_with_costs_a_full_handshake() {
    for version in VERSIONS {
        for at in [0, 15, 16, 27, 28, 60, 200] {
            let files = Files::new();
            let seal = move |mut ticket: Vec<u8>| {
                ticket[at] ^= 1;
                ticket
            };
            let server = altered(files.listener(""), seal, |opened| opened);
            let client = known(&files, version, &server).await;
            assert!(!client.meets(&server, A).await.unwrap().resumed, "{at}");
        }
    }
}

#[tokio::test]
async fn ticket_that_the_library_does_not_use_leaves_no_identity_behind() {
    for version in VERSIONS {
        let files = Files::new();
        let shared = "session_ticket_keys = 'ticket.keys'";
        let config = listener(shared, "public", "want", "clients", "");
        let server = files.load(&config);
        let client = known(&files, version, &server).await;
        client.presents(None);
        // It is opened and found good, and not gone on with.
        let unused = altered(files.load(&config), |ticket| ticket, |_| None);
        let done = client.meets(&unused, A).await.unwrap();
        assert!(!done.resumed && done.peer.is_none());
        // Nor does the session that began there.
        let done = client.meets(&server, A).await.unwrap();
        assert!(done.resumed && done.peer.is_none());
    }
}

#[tokio::test]
async fn session_that_nobody_verified_is_refused_even_if_the_library_resumes_it() {
    for version in VERSIONS {
        let files = Files::new();
        let server = files.listener("");
        let client = known(&files, version, &server).await;
        let careless = altered(
            files.listener(""),
            |ticket| ticket,
            |opened| {
                handshake::with_record(|record| record.sessions = Default::default());
                opened
            },
        );
        let refused = client.meets(&careless, A).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::Internal);
        assert_eq!(refused.server_name.as_deref(), Some(A));
    }
}

#[tokio::test]
async fn lifetime_of_a_session_is_counted_from_its_full_handshake() {
    for version in VERSIONS {
        let files = Files::new();
        let server = files.listener("session_lifetime = '3s'");
        let client = known(&files, version, &server).await;
        let begun = Instant::now();
        let mut renewals = 0;
        while client.meets(&server, A).await.unwrap().resumed {
            renewals += 1;
            assert!(begun.elapsed() < Duration::from_secs(6), "{renewals}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(renewals > 2, "{renewals}");
        assert!(client.meets(&server, A).await.unwrap().resumed);
    }
}

/// A client that has a session with `server`, as `billing`.
async fn known(
    files: &Files,
    version: &'static SupportedProtocolVersion,
    server: &ServerTls,
) -> Client {
    let client = files.client(version);
    let leaf: Leaf = files.clients.client("billing");
    client.presents(Some(&leaf));
    let done = client.meets(server, A).await.unwrap();
    assert!(!done.resumed);
    assert_eq!(names(&done), ["billing"]);
    client
}

fn names(done: &Handshaken) -> &[String] {
    done.peer.as_ref().unwrap().identity.names().dns()
}

fn every_version<T: Clone, const N: usize>(
    cases: [T; N],
) -> impl Iterator<Item = (&'static SupportedProtocolVersion, T)> {
    let both = |case: T| VERSIONS.map(|version| (version, case.clone()));
    cases.into_iter().flat_map(both)
}

/// The same server, with its tickets altered as they are issued, and its
/// sessions before the library goes on with them.
fn altered(
    mut server: ServerTls,
    seal: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    open: fn(Option<Vec<u8>>) -> Option<Vec<u8>>,
) -> ServerTls {
    let config = Arc::get_mut(&mut server.policies.all_mut()[0].config).unwrap();
    config.ticketer = Arc::new(Altered {
        inner: Arc::clone(&config.ticketer),
        seal: Box::new(seal),
        open,
    });
    server
}

struct Altered {
    inner: Arc<dyn ProducesTickets>,
    seal: Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>,
    open: fn(Option<Vec<u8>>) -> Option<Vec<u8>>,
}

impl std::fmt::Debug for Altered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl ProducesTickets for Altered {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(plain).map(&self.seal)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        (self.open)(self.inner.decrypt(cipher))
    }
}

/// A config whose listener `public` has certificates for [`NAMES`], the bundles
/// `clients` and `others`, and these lines in its table.
fn by_name(lines: &str) -> String {
    let shared = "session_ticket_keys = 'ticket.keys'";
    let text = listener(shared, "public", "require", "clients", lines);
    format!("{text}[trust.others]\nca = ['others.pem']\n")
}

/// The files of such a config, and whom `others` trusts.
fn two_authorities() -> (Files, Authority) {
    let (files, others) = (Files::new(), Authority::root("Other Root"));
    files.write("others.pem", &others.pem());
    (files, others)
}

const B_TRUSTS_OTHERS: &str = "names.'b.test' = { client_auth = 'require', trust = 'others' }";

#[tokio::test]
async fn each_name_has_the_policy_that_is_its_own_and_no_other_one() {
    for version in VERSIONS {
        let (files, others) = two_authorities();
        let server = files.load(&by_name(B_TRUSTS_OTHERS));
        let [ours, theirs] = [&files.clients, &others].map(|root| root.client("billing"));
        for (name, leaf, accepted) in [
            (A, &ours, true),
            (A, &theirs, false),
            (B, &ours, false),
            (B, &theirs, true),
        ] {
            let client = files.client(version);
            client.presents(Some(leaf));
            match client.meets(&server, name).await {
                Ok(done) => assert!(accepted && names(&done) == ["billing"], "{name}"),
                Err(refused) => {
                    assert_eq!(refused.reason, Refusal::Untrusted);
                    assert!(!accepted, "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn session_of_a_name_is_not_resumed_under_the_policy_of_another_one() {
    for (version, (from, to)) in every_version([(A, B), (B, A)]) {
        for policy in [
            B_TRUSTS_OTHERS,
            "names.'b.test' = { client_auth = 'want' }",
            "names.'b.test' = { client_auth = 'none' }",
        ] {
            let (files, others) = two_authorities();
            let server = files.load(&by_name(policy));
            let client = files.client(version);
            let trusted = if from == B && policy == B_TRUSTS_OTHERS {
                others.client("billing")
            } else {
                files.clients.client("billing")
            };
            client.presents(Some(&trusted));
            assert!(!client.meets(&server, from).await.unwrap().resumed);
            client.presents(None);
            match client.meets(&server, to).await {
                Ok(done) => {
                    assert!(!done.resumed && done.peer.is_none(), "{from} {policy}");
                    assert!(to == B && policy != B_TRUSTS_OTHERS, "{from} {policy}");
                }
                Err(refused) => assert_eq!(refused.reason, Refusal::NoCertificate),
            }
        }
    }
}

#[tokio::test]
async fn session_is_verified_by_the_policy_that_its_name_has_now() {
    let b_too = "names.'b.test' = { client_auth = 'require', trust = 'clients' }";
    let b_wants = "names.'b.test' = { client_auth = 'want', trust = 'clients' }";
    for (version, before) in every_version([b_too, b_wants]) {
        let (files, _) = two_authorities();
        let server = files.load(&by_name(before));
        let client = files.client(version);
        client.presents(Some(&files.clients.client("billing")));
        for resumed in [false, true] {
            assert_eq!(client.meets(&server, B).await.unwrap().resumed, resumed);
        }
        // The same listener and keys, but another policy for this name.
        let swapped = files.load(&by_name(B_TRUSTS_OTHERS));
        let refused = client.meets(&swapped, B).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::Untrusted);
    }
}

#[test]
fn hosts_of_the_policy_of_a_connection_may_be_asked_for_over_it_and_no_others() {
    let (files, _) = two_authorities();
    let one = files.load(&by_name(""));
    let two = files.load(&by_name(B_TRUSTS_OTHERS));
    let same = "names.'*.test' = { client_auth = 'require' }";
    let same = files.load(&by_name(same));
    let strictest = "unknown_sni = 'strictest'\nnames.'b.test' = { client_auth = 'none' }";
    let strictest = files.load(&by_name(strictest));
    for (server, name, host, covered) in [
        (&one, Some(A), B, true),
        (&one, None, B, true),
        (&one, Some(A), "192.0.2.1", true),
        (&one, Some(A), "c.test", false),
        // A name whose certificate has gone since.
        (&one, Some("c.test"), A, true),
        (&two, Some(A), A, true),
        (&two, Some(A), B, false),
        (&two, Some(B), B, true),
        (&two, Some(B), A, false),
        (&two, None, A, false),
        (&two, Some("c.test"), "c.test", false),
        (&two, Some(A), "192.0.2.1", false),
        (&same, Some(A), B, true),
        (&strictest, None, A, true),
        (&strictest, None, B, false),
        (&strictest, Some(B), B, true),
        (&strictest, Some(B), "192.0.2.1", false),
        (&strictest, None, "192.0.2.1", true),
        (&strictest, Some("c.test"), A, true),
        (&strictest, Some(A), "c.test", true),
        (&strictest, Some(B), "c.test", false),
    ] {
        assert_eq!(
            server.covers(host, name).is_ok(),
            covered,
            "{name:?} {host}"
        );
    }
}

#[tokio::test]
async fn open_connection_is_judged_by_the_policy_of_the_name_it_came_with() {
    let (files, others) = two_authorities();
    let server = files.load(&by_name(B_TRUSTS_OTHERS));
    let swapped =
        "trust = 'others'\nnames.'b.test' = { client_auth = 'require', trust = 'clients' }";
    let swapped = by_name(swapped).replacen("trust = 'clients'", "", 1);
    let swapped = files.load(&swapped);
    let leaf = others.client("billing");
    let client = files.client(&TLS13);
    client.presents(Some(&leaf));
    let peer = client.meets(&server, B).await.unwrap().peer.unwrap().known;
    assert!(server.judge(Some(B), Some(&peer)).is_ok());
    let withdrawn = server.judge(Some(A), Some(&peer)).unwrap_err();
    assert_eq!(withdrawn.reason, Refusal::Untrusted);
    let withdrawn = swapped.judge(Some(B), Some(&peer)).unwrap_err();
    assert_eq!(withdrawn.reason, Refusal::Untrusted);
    assert!(swapped.judge(Some(A), Some(&peer)).is_ok());
    for unknown in [Some("c.test"), None] {
        let withdrawn = server.judge(unknown, Some(&peer)).unwrap_err();
        assert_eq!(withdrawn.reason, Refusal::UnknownName);
    }
    assert_eq!(server.bundle(Some(A)).unwrap().name(), "clients");
    assert_eq!(server.bundle(Some(B)).unwrap().name(), "others");
}
