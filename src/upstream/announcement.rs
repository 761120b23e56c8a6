//! What an upstream is told of a downstream connection before anything else on
//! a connection of its own (PROXY protocol).

use std::fmt;
use std::rc::Rc;

use super::plan::Plan;
use crate::identity::proxy_header::{self, Told, Version};
use crate::telemetry::events;
use crate::telemetry::metrics::UpstreamMetrics;

/// Tells of one downstream connection. Cheap to copy: nothing is written before
/// a connection is opened.
#[derive(Clone)]
pub struct Announcement(Rc<dyn Announces>);

/// Who knows of a downstream connection.
pub trait Announces {
    /// Hands over what is to be told. `tells_identity`: whose certificate was
    /// verified on it, too.
    fn told(&self, tells_identity: bool, tell: &mut dyn FnMut(&Told<'_>));
}

impl Announcement {
    /// Of the connection that this one knows.
    pub fn new(of: impl Announces + 'static) -> Self {
        Self(Rc::new(of))
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Announcement")
    }
}

/// The header of a connection that is countersign's own; `None`: it begins with none.
pub(super) fn own_header(plan: &Plan) -> Option<Vec<u8>> {
    plan.proxy_protocol().map(proxy_header::local)
}

/// The header that a new connection of this upstream begins with; `None`: it
/// begins with none. Without an announcement the connection is countersign's own.
pub(super) fn header(
    plan: &Plan,
    of: Option<&Announcement>,
    metrics: &UpstreamMetrics,
) -> Option<Vec<u8>> {
    let version = plan.proxy_protocol()?;
    let Some(announcement) = of else {
        return own_header(plan);
    };
    let mut header = proxy_header::local(version);
    announcement.0.told(plan.tells_certificates(), &mut |told| {
        header = match version {
            Version::V1 => proxy_header::v1(told),
            Version::V2 => {
                let (written, whole) = proxy_header::v2(told);
                if !whole {
                    left_out(plan, told, metrics);
                }
                written
            }
        };
    });
    Some(header)
}

fn left_out(plan: &Plan, told: &Told<'_>, metrics: &UpstreamMetrics) {
    if let Some(left_out) = metrics.limit_struck("proxy_protocol") {
        tracing::warn!(
            event = events::LIMIT_STRUCK,
            upstream = plan.name(),
            limit = "proxy_protocol",
            client = told.source.map(tracing::field::display),
            cause = "the client's certificate does not fit into a header of the PROXY protocol (64 KiB), and was left out",
            remedy = "issue a smaller certificate to this client",
            left_out,
        );
    }
}
