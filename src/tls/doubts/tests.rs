use rcgen::{CertificateParams, CustomExtension, DnType, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;

use crate::config::Problem;
use crate::tls::origins::Origins;
use crate::tls::testing::{Authority, Files, VERSIONS, listener};

fn told(files: &Files, config: &str, machine: &[CertificateDer<'static>]) -> Vec<String> {
    let config = files.config(config);
    let loaded = crate::config::Files::new();
    let material = crate::tls::load(&config, &loaded, None).unwrap();
    let origins: &Origins = &material.origins;
    let doubts = super::doubts(&config, &material.bundles, origins, || machine.to_vec());
    let line = |problem: &Problem| problem.in_one_line(std::path::Path::new("test.toml"));
    doubts.iter().map(line).collect()
}

fn requiring(more: &str) -> String {
    listener("", "public", "require", "clients", "") + more
}

/// The certificates of so many authorities, with names as long as that.
fn authorities(count: usize, length: usize) -> Vec<Authority> {
    let name = |number| format!("{number:03}{}", "x".repeat(length));
    let root = |number| Authority::root(&name(number));
    (0..count).map(root).collect()
}

fn pem(authorities: &[Authority]) -> String {
    authorities.iter().map(Authority::pem).collect()
}

#[test]
fn what_is_in_order_raises_no_doubt() {
    let files = Files::new();
    assert_eq!(told(&files, &requiring(""), &[]), Vec::<String>::new());
}

#[test]
fn authorities_of_the_machine_as_those_of_clients_are_doubted() {
    let (files, public) = (Files::new(), authorities(12, 1));
    let ders: Vec<_> = public.iter().flat_map(|a| a.certificates.clone()).collect();
    files.write("clients.pem", &pem(&public));
    let [doubt] = &told(&files, &requiring(""), &ders)[..] else {
        panic!("one doubt")
    };
    assert!(
        doubt.starts_with(
            "test.toml:6:7: trust.clients.ca: 12 of its authorities are those of this machine"
        ),
        "{doubt}"
    );
    assert!(doubt.contains("would be let in as a client; name the authority"));
    // As many of one's own, a few that the machine has too, or an upstream's.
    assert!(told(&files, &requiring(""), &[]).is_empty());
    assert!(told(&files, &requiring(""), &ders[..5]).is_empty());
    let none = listener("", "public", "none", "clients", "");
    assert!(told(&files, &none, &ders).is_empty());
    files.write("clients.pem", &pem(&public[..5]));
    assert!(told(&files, &requiring(""), &ders).is_empty());
}

#[test]
fn long_list_of_authorities_is_doubted() {
    let files = Files::new();
    files.write("clients.pem", &pem(&authorities(40, 380)));
    assert!(told(&files, &requiring(""), &[]).is_empty(), "under 16 KiB");
    files.write("clients.pem", &pem(&authorities(42, 400)));
    let [doubt] = &told(&files, &requiring(""), &[])[..] else {
        panic!("one doubt")
    };
    assert!(
        doubt.contains("trust.clients.ca: the names of its 42 authorities take 18 KiB"),
        "{doubt}"
    );
    assert!(doubt.contains("clients on Windows") && doubt.contains("; keep one authority"));
    // A policy of a name asks for one, too.
    let none = listener("", "public", "none", "clients", "");
    let named =
        "client_auth = 'none'\nnames.'a.test' = { client_auth = 'require', trust = 'clients' }";
    let named = none.replace("client_auth = 'none'", named);
    assert_eq!(told(&files, &named, &[]).len(), 1);
    // Whoever asks for no certificate sends no list.
    let none = listener("", "public", "none", "clients", "");
    assert!(told(&files, &none, &[]).is_empty());
}

#[tokio::test]
async fn list_that_tls_has_no_room_for_is_left_out_and_clients_come_in_all_the_same() {
    // The second one would be over the largest that a message can hold.
    for (count, is_sent) in [(115, true), (140, false)] {
        let files = Files::new();
        let many = authorities(count, 500);
        files.write("clients.pem", &(files.clients.pem() + &pem(&many)));
        let server = files.listener("");
        let bundles = files.material(&requiring("")).bundles;
        assert_eq!(
            bundles[0].subjects().len(),
            if is_sent { count + 1 } else { 0 }
        );
        for version in VERSIONS {
            let client = files.client(version);
            client.presents(Some(&files.clients.client("billing")));
            let met = client.meets(&server, "a.test").await.unwrap();
            assert!(met.peer.is_some());
            client.presents(Some(&Authority::root("Stranger").client("billing")));
            assert!(
                files
                    .client(version)
                    .meets(&server, "a.test")
                    .await
                    .is_err()
            );
        }
        let doubts = told(&files, &requiring(""), &[]);
        let left_out = doubts[0].contains("clients are told none");
        assert_eq!(left_out, !is_sent, "{doubts:?}");
    }
}

/// A server's leaf below an authority of this name, and where that is to be had.
fn leaf(files: &Files, issuer: &str, address: Option<&str>) {
    let mut above = CertificateParams::default();
    above.distinguished_name.push(DnType::CommonName, issuer);
    let issuer = Issuer::new(above, KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    if let Some(address) = address {
        let location = [&[0x86, address.len() as u8], address.as_bytes()].concat();
        let method = [&[0x06, 8][..], super::CA_ISSUERS].concat();
        let pair = [method, location].concat();
        let description = [&[0x30, pair.len() as u8][..], &pair].concat();
        let list = [&[0x30, description.len() as u8][..], &description].concat();
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
        let extension = CustomExtension::from_oid_content(&oid, list);
        params.custom_extensions.push(extension);
    }
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    files.write("own.pem", &leaf.pem());
    files.write("own.key", &key.serialize_pem());
}

#[test]
fn leaf_alone_that_says_where_its_intermediate_is_is_doubted() {
    let files = Files::new();
    let address = "http://ca.example/r10.der";
    leaf(&files, "R10", Some(address));
    let [doubt] = &told(&files, &requiring(""), &[])[..] else {
        panic!("one doubt")
    };
    assert!(
        doubt.contains("listeners.public.tls.certificates: "),
        "{doubt}"
    );
    assert!(doubt.contains("own.pem holds the leaf alone, and its issuer \"CN=R10\""));
    assert!(doubt.contains("; append the issuer's certificate to"));
    assert!(doubt.ends_with(address), "{doubt}");
    // Its issuer is a root that the machine knows, or one of a bundle.
    let root = Authority::root("R10");
    let with_name = told(&files, &requiring(""), &root.certificates);
    assert!(with_name.is_empty(), "{with_name:?}");
    files.write("clients.pem", &root.pem());
    assert!(told(&files, &requiring(""), &[]).is_empty());
    // It says nothing of an issuer that is to be had.
    let files = Files::new();
    leaf(&files, "R10", None);
    assert!(told(&files, &requiring(""), &[]).is_empty());
}

fn upstream(endpoint: &str, tls: &str, bundle: &str) -> String {
    let config = requiring(&format!(
        "[upstreams.orders.tls]\ntrust = 'clients'\n{tls}\n"
    ));
    config.replace("http://127.0.0.1:1", endpoint).replace(
        "ca = ['clients.pem']",
        &format!("ca = ['clients.pem']\n{bundle}"),
    )
}

#[test]
fn upstream_by_address_without_a_name_is_doubted() {
    let files = Files::new();
    for endpoint in ["https://10.0.0.5:8443", "https://[fd00::1]:8443"] {
        let [doubt] = &told(&files, &upstream(endpoint, "", ""), &[])[..] else {
            panic!("one doubt")
        };
        assert!(
            doubt.contains("upstreams.orders.endpoints: without server_name"),
            "{doubt}"
        );
        assert!(doubt.contains("502") && doubt.contains("; write server_name = \"NAME\""));
        let named = upstream(endpoint, "server_name = 'orders.internal'", "");
        assert!(told(&files, &named, &[]).is_empty());
    }
    let by_name = upstream("https://orders.internal:8443", "", "");
    assert!(told(&files, &by_name, &[]).is_empty());
}

#[test]
fn upstream_whose_name_its_bundle_may_not_assert_is_doubted() {
    let files = Files::new();
    let bundle = "may_assert = [{ dns = '*.internal' }]";
    let endpoint = "https://orders.prod.example:8443";
    let own = upstream(endpoint, "", bundle);
    let named = upstream(endpoint, "server_name = 'orders.prod.example'", bundle);
    for (config, key) in [(own, "endpoints"), (named, "tls.server_name")] {
        let [doubt] = &told(&files, &config, &[])[..] else {
            panic!("one doubt")
        };
        let says = format!(
            "upstreams.orders.{key}: no certificate for orders.prod.example is accepted: trust.clients may only assert {{ dns = \"*.internal\" }}"
        );
        assert!(doubt.contains(&says), "{doubt}");
        assert!(doubt.contains("; add { dns = \"orders.prod.example\" } to may_assert"));
    }
    let fits = upstream(endpoint, "server_name = 'Orders.Internal'", bundle);
    assert!(told(&files, &fits, &[]).is_empty());
    let wildcard = "may_assert = [{ dns = '*.prod.example' }]";
    assert!(told(&files, &upstream(endpoint, "", wildcard), &[]).is_empty());
}
