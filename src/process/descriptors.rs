//! How many descriptors the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process open as many descriptors as it may (setrlimit(2)): its own limit becomes
/// that which it cannot pass.
///
/// systemd and the engines of containers begin with 1024, for the sake of programs that use
/// select(2), and a pod of Kubernetes has no field for more. With what it has it would serve as
/// well, and say so when they run out: so an error is none.
pub fn raise_descriptors() {
    let most = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, all).ok();
}
