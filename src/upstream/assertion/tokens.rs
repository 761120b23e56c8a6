//! Signed assertions that can be used again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;

use super::{AssertError, Asserter, Statement};
use crate::telemetry::metrics::UpstreamMetrics;

/// One worker's tokens for one upstream, so for one audience and one set of keys.
///
/// At most 4096 are kept. Half of them at a time are given up: of those the
/// ones that were used least recently.
#[derive(Debug, Default)]
pub struct Tokens {
    kept: RefCell<Kept>,
    /// Where those that are signed are counted.
    metrics: Arc<UpstreamMetrics>,
}

/// A token goes from `older` to `recent` when it is used. When `recent` has half
/// of all, it becomes `older`, and what was there goes.
#[derive(Debug, Default)]
struct Kept {
    recent: HashMap<[u8; 32], Token>,
    older: HashMap<[u8; 32], Token>,
}

#[derive(Clone, Debug)]
struct Token {
    value: HeaderValue,
    signed: SystemTime,
}

/// The most tokens that are kept for one upstream and worker; one has about 1 KiB.
const MOST: usize = 4096;

impl Tokens {
    /// None yet; those that are signed are counted there.
    pub(crate) fn counted_by(metrics: &Arc<UpstreamMetrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            ..Self::default()
        }
    }

    /// A token that says this: one that was signed less than half of its
    /// lifetime before `now`, or else a new one.
    ///
    /// # Errors
    ///
    /// [`AssertError::Signing`] and [`AssertError::Unwritten`].
    pub fn token(
        &self,
        asserter: &Asserter,
        statement: &Statement,
        now: SystemTime,
    ) -> Result<HeaderValue, AssertError> {
        let mut kept = self.kept.borrow_mut();
        let key = statement.digest();
        // A clock that was put back makes every token one of the future.
        let is_fresh = |token: &Token| {
            let age = now.duration_since(token.signed);
            age.is_ok_and(|age| age < asserter.reuse())
        };
        if let Some(token) = kept.recent.get(key).filter(|token| is_fresh(token)) {
            return Ok(token.value.clone());
        }
        let older = kept.older.remove(key).filter(|token| is_fresh(token));
        let token = match older {
            Some(token) => token,
            None => {
                let value = asserter.sign(statement, now)?;
                self.metrics.assertion_signed();
                Token { value, signed: now }
            }
        };
        let value = token.value.clone();
        kept.keep(*key, token);
        Ok(value)
    }
}

impl Kept {
    fn keep(&mut self, key: [u8; 32], token: Token) {
        if self.recent.len() >= MOST / 2 && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, token);
    }
}

#[cfg(test)]
impl Tokens {
    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        let kept = self.kept.borrow();
        kept.recent.len() + kept.older.len()
    }
}
