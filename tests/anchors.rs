//! What cannot be a trust anchor is named, with the reason.

use crate::support::client::Client;
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

/// Each, in words that name it and the reason; `None` is good enough.
fn anchors(pki: &Pki) -> [(&'static str, String, Option<[&'static str; 2]>); 6] {
    let leaf = pki.root().leaf().client().common_name("Leaf").issue();
    [
        ("v1", VERSION_1.to_owned(), Some(["CN=Old", "version 1"])),
        (
            "short",
            RSA_1024.to_owned(),
            Some(["CN=Short", "1024 bits"]),
        ),
        (
            "leaf",
            leaf.chain_pem(),
            Some(["CN=Leaf", "is not an authority"]),
        ),
        (
            "cross",
            SIGNED_WITH_SHA_1.to_owned(),
            Some(["CN=Cross", "signed by another authority with SHA-1"]),
        ),
        // Nobody verifies what an anchor has signed of itself.
        ("weak", SELF_SIGNED_WITH_SHA_1.to_owned(), None),
        ("good", Authority::root("Good").pem(), None),
    ]
}

#[tokio::test]
async fn anchor_that_cannot_be_used_refuses_the_start_and_is_named_with_the_reason() {
    let pki = Pki::new();
    let setup = || {
        Setup::to(&pki, "http://127.0.0.1:1")
            .folder("ca")
            .file("ca/root.pem", &pki.root().pem())
            .with("trust.clients.ca = ['ca/']")
    };
    for (name, pem, reason) in anchors(&pki) {
        let setup = setup().file(&format!("ca/{name}.pem"), &pem);
        let code = if reason.is_some() { 2 } else { 0 };
        let checked = setup.run("check").await;
        let said = checked.expect_code(code);
        if let Some([who, why]) = reason {
            let file = format!("ca/{name}.pem");
            said.expect_words(&["trust.clients", &file, who, why]);
            let run = setup.run("run").await;
            run.expect_code(2).expect_words(&[who, why]);
        }
    }
    // All of them at once, so that one look is enough.
    let all = anchors(&pki);
    let setup = all.iter().fold(setup(), |setup, (name, pem, _)| {
        setup.file(&format!("ca/{name}.pem"), pem)
    });
    let words: Vec<_> = all
        .iter()
        .filter_map(|(_, _, reason)| *reason)
        .flatten()
        .collect();
    let checked = setup.run("check").await;
    checked.expect_code(2).expect_words(&words);
}

#[tokio::test]
async fn anchor_that_cannot_be_used_is_never_put_in_force_and_those_in_force_stay() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).folder("ca");
    let setup = setup.file("ca/root.pem", &pki.root().pem());
    let proxy = setup.with("trust.clients.ca = ['ca/']").start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut in_force_now = 1;
    for (name, pem, reason) in anchors(&pki) {
        let file = format!("ca/{name}.pem");
        proxy.rename_over(&file, &pem);
        if let Some([who, why]) = reason {
            let names_it = |line: &serde_json::Value| {
                let cause = line["cause"].as_str().unwrap();
                [&*file, who, why].iter().all(|words| cause.contains(words))
            };
            proxy.log_line("reload.failed", names_it).await;
            let (status, answer) = proxy.post("/reload").await;
            assert_eq!((status, &answer["outcome"]), (422, &"failed".into()));
            let problems = answer["problems"].to_string();
            assert!(
                problems.contains(who) && problems.contains(why),
                "{problems}"
            );
            assert_eq!(proxy.trust().await["failing"], true);
            std::fs::remove_file(proxy.path(&file)).unwrap();
            // Asked for, so that the next one finds it as it was.
            assert_eq!(proxy.post("/reload").await.0, 200);
        } else {
            in_force_now += 1;
            proxy.in_force(in_force_now).await;
        }
        assert_eq!(proxy.generation().await, in_force_now, "{name}");
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 200, "{name}");
    }
    let odd = proxy.log_line("trust.unusual", |_| true).await.to_string();
    assert!(
        odd.contains("CN=Weak has signed itself with SHA-1"),
        "{odd}"
    );
    let warnings = proxy.trust().await["bundles"][0]["warnings"].to_string();
    assert!(warnings.contains("CN=Weak"), "{warnings}");
}

// Made with OpenSSL, since no library that issues certificates makes such any more.

const VERSION_1: &str = "
-----BEGIN CERTIFICATE-----
MIIBFzCBvwIUY5Fd7yfL6jWcPonkG/xIHOtE6VYwCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDT2xkMCAXDTI2MTEyMTIyNTM0MFoYDzIxMjYxMDI4MjI1MzQwWjAOMQww
CgYDVQQDDANPbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARIU1Fz2EJQyJDX
owT2gZaw1YBRanQRFiIUhuIzur2e+WswZ2LPAqchDPptJiDW2+tMCvc045eEZWaw
ZfV8GTskMAoGCCqGSM49BAMCA0cAMEQCIDMXbVo/7Uam9RxGk+1x5q1LHuGD6IuO
VHhxANCiI/NNAiAAjSiOWqHerw07QgF+4xXz2Ih/GNgmbVC2C6bK9C39Xw==
-----END CERTIFICATE-----
";

const RSA_1024: &str = "
-----BEGIN CERTIFICATE-----
MIICDjCCAXegAwIBAgIUSwdl0gKk5RYzPIPO4xMG0K48R/QwDQYJKoZIhvcNAQEL
BQAwEDEOMAwGA1UEAwwFU2hvcnQwIBcNMjYxMTIxMjI1MzQwWhgPMjEyNjEwMjgy
MjUzNDBaMBAxDjAMBgNVBAMMBVNob3J0MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB
iQKBgQCUjzSUPeRyhTw8xA027jJq/R68pc0MzwYeJriwYlmi8drAK4gxg1VEcYm2
tm/DW1rlRA8UZL2T0rxYg0TbwONuKfBFqrSWGC4mv5+9w/L+lpVkj8sSFaH6PnvV
PfGqu8fI9H2IY71+qO9vgVX1+0aCMnXxb0LnZsp9CtaXkkg2uwIDAQABo2MwYTAd
BgNVHQ4EFgQUbqQYS+IMzo1irW9EP3lZnajgGx8wHwYDVR0jBBgwFoAUbqQYS+IM
zo1irW9EP3lZnajgGx8wDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQw
DQYJKoZIhvcNAQELBQADgYEAbkjZVEo9CPV5JaZpNWDu/xF6bpAG9rOQokJPmfm5
ibpUbPbkY2jD9GDJTd5AE93vwBQ/VyGOVyV0ay5AGllSdDbbUjJstif+ALoM4UyD
wNJcfi11xtuKpZDEoX90NoUzakWUSNiaZMQwMirC+CZ3RGKMRDdlbp/0cmrfSJQH
ybA=
-----END CERTIFICATE-----
";

const SIGNED_WITH_SHA_1: &str = "
-----BEGIN CERTIFICATE-----
MIIBZDCCAQqgAwIBAgIUfvb8vjnt3hfOSZbvk1sAML0gPHAwCQYHKoZIzj0EATAP
MQ0wCwYDVQQDDARXZWFrMCAXDTI2MTEyMTIyNTM0MFoYDzIxMjYxMDI4MjI1MzQw
WjAQMQ4wDAYDVQQDDAVDcm9zczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEhT
UXPYQlDIkNejBPaBlrDVgFFqdBEWIhSG4jO6vZ75azBnYs8CpyEM+m0mINbb60wK
9zTjl4RlZrBl9XwZOySjQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQD
AgIEMB0GA1UdDgQWBBTDN6h6mtaUn/Ld80UOvYz/RJ8jMTAJBgcqhkjOPQQBA0kA
MEYCIQCwG5/5jBmOSvp8JkdVP0+Ee4h5jITUjPk4P7BZmZscUwIhAOMrd9qTGnoc
lgu7syXl9OoUO+SrhGwPs8XNd5P623Zn
-----END CERTIFICATE-----
";

const SELF_SIGNED_WITH_SHA_1: &str = "
-----BEGIN CERTIFICATE-----
MIIBgzCCASqgAwIBAgIUc1Wn1dtep1iMKMy4OrlUQG2bRj0wCQYHKoZIzj0EATAP
MQ0wCwYDVQQDDARXZWFrMCAXDTI2MTEyMTIyNTM0MFoYDzIxMjYxMDI4MjI1MzQw
WjAPMQ0wCwYDVQQDDARXZWFrMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESFNR
c9hCUMiQ16ME9oGWsNWAUWp0ERYiFIbiM7q9nvlrMGdizwKnIQz6bSYg1tvrTAr3
NOOXhGVmsGX1fBk7JKNjMGEwHQYDVR0OBBYEFMM3qHqa1pSf8t3zRQ69jP9EnyMx
MB8GA1UdIwQYMBaAFMM3qHqa1pSf8t3zRQ69jP9EnyMxMA8GA1UdEwEB/wQFMAMB
Af8wDgYDVR0PAQH/BAQDAgIEMAkGByqGSM49BAEDSAAwRQIgdfEO4VKwfz6mxN4q
M3fz+3ZnRh8HpjH5jyyIV1r+rvUCIQDOdtHYk8Xt5/xQmkE1RDECxdbx95gPzxm2
uVR+8F8Hfw==
-----END CERTIFICATE-----
";
