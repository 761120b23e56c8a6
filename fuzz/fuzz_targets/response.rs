//! What services answer: the same however the bytes are cut; and where the HTTP
//! library for heads finds none, neither do we.
#![no_main]

use countersign::upstream::response;
use libfuzzer_sys::fuzz_target;

/// As many fields as a response may have.
const FIELDS: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let told = |size| {
        let read = response(bytes, size);
        read.map_err(|fault| fault.is_malformed())
    };
    let whole = told(usize::MAX);
    for size in [1, 3, 64] {
        assert_eq!(whole, told(size), "in pieces of {size}");
    }
    if let Ok(Some((_, _, body, rest))) = &whole {
        assert!(body.len() + rest <= bytes.len());
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let parsed = httparse::Response::new(&mut fields).parse(bytes);
        assert!(parsed.is_ok_and(|parsed| parsed.is_complete()));
    }
});
