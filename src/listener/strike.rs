//! A limit that has struck somebody who has no request to tell it by.

use std::net::SocketAddr;

use crate::config::ListenerId;
use crate::proxy::Site;
use crate::telemetry::events;

/// A limit of a listener struck.
pub(super) struct Strike<'a> {
    /// The option.
    pub(super) limit: &'static str,
    /// Whom; `None`: on a unix socket, or nobody in particular.
    pub(super) client: Option<SocketAddr>,
    /// Who that is, where it is known.
    pub(super) peer: Option<&'a str>,
    /// What happened, in words.
    pub(super) cause: &'a str,
    /// What can be done about it.
    pub(super) remedy: &'a str,
}

impl Strike<'_> {
    /// Counts it, and says it in a line unless there was one of late.
    pub(super) fn tell(self, site: &Site, id: ListenerId) {
        let struck = site.metrics().listener(id.0).limit_struck(self.limit);
        if let Some(left_out) = struck {
            let listener = site.config().listener(id);
            tracing::warn!(
                event = events::LIMIT_STRUCK,
                listener = listener.map(|listener| listener.name.as_str()),
                limit = self.limit,
                client = self.client.map(tracing::field::display),
                peer = self.peer,
                cause = self.cause,
                remedy = self.remedy,
                left_out,
            );
        }
    }
}

/// Counts a limit that struck somebody of whom another line tells.
pub(super) fn count(site: &Site, id: ListenerId, limit: &'static str) {
    site.metrics().listener(id.0).count_limit(limit);
}
