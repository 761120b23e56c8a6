use super::*;
use crate::identity::testing::{TestLeaf, test_identity};
use crate::identity::{IdentityFields, StatedNames, fold_field_name};

fn headers(template: &str) -> Encoding {
    let entries = [("X-Caller".to_owned(), template.to_owned())];
    Encoding::Headers(HeaderTemplates::parse(&entries).unwrap())
}

fn fixed() -> [Encoding; 7] {
    let keys = XfccKeys {
        by: true,
        cert: true,
        chain: true,
    };
    [
        Encoding::Apache,
        Encoding::ClientCert,
        Encoding::IngressNginx,
        Encoding::Nginx,
        Encoding::Traefik,
        Encoding::Webseal,
        Encoding::Xfcc(keys),
    ]
}

#[test]
fn each_encoding_names_the_fields_it_writes() {
    let peer = TestLeaf::new()
        .subject("web")
        .uri("spiffe://prod.example/web")
        .dns("a.example")
        .email("a@example.com")
        .upn("a@example.com")
        .identity();
    for encoding in fixed().into_iter().chain([headers("{uri}")]) {
        let mut out = Vec::new();
        encoding
            .encode(peer.identity(), Tellers::default(), &mut out)
            .unwrap();

        assert!(!out.is_empty());
        for (name, _) in &out {
            let folded = fold_field_name(name.as_str());
            let prefixed = |prefix: &&str| folded.starts_with(prefix);
            assert!(
                encoding.field_names().any(|known| known == name)
                    || encoding.field_prefixes().iter().any(prefixed),
                "{encoding:?}: {name}"
            );
        }
    }
}

#[test]
fn no_caller_may_send_what_any_encoding_writes() {
    let always = IdentityFields::new(std::iter::empty::<HeaderName>());
    for encoding in fixed() {
        for name in encoding.field_names() {
            assert!(always.contains(name.as_str()), "{encoding:?}: {name}");
        }
        for prefix in encoding.field_prefixes() {
            assert!(always.contains(&format!("{prefix}0")), "{prefix}");
        }
    }
}

#[test]
fn identity_that_a_form_cannot_name_is_an_error_and_not_an_empty_field() {
    let mut names = StatedNames::default();
    names.email("ops@example.com").unwrap();
    let email = Identity::stated(names.clone()).unwrap();
    names.subject("CN=ops").unwrap();
    let subject = Identity::stated(names).unwrap();

    for encoding in fixed() {
        let mut out = Vec::new();
        let only_email = encoding
            .encode(&email, Tellers::default(), &mut out)
            .is_ok();
        let can = matches!(encoding, Encoding::Traefik | Encoding::Webseal);
        assert_eq!(only_email, can, "{encoding:?}: {out:?}");
        let with_subject = encoding
            .encode(&subject, Tellers::default(), &mut out)
            .is_ok();
        assert_eq!(
            with_subject,
            encoding != Encoding::ClientCert,
            "{encoding:?}"
        );
    }
}

#[test]
fn what_is_unknown_is_left_out() {
    let mut names = StatedNames::default();
    names.subject("CN=ops").unwrap();
    let stated = Identity::stated(names).unwrap();
    let mut out = Vec::new();
    for encoding in fixed().iter().filter(|one| **one != Encoding::ClientCert) {
        encoding
            .encode(&stated, Tellers::default(), &mut out)
            .unwrap();
    }
    headers("{subject}{issuer}{serial}{not_after}{fingerprint}")
        .encode(&stated, Tellers::default(), &mut out)
        .unwrap();

    let out: Vec<_> = out
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        out,
        [
            ("ssl_client_verify", "SUCCESS"),
            ("ssl_client_s_dn", "CN=ops"),
            ("ssl_client_s_dn_cn", "ops"),
            ("ssl-client-verify", "SUCCESS"),
            ("ssl-client-subject-dn", "CN=ops"),
            ("x-ssl-client-verify", "SUCCESS"),
            ("x-ssl-client-s-dn", "CN=ops"),
            (
                "x-forwarded-tls-client-cert-info",
                "Subject%3D%22CN%3Dops%22"
            ),
            ("iv-user", "CN=ops"),
            ("iv-user-l", "CN=ops"),
            ("x-forwarded-client-cert", "Subject=\"CN=ops\""),
            ("x-caller", "CN=ops"),
        ]
    );
}

#[test]
fn an_identity_over_the_budget_is_refused_and_leaves_nothing_behind() {
    let long = "a".repeat(8000);
    let one = TestLeaf::new().dns(&long).dns("b.example");
    let two = one.clone().dns(&long).identity();
    let one = one.identity();
    let mut out = Vec::new();

    headers("{dns}")
        .encode(one.identity(), Tellers::default(), &mut out)
        .unwrap();
    assert_eq!(out.len(), 1);
    let all = fixed();
    let carry_dns = all
        .iter()
        .filter(|one| !matches!(one, Encoding::Webseal))
        .chain([&headers("{subject}{dns}")].map(|it| it as &Encoding))
        .cloned()
        .collect::<Vec<_>>();
    for encoding in carry_dns {
        let refused = encoding.encode(two.identity(), Tellers::default(), &mut out);
        assert!(
            matches!(refused, Err(EncodeError::TooLarge { bytes, .. }) if bytes > ENCODING_BUDGET),
            "{encoding:?}"
        );
        assert_eq!(out.len(), 1);
    }
}

#[test]
fn subject_of_any_length_is_never_left_out() {
    // As long in DER as a subject may be, and three times that as text.
    let long = TestLeaf::new().subject(&"\u{e9}".repeat(8100)).identity();
    for encoding in fixed() {
        let mut out = Vec::new();
        let refused = encoding.encode(long.identity(), Tellers::default(), &mut out);
        assert!(
            matches!(refused, Err(EncodeError::TooLarge { .. })),
            "{encoding:?}: {out:?}"
        );
    }
}

#[test]
fn the_budget_is_that_of_all_encodings_together() {
    let peer = TestLeaf::new().dns(&"a".repeat(8000)).identity();
    let mut out = Vec::new();

    Encoding::Xfcc(XfccKeys::default())
        .encode(peer.identity(), Tellers::default(), &mut out)
        .unwrap();
    headers("{dns}")
        .encode(peer.identity(), Tellers::default(), &mut out)
        .unwrap();
    assert!(
        headers("{dns}")
            .encode(peer.identity(), Tellers::default(), &mut out)
            .is_err()
    );
    assert_eq!(out.len(), 2);
}

#[test]
fn a_later_failure_takes_the_earlier_fields_of_the_encoding_back() {
    let entries = [("a", "{dns}"), ("b", "{dns}{dns}{dns}")].map(|(n, t)| (n.into(), t.into()));
    let encoding = Encoding::Headers(HeaderTemplates::parse(&entries).unwrap());
    let peer = TestLeaf::new().dns(&"a".repeat(8000)).identity();
    let mut out = Vec::new();

    assert!(
        encoding
            .encode(peer.identity(), Tellers::default(), &mut out)
            .is_err()
    );
    assert!(out.is_empty());
    let peer = test_identity("spiffe://prod.example/web");
    encoding
        .encode(peer.identity(), Tellers::default(), &mut out)
        .unwrap();
    assert!(out.is_empty());
}
