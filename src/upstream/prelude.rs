//! How much a service may send before the head of its response.
//!
//! Interim responses (1xx) are passed over, by the library too, which counts none
//! of them. To a service that sends nothing else a connection would listen for as
//! long as there is more, and no other request of its worker would be heard
//! meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes before the end of a head: the longest one, what is read along
/// with it, and interim responses.
const MOST: usize = 1024 * 1024;
/// There is no head to wait for.
const ANY: usize = usize::MAX;

/// A service has said more than it may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("more than 1 MiB of interim responses (1xx) before a response")]
pub(super) struct Excess;

/// How many bytes may still come before the head of a response has.
#[derive(Clone, Debug)]
pub(super) struct Prelude(Arc<AtomicUsize>);

impl Default for Prelude {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(ANY)))
    }
}

impl Prelude {
    /// A head is waited for.
    pub(super) fn begin(&self) {
        self.0.store(MOST, Ordering::Relaxed);
    }

    /// It has come.
    pub(super) fn end(&self) {
        self.0.store(ANY, Ordering::Relaxed);
    }

    /// So many bytes have come.
    ///
    /// # Errors
    ///
    /// They are too many, and there is still no head.
    pub(super) fn came(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == ANY {
            return Ok(());
        }
        let Some(left) = left.checked_sub(bytes) else {
            return Err(io::Error::other(Excess));
        };
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_while_a_head_is_waited_for() {
        let prelude = Prelude::default();
        assert!(prelude.came(MOST + 1).is_ok());
        prelude.begin();
        assert!(prelude.came(MOST).is_ok());
        assert!(prelude.came(1).is_err());
        prelude.begin();
        assert!(prelude.came(1).is_ok());
        prelude.end();
        assert!(prelude.came(MOST).is_ok());
    }
}
