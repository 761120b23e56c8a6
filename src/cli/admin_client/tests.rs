use super::*;

#[test]
fn unspecified_address_is_taken_for_loopback_and_another_one_for_itself() {
    assert_eq!(reachable(Ipv4Addr::UNSPECIFIED.into()), Ipv4Addr::LOCALHOST);
    assert_eq!(reachable(Ipv6Addr::UNSPECIFIED.into()), Ipv6Addr::LOCALHOST);
    let other: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    assert_eq!(reachable(other), other);
}

#[test]
fn url_names_address_and_path() {
    for (url, address, path) in [
        ("http://127.0.0.1:9901", "127.0.0.1:9901", "/readyz"),
        ("http://127.0.0.1:9901/", "127.0.0.1:9901", "/readyz"),
        (
            "http://127.0.0.1:9901/healthz",
            "127.0.0.1:9901",
            "/healthz",
        ),
        ("http://127.0.0.1/healthz", "127.0.0.1:80", "/healthz"),
        ("http://[::1]:9901/a?b", "[::1]:9901", "/a?b"),
        ("http://[::1]", "[::1]:80", "/readyz"),
    ] {
        let expected = Target {
            address: AdminAddress::Tcp(address.parse().expect("address")),
            path: path.to_owned(),
        };
        assert_eq!(Target::from_url(url, "/readyz").expect(url), expected);
    }
    let expected = Target {
        address: AdminAddress::Unix("/run/admin.sock".into()),
        path: "/readyz".to_owned(),
    };
    let unix = Target::from_url("unix:/run/admin.sock", "/readyz");
    assert_eq!(unix.expect("unix"), expected);
}

#[test]
fn url_that_cannot_be_asked_is_refused() {
    for url in ["", "127.0.0.1:9901", "https://127.0.0.1:9901", "unix:"] {
        let refused = Target::from_url(url, "/readyz");
        assert!(
            matches!(refused, Err(TargetError::Form(_))),
            "{url}: {refused:?}"
        );
    }
    for url in [
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://:1:1",
    ] {
        let refused = Target::from_url(url, "/readyz");
        assert!(
            matches!(refused, Err(TargetError::Host(..))),
            "{url}: {refused:?}"
        );
    }
    for url in [
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/a\r\nX: y",
        "http://127.0.0.1:1/é",
    ] {
        let refused = Target::from_url(url, "/readyz");
        assert!(
            matches!(refused, Err(TargetError::Path(_))),
            "{url}: {refused:?}"
        );
    }
}
