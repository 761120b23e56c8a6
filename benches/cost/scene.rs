//! The program as it is counted, and who calls it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::drive::stranger;
use super::service::Service;
use super::support::client::Client;
use super::support::pki::{Authority, CLIENT_URI, Pki};
use super::support::proxy::{Proxy, Setup};

/// One worker, so that no two do the same at once; nothing that comes by the
/// clock, and nothing that is not asked for. Unconfined: what runs the program
/// inside itself needs all of the system.
const COUNTED: &str = "
    server = { workers = 1, poll_interval = '1h', confinement = { unsafe_no_landlock = true, unsafe_no_seccomp = true } }
    log.access = false
    routes = [{ upstream = 'orders', allow = [{ uri = 'spiffe://prod.example/*' }] }]
";

/// The running program with a service behind it.
pub(crate) struct Scene {
    pki: Pki,
    issuer: Authority,
    proxy: Proxy,
    service: Service,
    /// For the tools. What they write beside the config, the program would look at.
    folder: TempDir,
}

impl Scene {
    /// Starts this binary by a shell command that is given the folder for what
    /// the tools write, the binary as a word, and its arguments as `"$@"`.
    pub(crate) async fn start(binary: &Path, command: impl Fn(&Path, &str) -> String) -> Self {
        let pki = Pki::new();
        // As authorities that name workloads are: below a root that is kept.
        let issuer = pki.root().intermediate("Countersign Test Issuer");
        let service = Service::start().await;
        let setup = Setup::to(&pki, &service.endpoint)
            .without("admin")
            .with(COUNTED);
        let folder = TempDir::new().unwrap();
        let command = command(folder.path(), &quoted(binary));
        Self {
            // The shell does not come back to the binary that cargo has built.
            proxy: setup.after_shell(&format!("exec {command}")).start().await,
            pki,
            issuer,
            service,
            folder,
        }
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.proxy.id()
    }

    /// The service behind it.
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// A path in the folder for what the tools write.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it accepts.
    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.public()
    }

    /// A caller without a certificate, who agrees on what costs least.
    pub(crate) fn stranger(&self) -> Client {
        stranger(&self.pki)
    }

    /// The caller whom the rule allows.
    pub(crate) fn caller(&self) -> Client {
        self.calling_as(CLIENT_URI)
    }

    /// A caller who is let in, and whom no rule allows.
    pub(crate) fn outsider(&self) -> Client {
        self.calling_as("spiffe://test.example/billing")
    }

    fn calling_as(&self, uri: &str) -> Client {
        let leaf = self.issuer.leaf().client().uri(uri).issue();
        self.stranger().presenting(&leaf)
    }
}

/// A path as a word of the shell.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_str().unwrap().replace('\'', r"'\''"))
}
