//! The credential in use: that of the plan, or what its file has said since.
//!
//! A service may know of a change before countersign has looked. Its 401 has
//! the file read again; what is found is used from then on, until the next
//! generation brings a plan of its own.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use super::credential::Credential;

/// How often a file is read again at most: where a service refuses every
/// request, the disk is not asked for every one of them.
const PAUSE: Duration = Duration::from_secs(1);

/// What has been read since the plan was made.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    latest: RefCell<Option<Credential>>,
    last_look: Cell<Option<Instant>>,
    turn: tokio::sync::Mutex<()>,
}

impl Renewal {
    /// Has `read` look at the file, unless that was done within the last second.
    /// Whoever comes meanwhile waits for what is found.
    pub(super) async fn look(&self, read: impl FnOnce() -> Option<Credential> + Send + 'static) {
        let _turn = self.turn.lock().await;
        let now = Instant::now();
        let last = self.last_look.replace(Some(now));
        if last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.last_look.set(last);
            return;
        }
        if let Ok(Some(found)) = tokio::task::spawn_blocking(read).await {
            self.latest.replace(Some(found));
        }
    }

    /// Uses what was found, or else what the plan has.
    pub(super) fn with<T>(
        &self,
        planned: &Credential,
        consume: impl FnOnce(&Credential) -> T,
    ) -> T {
        match &*self.latest.borrow() {
            Some(latest) => consume(latest),
            None => consume(planned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::HeaderValue;

    use super::*;

    fn own(value: &'static str) -> Credential {
        Credential::Own(HeaderValue::from_static(value))
    }

    fn sent(renewal: &Renewal) -> HeaderValue {
        renewal.with(&own("planned"), |credential| {
            credential.for_caller(None).unwrap().clone()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn file_is_read_once_a_second_and_what_was_found_holds_for_all() {
        let (renewal, looks) = (Renewal::default(), Arc::new(AtomicU32::new(0)));
        assert_eq!(sent(&renewal), "planned");
        let look = |found: Option<&'static str>| {
            let looks = Arc::clone(&looks);
            renewal.look(move || {
                looks.fetch_add(1, Ordering::Relaxed);
                found.map(own)
            })
        };
        tokio::join!(look(Some("first")), look(Some("second")));
        assert_eq!(sent(&renewal), "first");
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        tokio::time::advance(PAUSE).await;
        look(Some("third")).await;
        assert_eq!(sent(&renewal), "third");
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn file_that_cannot_be_used_changes_nothing() {
        let renewal = Renewal::default();
        renewal.look(|| None).await;
        assert_eq!(sent(&renewal), "planned");
        tokio::time::advance(PAUSE).await;
        renewal.look(|| Some(own("found"))).await;
        tokio::time::advance(PAUSE).await;
        renewal.look(|| None).await;
        assert_eq!(sent(&renewal), "found");
    }

    #[tokio::test(start_paused = true)]
    async fn look_that_nobody_waits_for_any_more_counts_as_one() {
        let (renewal, looks) = (Renewal::default(), Arc::new(AtomicU32::new(0)));
        for _ in 0..3 {
            let looks = Arc::clone(&looks);
            let look = renewal.look(move || {
                looks.fetch_add(1, Ordering::Relaxed);
                None
            });
            // Given up after its first turn.
            tokio::select! {
                biased;
                () = look => {}
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(looks_after_all(&looks).await, 1);
    }

    /// What is being read is read to the end, whoever waits for it.
    async fn looks_after_all(looks: &Arc<AtomicU32>) -> u32 {
        while Arc::strong_count(looks) > 1 {
            tokio::task::yield_now().await;
        }
        looks.load(Ordering::Relaxed)
    }
}
