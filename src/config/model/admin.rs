//! The admin address.

use super::{Bind, ChainLimits, ListenerTls, Located, OwnCertificate};

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
    /// TLS; `None`: it is plaintext.
    pub tls: Option<AdminTls>,
}

/// `[admin.tls]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminTls {
    /// What is presented and demanded, as a listener has it.
    pub server: ListenerTls,
    /// What it may cost to judge the chain of who asks.
    pub limits: ChainLimits,
    /// What countersign's own commands present when they ask; present only where
    /// a certificate is demanded.
    pub client: Option<OwnCertificate>,
}
