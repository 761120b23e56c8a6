//! The requests that `demo --once` makes, and what must come of them.

use std::error::Error;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::{CLIENT, Files};

/// How long a visit may take. On this machine it takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn Error + Send + Sync>;

/// What came of the visits.
pub(super) struct Report {
    /// For people.
    pub(super) text: String,
    /// Whether each ended as it should.
    pub(super) as_expected: bool,
}

impl Report {
    /// The proxy never opened.
    pub(super) fn unopened() -> Self {
        Self {
            text: "the proxy did not start\n".to_owned(),
            as_expected: false,
        }
    }
}

/// What came of one visit.
enum Outcome {
    Answered(u16, String),
    Alert(AlertDescription),
    Failed(String),
}

/// Visits with a certificate, without one, with a stranger's, and where the
/// other client may not go.
pub(super) async fn make(files: &Files, proxy: SocketAddr) -> Report {
    let mut report = Report {
        text: String::new(),
        as_expected: true,
    };
    let known = visit(files, proxy, Some("client"), "/").await;
    report.note(
        "with a certificate",
        &known,
        "200, and the service is told who is calling",
        told(&known),
    );
    if let Outcome::Answered(_, body) = &known {
        for line in body.lines().filter(|line| {
            line.starts_with("x-client-") || line.starts_with("x-forwarded-client-cert")
        }) {
            // Writing to a text does not fail.
            writeln!(report.text, "      {line}").ok();
        }
    }
    let none = visit(files, proxy, None, "/").await;
    report.note(
        "without a certificate",
        &none,
        "the alert certificate_required",
        matches!(none, Outcome::Alert(AlertDescription::CertificateRequired)),
    );
    let stranger = visit(files, proxy, Some("stranger"), "/").await;
    report.note(
        "with a stranger's certificate",
        &stranger,
        "the alert unknown_ca",
        matches!(stranger, Outcome::Alert(AlertDescription::UnknownCA)),
    );
    let other = visit(files, proxy, Some("other-client"), "/admin").await;
    report.note(
        "to /admin with another client's certificate",
        &other,
        "403",
        matches!(other, Outcome::Answered(403, _)),
    );
    report
}

/// Whether the service was told of the caller's certificate, and not of the
/// one that the caller tried to forge.
fn told(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered(200, body) => {
            body.contains(&format!("URI={CLIENT}")) && !body.contains("forged")
        }
        _ => false,
    }
}

impl Report {
    fn note(&mut self, what: &str, outcome: &Outcome, expected: &str, as_expected: bool) {
        let mark = if as_expected { "ok  " } else { "FAIL" };
        writeln!(self.text, "{mark}  {what}: {outcome}").ok();
        if !as_expected {
            self.as_expected = false;
            writeln!(self.text, "      expected: {expected}").ok();
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered(status @ 200..300, _) => write!(f, "accepted, answered {status}"),
            Self::Answered(status, _) => write!(f, "refused, answered {status}"),
            Self::Alert(alert) => write!(f, "refused in the handshake, alert {alert:?}"),
            Self::Failed(cause) => write!(f, "failed: {cause}"),
        }
    }
}

async fn visit(files: &Files, proxy: SocketAddr, who: Option<&str>, path: &str) -> Outcome {
    let exchanged = tokio::time::timeout(TIMEOUT, exchange(files, proxy, who, path)).await;
    match exchanged {
        Err(_elapsed) => Outcome::Failed(format!("no answer within {TIMEOUT:?}")),
        Ok(Ok((status, body))) => Outcome::Answered(status, body),
        Ok(Err(cause)) => match alert_of(&*cause) {
            Some(alert) => Outcome::Alert(alert),
            None => Outcome::Failed(cause.to_string()),
        },
    }
}

async fn exchange(
    files: &Files,
    proxy: SocketAddr,
    who: Option<&str>,
    path: &str,
) -> Result<(u16, String), BoxError> {
    let config = client_config(files, who)?;
    let socket = TcpStream::connect(proxy).await?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost")?, socket)
        .await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::task::spawn_local(connection);
    let request = Request::get(path)
        .header("host", format!("localhost:{}", proxy.port()))
        .header("x-forwarded-client-cert", "Subject=\"CN=forged\"")
        .body(Empty::<Bytes>::new())?;
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        // In TLS 1.3 a client learns of its refusal when it first reads; the
        // connection knows the cause.
        Err(cause) => {
            drop(sender);
            return Err(match connection.await {
                Ok(Err(ended)) => ended.into(),
                _ => cause.into(),
            });
        }
    };
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn client_config(files: &Files, who: Option<&str>) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.path("ca.pem"))? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match who {
        None => builder.with_no_client_auth(),
        Some(name) => builder.with_client_auth_cert(
            certificates(&files.path(&format!("{name}.pem")))?,
            PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key")))?,
        )?,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
}

/// The alert with which the other side ended the handshake, if that was it.
fn alert_of(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            return Some(*alert);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::files::Binds;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn proxy_that_never_answers_is_given_up_and_reported() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let binds = Binds {
            service: address,
            proxy: address,
            admin: address,
        };
        let files = Files::write(folder.path(), binds).unwrap();
        let report = make(&files, address).await;
        assert!(!report.as_expected);
        let given_up = report.text.matches("failed: no answer within 10s").count();
        assert_eq!(given_up, 4, "{}", report.text);
    }
}
