//! Counts who comes to the admin address, where it speaks TLS.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::catalogue;
use super::counters::{Count, Reasons};

/// Counts the handshakes of the admin address. What is asked there is not counted.
#[derive(Debug, Default)]
pub struct AdminMetrics {
    full: Count,
    resumed: Count,
    refused: Reasons,
    not_tls: Reasons,
}

impl AdminMetrics {
    /// A handshake completed, with a resumed session or in full.
    pub fn handshake_accepted(&self, resumed: bool) {
        if resumed {
            self.resumed.add();
        } else {
            self.full.add();
        }
    }

    /// A handshake was refused. `reason`: as for
    /// [`ListenerMetrics::handshake_refused`](super::ListenerMetrics::handshake_refused).
    pub fn handshake_refused(&self, reason: &'static str) {
        self.refused.add(reason);
    }

    /// What came was not TLS: `what` says what it was instead, as a word from
    /// the code.
    pub fn not_tls(&self, what: &'static str) {
        self.not_tls.add(what);
    }
}

/// Writes them; `None`: the address speaks no TLS, and there is nothing to count.
pub(super) fn encode(
    metrics: Option<&AdminMetrics>,
    out: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = catalogue::ADMIN_HANDSHAKES.begin(out)?;
    let Some(metrics) = metrics else {
        return Ok(());
    };
    family.counter(["accepted", "full"], metrics.full.get())?;
    family.counter(["accepted", "resumed"], metrics.resumed.get())?;
    for (reason, count) in metrics.refused.each() {
        family.counter(["refused", reason], count)?;
    }
    for (what, count) in metrics.not_tls.each() {
        family.counter(["not_tls", what], count)?;
    }
    Ok(())
}
