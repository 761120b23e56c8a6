//! Keeps what happens again and again from filling the log.

use std::time::Duration;

use tokio::time::Instant;

/// Says of one thing that happens again and again when it has a line.
#[derive(Debug, Default)]
pub struct Sparing {
    said: Option<Instant>,
    left_out: u64,
}

impl Sparing {
    /// How far apart two lines are at least.
    const APART: Duration = Duration::from_secs(10);

    /// It has happened: whether to say so now, and how many times it happened
    /// without a line since the last one.
    pub fn may_say(&mut self) -> Option<u64> {
        if self.said.is_some_and(|said| said.elapsed() < Self::APART) {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_again_and_again_is_said_once_in_ten_seconds_with_a_count() {
        let mut sparing = Sparing::default();
        assert_eq!(sparing.may_say(), Some(0));
        for _ in 0..1000 {
            assert_eq!(sparing.may_say(), None);
        }
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(sparing.may_say(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sparing.may_say(), Some(1001));
        assert_eq!(sparing.may_say(), None);
    }
}
