//! Configs that must not be started: each names file, cause and remedy.

use std::net::TcpListener;
use std::process::Command;

use crate::support::command::{BINARY, Finished, countersign_on, finish};
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

/// A config that would start, had not the test changed one thing.
async fn good() -> (Pki, Setup) {
    let pki = Pki::new();
    let setup = Setup::to(&pki, &Upstream::refused_endpoint().await);
    (pki, setup)
}

/// Neither `check` nor `run` accepts it; both say why in these words.
async fn refuses(setup: &Setup, words: &[&str]) -> Finished {
    let run = setup.run("run").await;
    run.expect_code(2).expect_words(words);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let check = setup.run("check").await;
    check.expect_code(2).expect_words(words);
    check
}

/// As [`refuses`], and the place in the config file is named.
async fn refuses_at_its_place(setup: &Setup, words: &[&str]) -> Finished {
    let finished = refuses(setup, words).await;
    assert!(
        places(&finished.stderr) > 0,
        "no file:line:column in:\n{}",
        finished.stderr
    );
    finished
}

/// How many times `countersign.toml:LINE:COLUMN` occurs.
fn places(text: &str) -> usize {
    let after = text.split("countersign.toml:").skip(1);
    let is_place = |rest: &&str| {
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
        let number = |part: Option<&str>| part.is_some_and(|digits| !digits.is_empty());
        number(numbers.next()) && number(numbers.next())
    };
    after.filter(is_place).count()
}

#[tokio::test]
async fn baseline_is_accepted() {
    let (_pki, setup) = good().await;
    setup.run("check").await.expect_code(0);
}

#[tokio::test]
async fn unknown_key_is_refused_with_the_nearest_known_one() {
    let (_pki, setup) = good().await;
    let setup = setup.with("listeners.public.tls.client_atuh = 'none'");
    refuses_at_its_place(&setup, &["client_atuh", "client_auth"]).await;
}

#[tokio::test]
async fn unknown_key_is_refused_in_every_table() {
    let tables = [
        "server",
        "log",
        "admin",
        "trust.clients",
        "listeners.public",
        "listeners.public.tls",
        "listeners.public.limits",
        "upstreams.orders",
        "upstreams.orders.tls",
        "upstreams.orders.outbound",
        "upstreams.orders.outbound.assertion",
    ];
    for table in tables {
        let (_pki, setup) = good().await;
        refuses_at_its_place(&setup.with(&format!("{table}.bogus = 1")), &["bogus"]).await;
    }
    let (_pki, setup) = good().await;
    let setup = setup.with("routes = [{ upstream = 'orders', bogus = 1 }]");
    refuses_at_its_place(&setup, &["bogus"]).await;
}

#[tokio::test]
async fn all_problems_are_told_at_once() {
    let (_pki, setup) = good().await;
    let setup = setup
        .with("server.drain_timeout = '10'")
        .with("listeners.public.limits.max_header_bytes = '32'")
        .with("routes = [{ upstream = 'ordrs' }]")
        .with("listeners.public.tls.trust = 'client'");
    let words = [
        "drain_timeout",
        "max_header_bytes",
        "ordrs",
        "orders",
        "client",
        "clients",
    ];
    let finished = refuses_at_its_place(&setup, &words).await;
    assert!(places(&finished.stderr) >= 4, "{}", finished.stderr);
}

#[tokio::test]
async fn file_that_is_not_toml_is_refused_at_its_place() {
    let (_pki, setup) = good().await;
    let path = setup.path("countersign.toml");
    std::fs::write(&path, "[server]\nworkers = = 2\n").unwrap();
    let finished = countersign_on("check", &path).await;
    finished
        .expect_code(2)
        .expect_words(&["countersign.toml:2:"]);
}

#[tokio::test]
async fn missing_config_file_is_refused() {
    let (_pki, setup) = good().await;
    let finished = countersign_on("run", &setup.path("nowhere.toml")).await;
    finished.expect_code(2).expect_words(&["nowhere.toml"]);
}

#[tokio::test]
async fn durations_and_sizes_without_unit_are_refused() {
    let (_pki, setup) = good().await;
    refuses_at_its_place(
        &setup.with("server.drain_timeout = '30'"),
        &["drain_timeout", "30s"],
    )
    .await;
    let (_pki, setup) = good().await;
    refuses_at_its_place(&setup.with("server.drain_timeout = 30"), &["drain_timeout"]).await;
    let (_pki, setup) = good().await;
    let setup = setup.with("listeners.public.limits.max_header_bytes = 32768");
    refuses_at_its_place(&setup, &["max_header_bytes"]).await;
}

#[tokio::test]
async fn limits_of_nothing_are_refused() {
    for limit in [
        "handshake_timeout = '0s'",
        "idle_timeout = '0s'",
        "max_connections = 0",
        "max_header_bytes = '0KiB'",
    ] {
        let (_pki, setup) = good().await;
        let name = limit.split(' ').next().unwrap();
        refuses_at_its_place(
            &setup.with(&format!("listeners.public.limits.{limit}")),
            &[name],
        )
        .await;
    }
}

#[tokio::test]
async fn names_that_refer_to_nothing_are_refused() {
    let references = [
        ("routes = [{ upstream = 'nowhere' }]", "nowhere"),
        (
            "routes = [{ upstream = 'orders', listener = 'privat' }]",
            "privat",
        ),
        ("listeners.public.tls.trust = 'strangers'", "strangers"),
    ];
    for (change, name) in references {
        let (_pki, setup) = good().await;
        refuses_at_its_place(&setup.with(change), &[name]).await;
    }
}

#[tokio::test]
async fn required_certificates_without_a_bundle_are_refused() {
    for client_auth in ["want", "require"] {
        let (_pki, setup) = good().await;
        let setup = setup.without("listeners.public.tls.trust");
        let setup = setup.with(&format!(
            "listeners.public.tls.client_auth = '{client_auth}'"
        ));
        refuses_at_its_place(&setup, &[client_auth, "trust"]).await;
    }
}

#[tokio::test]
async fn client_auth_that_is_not_known_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.with("listeners.public.tls.client_auth = 'optional'");
    refuses_at_its_place(&setup, &["optional", "none", "want", "require"]).await;
}

#[tokio::test]
async fn two_listeners_on_one_port_are_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.with(
        "listeners.public.bind = '127.0.0.1:18443'
        listeners.second = { bind = '127.0.0.1:18443', protocols = ['http/1.1'] }",
    );
    refuses_at_its_place(&setup, &["127.0.0.1:18443", "public", "second"]).await;
}

#[tokio::test]
async fn listener_on_the_port_of_another_on_every_address_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.with(
        "listeners.public.bind = '0.0.0.0:18443'
        listeners.second = { bind = '127.0.0.1:18443', protocols = ['http/1.1'] }",
    );
    refuses_at_its_place(&setup, &["18443"]).await;
}

#[tokio::test]
async fn plaintext_listener_that_others_can_reach_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup
        .without("listeners.public.tls")
        .with("listeners.public.bind = '0.0.0.0:0'");
    refuses_at_its_place(&setup, &["0.0.0.0:0", "allow_plaintext"]).await;
}

#[tokio::test]
async fn plaintext_to_another_machine_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.with("upstreams.orders.endpoints = ['http://192.0.2.1:80']");
    refuses_at_its_place(&setup, &["192.0.2.1", "allow_plaintext"]).await;
}

#[tokio::test]
async fn identity_asserted_to_an_upstream_that_cannot_know_who_speaks_is_refused() {
    let (pki, setup) = good().await;
    let setup = setup.file("internal.pem", &pki.root().pem()).with(
        "trust.internal.ca = ['internal.pem']
        [upstreams.orders]
        endpoints = ['https://192.0.2.1:443']
        tls = { trust = 'internal', server_name = 'orders.internal' }",
    );
    refuses_at_its_place(&setup, &["orders", "client_certificate_authentication"]).await;
}

#[tokio::test]
async fn https_upstream_without_trust_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.with("upstreams.orders.endpoints = ['https://127.0.0.1:443']");
    refuses_at_its_place(&setup, &["orders", "trust"]).await;
}

#[tokio::test]
async fn minimum_version_above_the_maximum_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.with("listeners.public.tls = { min_version = '1.3', max_version = '1.2' }");
    refuses_at_its_place(&setup, &["min_version", "max_version"]).await;
}

#[tokio::test]
async fn version_that_is_no_longer_safe_is_refused() {
    let (_pki, setup) = good().await;
    refuses_at_its_place(
        &setup.with("listeners.public.tls.min_version = '1.1'"),
        &["1.1", "1.2"],
    )
    .await;
}

#[tokio::test]
async fn cipher_suites_that_do_not_fit_the_key_are_refused() {
    let (_pki, setup) = good().await;
    // The baseline's key is ECDSA: no client could be served with RSA alone.
    let setup = setup.with(
        "listeners.public.tls = { max_version = '1.2', cipher_suites = ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'] }",
    );
    refuses(
        &setup,
        &["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "proxy.pem"],
    )
    .await;
}

#[tokio::test]
async fn cipher_suites_for_tls_1_3_alone_do_not_excuse_those_that_do_not_fit_the_key() {
    let (pki, setup) = good().await;
    let leaf = pki.root().leaf().server().dns("proxy.test");
    let leaf = leaf.key(&rcgen::PKCS_RSA_SHA256).issue();
    let setup = setup.certificate("proxy", &leaf).with(
        "listeners.public.tls.cipher_suites = ['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256']",
    );
    let words = [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "the RSA key of",
        "add one such as TLS_ECDHE_RSA_",
    ];
    refuses_at_its_place(&setup, &words).await;
    let setup = setup.with("listeners.public.tls.cipher_suites = ['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256']");
    setup.run("check").await.expect_code(0);
}

#[tokio::test]
async fn key_exchange_for_tls_1_3_alone_is_refused_where_tls_1_2_is_allowed() {
    let (_pki, setup) = good().await;
    let setup = setup
        .with("listeners.public.tls = { min_version = '1.2', key_exchange = ['X25519MLKEM768'] }");
    refuses_at_its_place(
        &setup,
        &["key_exchange", "TLS 1.2", "min_version = \"1.3\""],
    )
    .await;
    let setup = setup.with("listeners.public.tls.min_version = '1.3'");
    setup.run("check").await.expect_code(0);
}

#[tokio::test]
async fn rule_that_could_never_match_is_refused() {
    let rules = [
        ("[{ fingerprint = 'abc' }]", "fingerprint"),
        ("[{ uri = '' }]", "uri"),
        ("[{ dns = 'two words' }]", "dns"),
        ("[{ subject = 'billing' }]", "subject"),
        ("[{ email = 'example.com' }]", "email"),
        ("[{ cn = '*' }]", "cn"),
        ("[{ methods = ['GET'] }]", "allow"),
        ("[{ }]", "allow"),
        ("[]", "allow"),
    ];
    for (rules, word) in rules {
        let (_pki, setup) = good().await;
        let setup = setup.with(&format!(
            "routes = [{{ upstream = 'orders', allow = {rules} }}]"
        ));
        refuses_at_its_place(&setup, &[word]).await;
    }
}

#[tokio::test]
async fn credentials_directory_stands_for_its_path() {
    let (pki, setup) = good().await;
    let setup = setup.folder("credentials");
    let setup = setup.certificate("credentials/own", &pki.proxy()).with(
        "listeners.public.tls.certificates = [
            { chain = '${CREDENTIALS_DIRECTORY}/own.pem', key = '${CREDENTIALS_DIRECTORY}/own.key' },
        ]",
    );
    let config = setup.write();
    let check = |variable: &str| {
        let mut command = Command::new(BINARY);
        command
            .env_remove("CREDENTIALS_DIRECTORY")
            .env(variable, setup.path("credentials"));
        command.args(["check", "--config"]).arg(&config);
        command
    };
    finish(&mut check("CREDENTIALS_DIRECTORY"))
        .await
        .expect_code(0);
    let unset = finish(&mut check("SOMETHING_ELSE")).await;
    unset
        .expect_code(2)
        .expect_words(&["CREDENTIALS_DIRECTORY"]);
}

#[tokio::test]
async fn missing_pem_file_is_refused() {
    for change in [
        "listeners.public.tls.certificates = [{ chain = 'gone.pem', key = 'proxy.key' }]",
        "listeners.public.tls.certificates = [{ chain = 'proxy.pem', key = 'gone.pem' }]",
        "trust.clients.ca = ['gone.pem']",
    ] {
        let (_pki, setup) = good().await;
        refuses_at_its_place(&setup.with(change), &["gone.pem"]).await;
    }
}

#[tokio::test]
async fn empty_pem_file_is_refused() {
    for name in ["proxy.pem", "proxy.key", "clients.pem"] {
        let (_pki, setup) = good().await;
        refuses_at_its_place(&setup.file(name, ""), &[name]).await;
    }
}

#[tokio::test]
async fn file_that_is_not_pem_is_refused() {
    for name in ["proxy.pem", "proxy.key", "clients.pem"] {
        let (_pki, setup) = good().await;
        refuses_at_its_place(&setup.file(name, "hello, world\n"), &[name]).await;
    }
}

#[tokio::test]
async fn pem_that_holds_no_certificate_is_refused() {
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for name in ["proxy.pem", "clients.pem"] {
        let (_pki, setup) = good().await;
        refuses_at_its_place(&setup.file(name, nonsense), &[name]).await;
    }
}

#[tokio::test]
async fn folder_in_place_of_a_pem_file_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup
        .folder("folder")
        .with("listeners.public.tls.certificates = [{ chain = 'folder', key = 'proxy.key' }]");
    refuses_at_its_place(&setup, &["folder"]).await;
}

#[tokio::test]
async fn bundle_folder_without_certificates_is_refused() {
    let (_pki, setup) = good().await;
    let setup = setup.folder("anchors");
    refuses_at_its_place(
        &setup.with("trust.clients.ca = ['anchors/']"),
        &["anchors", "clients"],
    )
    .await;
}

#[tokio::test]
async fn key_of_another_certificate_is_refused() {
    let (pki, setup) = good().await;
    let setup = setup.file("proxy.key", &pki.proxy().key_pem());
    refuses_at_its_place(&setup, &["proxy.key", "proxy.pem"]).await;
}

#[tokio::test]
async fn own_certificate_that_has_expired_is_refused() {
    let (pki, setup) = good().await;
    let expired = pki
        .root()
        .leaf()
        .server()
        .dns("proxy.test")
        .expired()
        .issue();
    refuses_at_its_place(
        &setup.certificate("proxy", &expired),
        &["proxy.pem", "expired"],
    )
    .await;
}

#[tokio::test]
async fn own_certificate_that_no_client_could_verify_is_refused() {
    let (pki, setup) = good().await;
    let leaf = || pki.root().leaf().server().common_name("proxy.test");
    let words = ["proxy.pem", "common name", "subject alternative name"];
    let setup = setup.certificate("proxy", &leaf().issue());
    refuses_at_its_place(&setup, &words).await;
    let setup = setup.certificate("proxy", &leaf().email("ops@proxy.test").issue());
    refuses_at_its_place(&setup, &words).await;
    for named in [
        leaf().dns("proxy.test"),
        leaf().ip("192.0.2.1"),
        leaf().uri("spiffe://prod.example/proxy"),
    ] {
        let (_, setup) = good().await;
        let setup = setup.certificate("proxy", &named.issue());
        setup.run("check").await.expect_code(0);
    }
}

#[tokio::test]
async fn own_certificate_with_addresses_alone_is_refused_where_nobody_would_get_it() {
    let (pki, setup) = good().await;
    let leaf = || pki.root().leaf().server().ip("192.0.2.1").issue();
    let certificates = |order: [&str; 3]| {
        let entry = |name| format!("{{ chain = '{name}.pem', key = '{name}.key' }}");
        let entries = order.map(entry).join(", ");
        format!("listeners.public.tls.certificates = [{entries}]")
    };
    let setup = setup.certificate("a", &leaf()).certificate("b", &leaf());
    let setup = setup.with(&certificates(["a", "b", "proxy"]));
    setup.run("check").await.expect_code(0);
    let setup = setup.with(&certificates(["proxy", "a", "b"]));
    refuses_at_its_place(&setup, &["a.pem", "b.pem", "put it first"]).await;
}

#[tokio::test]
async fn private_key_in_a_trust_bundle_is_refused() {
    let (pki, setup) = good().await;
    let both = pki.root().pem() + &pki.client().key_pem();
    refuses_at_its_place(&setup.file("clients.pem", &both), &["clients.pem", "key"]).await;
}

#[tokio::test]
async fn leaf_in_a_trust_bundle_is_refused() {
    let (pki, setup) = good().await;
    let both = pki.root().pem() + &pki.client().chain_pem();
    refuses_at_its_place(&setup.file("clients.pem", &both), &["clients.pem"]).await;
}

#[tokio::test]
async fn secrets_never_stand_in_an_error() {
    let (pki, setup) = good().await;
    let key = pki.proxy().key_pem();
    let setup = setup.file("proxy.pem", &key).file("clients.pem", &key);
    let finished = refuses(&setup, &["proxy.pem", "clients.pem"]).await;
    let secret = key.lines().nth(1).unwrap();
    assert!(!(finished.stderr + &finished.stdout).contains(secret));
}

#[tokio::test]
async fn port_that_is_taken_refuses_the_start_with_its_address() {
    let (_pki, setup) = good().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = setup.with(&format!("listeners.public.bind = '{address}'"));
    let finished = setup.run("run").await;
    assert!(matches!(finished.code, Some(1 | 2)), "{finished:?}");
    finished.expect_words(&[&address, "public"]);
    setup.run("check").await.expect_code(0);
}

#[tokio::test]
async fn bundle_may_hold_several_anchors_in_files_and_folders() {
    let (pki, setup) = good().await;
    let setup = setup.folder("anchors");
    let setup = setup.file("anchors/second.pem", &Authority::root("Second").pem());
    let setup = setup.file(
        "clients.pem",
        &(pki.root().pem() + &Authority::root("Third").pem()),
    );
    let setup = setup.with("trust.clients.ca = ['clients.pem', 'anchors/']");
    setup.run("check").await.expect_code(0);
}
