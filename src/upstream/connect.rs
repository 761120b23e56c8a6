//! Sets up connections to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::fault::{SendFault, SendFaultKind};
use super::plan::Plan;
use super::resolve::Addresses;
use super::standing::Standing;
use crate::config::{Endpoint, EndpointAddress, Protocol};
use crate::telemetry::unreserved;
use crate::tls::{Socket, Stream, UpstreamHandshakeError};

/// A connection to an endpoint, TLS included, within the upstream's connect
/// timeout. `first` goes over it before anything else, TLS included.
///
/// `index`: that of the endpoint in the plan.
pub(super) async fn connect(
    plan: &Plan,
    index: usize,
    first: Option<&[u8]>,
) -> Result<Stream, SendFault> {
    let Some((endpoint, standing)) = plan.standing(index) else {
        return Err(SendFault::unknown_endpoint());
    };
    let attempt = attempt(plan, (endpoint, standing), first);
    match tokio::time::timeout(plan.connect_timeout(), attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(SendFault::plain(
            SendFaultKind::ConnectTimeout,
            format!("no connection within {:?}", plan.connect_timeout()),
        )),
    }
}

async fn attempt(
    plan: &Plan,
    (endpoint, standing): (&Endpoint, &Standing),
    first: Option<&[u8]>,
) -> Result<Stream, SendFault> {
    let refused = |e: io::Error| SendFault::of_connect(&e);
    let (mut socket, host) = match &endpoint.address {
        EndpointAddress::Unix(path) => (
            Socket::Unix(
                UnixStream::connect(path)
                    .await
                    .and_then(unreserved)
                    .map_err(refused)?,
            ),
            "localhost",
        ),
        EndpointAddress::Tcp { host, port } => {
            let socket = match standing.addresses() {
                Some(addresses) => connect_by_name(addresses, plan.connect_timeout()).await?,
                None => connect_to_address(host, *port).await?,
            };
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
    let done = tls.connect(socket, host).await.map_err(of_handshake)?;
    if plan.protocol() == Protocol::Http2 && !done.http2 {
        return Err(SendFault::plain(
            SendFaultKind::Handshake,
            "the upstream did not agree to HTTP/2 (ALPN h2)",
        ));
    }
    Ok(done.stream)
}

/// Sorts why a handshake came to nothing.
fn of_handshake(e: UpstreamHandshakeError) -> SendFault {
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
}

async fn connect_to_address(host: &str, port: u16) -> Result<TcpStream, SendFault> {
    let address = host.parse::<IpAddr>();
    let address = address.map_err(|e| SendFault::new(SendFaultKind::Resolve, &e))?;
    connect_to(SocketAddr::new(address, port))
        .await
        .map_err(|e| SendFault::of_connect(&e))
}

/// Tries the addresses of a name in turn. Each has its share of the time, so
/// that one which answers nothing does not stand in the way of the others.
pub(super) async fn connect_by_name(
    addresses: &Addresses,
    time: Duration,
) -> Result<TcpStream, SendFault> {
    let to_try = addresses.to_try().await?;
    let share = time / u32::try_from(to_try.len().max(1)).unwrap_or(u32::MAX);
    let mut last = SendFault::plain(SendFaultKind::Resolve, "the name has no address");
    for address in to_try {
        last = match tokio::time::timeout(share, connect_to(address)).await {
            Ok(Ok(socket)) => {
                addresses.served(address);
                return Ok(socket);
            }
            Ok(Err(e)) => SendFault::of_connect(&e),
            Err(_) => SendFault::plain(
                SendFaultKind::ConnectTimeout,
                format!("no connection to {address} within {share:?}"),
            ),
        };
        addresses.failed(address);
    }
    Err(last)
}

/// A connection to one address. Before there is one to wait for, its socket is
/// seen to be none of those that are kept back.
async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    unreserved(socket?)?.connect(address).await
}
