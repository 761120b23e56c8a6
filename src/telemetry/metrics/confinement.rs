//! What the process has given up of what it may do, as a metric.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Metrics;
use super::catalogue::CONFINEMENT;
use super::in_force::State;

impl Metrics {
    /// Records each part of the confinement, and whether it is in force. Until then
    /// nothing is said of it.
    pub fn confinement(&self, parts: Vec<(&'static str, bool)>) {
        self.all.in_force.state().confinement = parts;
    }
}

impl State {
    pub(super) fn encode_confinement(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut series = CONFINEMENT.begin(out)?;
        for (part, is_in_force) in &self.confinement {
            series.gauge([part], u64::from(*is_in_force))?;
        }
        Ok(())
    }
}
