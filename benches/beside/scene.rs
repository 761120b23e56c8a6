//! Who calls, and what all proxies are given alike.

use std::net::SocketAddr;

use super::drive::stranger;
use super::service::{self, CALLER};
use super::support::client::Client;
use super::support::pki::{Authority, CLIENT_URI, Leaf, Pki};

/// How many workers each proxy has.
pub(crate) const WORKERS: usize = 2;

/// The certificates of this run, those who present them, and the service.
pub(crate) struct Scene {
    /// The root of all certificates, of proxies and of clients.
    pub(crate) pki: Pki,
    /// What every proxy presents.
    pub(crate) own: Leaf,
    /// The service behind every proxy.
    pub(crate) service: SocketAddr,
    caller: Client,
}

impl Scene {
    /// Makes the certificates, and starts the service.
    pub(crate) async fn start() -> Self {
        let pki = Pki::new();
        let caller = issued_below(pki.root(), &pki);
        Self {
            own: pki.proxy(),
            service: service::start().await,
            caller,
            pki,
        }
    }

    /// The client that returns, always with the same certificate, and resumes
    /// nothing.
    pub(crate) fn caller(&self) -> Client {
        self.caller.clone()
    }

    /// A client without a certificate.
    pub(crate) fn stranger(&self) -> Client {
        stranger(&self.pki)
    }

    /// A client whose certificate names the same caller and leads to another root.
    pub(crate) fn impostor(&self) -> Client {
        issued_below(&Authority::root("Countersign Test Root"), &self.pki)
    }
}

/// As authorities that name workloads are: below a root that is kept.
fn issued_below(root: &Authority, pki: &Pki) -> Client {
    let issuer = root.intermediate("Countersign Test Issuer");
    let leaf = issuer.leaf().client().common_name(CALLER).uri(CLIENT_URI);
    stranger(pki).presenting(&leaf.issue())
}
