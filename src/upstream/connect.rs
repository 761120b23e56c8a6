//! Sets up connections to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::fault::{SendFault, SendFaultKind};
use super::plan::Plan;
use crate::config::{Endpoint, EndpointAddress, Protocol};
use crate::tls::{Socket, Stream, UpstreamHandshakeError};

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A connection to an endpoint, TLS included, within the upstream's connect
/// timeout. `first` goes over it before anything else, TLS included.
pub(super) async fn connect(
    plan: &Plan,
    endpoint: &Endpoint,
    first: Option<&[u8]>,
) -> Result<Stream, SendFault> {
    match tokio::time::timeout(plan.connect_timeout(), attempt(plan, endpoint, first)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(SendFault::plain(
            SendFaultKind::ConnectTimeout,
            format!("no connection within {:?}", plan.connect_timeout()),
        )),
    }
}

async fn attempt(
    plan: &Plan,
    endpoint: &Endpoint,
    first: Option<&[u8]>,
) -> Result<Stream, SendFault> {
    let refused = |e: io::Error| SendFault::of_connect(&e);
    let (mut socket, host) = match &endpoint.address {
        EndpointAddress::Unix(path) => (
            Socket::Unix(UnixStream::connect(path).await.map_err(refused)?),
            "localhost",
        ),
        EndpointAddress::Tcp { host, port } => {
            let socket = connect_tcp(host, *port, plan.connect_timeout()).await?;
            // Without it every small response waits for the delayed
            // acknowledgement of the one before. If it fails, things are slow.
            if let Err(e) = socket.set_nodelay(true) {
                tracing::debug!(cause = %e, "TCP_NODELAY could not be set");
            }
            (Socket::Tcp(socket), host.as_str())
        }
    };
    if let Some(first) = first {
        socket.write_all(first).await.map_err(refused)?;
    }
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
            UpstreamHandshakeError::Failed(_)
            | UpstreamHandshakeError::Name(_)
            | UpstreamHandshakeError::Refused(_) => SendFaultKind::Handshake,
        };
        let fault = SendFault::new(kind, &e);
        match e {
            UpstreamHandshakeError::Refused(refused) => SendFault {
                remedy: Some(refused.remedy),
                ..fault
            },
            _ => fault,
        }
    })?;
    if plan.protocol() == Protocol::Http2 && !done.http2 {
        return Err(SendFault::plain(
            SendFaultKind::Handshake,
            "the upstream did not agree to HTTP/2 (ALPN h2)",
        ));
    }
    Ok(done.stream)
}

/// Tries each address of a host in turn. Each has its share of the time, so
/// that one which answers nothing does not stand in the way of the others.
async fn connect_tcp(host: &str, port: u16, time: Duration) -> Result<TcpStream, SendFault> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(address, port))
            .await
            .map_err(|e| SendFault::of_connect(&e));
    }
    let addresses: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|e| SendFault::new(SendFaultKind::Resolve, &e))?
        .take(MAX_ADDRESSES)
        .collect();
    let share = time / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = SendFault::plain(SendFaultKind::Resolve, format!("{host} has no address"));
    for address in addresses {
        last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(e)) => SendFault::of_connect(&e),
            Err(_) => SendFault::plain(
                SendFaultKind::ConnectTimeout,
                format!("no connection to {address} within {share:?}"),
            ),
        };
    }
    Err(last)
}
