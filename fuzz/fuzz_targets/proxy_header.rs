//! A header of the PROXY protocol is read in the same way however its bytes come,
//! and never a byte behind it.
#![no_main]

use countersign::identity::proxy_header::{Announced, Step, begins_one, read};
use libfuzzer_sys::fuzz_target;

/// The signature and length of version 2, and the most that may follow them.
const LONGEST: usize = 16 + 16 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let at_once = header(bytes, usize::MAX);
    assert_eq!(at_once, header(bytes, 1));
    if let Some((length, _)) = at_once {
        assert!(begins_one(&bytes[..length]));
    }
});

/// Reads as the listener does, at most so many bytes at a time: how long the
/// header is, and what it says; `None`: it is not whole, or none.
fn header(bytes: &[u8], at_most: usize) -> Option<(usize, Announced)> {
    let mut has = 0;
    loop {
        match read(&bytes[..has]).ok()? {
            Step::Whole(announced) => return Some((has, announced)),
            Step::More(more) => {
                assert!(more > 0 && has + more <= LONGEST);
                has += more.min(at_most);
            }
        }
        bytes.get(..has)?;
    }
}
