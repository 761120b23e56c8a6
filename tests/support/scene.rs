//! A proxy before one service, and those who call.

use super::client::{Client, get, with};
use super::pki::Pki;
use super::proxy::{Proxy, Setup};
use super::upstream::Upstream;

/// A proxy before one service, for callers that may be anonymous.
pub(crate) struct Scene {
    /// Who certifies the callers.
    pub(crate) pki: Pki,
    /// The proxy, started.
    pub(crate) proxy: Proxy,
    /// The service.
    pub(crate) upstream: Upstream,
}

impl Scene {
    /// Starts the baseline proxy with what `change` makes of its setup.
    pub(crate) async fn start(
        pki: Pki,
        upstream: Upstream,
        change: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let setup = Setup::new(&pki, &upstream);
        let setup = setup.with("listeners.public.tls.client_auth = 'want'");
        Self {
            proxy: change(setup).start().await,
            pki,
            upstream,
        }
    }

    /// A client with a certificate of its own for this URI.
    pub(crate) fn caller(&self, uri: &str) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client_as(uri))
    }

    /// The status that a client gets who sends a credential of its own, or none.
    pub(crate) async fn status(&self, client: &Client, own: Option<&str>) -> u16 {
        let request = match own {
            Some(own) => with(get("/"), "authorization", own),
            None => get("/"),
        };
        let answer = client.send(self.proxy.public(), request).await.unwrap();
        answer.status.as_u16()
    }
}
