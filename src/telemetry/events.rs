//! The name of every event that is logged.
//!
//! Names are `subject.what_happened`. Dashboards and alerts hold on to them, so
//! a name that was released is not changed.

/// Declares the constants and the list of them.
macro_rules! events {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*

        /// Every event name, in the order in which they are declared.
        pub const ALL: &[&str] = &[$($constant),*];
    };
}

events! {
    /// A listener is bound and takes connections.
    LISTENER_READY = "listener.ready";
    /// The admin server is bound and answers.
    ADMIN_READY = "admin.ready";
    /// What the process has given up of what it may do, and what it could not.
    CONFINED = "process.confined";
    /// Every listener is ready.
    STARTED = "server.started";
    /// A successor accepts on the same sockets: the drain begins.
    HANDED_OVER = "server.handed_over";
    /// A successor asked for the sockets and did not come to serve.
    NOT_HANDED_OVER = "server.not_handed_over";
    /// The process has taken the place of another one, which drains.
    TAKEN_OVER = "server.taken_over";
    /// A signal asked for the end: the drain begins.
    STOPPING = "server.stopping";
    /// The file of a unix socket cannot be removed at the end.
    SOCKET_LEFT_BEHIND = "socket.left_behind";
    /// The service manager cannot be told anything.
    SERVICE_MANAGER_UNREACHABLE = "service_manager.unreachable";
    /// The last connection is gone, or the drain ran out of time.
    STOPPED = "server.stopped";
    /// A handshake ended in a refusal, which the line explains.
    HANDSHAKE_REFUSED = "handshake.refused";
    /// More handshakes were refused than the log was told of one by one.
    REFUSALS_LEFT_OUT = "handshake.refusals_left_out";
    /// A connection ended in a fault outside any request.
    CONNECTION_FAULT = "connection.fault";
    /// An open connection is being ended since its peer is no longer trusted.
    CONNECTION_WITHDRAWN = "connection.withdrawn";
    /// An open connection stays though its peer is no longer trusted, since
    /// `enforce_withdrawal = false`.
    CONNECTION_WOULD_END = "connection.would_end";
    /// A request ended, well or in a fault. These are the lines of the access log.
    REQUEST_END = "request.end";
    /// A request was permitted that would have been denied, were everything
    /// enforced. Said where there is no access log.
    POLICY_WOULD_DENY = "policy.would_deny";
    /// The rules of a route are legal, and something about them is odd.
    POLICY_UNUSUAL = "policy.unusual";
    /// An upstream's endpoint is left out of the choice because it failed.
    ENDPOINT_EJECTED = "endpoint.ejected";
    /// An endpoint that was left out takes part again.
    ENDPOINT_BACK = "endpoint.back";
    /// A probe found an endpoint well that was not.
    ENDPOINT_HEALTHY = "endpoint.healthy";
    /// Probes found an endpoint unwell that was well: it gets no requests while
    /// another one is. Said once for each change.
    ENDPOINT_UNHEALTHY = "endpoint.unhealthy";
    /// The addresses of an endpoint's name are others than before, or known again.
    ENDPOINT_RESOLVED = "endpoint.resolved";
    /// The name of an endpoint cannot be resolved; its last addresses hold for a
    /// while. Said once, until it can be.
    ENDPOINT_UNRESOLVED = "endpoint.unresolved";
    /// Accepting a connection failed; it is tried again after a pause.
    ACCEPT_FAILED = "accept.failed";
    /// As many connections are open as the listener's limit allows.
    LISTENER_FULL = "listener.full";
    /// A limit struck: somebody was refused or ended for holding, sending or
    /// asking for more than the config allows. Each limit of each listener and
    /// upstream has at most one line in 10 s; `left_out` counts the rest.
    LIMIT_STRUCK = "limit.struck";
    /// The process holds more memory than `server.max_memory`: new work is refused.
    MEMORY_SHORT = "memory.short";
    /// It does not any more, or what it holds is free: work is taken again.
    MEMORY_ENOUGH = "memory.enough";
    /// The system does not say how much memory the process holds.
    MEMORY_UNKNOWN = "memory.unknown";
    /// A new generation of trust, certificates and policy is in force.
    GENERATION = "generation.published";
    /// A signal had the files looked at, and nothing has changed.
    RELOAD_UNCHANGED = "reload.unchanged";
    /// What is on the disk cannot be used; what was in force still is. Said once
    /// for each distinct cause.
    RELOAD_FAILED = "reload.failed";
    /// What is on the disk would drop much of a trust bundle, and waits to be
    /// confirmed; what was in force still is.
    RELOAD_HELD_BACK = "reload.held_back";
    /// What is on the disk is in force again, after a reload had failed or was
    /// held back.
    RELOAD_RECOVERED = "reload.recovered";
    /// The system does not tell of changes on the disk: only looking again and
    /// again finds them.
    WATCH_UNAVAILABLE = "watch.unavailable";
    /// A trust bundle is in force, and something about it is odd.
    TRUST_UNUSUAL = "trust.unusual";
    /// Somebody wants the files looked at now.
    RELOAD_REQUESTED = "reload.requested";
    /// A file that holds a secret can be read or changed by every user of the machine.
    SECRET_EXPOSED = "secret.exposed";
    /// A certificate or trust anchor runs out soon.
    CERTIFICATE_EXPIRING = "certificate.expiring";
    /// A certificate of countersign's own says that it is meant for something else.
    CERTIFICATE_UNUSUAL = "certificate.unusual";
    /// Something in the config is legal, and likely a mistake.
    CONFIG_UNUSUAL = "config.unusual";
    /// A revocation list is to be replaced soon: its `nextUpdate` is near.
    CRL_EXPIRING = "crl.expiring";
    /// The `nextUpdate` of a revocation list has passed.
    CRL_STALE = "crl.stale";
    /// A certificate was accepted on the word of a stale revocation list, since
    /// `crl_stale = "log"`.
    CRL_USED_STALE = "crl.used_stale";
    /// A certificate was accepted although there is no revocation list of its
    /// issuer, since `crl_missing = "log"`.
    CRL_MISSING = "crl.missing";
    /// A certificate was accepted that the revocation lists would refuse, since
    /// `enforce_crl = false`.
    CRL_WOULD_REFUSE = "crl.would_refuse";
    /// The collector does not take spans. Said once, until it does.
    TRACE_EXPORT_FAILED = "trace.export_failed";
    /// The collector takes spans again.
    TRACE_EXPORT_RECOVERED = "trace.export_recovered";
    /// Lines of the access log were dropped because their reader is too slow or gone.
    ACCESS_LOG_DROPPED = "access_log.dropped";
    /// Lines of this log were dropped because their reader is too slow or gone.
    LOG_DROPPED = "log.dropped";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::ALL;

    #[test]
    fn every_name_is_subject_dot_what_happened_in_lower_case() {
        for name in ALL {
            let (subject, what) = name.split_once('.').expect(name);
            for part in [subject, what] {
                assert!(!part.is_empty(), "{name}");
                assert!(
                    part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                    "{name}"
                );
            }
        }
    }

    /// What each says, and at which level, stands in one table.
    #[test]
    fn every_name_is_documented_and_no_other() {
        let text = include_str!("../../deploy/README.md");
        let (_, rest) = text
            .split_once("| event | level | fields | says |\n")
            .expect("a table");
        let (table, _) = rest.split_once("\n\n").expect("the table ends");
        let documented: HashSet<_> = table
            .lines()
            .filter_map(|row| row.split('|').nth(1))
            .flat_map(|names| names.split('`').skip(1).step_by(2))
            .collect();
        assert_eq!(documented, ALL.iter().copied().collect());
    }

    #[test]
    fn no_name_is_used_twice() {
        let distinct: HashSet<_> = ALL.iter().collect();
        assert_eq!(distinct.len(), ALL.len());
    }
}
