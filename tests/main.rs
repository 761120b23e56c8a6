//! What an operator, a client and a service behind countersign can rely on:
//! tests on the real binary over real sockets. One module a theme; one test a
//! sentence. [`support`] holds the fixtures.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends its test, and its tasks end with it"
)]

mod admin;
mod architecture;
mod assertions;
mod commands;
mod expiry;
mod faults;
mod fixtures;
mod forwarding;
mod framing;
mod handshake;
mod hostile;
mod identity;
mod layers;
mod life;
mod limits;
mod logs;
mod reuse;
mod routes;
mod sessions;
mod startup;
mod support;
mod upstreams;
