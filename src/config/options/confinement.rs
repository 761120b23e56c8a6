//! The options of what the process gives up.

use super::Default::{Is, Unset};
use super::{Opt, Table};

pub(super) const TABLES: &[Table] = &[CONFINEMENT];

const CONFINEMENT: Table = Table {
    path: "server.confinement",
    header: "[server.confinement]",
    left_out: false,
    summary: "What the process gives up at its start, for the case that an attacker comes to decide what it does. What of it is in force is said in the log (`process.confined`) and by the metric `countersign_confinement`. A change takes a restart.",
    options: &[
        Opt {
            path: "server.confinement.also_readable",
            value: "a list of paths: folders, with all that is in them",
            default: Unset,
            summary: "What a reload may read beside the folders that the config and the files in it need at the start.",
            protects: "A config that names a file elsewhere later is refused at the reload, with a message that says so, and takes a restart.",
            without: "those folders are all that a reload can read",
            see: &["server.confinement.unsafe_no_landlock"],
            example: "[\"/srv/certificates\"]",
        },
        Opt {
            path: "server.confinement.unsafe_no_landlock",
            value: "`true` or `false`",
            default: Is("false"),
            summary: "Whether the process keeps the reach that its user has in the file system. Otherwise, from its start on, it can read the folders of what the config names, `/etc`, the system's libraries and `/proc`; write nothing; and make nothing but unix sockets in the folders of those that the config names; execute nothing; and send signals to nobody (Landlock, Linux 5.13; signals: 6.12).",
            protects: "The files of everybody else from a proxy that was taken over.",
            without: "the process confines itself as far as the system knows how",
            see: &["server.confinement.also_readable"],
            example: "false",
        },
        Opt {
            path: "server.confinement.unsafe_no_seccomp",
            value: "`true` or `false`",
            default: Is("false"),
            summary: "Whether every system call stays open to the process. Otherwise those are left that a proxy needs: it can start no process, load no code, trace nobody, change no user and mount nothing; a refused call fails with EPERM (x86-64 and AArch64).",
            protects: "The kernel from a proxy that was taken over. Programs that run it inside themselves, such as valgrind, need `true`.",
            without: "the filter is in force",
            see: &["server.confinement.unsafe_no_landlock"],
            example: "false",
        },
        Opt {
            path: "server.confinement.unsafe_new_privileges",
            value: "`true` or `false`; `true` only with `unsafe_no_landlock` and `unsafe_no_seccomp`",
            default: Is("false"),
            summary: "Whether the process could gain rights by a program that has them (setuid, file capabilities), were one executed (`no_new_privs` is then not set).",
            protects: "Rights that the process does not have. Both other parts rest on it.",
            without: "no rights can be gained, by no program",
            see: &[
                "server.confinement.unsafe_no_landlock",
                "server.confinement.unsafe_no_seccomp",
            ],
            example: "false",
        },
        Opt {
            path: "server.confinement.unsafe_core_dumps",
            value: "`true` or `false`",
            default: Is("false"),
            summary: "Whether the system may write the memory of the process to disk when it crashes, and processes of the same user may look into it (a debugger).",
            protects: "The memory holds private keys, passwords and what clients send.",
            without: "there are no core dumps, and nobody but root looks into the process",
            see: &["server.confinement.unsafe_no_seccomp"],
            example: "false",
        },
    ],
};
