//! What others say of whom they speak for is read, or refused, in time.
#![no_main]

use countersign::identity::Decoding;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for form in [Decoding::Xfcc, Decoding::ClientCert] {
        let mut head = HeaderMap::new();
        let lines = bytes.split(|byte| *byte == b'\n').take(8);
        for (line, name) in lines.zip(form.field_names().iter().cycle()) {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                head.append(name, value);
            }
        }
        if let Ok(Some(identity)) = form.decode(&head) {
            let primary = identity.primary();
            assert!(!primary.chars().any(char::is_control), "{primary:?}");
        }
    }
});
