//! The real binary, running on a config that works, with one thing changed.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::command::{BINARY, Finished, countersign_on, finish_with_input};
use super::pki::{Leaf, Pki};
use super::raw::Raw;
use super::upstream::Upstream;
use super::{PATIENCE, documented, eventually, eventually_within, secrets};

/// A config that works, and its files, before it is run.
pub(crate) struct Setup {
    folder: TempDir,
    config: toml::Table,
    /// Where it is written, from the folder.
    config_path: &'static str,
    launcher: Option<String>,
    /// Its standard input.
    passed: Option<OwnedFd>,
}

impl Setup {
    /// Mutual TLS required on a listener `public`, one route without
    /// conditions to an upstream `orders`, which is told who is calling in
    /// `X-Forwarded-Client-Cert`.
    pub(crate) fn new(pki: &Pki, upstream: &Upstream) -> Self {
        Self::to(pki, upstream.endpoint())
    }

    /// As [`Setup::new`], for an endpoint as the config writes it.
    pub(crate) fn to(pki: &Pki, endpoint: &str) -> Self {
        let setup = Self {
            folder: TempDir::new().unwrap(),
            config: toml::Table::new(),
            config_path: "countersign.toml",
            launcher: None,
            passed: None,
        };
        setup
            .file("clients.pem", &pki.root().pem())
            .certificate("proxy", &pki.proxy())
            .with(BASELINE)
            .with(&format!("upstreams.orders.endpoints = ['{endpoint}']"))
    }

    /// Merges TOML into the config: tables are joined, everything else is replaced.
    pub(crate) fn with(mut self, toml: &str) -> Self {
        let change: toml::Table = toml
            .parse()
            .unwrap_or_else(|error| panic!("{error}\nin {toml}"));
        merge(&mut self.config, change);
        self
    }

    /// Takes a key or a table out of the config.
    pub(crate) fn without(mut self, path: &str) -> Self {
        let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
        let parents = parents.split('.').filter(|name| !name.is_empty());
        let table = parents.fold(&mut self.config, |table, name| {
            table[name].as_table_mut().unwrap()
        });
        assert!(table.remove(key).is_some(), "{path} is not in the config");
        self
    }

    /// Writes a file next to the config, for its owner alone: it may hold a secret.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        secrets::plant_file(name, content);
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        self
    }

    /// Writes `NAME.pem` and `NAME.key` next to the config.
    pub(crate) fn certificate(self, name: &str, leaf: &Leaf) -> Self {
        self.file(&format!("{name}.pem"), &leaf.chain_pem())
            .file(&format!("{name}.key"), &leaf.key_pem())
    }

    /// Makes a folder next to the config.
    pub(crate) fn folder(self, name: &str) -> Self {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    /// Lets a symbolic link next to the config lead somewhere.
    pub(crate) fn link(self, name: &str, to: &str) -> Self {
        std::os::unix::fs::symlink(to, self.path(name)).unwrap();
        self
    }

    /// Starts the binary from a shell, after this command and those before it:
    /// for resource limits.
    pub(crate) fn after_shell(mut self, command: &str) -> Self {
        self.launcher = Some(match self.launcher {
            Some(before) => format!("{before} && {command}"),
            None => command.to_owned(),
        });
        self
    }

    /// Passes a descriptor as systemd does, under this name.
    pub(crate) fn passed(mut self, name: &str, descriptor: impl Into<OwnedFd>) -> Self {
        self.passed = Some(descriptor.into());
        self.after_shell(&format!(
            "exec 3<&0 </dev/null && export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES={name}"
        ))
    }

    /// Writes the config itself elsewhere in the folder; what it names stays.
    pub(crate) fn config_at(mut self, path: &'static str) -> Self {
        self.config_path = path;
        self
    }

    /// What the config file would hold after one more change.
    pub(crate) fn text_with(&self, toml: &str) -> String {
        let mut config = self.config.clone();
        merge(&mut config, toml.parse().unwrap());
        toml::to_string(&config).unwrap()
    }

    /// A path next to the config.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command that ends by itself on this config.
    pub(crate) async fn run(&self, command: &str) -> Finished {
        countersign_on(command, &self.write()).await
    }

    /// Runs the proxy, which is expected to end by itself.
    pub(crate) async fn run_to_its_end(&self) -> Finished {
        finish_with_input(&mut self.command(&self.write())).await
    }

    /// Starts the proxy and waits until it serves.
    pub(crate) async fn start(self) -> Proxy {
        self.start_within(PATIENCE).await
    }

    /// The same for a proxy that has much to load.
    pub(crate) async fn start_within(self, patience: Duration) -> Proxy {
        let config = self.write();
        let mut child = self.command(&config).spawn().expect("the binary starts");
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        let mut proxy = Proxy {
            child,
            stdout,
            stderr,
            folder: self.folder,
        };
        let (child, stderr) = (&mut proxy.child, &proxy.stderr);
        eventually_within(patience, "server.started in the log", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "ended at the start: {ended:?}");
            // In text and in JSON alike.
            stderr
                .text
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains("server.started"))
                .then_some(())
        })
        .await;
        proxy
    }

    /// Writes the config file; returns its path.
    pub(crate) fn write(&self) -> PathBuf {
        let path = self.path(self.config_path);
        std::fs::write(&path, toml::to_string(&self.config).unwrap()).unwrap();
        path
    }

    fn command(&self, config: &Path) -> Command {
        let mut command = match &self.launcher {
            None => Command::new(BINARY),
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\""), BINARY]);
                shell
            }
        };
        command.args(["run", "--config"]).arg(config);
        command
            .stdin(self.passed.as_ref().map_or_else(Stdio::null, |passed| {
                passed.try_clone().expect("a descriptor").into()
            }))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

const BASELINE: &str = "
server = { workers = 2, drain_timeout = '15s' }
log = { format = 'json', access = true }
admin.bind = '127.0.0.1:0'
trust.clients.ca = ['clients.pem']
routes = [{ upstream = 'orders' }]

[listeners.public]
bind = '127.0.0.1:0'
protocols = ['h2', 'http/1.1']
tls.certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }]
tls.client_auth = 'require'
tls.trust = 'clients'

[upstreams.orders]
protocol = 'http/1.1'
outbound.identity_assertion = 'supported'
outbound.assertion.encode = ['xfcc']
";

/// The running proxy; it is killed when it is dropped.
pub(crate) struct Proxy {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    folder: TempDir,
}

impl Proxy {
    /// Where the listener `public` accepts.
    pub(crate) fn public(&self) -> SocketAddr {
        self.listener("public")
    }

    /// Where a listener accepts.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let ready = self
            .stderr
            .find("listener.ready", &|line| line["listener"] == name);
        address(&ready.unwrap_or_else(|| panic!("listener {name} is not ready")))
    }

    /// Where health and metrics are served.
    pub(crate) fn admin(&self) -> SocketAddr {
        address(
            &self
                .stderr
                .find("admin.ready", &|_| true)
                .expect("admin is ready"),
        )
    }

    /// A path next to the config.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for a diagnostic of this event that `fits`.
    pub(crate) async fn log_line(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{event} in the log"), || {
            self.stderr.find(event, &fits)
        })
        .await
    }

    /// Waits for the access log line of the only request with this path.
    pub(crate) async fn access_line(&self, path: &str) -> Value {
        self.access_line_where(|line| line["path"] == path).await
    }

    /// Waits for the access log line that `fits`.
    pub(crate) async fn access_line_where(&self, fits: impl Fn(&Value) -> bool) -> Value {
        eventually("request.end in the access log", || {
            self.stdout.find("request.end", &fits)
        })
        .await
    }

    /// The diagnostics of this event so far.
    pub(crate) fn logged(&self, event: &str) -> Vec<Value> {
        self.stderr.all(event)
    }

    /// Everything written to standard error so far.
    pub(crate) fn diagnostics(&self) -> Vec<String> {
        self.stderr.text.lock().unwrap().clone()
    }

    /// Everything written to standard output so far.
    pub(crate) fn access_log(&self) -> Vec<String> {
        self.stdout.text.lock().unwrap().clone()
    }

    /// Asks the admin address; returns status and content.
    pub(crate) async fn ask_admin(&self, path: &str) -> (u16, String) {
        let mut raw = Raw::plain(self.admin()).await;
        raw.write(format!(
            "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"
        ))
        .await;
        let answer = raw.read_response().await;
        secrets::expect_none(path, &answer.body);
        (answer.status, answer.body)
    }

    /// The metrics now.
    pub(crate) async fn metrics(&self) -> Metrics {
        let (status, text) = self.ask_admin("/metrics").await;
        assert_eq!(status, 200, "metrics: {text}");
        Metrics(text)
    }

    /// Waits until the metrics fit.
    pub(crate) async fn metrics_where(
        &self,
        what: &str,
        fits: impl Fn(&Metrics) -> bool,
    ) -> Metrics {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if fits(&metrics) {
                return metrics;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "metrics never showed {what}:\n{}",
                metrics.0
            );
        }
    }

    /// The lines of the generations after the first.
    pub(crate) fn published(&self) -> Vec<Value> {
        let mut lines = self.logged("generation.published");
        lines.retain(|line| line["generation"] != 1);
        lines
    }

    /// The memory that it holds, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let digits = line.unwrap().trim().trim_end_matches(" kB");
        digits.parse().unwrap()
    }

    /// Kills it as the system does (SIGKILL), and starts it again in the same
    /// folder, with what `change` says.
    pub(crate) async fn killed_and_started_again(mut self, change: &str) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let folder = std::mem::replace(&mut self.folder, TempDir::new().unwrap());
        let config = std::fs::read_to_string(folder.path().join("countersign.toml")).unwrap();
        let setup = Setup {
            folder,
            config: config.parse().unwrap(),
            config_path: "countersign.toml",
            launcher: None,
            passed: None,
        };
        setup.with(change).start().await
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it holds open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the proxy runs");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).expect("the proxy runs");
    }

    /// Waits for its end; returns the exit code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        eventually("the end of the proxy", || child.try_wait().unwrap())
            .await
            .code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!(
                "--- standard error of the proxy\n{}",
                self.stderr.text.lock().unwrap().join("\n")
            );
            eprintln!(
                "--- standard output of the proxy\n{}",
                self.stdout.text.lock().unwrap().join("\n")
            );
        } else {
            for lines in [&self.stderr, &self.stdout] {
                let text = lines.text.lock().unwrap().join("\n");
                secrets::expect_none("what the proxy has written", &text);
                documented::expect_all(&text);
            }
        }
    }
}

/// Metrics in the Prometheus text format.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// Adds up the samples whose name contains `name` and whose labels contain
    /// every one of `labels`, such as `reason="untrusted"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self
            .0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (found, found_labels) = series.split_once('{').unwrap_or((series, ""));
                let fits =
                    found.contains(name) && labels.iter().all(|label| found_labels.contains(label));
                fits.then(|| value.parse::<f64>().unwrap())
            });
        samples.sum()
    }
}

/// The lines of a pipe, as far as they have come.
struct Lines {
    text: Arc<Mutex<Vec<String>>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text: Arc<Mutex<Vec<String>>> = Arc::default();
        let written = Arc::clone(&text);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        Self { text }
    }

    fn all(&self, event: &str) -> Vec<Value> {
        let text = self.text.lock().unwrap();
        let lines = text
            .iter()
            // What is asked again and again, of a long log, is not to be slow.
            .filter(|line| line.contains(event))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }

    fn find(&self, event: &str, fits: &dyn Fn(&Value) -> bool) -> Option<Value> {
        self.all(event).into_iter().find(|line| fits(line))
    }
}

fn address(ready: &Value) -> SocketAddr {
    let text = ready["address"]
        .as_str()
        .unwrap_or_else(|| panic!("no address in {ready}"));
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Merges TOML: tables are joined, everything else is replaced.
pub(crate) fn merge(table: &mut toml::Table, change: toml::Table) {
    for (key, value) in change {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
