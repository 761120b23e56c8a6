//! Which policy a ClientHello comes under, however it is written: by hand, byte
//! for byte. In TLS 1.2 the answer says in the clear what is demanded.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::names::{NAMES, Scene};
use crate::support::proxy::Proxy;
use crate::support::within;

const UNRECOGNISED_NAME: u8 = 112;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;

/// What a server makes of a ClientHello.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Demand {
    /// A certificate of the staff's authority.
    Staff,
    /// One of the partners' authority.
    Partners,
    Nothing,
    Refused(u8),
}

use Demand::{Nothing, Partners, Refused, Staff};

/// The content of a server_name extension with these entries: type and name.
fn server_names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = entries
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &prefixed(name)].concat())
        .collect();
    prefixed(&list)
}

fn sni(name: &str) -> Vec<u8> {
    extension(0, &server_names(&[(0, name.as_bytes())]))
}

/// With its length in two bytes in front.
fn prefixed(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(content)].concat()
}

/// A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2) with these extensions beside
/// those that it needs: a handshake message.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let needed = [
        extension(10, &prefixed(&[0x00, 0x1d, 0x00, 0x17])),
        extension(11, &[1, 0]),
        extension(
            13,
            &prefixed(&[0x04, 0x03, 0x05, 0x03, 0x08, 0x04, 0x08, 0x07]),
        ),
        extension(23, &[]),
        extension(0xff01, &[0]),
    ];
    let suites = [0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30];
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &prefixed(&suites),
        &[1, 0],
        &prefixed(&[extensions.concat(), needed.concat()].concat()),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A handshake message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part| [&[0x16, 3, 1][..], &prefixed(part)].concat();
    message.chunks(size).flat_map(record).collect()
}

/// Sends `bytes` in pieces of this size, each in a segment of its own where the
/// system lets it, and reads what is demanded.
async fn demand(proxy: &Proxy, bytes: &[u8], piece: usize) -> Demand {
    let exchange = async {
        let mut stream = TcpStream::connect(proxy.public()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in bytes.chunks(piece) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut flight = Vec::new();
        loop {
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.unwrap();
            let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            stream.read_exact(&mut record).await.unwrap();
            match head[0] {
                0x15 => return Refused(record[1]),
                _ => flight.extend(record),
            }
            // ServerHelloDone has no content and ends the flight.
            if flight.ends_with(&[14, 0, 0, 0]) {
                return asked_for(&flight);
            }
        }
    };
    within("the server's first flight", exchange).await
}

/// Looks into the CertificateRequest of a flight, if there is one.
fn asked_for(mut flight: &[u8]) -> Demand {
    while let [kind, high, middle, low, rest @ ..] = flight {
        let length = usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).unwrap();
        let (message, after) = rest.split_at(length);
        flight = after;
        let names = |who: &[u8]| message.windows(who.len()).any(|part| part == who);
        match (
            *kind == 13,
            names(b"Partners"),
            names(b"Countersign Test Root"),
        ) {
            (false, ..) => {}
            (true, true, false) => return Partners,
            (true, false, true) => return Staff,
            (true, ..) => panic!("neither authority, or both: {message:?}"),
        }
    }
    Nothing
}

#[tokio::test]
async fn name_is_the_same_in_every_spelling_and_an_exact_one_beats_a_wildcard() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    for (name, demanded) in [
        ("staff.test", Staff),
        ("STAFF.test", Staff),
        ("staff.test.", Staff),
        ("partner.test", Partners),
        ("PARTNER.TEST", Partners),
        ("pArTnEr.tEsT.", Partners),
        ("open.test", Nothing),
        ("OPEN.TEST.", Nothing),
        ("any.wild.test", Staff),
        ("exact.wild.test", Partners),
        ("EXACT.Wild.test.", Partners),
        ("exact2.wild.test", Staff),
        ("deep.exact.wild.test", Refused(UNRECOGNISED_NAME)),
        ("wild.test", Refused(UNRECOGNISED_NAME)),
        ("unknown.test", Refused(UNRECOGNISED_NAME)),
        ("partner.test.unknown.test", Refused(UNRECOGNISED_NAME)),
        // As a certificate has it, but not as a name is asked for.
        ("*.wild.test", Refused(ILLEGAL_PARAMETER)),
        ("open.test..", Refused(ILLEGAL_PARAMETER)),
        (".open.test", Refused(ILLEGAL_PARAMETER)),
        ("open.test\0.partner.test", Refused(ILLEGAL_PARAMETER)),
        ("open.test:443", Refused(ILLEGAL_PARAMETER)),
        ("öpen.test", Refused(ILLEGAL_PARAMETER)),
    ] {
        let hello = records(&hello(&[sni(name)]), usize::MAX);
        assert_eq!(demand(&proxy, &hello, usize::MAX).await, demanded, "{name}");
    }
}

#[tokio::test]
async fn hello_in_pieces_comes_under_the_policy_of_its_whole_name() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    for (name, demanded) in [
        ("partner.test", Partners),
        ("open.test", Nothing),
        ("staff.test", Staff),
        ("unknown.test", Refused(UNRECOGNISED_NAME)),
    ] {
        let message = hello(&[sni(name)]);
        let within_the_name = message
            .windows(name.len())
            .position(|part| part == name.as_bytes());
        let within_the_name = within_the_name.unwrap() + name.len() / 2;
        for size in [1, 5, 64, within_the_name, usize::MAX] {
            let split = records(&message, size);
            for piece in [1, 6, within_the_name, usize::MAX] {
                let found = demand(&proxy, &split, piece).await;
                assert_eq!(found, demanded, "{name} in {size} and {piece}");
            }
        }
    }
}

#[tokio::test]
async fn hello_that_names_several_or_none_gets_no_policy_but_where_the_config_says_so() {
    let scene = Scene::new().await;
    let strictest = "
        listeners.public.tls.unknown_sni = 'strictest'
        listeners.public.tls.names.'open.test'.client_auth = 'none'";
    for (lines, without_name) in [(NAMES, Refused(UNRECOGNISED_NAME)), (strictest, Staff)] {
        let proxy = scene.setup().with(lines).start().await;
        let [open, staff]: [(u8, &[u8]); 2] = [(0, b"open.test"), (0, b"staff.test")];
        for (what, extensions, demanded) in [
            ("no extension", vec![], without_name),
            ("an address", vec![sni("127.0.0.1")], without_name),
            ("an address of version 6", vec![sni("::1")], without_name),
            (
                "two names",
                vec![extension(0, &server_names(&[open, staff]))],
                Refused(DECODE_ERROR),
            ),
            (
                "the same name twice",
                vec![extension(0, &server_names(&[open, open]))],
                Refused(DECODE_ERROR),
            ),
            (
                "two extensions",
                vec![sni("open.test"), sni("staff.test")],
                Refused(DECODE_ERROR),
            ),
            (
                "no name in the list",
                vec![extension(0, &server_names(&[]))],
                Refused(DECODE_ERROR),
            ),
            ("an empty name", vec![sni("")], Refused(DECODE_ERROR)),
            (
                "a name of another kind",
                vec![extension(0, &server_names(&[(1, b"open.test")]))],
                Refused(ILLEGAL_PARAMETER),
            ),
        ] {
            let hello = records(&hello(&extensions), usize::MAX);
            assert_eq!(demand(&proxy, &hello, usize::MAX).await, demanded, "{what}");
        }
    }
}

#[tokio::test]
async fn encrypted_hello_and_other_grease_say_nothing_of_the_name() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    // RFC 9849 §5: of the outer kind, a suite, a number, a key, and a content
    // that nobody can decrypt; here with another name in the clear.
    let content = [0, 0, 1, 0, 1, 9];
    let encrypted = [&content[..], &prefixed(&[5; 32]), &prefixed(b"open.test")].concat();
    for (name, demanded) in [("partner.test", Partners), ("open.test", Nothing)] {
        for order in [false, true] {
            let mut extensions = vec![
                extension(0x0a0a, b"open.test"),
                extension(0xfe0d, &encrypted),
                sni(name),
            ];
            if order {
                extensions.reverse();
            }
            let hello = records(&hello(&extensions), usize::MAX);
            assert_eq!(demand(&proxy, &hello, usize::MAX).await, demanded, "{name}");
        }
    }
}

/// A ClientHello of TLS 1.3 with these key shares (RFC 9846 §4.2.8).
fn hello_with_shares(name: &str, shares: &[u8]) -> Vec<u8> {
    let own = [
        sni(name),
        extension(43, &[2, 3, 4]),
        extension(51, &prefixed(shares)),
    ];
    records(&hello(&own), usize::MAX)
}

#[tokio::test]
async fn hello_that_is_asked_for_again_cannot_come_back_with_another_name() {
    let scene = Scene::new().await;
    let proxy = scene.setup().with(NAMES).start().await;
    let share = [&[0x00, 0x1d][..], &prefixed(&[9; 32])].concat();
    for (second, goes_on) in [("open.test", true), ("partner.test", false)] {
        let exchange = async {
            let mut stream = TcpStream::connect(proxy.public()).await.unwrap();
            let first = hello_with_shares("open.test", &[]);
            stream.write_all(&first).await.unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(head[0], 0x16, "HelloRetryRequest");
            let again = hello_with_shares(second, &share);
            stream.write_all(&again).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // However the server leaves, what it said before counts.
            stream.read_to_end(&mut answer).await.ok();
            answer
        };
        let answer = within("the server's answer", exchange).await;
        // Encrypted records follow on a ServerHello alone.
        let encrypted = answer.windows(3).any(|part| part == [0x17, 3, 3]);
        assert_eq!(encrypted, goes_on, "{second}: {answer:?}");
    }
}
