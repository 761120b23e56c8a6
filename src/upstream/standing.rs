//! What the whole process knows of one endpoint.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::pauses::{LeftAlone, Pauses};
use super::resolve::Addresses;
use crate::config::{Endpoint, EndpointAddress};
use crate::telemetry::metrics::Health;

/// What the whole process knows of one endpoint: what probes have found, and the
/// addresses of its name.
///
/// Workers share it, since a probe for each of them would be unkind to the
/// service. They read it where they choose and connect; what they read of a
/// verdict is one atomic number.
#[derive(Debug)]
pub(super) struct Standing {
    unwell: AtomicBool,
    /// When it was last found well again, in milliseconds after `made`; 0: never.
    back: AtomicU64,
    made: Instant,
    addresses: Option<Addresses>,
    pauses: Pauses,
    /// Why probes find it unwell. Nobody asks on the path of a request.
    cause: Mutex<Option<String>>,
}

impl Standing {
    /// Of an endpoint of which nothing is known yet: it is taken for well.
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let addresses = match &endpoint.address {
            EndpointAddress::Tcp { host, port } if host.parse::<IpAddr>().is_err() => {
                Some(Addresses::new(host, *port))
            }
            EndpointAddress::Tcp { .. } | EndpointAddress::Unix(_) => None,
        };
        Self {
            unwell: AtomicBool::new(false),
            back: AtomicU64::new(0),
            made: Instant::now(),
            addresses,
            pauses: Pauses::default(),
            cause: Mutex::default(),
        }
    }

    /// The addresses of its name; `None`: it has no name.
    pub(super) fn addresses(&self) -> Option<&Addresses> {
        self.addresses.as_ref()
    }

    /// Probes have found out how it is.
    pub(super) fn found(&self, well: bool) {
        if well && !self.is_well() {
            let since = self.made.elapsed().as_millis();
            let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
            self.back.store(since, Ordering::Relaxed);
        }
        self.unwell.store(!well, Ordering::Relaxed);
    }

    /// Why probes find it unwell, once that is known.
    pub(super) fn tell(&self, cause: Option<String>) {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    /// As it was told last.
    pub(super) fn cause(&self) -> Option<String> {
        let cause = self.cause.lock();
        cause.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the workers make of it.
    pub(super) fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// How the workers leave it alone now; `None`: nobody does.
    pub(super) fn left_alone(&self) -> Option<LeftAlone> {
        self.pauses.at(Instant::now())
    }

    /// When probes found it well again after they had not; `None`: they never did.
    pub(super) fn back_since(&self) -> Option<Instant> {
        match self.back.load(Ordering::Relaxed) {
            0 => None,
            since => self.made.checked_add(Duration::from_millis(since)),
        }
    }
}

impl Health for Standing {
    fn is_well(&self) -> bool {
        !self.unwell.load(Ordering::Relaxed)
    }

    fn left_alone_by(&self) -> usize {
        self.left_alone().map_or(0, |known| known.workers)
    }
}
