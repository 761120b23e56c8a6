//! What is said of HTTP/2 clients that were cut off for a flood.

use super::strike::Strike;
use super::watch::Ended;
use crate::proxy::Caller;

/// The limit that bounds floods, as metrics and the log name it. The library does
/// not say which of its own has struck: it goes by this name, too.
const LIMIT: &str = "max_control_frames";
const REMEDY: &str = "see what the client does; one that needs so many frames can be given more with limits.max_control_frames of the listener";

/// A connection has ended: counts it, and says so, if that was for a flood.
/// `exceeded`: its budget was used up; the library has bounds of its own.
pub(super) fn note(caller: &Caller, ended: &Ended, exceeded: bool) {
    let cause = match ended {
        _ if exceeded => "more frames without content than its requests warrant".to_owned(),
        Ended::Faulty(error) if is_flood(error) => told(error),
        _ => return,
    };
    Strike {
        limit: LIMIT,
        client: caller.downstream().address(),
        peer: caller.peer().map(crate::identity::PeerIdentity::primary),
        cause: &cause,
        remedy: REMEDY,
    }
    .tell(caller.site(), caller.listener());
}

/// Whether the library has parted for what the client sends too much of.
fn is_flood(error: &hyper::Error) -> bool {
    library(error).is_some_and(|e| {
        e.is_library() && e.is_go_away() && e.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

/// The library's own words for it.
fn told(error: &hyper::Error) -> String {
    library(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn library(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
