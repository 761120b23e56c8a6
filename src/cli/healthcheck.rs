//! Asks a running countersign whether it is ready, for images without a shell.
//!
//! The whole conversation is under one deadline of [`TIMEOUT`].

use std::io;
use std::time::Duration;

use super::admin_client::{AskError, Conversation, Target, refused, status};

/// Asks `target` and returns when it answered 200.
///
/// # Errors
///
/// * [`AskError::Unreachable`]: no connection or no whole status line within 3 s.
/// * [`AskError::NotHttp`]: there was an answer without a status.
/// * [`AskError::Status`]: the status is not 200.
pub(super) fn healthcheck(target: &Target) -> Result<(), AskError> {
    let answer = beginning_of_answer(target).map_err(|cause| AskError::Unreachable {
        target: target.clone(),
        cause,
    })?;
    match status(&answer) {
        Some(200) => Ok(()),
        _ => Err(refused(target, &answer)),
    }
}

/// Of a 200 the beginning, of any other answer all that comes in time, up to
/// [`MAX_ANSWER`].
fn beginning_of_answer(target: &Target) -> io::Result<Vec<u8>> {
    let mut conversation = Conversation::open(target, TIMEOUT)?;
    let mut answer = Vec::new();
    loop {
        match conversation.read(&mut answer) {
            Ok(0) => return Ok(answer),
            Ok(_) if status(&answer) == Some(200) => return Ok(answer),
            Ok(_) if answer.len() >= MAX_ANSWER => return Ok(answer),
            Ok(_) => {}
            // The reason is incomplete, the status is known.
            Err(_) if status(&answer).is_some() => return Ok(answer),
            Err(error) => return Err(error),
        }
    }
}

/// What is asked when no path is given.
pub(super) const READINESS: &str = "/readyz";

/// What is asked in place of it where life is enough.
pub(super) const LIVENESS: &str = "/healthz";

/// From the first packet to the answer: well within the interval of any probe.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of an answer that are read, to the end of the last piece.
const MAX_ANSWER: usize = 8 * 1024;

#[cfg(test)]
mod tests;
