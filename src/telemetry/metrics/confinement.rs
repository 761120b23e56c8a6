//! What the process has given up of what it may do, as a metric.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Metrics;
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
        let mut family = out.encode_descriptor(
            "countersign_confinement",
            "Whether a part of what the process gives up is in force, by part",
            None,
            MetricType::Gauge,
        )?;
        for (part, is_in_force) in &self.confinement {
            family
                .encode_family(&[("part", *part)])?
                .encode_gauge(&u64::from(*is_in_force))?;
        }
        Ok(())
    }
}
