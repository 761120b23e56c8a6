//! Accepts within limits, completes handshakes in time, drains.
//!
//! A worker is one thread with a runtime of its own. One worker accepts for a
//! listener and deals the connections out, each to the worker with the fewest;
//! from then on a connection never leaves its worker.
//!
//! # Rules
//!
//! * A slot is taken before a connection is accepted, and is held until the
//!   connection has ended, whatever protocol it has changed to by then. So is a
//!   turn to make a handshake, which is held until that is over.
//! * One source, and one identity, has a part of the slots at most. It is seen
//!   to before anything is read of the client, or done for it.
//! * Whom a listed sender announces is the client, for every limit and every
//!   line; of others no announcement is read.
//! * The accept loop does not end before the drain. When the system refuses
//!   (`EMFILE` and the like), it pauses, longer each time, and tries again.
//! * A handshake, like a request, is judged by one generation from its
//!   beginning to its end. When another one is put in force, every open
//!   connection is judged by it: those whose peer it would refuse take no
//!   request from then on.
//! * While nothing is asked over HTTP/1.1, a connection holds its TLS and no more:
//!   the HTTP library is given it when there is something to read.
//! * The whole handshake has one deadline. After it, every wait for the client
//!   has one too, and one timer per connection serves them all.

mod accept;
mod activity;
mod awake;
mod bind;
mod closing;
mod connection;
mod crowd;
mod deal;
mod establish;
mod flood;
mod frames;
#[cfg(feature = "inside")]
pub mod inside;
mod io;
mod leave;
mod linger;
mod open;
mod origin;
mod refusal;
mod rest;
mod slots;
mod sockets;
mod strike;
mod summons;
mod tunnels;
mod watch;
mod worker;
mod workers;

pub use bind::{Address, BindError};
pub use leave::{Leave, serve_until_drain};
pub use sockets::{ListenerBindError, NewSocket, SocketId, SocketPlan, Sockets};
pub use worker::{Life, LifeControl};
pub use workers::{Ended, Published, Publisher, Workers};
