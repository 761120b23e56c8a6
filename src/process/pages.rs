//! How large the pages of the process's memory are.

use rustix::thread::disable_transparent_huge_pages;

/// Has the kernel give the process small pages alone (prctl(2), `PR_SET_THP_DISABLE`).
///
/// Where huge ones are given to everybody (`transparent_hugepage/enabled` is `always`) the
/// allocator's memory would consist of them, and a process that has nothing to do would hold
/// 20 MiB more. With them it would serve as well: so an error is none.
pub fn keep_pages_small() {
    disable_transparent_huge_pages(true).ok();
}
