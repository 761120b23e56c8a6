//! The system calls that are allowed with some arguments only.

use seccompiler::{Error, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// What one argument must be.
pub(super) struct Condition {
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
}

impl Condition {
    /// The bits of `mask` in the argument are those of `value`.
    fn bits(argument: u8, mask: i32, value: i32) -> Self {
        Self {
            argument,
            operator: SeccompCmpOp::MaskedEq(u64::from(mask.unsigned_abs())),
            value: u64::from(value.unsigned_abs()),
        }
    }

    /// The argument is `value`.
    fn is(argument: u8, value: i32) -> Self {
        Self {
            argument,
            operator: SeccompCmpOp::Eq,
            value: u64::from(value.unsigned_abs()),
        }
    }

    pub(super) fn rule(self) -> Result<SeccompRule, Error> {
        let Self {
            argument,
            operator,
            value,
        } = self;
        // All of these are `int`, or flags in the lower half.
        let length = SeccompCmpArgLen::Dword;
        let condition = SeccompCondition::new(argument, length, operator, value)?;
        Ok(SeccompRule::new(vec![condition])?)
    }
}

/// Each such call, with the conditions of which one must hold.
pub(super) fn arguments() -> Vec<(i64, Vec<Condition>)> {
    let sockets = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        // The C library asks for the machine's addresses.
        libc::AF_NETLINK,
    ];
    vec![
        // Threads, and no processes.
        (
            libc::SYS_clone,
            vec![Condition::bits(0, libc::CLONE_THREAD, libc::CLONE_THREAD)],
        ),
        // Libraries may be loaded; nothing that was written becomes code.
        (
            libc::SYS_mmap,
            vec![
                Condition::bits(2, libc::PROT_EXEC, 0),
                Condition::bits(2, libc::PROT_WRITE, 0),
            ],
        ),
        (
            libc::SYS_mprotect,
            vec![Condition::bits(2, libc::PROT_EXEC, 0)],
        ),
        (
            libc::SYS_socket,
            sockets.map(|family| Condition::is(0, family)).into(),
        ),
        (libc::SYS_socketpair, vec![Condition::is(0, libc::AF_UNIX)]),
    ]
}
