//! Which system calls the process keeps.
//!
//! The list is that of an ordinary service (as systemd's `@system-service` has
//! it) without those that start processes, change who the process is or what it
//! may have, or reach into others. Two filters say it: in the first `clone3`, of
//! which a filter cannot see the arguments, does not exist, so that the C library
//! falls back to `clone`; the second allows what is listed.
//!
//! A call that is allowed whatever its arguments costs nothing that could be
//! measured: the kernel keeps a table of those (Linux 5.11).

use std::collections::BTreeMap;

use crate::config::Confinement;

use super::confinement::State;
use conditions::{Condition, arguments};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

mod conditions;
mod list;

/// Refuses all others to the calling thread and to those that it will start.
pub(super) fn filter(confinement: &Confinement) -> State {
    if !confinement.seccomp {
        return State::SwitchedOff("unsafe_no_seccomp");
    }
    let Some(target) = target() else {
        return State::Open("there is no list for this processor".to_owned());
    };
    State::of(programs(target).and_then(|programs| {
        let mut programs = programs.iter();
        programs.try_for_each(|program| apply_filter(program))
    }))
}

/// The processor that this is compiled for, if there is a list for it.
fn target() -> Option<TargetArch> {
    TargetArch::try_from(std::env::consts::ARCH)
        .ok()
        .filter(|target| matches!(target, TargetArch::x86_64 | TargetArch::aarch64))
}

fn programs(target: TargetArch) -> Result<[BpfProgram; 2], Error> {
    let missing = code(libc::ENOSYS);
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let first = SeccompFilter::new(hidden, SeccompAction::Allow, missing, target)?;
    let forbidden = code(libc::EPERM);
    let mut allowed = allowed()?;
    // Of two numbers the last filter's would be told.
    allowed.insert(libc::SYS_clone3, Vec::new());
    let second = SeccompFilter::new(allowed, forbidden, SeccompAction::Allow, target)?;
    Ok([first.try_into()?, second.try_into()?])
}

/// Each call that is allowed, and under which conditions; none: always.
fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    let mut rules: BTreeMap<_, _> = list::always().map(|call| (call, Vec::new())).collect();
    for (call, any_of) in arguments() {
        let any_of: Result<Vec<_>, _> = any_of.into_iter().map(Condition::rule).collect();
        rules.insert(call, any_of?);
    }
    Ok(rules)
}

fn code(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_can_be_made_for_every_processor_with_a_list() {
        for target in [TargetArch::x86_64, TargetArch::aarch64] {
            let [first, second] = programs(target).unwrap();
            assert!(!first.is_empty() && second.len() < 4096);
        }
        assert!(target().is_some(), "this one is tested");
    }

    #[test]
    fn thread_under_the_filter_serves_and_starts_no_process() {
        let thread = std::thread::spawn(|| {
            assert_eq!(filter(&Confinement::default()), State::InForce);
            let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listening.local_addr().unwrap();
            let another = std::thread::spawn(move || std::net::TcpStream::connect(address));
            another.join().unwrap().unwrap();
            listening.accept().unwrap();
            let program = std::process::Command::new("/bin/true").status();
            assert!(program.is_err());
            let raw = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None);
            let refused = raw.unwrap_err().raw_os_error();
            assert_eq!(refused, Some(libc::EPERM));
        });
        thread.join().unwrap();
    }

    #[test]
    fn what_starts_processes_or_reaches_into_others_is_not_on_the_list() {
        let rules = allowed().unwrap();
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_pidfd_getfd,
            libc::SYS_mount,
            libc::SYS_setuid,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_unshare,
            libc::SYS_keyctl,
            libc::SYS_clone3,
        ] {
            assert!(!rules.contains_key(&call), "{call}");
        }
        for call in [libc::SYS_clone, libc::SYS_mprotect, libc::SYS_socket] {
            assert!(!rules[&call].is_empty(), "{call} has conditions");
        }
    }
}
