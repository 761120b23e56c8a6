//! No field that says who is calling is left of a head, in any spelling, nor one
//! that a service takes for another where such are dropped.
#![no_main]

use std::sync::LazyLock;

use countersign::config::FieldNames;
use countersign::inside;
use countersign::identity::{IdentityFields, fold_field_name, is_folded_with_others};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

static IDENTITY: LazyLock<IdentityFields> =
    LazyLock::new(|| IdentityFields::new(std::iter::empty::<HeaderName>()));

fuzz_target!(|bytes: &[u8]| {
    let mut head = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            head.append(name, value);
        }
    }
    for names in [FieldNames::Drop, FieldNames::Keep, FieldNames::Strict] {
        let Some((mut left, trailers)) = inside::fields(&IDENTITY, names, &head) else {
            continue;
        };
        for name in left.keys().chain(trailers.keys()) {
            let name = name.as_str();
            assert!(!IDENTITY.contains(name), "{name}");
            assert!(!IDENTITY.contains(&fold_field_name(name)), "{name}");
            assert!(
                names == FieldNames::Keep || !is_folded_with_others(name),
                "{name}"
            );
        }
        for name in ["connection", "transfer-encoding", "te", "upgrade"] {
            assert!(
                left.get(name).is_none() && trailers.get(name).is_none(),
                "{name}"
            );
        }
        let once = left.clone();
        if let Some((again, _)) = inside::fields(&IDENTITY, names, &left) {
            left = again;
        }
        assert_eq!(once, left);
    }
});
