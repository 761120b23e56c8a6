//! Runs a command of the binary to its end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use super::{documented, eventually, secrets};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
}

impl Finished {
    /// Fails the test unless it ended with this code.
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "exit code of {self:#?}");
        self
    }

    /// Fails the test unless standard error contains every one of these, in any case.
    pub(crate) fn expect_words(&self, words: &[&str]) -> &Self {
        let text = self.stderr.to_lowercase();
        for word in words {
            assert!(
                text.contains(&word.to_lowercase()),
                "{word:?} is missing in:\n{}",
                self.stderr
            );
        }
        self
    }
}

/// Runs the binary with these arguments and waits for its end.
pub(crate) async fn countersign(arguments: &[&str]) -> Finished {
    finish(Command::new(BINARY).args(arguments)).await
}

/// Runs a command on a config file and waits for its end.
pub(crate) async fn countersign_on(command: &str, config: &Path) -> Finished {
    finish(
        Command::new(BINARY)
            .arg(command)
            .arg("--config")
            .arg(config),
    )
    .await
}

/// Runs any command and waits for its end.
pub(crate) async fn finish(command: &mut Command) -> Finished {
    finish_with_input(command.stdin(Stdio::null())).await
}

/// The same with the standard input that it has.
pub(crate) async fn finish_with_input(command: &mut Command) -> Finished {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stdout = drain(child.stdout.take().unwrap());
    let stderr = drain(child.stderr.take().unwrap());
    let mut child = KilledOnDrop(child);
    let what = format!("the end of {command:?}");
    let status = eventually(&what, || child.0.try_wait().unwrap()).await;
    let finished = Finished {
        code: status.code(),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    };
    secrets::expect_none(&what, &finished.stdout);
    secrets::expect_none(&what, &finished.stderr);
    documented::expect_all(&finished.stderr);
    finished
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)
            .expect("a pipe is read to its end");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
