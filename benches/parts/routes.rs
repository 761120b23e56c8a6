//! Finding the route of a request among few and many.

use std::fmt::Write;
use std::hint::black_box;

use countersign::config::ListenerId;
use countersign::inside::route;
use countersign::proxy::Site;

use super::Part;
use super::pki::Pki;
use super::scene::Scene;

const HOST: &str = "orders.example.com";

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let pki = Pki::new();
    for (count, many) in [(1, "1"), (100, "100"), (10_000, "10,000")] {
        let by_host = |number| (format!("host-{number}.example.com"), "/".to_owned());
        let by_path = |number| (HOST.to_owned(), format!("/path-{number}/"));
        let site = Scene::with_routes(&pki, &routes(count, by_host)).site();
        let mut time =
            |site: &Site, case: &str, (host, path): (&str, &str), place: Option<usize>| {
                part.time(
                    &format!("{many} by {case}"),
                    || route(site, ListenerId(0), black_box(host), black_box(path)),
                    |found| found == place,
                );
            };
        let last = count - 1;
        let (host, _) = by_host(last);
        time(
            &site,
            "host, the last one",
            (&host, "/orders/17"),
            Some(last),
        );
        time(&site, "host, none", (HOST, "/orders/17"), None);
        let site = Scene::with_routes(&pki, &routes(count, by_path)).site();
        let path = format!("/path-{last}/orders/17");
        time(&site, "path, the last one", (HOST, &path), Some(last));
        time(&site, "path, none", (HOST, "/orders/17"), None);
    }
}

/// As many routes, each for a host and a path of its own.
fn routes(count: usize, of: impl Fn(usize) -> (String, String)) -> String {
    let mut text = String::new();
    for number in 0..count {
        let (host, path) = of(number);
        let lines = format!("host = '{host}'\npath = '{path}'\nupstream = 'orders'");
        writeln!(text, "[[routes]]\n{lines}").expect("a string takes everything");
    }
    text
}
