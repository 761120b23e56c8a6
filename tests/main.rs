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
mod admin_tls;
mod anchors;
mod architecture;
mod asserted;
mod assertions;
mod attacks;
mod balance;
mod broken_files;
mod buffering;
mod cells;
mod commands;
mod conditions;
mod confinement;
mod cookies;
mod costly_chains;
mod doubts;
mod encodings;
mod events;
mod expiry;
mod explain;
mod faults;
mod files;
mod fixtures;
mod forwarding;
mod framing;
mod grpc;
mod h2_attacks;
mod h2_messages;
mod h2_websockets;
mod handing_over;
mod handshake;
mod header_rules;
mod health;
mod hello;
mod hostile;
mod http10;
mod identity;
mod idle;
mod kills;
mod life;
mod limits;
mod logs;
mod message_layer;
mod mistakes;
mod names;
mod observability;
mod open_secrets;
mod outcomes;
mod pool_limits;
mod pool_per;
mod preview;
mod proxy_protocol;
mod rates;
mod redirect;
mod reload;
mod renewal;
mod retries;
mod reuse;
mod revocation;
mod rewriting;
mod routes;
mod rules;
mod run_as;
mod scoped;
mod secrets;
mod service_manager;
mod sessions;
mod shadow;
mod shrinkage;
mod startup;
mod stateful_sessions;
mod status_page;
mod support;
mod traces;
mod trust_seen;
mod under_load;
mod upgrade;
mod upstreams;
mod websockets_to_h2;
mod wire;
mod wire_any;
mod wire_paths;
mod withdrawal;
