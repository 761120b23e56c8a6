//! How many lines each source has within a minute.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// What a bound holds for.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// The most sources and reasons that are told apart at one time.
const MOST: usize = 1024;

/// A source of refusals.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// An IPv4 address, or an IPv6 network of 64 bits: as much as one client
    /// has for its own.
    Address(IpAddr),
    /// A unix socket.
    Local,
    /// Those that come when very many others are told apart already.
    Others,
}

/// What is bounded together.
pub(super) type Key = (Source, &'static str);

/// What the log was told of each source, and what not.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<Key, Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    told: u32,
    left_out: u64,
}

/// What the log was not told within a minute.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct LeftOut {
    pub(super) source: Source,
    pub(super) reason: &'static str,
    pub(super) count: u64,
}

impl Source {
    /// The source that an address belongs to; `None`: a unix socket.
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(address)) => Self::Address(address.into()),
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self::Address(Ipv6Addr::from_bits(network).into())
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(network)) => write!(f, "{network}/64"),
            Self::Local => f.write_str("unix"),
            Self::Others => f.write_str("others"),
        }
    }
}

impl Rates {
    /// Whether there is a line left for `key`. What was left out in minutes that
    /// are over is put into `ended`.
    pub(super) fn is_told(
        &mut self,
        key: Key,
        per_minute: NonZeroU32,
        now: Instant,
        ended: &mut Vec<LeftOut>,
    ) -> bool {
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        if self.0.get(&key).is_some_and(is_over)
            && let Some(window) = self.0.remove(&key)
        {
            ended.extend(window.left_out(key));
        }
        let is_new = !self.0.contains_key(&key);
        if is_new && self.0.len() >= MOST {
            ended.extend(self.end_windows(now));
        }
        let key = match key {
            (_, reason) if is_new && self.0.len() >= MOST => (Source::Others, reason),
            key => key,
        };
        let window = self.0.entry(key).or_insert(Window {
            began: now,
            told: 0,
            left_out: 0,
        });
        if window.told < per_minute.get() {
            window.told += 1;
            return true;
        }
        window.left_out = window.left_out.saturating_add(1);
        false
    }

    /// Forgets the minutes that are over, and says what was left out in them.
    pub(super) fn end_windows(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut ended = Vec::new();
        self.0.retain(|key, window| {
            let is_over = now.saturating_duration_since(window.began) >= WINDOW;
            if is_over {
                ended.extend(window.left_out(*key));
            }
            !is_over
        });
        ended
    }
}

impl Window {
    fn left_out(&self, (source, reason): Key) -> Option<LeftOut> {
        (self.left_out > 0).then_some(LeftOut {
            source,
            reason,
            count: self.left_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

    fn key(address: &str) -> Key {
        (Source::of(Some(address.parse().unwrap())), "expired")
    }

    /// Asks so often; how often the answer was yes, and what was left out before.
    fn ask(rates: &mut Rates, key: Key, times: usize, now: Instant) -> (usize, Vec<LeftOut>) {
        let mut ended = Vec::new();
        let told = (0..times).filter(|_| rates.is_told(key, TWO, now, &mut ended));
        (told.count(), ended)
    }

    fn left_out((source, reason): Key, count: u64) -> Vec<LeftOut> {
        vec![LeftOut {
            source,
            reason,
            count,
        }]
    }

    #[test]
    fn each_source_and_reason_has_its_lines_and_the_others_are_counted() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let one = key("10.0.0.1");
        assert_eq!(ask(&mut rates, one, 5, now), (2, vec![]));
        assert_eq!(ask(&mut rates, key("10.0.0.2"), 1, now), (1, vec![]));
        assert_eq!(ask(&mut rates, (one.0, "revoked"), 1, now), (1, vec![]));
        let later = now + WINDOW;
        assert_eq!(ask(&mut rates, one, 3, later), (2, left_out(one, 3)));
        assert_eq!(rates.end_windows(later + WINDOW), left_out(one, 1));
        assert!(rates.0.is_empty());
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_source() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_eq!(key("2001:db8::1").0.to_string(), "2001:db8::/64");
    }

    #[test]
    fn sources_beyond_all_bounds_share_one_place() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let told = (0..5000_u32).filter(|number| {
            let source = Source::Address(std::net::Ipv4Addr::from_bits(*number).into());
            rates.is_told((source, "expired"), TWO, now, &mut Vec::new())
        });
        assert_eq!(told.count(), MOST + 2);
        assert_eq!(rates.0.len(), MOST + 1);
        let ended = rates.end_windows(now + WINDOW);
        assert_eq!(ended, left_out((Source::Others, "expired"), 5000 - 1026));
    }
}
