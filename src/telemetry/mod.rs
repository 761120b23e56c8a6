//! Names and records what happened, and serves it.
