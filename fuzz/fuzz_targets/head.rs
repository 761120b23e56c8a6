//! Where requests begin and end: the same however the bytes are cut, and where a
//! head is let pass, the same as the HTTP library finds it.
#![no_main]

use countersign::proxy::{Ambiguity, Framing};
use libfuzzer_sys::fuzz_target;

/// As many fields as the listener lets the library take.
const FIELDS: usize = 128;

fuzz_target!(|bytes: &[u8]| {
    let told = |read: Result<(), Ambiguity>| read.map_err(|found| (found.rule, found.request));
    let whole = told(Framing::default().read(bytes));
    for size in [1, 3, 64] {
        let mut framing = Framing::default();
        let mut pieces = bytes.chunks(size).map(|piece| framing.read(piece));
        let cut = told(pieces.find(Result::is_err).unwrap_or(Ok(())));
        assert_eq!(whole, cut, "in pieces of {size}");
    }
    // Empty lines before a head belong to none.
    if bytes
        .first()
        .is_some_and(|first| !matches!(first, b'\r' | b'\n'))
        && let Some(ours) = end_of_head(bytes)
    {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let parsed = httparse::Request::new(&mut fields).parse(bytes);
        if let Ok(status) = parsed {
            assert_eq!(status, httparse::Status::Complete(ours));
        }
    }
});

/// How many bytes the first head has; `None`: it is not whole, or refused.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut framing = Framing::default();
    for (at, byte) in bytes.iter().enumerate() {
        framing.read(&[*byte]).ok()?;
        if !framing.in_head() {
            return Some(at + 1);
        }
    }
    None
}
