//! Bringing a path into one form, and finding what else it could be read as.

use std::hint::black_box;

use countersign::config::PathForm;
use countersign::inside::{other_readings, settled};
use http::{Request, request};

use super::Part;

/// What is done with a path, the path, and what it becomes; `None`: it is refused.
const PATHS: [(&str, PathForm, &str, Option<&str>); 6] = [
    (
        "plain, checked",
        PathForm::Reject,
        "/api/orders/17?expand=lines",
        Some("/api/orders/17?expand=lines"),
    ),
    (
        "encoded, checked",
        PathForm::Reject,
        "/api/orders/caf%C3%A9%20au%20lait",
        Some("/api/orders/caf%C3%A9%20au%20lait"),
    ),
    (
        "an encoded slash, refused",
        PathForm::Reject,
        "/api/orders%2f17",
        None,
    ),
    (
        "plain, normalized",
        PathForm::Normalize,
        "/api/orders/17?expand=lines",
        Some("/api/orders/17?expand=lines"),
    ),
    (
        "with much to do, normalized",
        PathForm::Normalize,
        "//api/./v2/../%6frders/17/?expand=lines",
        Some("/api/orders/17/?expand=lines"),
    ),
    (
        "above the root, refused",
        PathForm::Normalize,
        "/api/../../orders",
        None,
    ),
];

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    for (case, form, path, becomes) in PATHS {
        part.time_on(
            case,
            || head(path),
            |head| settled(form, black_box(head)),
            |head| {
                let path = head.as_ref().and_then(|head| head.uri.path_and_query());
                path.map(|path| path.as_str()) == becomes
            },
        );
    }
    let readings = |path: &'static str| move || other_readings(black_box(path));
    part.time(
        "plain, other readings",
        readings("/api/orders/17"),
        |found| found.is_empty(),
    );
    part.time(
        "encoded, other readings",
        readings("/api//orders/%2561dmin;x=1"),
        |found| found.iter().any(|path| path == "/api/orders/admin"),
    );
}

fn head(path: &str) -> request::Parts {
    let request = Request::builder().uri(path).body(()).unwrap();
    request.into_parts().0
}
