//! Where one generation's requests are entered on one worker.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::site::Site;
use crate::config::Config;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{ReferenceIds, Refusals};

/// What the line of a request is written with.
///
/// A response or a tunnel may last for days. It keeps this, and not the
/// generation: trust bundles with their revocation lists are large.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) generation: u64,
    pub(super) config: Arc<Config>,
    pub(super) references: ReferenceIds,
    pub(super) access: AccessLog,
    pub(super) metrics: Arc<Metrics>,
    pub(super) refusals: Arc<Refusals>,
    /// Whether what is under way is being cut, in every generation of the worker.
    over: Rc<Cell<bool>>,
}

impl Ledger {
    /// `former`: that of the generation before.
    pub(super) fn new(site: &Site, access: AccessLog, former: Option<&Self>) -> Rc<Self> {
        Rc::new(Self {
            generation: site.generation(),
            config: Arc::clone(site.config()),
            references: ReferenceIds::new(),
            access,
            metrics: Arc::clone(site.metrics()),
            refusals: Arc::clone(site.refusals()),
            over: former
                .map(|former| Rc::clone(&former.over))
                .unwrap_or_default(),
        })
    }

    /// What is under way ends here.
    pub(super) fn cut(&self) {
        self.over.set(true);
    }

    /// Whether what is under way is being cut.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }
}
