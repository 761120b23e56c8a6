//! Follows the frames of an HTTP/2 connection beside the HTTP library, and finds
//! clients that keep it busy with frames that carry nothing.
//!
//! The library bounds what it has to remember: streams, header blocks, resets of
//! streams that it has not looked at, resets that it was made to send. What only
//! costs time it answers for ever: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, frames
//! of unknown types, and requests that are reset once they have been begun
//! (CVE-2019-9512, -9515, CVE-2023-44487). Here each connection has a budget for
//! those (`limits.max_control_frames`).
//!
//! # Rules
//!
//! * Content is free. Every other frame costs one, and a reset [`RESET`]: who
//!   resets more than half of its requests uses its budget up.
//! * The budget is for [`PERIOD`]. Each request that is served adds
//!   [`PER_REQUEST`], and every [`PER_BYTES`] bytes that go down add one, since
//!   clients acknowledge them.
//! * A frame costs a few comparisons: nothing is allocated, and the clock is read
//!   only when the budget seems to be used up.
//!
//! # Sources
//!
//! RFC 9113 §4.1 (frames), §10.5 (denial of service).

use std::time::Duration;

use tokio::time::Instant;

/// How long a budget is for, and then there is a new one.
const PERIOD: Duration = Duration::from_secs(10);
/// What a reset costs: a request and its reset cost more than it adds, and two
/// requests with one reset do not.
const RESET: u32 = 2 * PER_REQUEST - 2;
/// What a request that is served adds.
const PER_REQUEST: u32 = 8;
/// Two updates of windows for a small piece of content are no flood.
const PER_BYTES: u64 = 32;

/// The length of a frame's head.
const HEAD: usize = 9;
/// The length of what a client begins with (RFC 9113 §3.4).
const PREFACE: u32 = 24;
/// What the library reads in one frame at most: hyper's default.
const LARGEST: u32 = 16 * 1024;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// Reads along with the bytes that come over one connection.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// How much of the head under way has come.
    has: usize,
    /// How much of the payload, or of the preface, has yet to come.
    left: u32,
    /// The stream of the header block under way; 0: there is none.
    block: u32,
    /// What its frames have cost in this period.
    spent: u32,
    /// What they may cost before the budget is looked at again.
    limit: u32,
    budget: Budget,
    /// Whether it is used up.
    exceeded: bool,
}

/// What may be spent in one period.
#[derive(Debug)]
struct Budget {
    base: u32,
    /// When the period began.
    since: Instant,
    /// Requests served before it.
    requests: u32,
    /// Bytes that went down in it.
    written: u64,
}

impl Frames {
    /// `base`: what a client may spend that asks for nothing.
    pub(super) fn new(base: u32) -> Self {
        Self {
            head: [0; HEAD],
            has: 0,
            left: PREFACE,
            block: 0,
            spent: 0,
            limit: base,
            budget: Budget {
                base,
                since: Instant::now(),
                requests: 0,
                written: 0,
            },
            exceeded: false,
        }
    }

    /// So many bytes went down.
    pub(super) fn wrote(&mut self, count: usize) {
        self.budget.written = self.budget.written.saturating_add(count as u64);
    }

    /// Reads on. `requests` so far were served. `Some`: the budget is used up, and
    /// the frame that begins at this place is the first one not to be read.
    pub(super) fn read(&mut self, bytes: &[u8], requests: impl Fn() -> u32) -> Option<usize> {
        let mut at = 0;
        while let Some(rest @ [_, ..]) = bytes.get(at..) {
            if self.left > 0 {
                let here = u32::try_from(rest.len()).unwrap_or(u32::MAX).min(self.left);
                self.left -= here;
                at = at.saturating_add(here as usize);
                continue;
            }
            if self.exceeded && self.has == 0 {
                return Some(at);
            }
            let before = self.has;
            let part = rest.get(..(HEAD - before).min(rest.len()))?;
            let room = self
                .head
                .get_mut(before..before.saturating_add(part.len()))?;
            room.copy_from_slice(part);
            self.has = before.saturating_add(part.len());
            if self.has == HEAD {
                // The block that was under way before it stays so if it is not read.
                let block = self.block;
                if self.begin_frame(&requests) && before == 0 {
                    self.block = block;
                    self.left = 0;
                    return Some(at);
                }
            }
            at = at.saturating_add(part.len());
        }
        None
    }

    /// A head is complete: whether the budget is used up with it.
    fn begin_frame(&mut self, requests: &impl Fn() -> u32) -> bool {
        let [a, b, c, kind, flags, s, t, u, v] = self.head;
        self.has = 0;
        self.left = u32::from_be_bytes([0, a, b, c]);
        if matches!(kind, HEADERS | CONTINUATION) {
            let ends = flags & END_HEADERS != 0;
            let stream = u32::from_be_bytes([s & 0x7f, t, u, v]);
            self.block = if ends { 0 } else { stream };
        }
        let cost = match kind {
            DATA if self.left > 0 && flags & PADDED == 0 => 0,
            RST_STREAM => RESET,
            _ => 1,
        };
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit && !self.exceeded {
            self.exceeded = self.look(requests());
        }
        self.exceeded
    }

    /// More was spent than is known to be allowed: whether it is too much.
    fn look(&mut self, requests: u32) -> bool {
        let now = Instant::now();
        let budget = &mut self.budget;
        if now.duration_since(budget.since) >= PERIOD {
            self.spent = 0;
            budget.since = now;
            budget.requests = requests;
            budget.written = 0;
        }
        let served = requests.wrapping_sub(budget.requests);
        let taken = u32::try_from(budget.written / PER_BYTES).unwrap_or(u32::MAX);
        self.limit = budget
            .base
            .saturating_add(served.saturating_mul(PER_REQUEST))
            .saturating_add(taken);
        self.spent > self.limit
    }

    /// What the library is given to read in place of what comes: it takes it for a
    /// flood of CONTINUATION frames, and parts with GOAWAY (ENHANCE_YOUR_CALM).
    /// Nobody but the library can say so, since nobody else knows where the frames
    /// end that it is writing.
    ///
    /// `max_header_bytes`: how large a header block the library takes.
    pub(super) fn farewell(&self, max_header_bytes: u32) -> Vec<u8> {
        let full = max_header_bytes / LARGEST;
        let count = full.saturating_add(full / 2).saturating_add(8);
        let stream = if self.block == 0 { 1 } else { self.block };
        let frame = |kind| {
            let [s, t, u, v] = stream.to_be_bytes();
            [0, 0, 0, kind, 0, s, t, u, v]
        };
        let mut bytes = Vec::new();
        if self.block == 0 {
            bytes.extend(frame(HEADERS));
        }
        for _ in 0..count {
            bytes.extend(frame(CONTINUATION));
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
