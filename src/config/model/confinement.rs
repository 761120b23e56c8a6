//! What the process gives up of what it may do.

use std::path::PathBuf;

use super::Located;

/// `[server.confinement]`: what is held back from the process, for the case that
/// somebody else comes to decide what it does. It cannot change while it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Confinement {
    /// Whether files are out of reach that the config does not need (Landlock).
    pub landlock: bool,
    /// Whether system calls are refused that a proxy does not need.
    pub seccomp: bool,
    /// Whether it could come to have more rights by what it executes.
    pub new_privileges: bool,
    /// Whether the system may write the memory of the process to disk.
    pub core_dumps: bool,
    /// Folders that are within reach beside those that the config needs now.
    pub also_readable: Vec<Located<PathBuf>>,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            landlock: true,
            seccomp: true,
            new_privileges: false,
            core_dumps: false,
            also_readable: Vec::new(),
        }
    }
}
