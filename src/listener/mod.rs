//! Accepts within limits, completes handshakes in time, drains.
//!
//! A worker is one thread with a runtime of its own. One worker accepts for a
//! listener and deals the connections out, each to the worker with the fewest;
//! from then on a connection never leaves its worker.
//!
//! # Rules
//!
//! * A slot is taken before a connection is accepted, and is held until the
//!   connection has ended, whatever protocol it has changed to by then.
//! * The accept loop does not end before the drain. When the system refuses
//!   (`EMFILE` and the like), it pauses, longer each time, and tries again.
//! * The whole handshake has one deadline. After it, every wait for the client
//!   has one too, and one timer per connection serves them all.

mod accept;
mod activity;
mod bind;
mod connection;
mod deal;
mod io;
mod linger;
mod refusal;
mod watch;
mod worker;

pub use accept::Slots;
pub use bind::{Address, BindError, Socket};
pub use deal::{Arrival, Dealer, Lane};
pub use worker::{Life, LifeControl, Worker, WorkerParts};
