//! What the answers hold that are being read: who reads slowly has others wait, and
//! not the memory of the process fill up.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::text;

/// Room for the answers that are being read. Metrics and the status page have their
/// own: those who read something else do not blind who watches.
#[derive(Debug)]
pub(super) struct Room {
    watching: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

/// The part of the room that one answer takes, until it is read or cut off.
#[derive(Debug, Default)]
pub(super) struct Taken {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Self {
        let room = || Arc::new(Semaphore::new(ROOM as usize));
        Self {
            watching: room(),
            others: room(),
        }
    }

    /// Gives an answer to a request for `path` the room that it takes, or another
    /// answer in its place.
    ///
    /// One that is larger than all of the room is given where nobody else has any.
    pub(super) fn give(
        &self,
        path: &str,
        answer: Response<Full<Bytes>>,
    ) -> (Response<Full<Bytes>>, Taken) {
        let size = answer.body().size_hint().lower();
        if size <= SMALL {
            return (answer, Taken::default());
        }
        let room = match path {
            "/" | "/metrics" => &self.watching,
            _ => &self.others,
        };
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(ROOM).min(ROOM);
        match Arc::clone(room).try_acquire_many_owned(units) {
            Ok(permit) => {
                let _permit = Some(permit);
                (answer, Taken { _permit })
            }
            Err(_) => {
                let busy = text(StatusCode::SERVICE_UNAVAILABLE, FULL);
                (busy, Taken::default())
            }
        }
    }
}

/// Why an answer is not given.
const FULL: &str =
    "the answers that others read just now leave no room for this one; ask again in some seconds\n";

/// Bytes of an answer that is always given: 1 MiB over all connections.
const SMALL: u64 = 16 * 1024;

/// Bytes in which room is given.
const UNIT: u64 = 1024;

/// All of the room, in units: 32 MiB.
const ROOM: u32 = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(size: usize) -> Response<Full<Bytes>> {
        Response::new(Full::new(vec![b'x'; size].into()))
    }

    /// Gives room to an answer of so many KiB, if there is any.
    fn given(room: &Room, path: &str, size: usize) -> Option<Taken> {
        let (given, taken) = room.give(path, answer(size * 1024));
        (given.status() == StatusCode::OK).then_some(taken)
    }

    #[test]
    fn what_is_read_slowly_has_the_next_large_answer_wait() {
        let room = Room::new();
        let first = given(&room, "/trust/peers", 20 * 1024).unwrap();
        assert!(given(&room, "/trust/peers", 20 * 1024).is_none());
        assert!(given(&room, "/trust", 20 * 1024).is_none());
        let second = given(&room, "/trust", 12 * 1024).unwrap();
        assert!(given(&room, "/trust", 17).is_none());
        assert!(given(&room, "/healthz", 16).is_some(), "always");
        for path in ["/metrics", "/"] {
            assert!(given(&room, path, 20 * 1024).is_some(), "{path}: its own");
        }
        drop(first);
        assert!(given(&room, "/trust/peers", 20 * 1024).is_some());
        drop(second);
    }

    #[test]
    fn answer_larger_than_all_of_the_room_is_given_alone() {
        let room = Room::new();
        let large = given(&room, "/trust/peers", 40 * 1024).unwrap();
        assert!(given(&room, "/trust", 17).is_none());
        drop(large);
        let other = given(&room, "/trust", 17).unwrap();
        assert!(given(&room, "/trust/peers", 40 * 1024).is_none());
        drop(other);
    }
}
