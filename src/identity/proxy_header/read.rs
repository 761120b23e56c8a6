//! Reads a header, piece by piece.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{FIXED, SIGNATURE, crc32c, tlv};

/// What every header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// The shortest header of version 1, `PROXY UNKNOWN` and the end of the line.
const V1_SHORTEST: usize = 15;
/// The longest one, with the end of its line.
const V1_LONGEST: usize = 107;
/// The most that may follow the fixed part of version 2: addresses take up to
/// 216 bytes, and a certificate with its chain a few thousand.
const V2_LONGEST: usize = 16 * 1024;
/// The addresses of two unix sockets.
const UNIX: usize = 216;

/// What a header says of the connection behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Announced {
    /// It is the sender's own (`LOCAL`), such as a health check.
    Own,
    /// It is somebody's, from where is not said: `UNKNOWN`, an unspecified
    /// family, or a unix socket.
    Unknown,
    /// Its two ends; IPv4 addresses are never written as IPv6 addresses here.
    Ends {
        /// The client's.
        source: SocketAddr,
        /// The one that the client connected to.
        destination: SocketAddr,
    },
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// So many more bytes belong to the header for certain; at least one.
    More(usize),
    /// The bytes are the whole header.
    Whole(Announced),
}

/// Why something is no header, in words for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The checksum is another than the bytes have.
    #[error("its CRC32C is wrong")]
    Checksum,
    /// Neither `LOCAL` nor `PROXY`.
    #[error("its command {0} is none that there is")]
    Command(u8),
    /// A family and transport that there is not.
    #[error("its family and transport {0:#04x} are none that there are")]
    Family(u8),
    /// A line of version 1 that does not follow the grammar.
    #[error("its line is not `PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT` or `PROXY UNKNOWN`")]
    Line,
    /// A line of version 1 without an end.
    #[error("its line has no end within 107 bytes")]
    LineTooLong,
    /// Something else.
    #[error("there is none: the first bytes are those of something else")]
    Missing,
    /// Shorter than the addresses of its family.
    #[error("its length is less than its addresses take")]
    TooShort,
    /// Longer than anybody needs.
    #[error("its length is {0} bytes, and at most 16384 are read")]
    TooLong(u16),
    /// The values behind the addresses are cut short, or a checksum is no checksum.
    #[error("the values behind its addresses cannot be read")]
    Values,
    /// Another version than 2.
    #[error("its version {0} is none that there is")]
    Version(u8),
}

/// Whether these first bytes of a connection, five or more, begin a header.
pub fn begins_one(first: &[u8]) -> bool {
    let enough = first.len() >= V1.len().saturating_sub(1);
    enough && [V1, SIGNATURE].into_iter().any(|whole| agree(whole, first))
}

/// Reads the first bytes of a connection, none of which may stand behind the
/// header: so many as [`Step::More`] has asked for, or fewer.
///
/// # Errors
///
/// They begin no header, whatever follows.
pub fn read(bytes: &[u8]) -> Result<Step, Malformed> {
    if agree(V1, bytes) && agree(SIGNATURE, bytes) {
        // Not a byte yet: whichever it is has as many.
        return Ok(Step::More(V1_SHORTEST));
    }
    if agree(V1, bytes) {
        return read_line(bytes);
    }
    if agree(SIGNATURE, bytes) {
        return read_binary(bytes);
    }
    Err(Malformed::Missing)
}

/// Whether two texts are the same as far as both go.
fn agree(whole: &[u8], begun: &[u8]) -> bool {
    whole.iter().zip(begun).all(|(one, other)| one == other)
}

fn read_line(bytes: &[u8]) -> Result<Step, Malformed> {
    if let Some(line) = bytes.strip_suffix(b"\r\n") {
        let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
        return announced_in(line).map(Step::Whole).ok_or(Malformed::Line);
    }
    if bytes.contains(&b'\n') {
        return Err(Malformed::Line);
    }
    // Two bytes end the line, if it has not begun to end.
    let ending = if bytes.ends_with(b"\r") { 1 } else { 2 };
    let more = V1_SHORTEST.saturating_sub(bytes.len()).max(ending);
    if bytes.len().saturating_add(more) > V1_LONGEST {
        return Err(Malformed::LineTooLong);
    }
    Ok(Step::More(more))
}

fn announced_in(line: &str) -> Option<Announced> {
    let mut words = line.split(' ');
    words.next().filter(|word| *word == "PROXY")?;
    match words.next()? {
        // What else it says is to be ignored.
        "UNKNOWN" => Some(Announced::Unknown),
        "TCP4" => ends::<Ipv4Addr>(words),
        "TCP6" => ends::<Ipv6Addr>(words),
        _ => None,
    }
}

fn ends<'l, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'l str>,
) -> Option<Announced> {
    let source: A = words.next()?.parse().ok()?;
    let destination: A = words.next()?.parse().ok()?;
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    match words.next() {
        Some(_) => None,
        None => Some(Announced::between(
            (source.into(), from),
            (destination.into(), to),
        )),
    }
}

/// A port in decimal without a leading zero.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| is_plain)
}

impl Announced {
    fn between(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Self {
        let end = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
        Self::Ends {
            source: end(source),
            destination: end(destination),
        }
    }
}

fn read_binary(bytes: &[u8]) -> Result<Step, Malformed> {
    let Some(([.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Step::More(FIXED.saturating_sub(bytes.len())));
    };
    if command >> 4 != 2 {
        return Err(Malformed::Version(command >> 4));
    }
    let own = match command & 0x0f {
        0 => true,
        1 => false,
        other => return Err(Malformed::Command(other)),
    };
    let addresses = match family {
        // The family of a connection of its own is to be ignored.
        _ if own => 0,
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => UNIX,
        other => return Err(Malformed::Family(*other)),
    };
    let length = u16::from_be_bytes([*high, *low]);
    if usize::from(length) > V2_LONGEST {
        return Err(Malformed::TooLong(length));
    }
    if usize::from(length) < addresses {
        return Err(Malformed::TooShort);
    }
    if let Some(more @ 1..) = usize::from(length).checked_sub(rest.len()) {
        return Ok(Step::More(more));
    }
    if own {
        return Ok(Step::Whole(Announced::Own));
    }
    let (ends, values) = rest
        .split_at_checked(addresses)
        .ok_or(Malformed::TooShort)?;
    check_values(bytes, values)?;
    Ok(Step::Whole(binary_ends(ends)))
}

/// The ends of as many bytes as the addresses of a family take.
fn binary_ends(ends: &[u8]) -> Announced {
    if let Some((from, rest)) = ends.split_first_chunk::<4>()
        && let Some((to, ports)) = rest.split_first_chunk::<4>()
        && let [a, b, c, d] = *ports
    {
        let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        return Announced::between(((*from).into(), ports.0), ((*to).into(), ports.1));
    }
    if let Some((from, rest)) = ends.split_first_chunk::<16>()
        && let Some((to, ports)) = rest.split_first_chunk::<16>()
        && let [a, b, c, d] = *ports
    {
        let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        return Announced::between(((*from).into(), ports.0), ((*to).into(), ports.1));
    }
    Announced::Unknown
}

/// Sees that the values end where the header does, and that a checksum is right.
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), Malformed> {
    let mut checked = false;
    while let Some((kind, rest)) = values.split_first() {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::Values)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::Values)?;
        if *kind == tlv::CRC32C {
            let sum: [u8; 4] = value.try_into().map_err(|_| Malformed::Values)?;
            if checked {
                return Err(Malformed::Values);
            }
            checked = true;
            let end = header.len().saturating_sub(rest.len());
            let place = end.saturating_sub(sum.len())..end;
            // It is taken over the header with zeros in its own place.
            let zeroed = header.iter().enumerate();
            let zeroed = zeroed.map(|(at, byte)| if place.contains(&at) { 0 } else { *byte });
            if crc32c(zeroed) != u32::from_be_bytes(sum) {
                return Err(Malformed::Checksum);
            }
        }
        values = rest;
    }
    Ok(())
}
