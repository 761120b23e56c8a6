//! Pieces of the path of a connection, for benchmarks alone.

use super::frames::Frames;

/// What reads along with the bytes of one HTTP/2 connection.
#[derive(Debug)]
pub struct FrameWatch(Frames);

impl FrameWatch {
    /// Of a connection that begins. `base`: what a client may spend that asks for
    /// nothing.
    pub fn new(base: u32) -> Self {
        Self(Frames::new(base))
    }

    /// Reads on. `requests` so far were served. Where the budget is used up, if it
    /// is.
    pub fn read(&mut self, bytes: &[u8], requests: u32) -> Option<usize> {
        self.0.read(bytes, || requests)
    }
}
