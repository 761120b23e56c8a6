//! The commands of the command line.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the command that calls it is not wired yet")
)]
pub(crate) mod healthcheck;
