//! Under which names the admin address may be asked.
//!
//! A page on the web can have its own name lead to loopback while its reader
//! looks at it (DNS rebinding), and then read what it is answered as if it were
//! its own. Browsers say under which name they ask; a name that somebody else may
//! have made up is refused.

use std::net::IpAddr;

use http::Request;
use http::header::HOST;

/// What a request says of whom it asks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Asked {
    /// A name that anybody may own.
    Foreign,
    /// A name without a dot, as those of containers and services are: nobody can
    /// register one, and somebody on the same network might still answer for it.
    Bare,
    /// An IP address, this machine, a name that the config knows, or none: no
    /// browser leaves it out.
    Sure,
}

/// Says of whom a request asks; `known` are the names that the config knows.
/// Where a request says several things, the worst counts.
pub(super) fn asked<B>(request: &Request<B>, known: &[String]) -> Asked {
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    let fields = request.headers().get_all(HOST).iter();
    let named = fields.map(|host| host.to_str().unwrap_or("."));
    let all = named.chain(target).map(|host| of_host(host, known));
    all.min().unwrap_or(Asked::Sure)
}

fn of_host(host: &str, known: &[String]) -> Asked {
    let name = without_port(host).trim_end_matches('.');
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_address = bracketed.unwrap_or(name).parse::<IpAddr>().is_ok();
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let is_local = is("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    if is_address || is_local || known.iter().any(|known| is(known)) {
        Asked::Sure
    } else if !name.is_empty() && !name.contains(['.', ':', '[', ']']) {
        Asked::Bare
    } else {
        Asked::Foreign
    }
}

/// A host without what follows its last colon, if that is a port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hosts: &[&str]) -> Asked {
        let mut request = Request::get("/");
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let known = ["status.example.com".to_owned()];
        asked(&request.body(()).unwrap(), &known)
    }

    #[test]
    fn addresses_this_machine_and_known_names_are_sure() {
        for host in [
            "127.0.0.1:9901",
            "10.1.2.3",
            "[::1]:9901",
            "[::1]",
            "localhost:9901",
            "LOCALHOST",
            "a.localhost:1",
            "status.example.com:9901",
            "Status.Example.com.",
        ] {
            assert_eq!(of(&[host]), Asked::Sure, "{host}");
        }
        assert_eq!(of(&[]), Asked::Sure);
    }

    #[test]
    fn names_that_others_may_own_are_foreign_and_bare_ones_are_between() {
        for host in [
            "evil.example:9901",
            "127.0.0.1.evil.example",
            "status.example.com.evil.example",
            "xstatus.example.com",
            "localhost.evil.example",
            "",
            ":9901",
            ".",
            "[evil]:1",
            "evil:1:2",
        ] {
            assert_eq!(of(&[host]), Asked::Foreign, "{host}");
        }
        assert_eq!(of(&["countersign:9901"]), Asked::Bare);
        assert_eq!(of(&["127.0.0.1", "evil.example"]), Asked::Foreign);
    }

    #[test]
    fn target_that_names_a_host_counts_as_well() {
        let request = Request::get("http://evil.example/").header(HOST, "127.0.0.1");
        let request = request.body(()).unwrap();
        assert_eq!(asked(&request, &[]), Asked::Foreign);
    }
}
