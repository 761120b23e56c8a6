//! Who is measured when, so that what the machine does meanwhile meets all.

use super::progress::progress;

/// A visit to one of those who are measured, in one round.
pub(crate) struct Turn {
    /// Which of them.
    pub(crate) place: usize,
    /// Whether it counts; those of the first round are to get warm.
    pub(crate) counts: bool,
}

/// The turns of all rounds, up and down those who are measured.
pub(crate) fn turns(what: &str, rounds: usize, count: usize) -> impl Iterator<Item = Turn> {
    let all = (rounds + 1) * count;
    // Once more at the end, so that what it says of itself is wiped away.
    (0..=all).map_while(move |turn| {
        progress(what, turn, all);
        let (round, at) = (turn / count, turn % count);
        (turn < all).then_some(Turn {
            place: if round % 2 == 0 { at } else { count - 1 - at },
            counts: round > 0,
        })
    })
}
