//! The admin address.

use super::{Bind, Located};

/// `[admin]`: where health, readiness, metrics and the status page are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// The address; TCP or a unix socket.
    pub bind: Located<Bind>,
    /// Names, beside those of this machine, under which it may be asked; in lower
    /// case, without a final dot.
    pub hosts: Vec<String>,
    /// Whether the status page may have something changed.
    pub allow_changes: bool,
}
