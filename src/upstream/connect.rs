//! Sets up connections to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpStream, UnixStream};

use super::fault::{SendFault, SendFaultKind};
use super::plan::Plan;
use crate::config::{Endpoint, EndpointAddress, Protocol};
use crate::tls::{Socket, Stream, UpstreamHandshakeError};

/// A connection to an endpoint, TLS included, within the upstream's connect timeout.
pub(super) async fn connect(plan: &Plan, endpoint: &Endpoint) -> Result<Stream, SendFault> {
    match tokio::time::timeout(plan.connect_timeout(), attempt(plan, endpoint)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(SendFault::plain(
            SendFaultKind::ConnectTimeout,
            format!("no connection within {:?}", plan.connect_timeout()),
        )),
    }
}

async fn attempt(plan: &Plan, endpoint: &Endpoint) -> Result<Stream, SendFault> {
    let refused = |e: io::Error| SendFault::new(SendFaultKind::ConnectRefused, &e);
    let (socket, host) = match &endpoint.address {
        EndpointAddress::Unix(path) => (
            Socket::Unix(UnixStream::connect(path).await.map_err(refused)?),
            "localhost",
        ),
        EndpointAddress::Tcp { host, port } => {
            let socket = connect_tcp(host, *port).await?;
            // Without it every small response waits for the delayed
            // acknowledgement of the one before. If it fails, things are slow.
            if let Err(e) = socket.set_nodelay(true) {
                tracing::debug!(cause = %e, "TCP_NODELAY could not be set");
            }
            (Socket::Tcp(socket), host.as_str())
        }
    };
    if !endpoint.tls {
        return Ok(Stream::Plain(socket));
    }
    let Some(tls) = plan.tls() else {
        return Err(SendFault::plain(
            SendFaultKind::Handshake,
            "the upstream has no tls table",
        ));
    };
    let done = tls.connect(socket, host).await.map_err(|e| {
        let kind = match e {
            UpstreamHandshakeError::NotAsked | UpstreamHandshakeError::NotPresented => {
                SendFaultKind::NotAsked
            }
            UpstreamHandshakeError::Failed(_) | UpstreamHandshakeError::Name(_) => {
                SendFaultKind::Handshake
            }
        };
        SendFault::new(kind, &e)
    })?;
    if plan.protocol() == Protocol::Http2 && !done.http2 {
        return Err(SendFault::plain(
            SendFaultKind::Handshake,
            "the upstream did not agree to HTTP/2 (ALPN h2)",
        ));
    }
    Ok(done.stream)
}

/// Tries each address of a host in turn.
async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, SendFault> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(address, port))
            .await
            .map_err(|e| SendFault::new(SendFaultKind::ConnectRefused, &e));
    }
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|e| SendFault::new(SendFaultKind::Resolve, &e))?;
    let mut last = SendFault::plain(SendFaultKind::Resolve, format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(e) => last = SendFault::new(SendFaultKind::ConnectRefused, &e),
        }
    }
    Err(last)
}
