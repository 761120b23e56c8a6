//! Deals with the system that the process runs on: what it was started with, who
//! watches over it, what it gives up, and who takes its place.
//!
//! # Rules
//!
//! * A socket that somebody else has bound is taken only if it listens and
//!   carries streams, and only under the name that the config calls it by.
//! * What is given up is given up before there is a second thread, and what the
//!   system does not let be given up is said.
//! * The service manager is told what is so: ready when every listener accepts,
//!   alive only while every worker gets on.
//!
//! # Sources
//!
//! sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3), landlock(7), seccomp(2).

mod confinement;
mod descriptors;
mod inherited;
mod pages;
mod service_manager;
mod succession;
mod system_calls;
mod watchdog;

pub use confinement::{Confined, Part, State};
pub use descriptors::raise_descriptors;
pub use inherited::{Inherited, InheritedError, Listening};
pub use pages::keep_pages_small;
pub use service_manager::ServiceManager;
pub use succession::{Heir, Predecessor, TakeOverError, UpgradeSocket, Verdict};
pub use watchdog::{Pulse, Watchdog};

use std::path::Path;
use std::sync::Arc;

use crate::config::{Bind, Config, Reach};
use crate::telemetry::{SocketFile, SocketFiles};

/// What whoever has started the process has given it.
#[derive(Debug, Default)]
pub struct Host {
    /// Sockets that are bound already.
    pub inherited: Inherited,
    /// Who is told how the process is.
    pub manager: ServiceManager,
    /// Who sees that the workers get on.
    pub watchdog: Watchdog,
    /// What becomes of the files of unix sockets at the end.
    pub files: SocketFiles,
    /// To what the process has confined itself; `None`: it can read what it could.
    pub reach: Option<Arc<Reach>>,
    /// What it has given up.
    pub confined: Arc<Confined>,
    /// Whose place it takes; `None`: nobody's.
    pub predecessor: Option<Predecessor>,
}

impl Host {
    /// Reads the environment that systemd, or who acts like it, sets.
    ///
    /// Must be called before the process has a second thread: descriptors have
    /// no owner yet, and the environment is changed so that nobody else takes
    /// them for theirs.
    ///
    /// # Errors
    ///
    /// What was passed cannot be used.
    pub fn of_environment() -> Result<Self, InheritedError> {
        Ok(Self {
            inherited: Inherited::from_environment()?,
            manager: ServiceManager::from_environment(),
            watchdog: Watchdog::from_environment(),
            ..Self::default()
        })
    }

    /// Gives up what a process does not need that serves this config. `looked_at`:
    /// what was read when that was loaded.
    ///
    /// Must be called before the process has a second thread.
    pub fn confine<'p>(
        &mut self,
        config: &'p Config,
        looked_at: impl IntoIterator<Item = &'p Path>,
    ) {
        let confinement = &config.server().confinement;
        let reach = Reach::of(config, looked_at);
        self.clear_sockets(config, &reach);
        let confined = Confined::now(confinement, &reach);
        let is_in_force = |part: &Part| part.name == "landlock" && part.state.is_in_force();
        if confined.parts().iter().any(is_in_force) {
            self.reach = Some(Arc::new(reach));
        }
        self.confined = Arc::new(confined);
    }

    /// Removes what closed sockets have left where nothing can be removed later.
    fn clear_sockets(&self, config: &Config, reach: &Reach) {
        for (path, _) in reach.sockets_beside_files(config) {
            let bind = Bind::Unix(path.to_owned());
            // Nor is a predecessor asked whether it is there.
            if self.inherited.of_predecessor("", &bind).is_none() {
                SocketFile::clear(path);
            }
        }
    }
}
