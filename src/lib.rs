//! countersign terminates mutual TLS in front of HTTP services that know
//! nothing of certificates, decides who may call them, and tells them who does.
//!
//! The floors, from the ground up; each uses only those above it in this list:
//!
//! 1. [`telemetry`] names and records what happened, and serves it.
//! 2. [`identity`] reads names out of a verified leaf, matches and writes them.
//! 3. [`config`] turns a file into a [`config::Config`] whose values are legal.
//! 4. [`policy`] decides what a caller may do, and names the rule.

mod cli;
pub mod config;
pub mod identity;
pub mod policy;
pub mod telemetry;
