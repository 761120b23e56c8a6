//! Writes a header.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{FIXED, SIGNATURE, crc32c, tlv};
use crate::identity::claim::Identity;
use crate::identity::distinguished_name::{Value, parse};

/// A version of the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// A line of text, with addresses alone.
    V1,
    /// Binary, with values behind the addresses.
    V2,
}

/// What the next hop is told of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// The client's address; `None`: nobody knows it.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to.
    pub destination: Option<SocketAddr>,
    /// What is known of TLS on the connection; `None`: it came without.
    pub tls: Option<TlsFacts<'a>>,
}

/// What is told of a connection's TLS.
#[derive(Clone, Copy, Debug)]
pub struct TlsFacts<'a> {
    /// Such as `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite's name.
    pub cipher: &'a str,
    /// What was agreed on for the time after the handshake (ALPN); `None`: nothing.
    pub protocol: Option<&'a str>,
    /// The name that the client asked for (SNI).
    pub server_name: Option<&'a str>,
    /// Whose certificate was verified; `None`: nobody's, or that is not told.
    pub peer: Option<&'a Identity>,
    /// Whether the connection goes on with an earlier session: its certificate
    /// was presented then.
    pub resumed: bool,
}

/// The client came over TLS.
const CLIENT_SSL: u8 = 0x01;
/// It has presented a certificate on this connection.
const CLIENT_CERT_CONN: u8 = 0x02;
/// It has presented one in the session that this connection is a part of.
const CLIENT_CERT_SESS: u8 = 0x04;
/// Version 2, a connection that is passed on.
const V2_PROXY: u8 = 0x21;
/// Version 2, a connection of the sender's own.
const V2_LOCAL: u8 = 0x20;

/// Writes a header of version 1.
pub fn v1(told: &Told<'_>) -> Vec<u8> {
    let line = match ends(told) {
        Some((source, to)) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, ports) = (source.ip(), (source.port(), to.port()));
            format!(
                "PROXY {family} {from} {} {} {}\r\n",
                to.ip(),
                ports.0,
                ports.1
            )
        }
        None => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}

/// Writes a header of version 2, and tells whether it says all that is to be
/// told: a certificate that does not fit into it is left out.
pub fn v2(told: &Told<'_>) -> (Vec<u8>, bool) {
    let with = binary(told, true);
    match with {
        Some(header) => (header, true),
        // The other values are bounded, and far from it.
        None => (
            binary(told, false).unwrap_or_else(|| local(Version::V2)),
            false,
        ),
    }
}

/// Writes a header that announces a connection of countersign's own.
pub fn local(version: Version) -> Vec<u8> {
    if version == Version::V1 {
        return v1(&Told::default());
    }
    let mut header = Vec::with_capacity(FIXED);
    header.extend_from_slice(SIGNATURE);
    header.extend_from_slice(&[V2_LOCAL, 0, 0, 0]);
    header
}

/// Both ends, of one family; `None`: the client's is not known.
fn ends(told: &Told<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let source = canonical(told.source?);
    let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let destination = told.destination.map_or(unknown, canonical);
    if source.is_ipv4() == destination.is_ipv4() {
        return Some((source, destination));
    }
    let wide = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    Some((wide(source), wide(destination)))
}

/// `None`: it would be longer than its own length can say.
fn binary(told: &Told<'_>, with_certificate: bool) -> Option<Vec<u8>> {
    let mut header = Vec::with_capacity(256);
    header.extend_from_slice(SIGNATURE);
    header.push(V2_PROXY);
    // The length is not known yet.
    match ends(told) {
        Some((source, destination)) => {
            header.extend_from_slice(&[if source.is_ipv4() { 0x11 } else { 0x21 }, 0, 0]);
            for end in [source, destination] {
                match end.ip() {
                    IpAddr::V4(ip) => header.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => header.extend_from_slice(&ip.octets()),
                }
            }
            header.extend_from_slice(&source.port().to_be_bytes());
            header.extend_from_slice(&destination.port().to_be_bytes());
        }
        None => header.extend_from_slice(&[0, 0, 0]),
    }
    if let Some(tls) = &told.tls {
        push_tls(&mut header, tls, with_certificate)?;
    }
    push(&mut header, tlv::CRC32C, &[0; 4])?;
    let length = u16::try_from(header.len().checked_sub(FIXED)?).ok()?;
    header
        .get_mut(FIXED - 2..FIXED)?
        .copy_from_slice(&length.to_be_bytes());
    let sum = crc32c(header.iter().copied()).to_be_bytes();
    header.last_chunk_mut::<4>()?.copy_from_slice(&sum);
    Some(header)
}

fn push_tls(out: &mut Vec<u8>, tls: &TlsFacts<'_>, with_certificate: bool) -> Option<()> {
    if let Some(protocol) = tls.protocol {
        push(out, tlv::ALPN, protocol.as_bytes())?;
    }
    if let Some(name) = tls.server_name {
        push(out, tlv::AUTHORITY, name.as_bytes())?;
    }
    let (client, verify) = match tls.peer {
        Some(_) if tls.resumed => (CLIENT_SSL | CLIENT_CERT_SESS, 0u32),
        Some(_) => (CLIENT_SSL | CLIENT_CERT_CONN | CLIENT_CERT_SESS, 0),
        // Zero says that a certificate was presented and verified.
        None => (CLIENT_SSL, 1),
    };
    let mut ssl = vec![client];
    ssl.extend_from_slice(&verify.to_be_bytes());
    push(&mut ssl, tlv::SSL_VERSION, tls.version.as_bytes())?;
    push(&mut ssl, tlv::SSL_CIPHER, tls.cipher.as_bytes())?;
    if let Some(peer) = tls.peer {
        if let Some(name) = peer.names().subject().and_then(common_name) {
            push(&mut ssl, tlv::SSL_CN, name.as_bytes())?;
        }
        let leaf = peer.chain().and_then(|chain| chain.first());
        if let Some(leaf) = leaf.filter(|_| with_certificate) {
            push(&mut ssl, tlv::SSL_CLIENT_CERT, leaf)?;
        }
    }
    push(out, tlv::SSL, &ssl)
}

fn push(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Option<()> {
    let length = u16::try_from(value.len()).ok()?;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Some(())
}

/// The first common name of a subject, in the order of the certificate, as the
/// text that it is. One with a control character is left out: who reads it may
/// end at a NUL.
fn common_name(subject: &str) -> Option<String> {
    let attributes = parse(subject)?.into_iter().rev().flatten();
    let mut names = attributes.filter(|attribute| attribute.kind == "CN");
    match names.next()?.value {
        Value::Text(text) if !text.chars().any(char::is_control) => Some(text),
        Value::Text(_) | Value::Der(_) => None,
    }
}
