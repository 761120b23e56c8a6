//! The countersign program. [`countersign::cli`] has its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::main(std::env::args_os())
}
