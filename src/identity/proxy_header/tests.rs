use proptest::prelude::*;

use std::net::SocketAddr;

use super::*;
use crate::identity::testing::TestLeaf;

/// Reads as a connection would: never more than is asked for, and never a byte
/// behind the header. Returns what was said, and how many bytes were taken.
fn read_off(mut bytes: &[u8]) -> Result<(Announced, usize), Malformed> {
    let mut taken = Vec::new();
    loop {
        match read(&taken)? {
            Step::Whole(announced) => return Ok((announced, taken.len())),
            Step::More(more) => {
                assert!(more > 0, "{taken:?}");
                let Some((now, rest)) = bytes.split_at_checked(more) else {
                    return Err(Malformed::Missing);
                };
                taken.extend_from_slice(now);
                bytes = rest;
            }
        }
    }
}

fn ends(source: &str, destination: &str) -> Announced {
    Announced::Ends {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
}

const ENDS4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x30, 0x39, 0x20, 0xfb];

#[test]
fn checksum_is_that_of_the_rfc() {
    assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
    assert_eq!(crc32c([0; 32]), 0x8a91_36aa);
}

#[test]
fn lines_are_read_to_their_end_and_no_further() {
    for (line, announced) in [
        (
            "PROXY TCP4 203.0.113.7 10.0.0.1 12345 8443\r\n",
            ends("203.0.113.7:12345", "10.0.0.1:8443"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            ends("0.0.0.0:0", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:db8::7 ::1 1 65535\r\n",
            ends("[2001:db8::7]:1", "[::1]:65535"),
        ),
        (
            "PROXY TCP6 ::ffff:203.0.113.7 ::ffff:10.0.0.1 1 2\r\n",
            ends("203.0.113.7:1", "10.0.0.1:2"),
        ),
        ("PROXY UNKNOWN\r\n", Announced::Unknown),
        (
            "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
            Announced::Unknown,
        ),
    ] {
        let connection = format!("{line}\x16\x03\x01 and more\r\n");
        assert_eq!(
            read_off(connection.as_bytes()),
            Ok((announced, line.len())),
            "{line:?}"
        );
    }
}

#[test]
fn lines_that_break_the_grammar_are_refused() {
    for line in [
        "PROXY TCP4 203.0.113.7 10.0.0.1 12345 8443\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 12345 8443 \r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 12345 8443 x\r\n",
        "PROXY TCP4  203.0.113.7 10.0.0.1 12345 8443\r\n",
        "PROXY  TCP4 203.0.113.7 10.0.0.1 12345 8443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 012345 8443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 056 8443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 +56 8443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 65536 8443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 -1 8443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 12345\r\n",
        "PROXY TCP4 203.0.113.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113 10.0.0.1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 10.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 10.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY tcp4 10.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n\r\n",
        "PROXY \r\n\r\n\r\n\r\n\r\n",
        "PROXY TCP4 203.0.113.7\t10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 1 2\0\r\n",
        "PROXY UNKNOWN a\nb\r\n",
    ] {
        assert_eq!(read_off(line.as_bytes()), Err(Malformed::Line), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    assert_eq!(read_off(endless.as_bytes()), Err(Malformed::LineTooLong));
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(read_off(longest.as_bytes()), Ok((Announced::Unknown, 107)));
}

#[test]
fn what_is_no_header_is_told_by_its_first_bytes() {
    for other in [
        "\x16\x03\x01",
        "GET / HTTP/1.1\r\n",
        "PROXYX",
        "POST",
        "proxy ",
        "\r\n\r\n\r\n",
        "\0",
    ] {
        assert_eq!(read(other.as_bytes()), Err(Malformed::Missing), "{other:?}");
    }
    assert!(begins_one(b"PROXY TCP4") && begins_one(b"\r\n\r\n\0\r\n"));
    assert!(!begins_one(b"POST /") && !begins_one(b"\r\n\r\n") && !begins_one(b"PRI * H"));
}

#[test]
fn binary_headers_are_read_to_their_end_and_no_further() {
    let mut ends6 = Vec::new();
    ends6.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    ends6.extend_from_slice(&[0; 15]);
    ends6.extend_from_slice(&[1, 0, 1, 0, 2]);
    let with_values = [ENDS4.as_slice(), &[4, 0, 3, 1, 2, 3, 0xea, 0, 0]].concat();
    let four = ends("203.0.113.7:12345", "10.0.0.1:8443");
    for (header, announced) in [
        (binary(0x21, 0x11, &ENDS4), four),
        (binary(0x21, 0x12, &ENDS4), four),
        (binary(0x21, 0x11, &with_values), four),
        (
            binary(0x21, 0x21, &ends6),
            ends("[2001:db8::7]:1", "[::1]:2"),
        ),
        (binary(0x21, 0x31, &[b'/'; 216]), Announced::Unknown),
        (binary(0x21, 0x00, &[]), Announced::Unknown),
        (binary(0x20, 0x00, &[]), Announced::Own),
        (binary(0x20, 0x11, &ENDS4), Announced::Own),
        (binary(0x20, 0xff, b"whatever"), Announced::Own),
    ] {
        let connection = [&header, b"\x16\x03\x01 and more".as_slice()].concat();
        assert_eq!(
            read_off(&connection),
            Ok((announced, header.len())),
            "{header:?}"
        );
    }
}

#[test]
fn binary_headers_that_break_the_rules_are_refused() {
    let with = |values: &[u8]| binary(0x21, 0x11, &[ENDS4.as_slice(), values].concat());
    for (header, why) in [
        (binary(0x11, 0x11, &ENDS4), Malformed::Version(1)),
        (binary(0x31, 0x11, &ENDS4), Malformed::Version(3)),
        (binary(0x22, 0x11, &ENDS4), Malformed::Command(2)),
        (binary(0x21, 0x13, &ENDS4), Malformed::Family(0x13)),
        (binary(0x21, 0x01, &ENDS4), Malformed::Family(0x01)),
        (binary(0x21, 0x41, &ENDS4), Malformed::Family(0x41)),
        (binary(0x21, 0x11, &[0; 11]), Malformed::TooShort),
        (binary(0x21, 0x21, &ENDS4), Malformed::TooShort),
        (binary(0x21, 0x31, &[0; 215]), Malformed::TooShort),
        (
            binary(0x21, 0x11, &[0; 16 * 1024 + 1]),
            Malformed::TooLong(16385),
        ),
        (with(&[4]), Malformed::Values),
        (with(&[4, 0]), Malformed::Values),
        (with(&[4, 0, 1]), Malformed::Values),
        (with(&[4, 0xff, 0xff, 0]), Malformed::Values),
        (with(&[3, 0, 3, 0, 0, 0]), Malformed::Values),
        (with(&[3, 0, 4, 0, 0, 0, 0]), Malformed::Checksum),
    ] {
        assert_eq!(read_off(&header), Err(why), "{header:?}");
    }
}

#[test]
fn checksum_is_demanded_to_be_right_wherever_it_stands_and_once() {
    let written = v2(&Told {
        source: Some("203.0.113.7:1".parse().unwrap()),
        ..Told::default()
    });
    let header = written.0;
    assert_eq!(read_off(&header).unwrap().1, header.len());
    // Behind the fixed part and the addresses stands the type of the checksum:
    // turned into another one, there is none.
    let kind = FIXED + 12;
    for at in (0..header.len()).filter(|at| *at != kind) {
        for bit in 0..8 {
            let mut damaged = header.clone();
            damaged[at] ^= 1 << bit;
            // Turned into a header of the sender's own, nothing of it counts.
            let kept = read_off(&damaged);
            assert!(
                kept.is_err() || kept == Ok((Announced::Own, header.len())),
                "{at} {bit}"
            );
        }
    }
    let mut twice = header.clone();
    twice.extend_from_slice(&[3, 0, 4, 0, 0, 0, 0]);
    twice[15] += 7;
    assert!(matches!(
        read_off(&twice),
        Err(Malformed::Checksum | Malformed::Values)
    ));
}

#[test]
fn addresses_of_two_families_are_told_as_one() {
    let told = |source: &str, destination: Option<&str>| Told {
        source: Some(source.parse().unwrap()),
        destination: destination.map(|end| end.parse().unwrap()),
        tls: None,
    };
    for (source, destination, line) in [
        (
            "1.2.3.4:5",
            Some("6.7.8.9:10"),
            "PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n",
        ),
        ("1.2.3.4:5", None, "PROXY TCP4 1.2.3.4 0.0.0.0 5 0\r\n"),
        (
            "[::ffff:1.2.3.4]:5",
            Some("[::ffff:6.7.8.9]:10"),
            "PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n",
        ),
        (
            "1.2.3.4:5",
            Some("[::1]:10"),
            "PROXY TCP6 ::ffff:1.2.3.4 ::1 5 10\r\n",
        ),
        ("[::1]:5", None, "PROXY TCP6 ::1 ::ffff:0.0.0.0 5 0\r\n"),
    ] {
        let line_written = String::from_utf8(v1(&told(source, destination))).unwrap();
        assert_eq!(line_written, line);
    }
    assert_eq!(v1(&Told::default()), b"PROXY UNKNOWN\r\n");
    assert_eq!(local(Version::V1), b"PROXY UNKNOWN\r\n");
    assert_eq!(read_off(&local(Version::V2)), Ok((Announced::Own, 16)));
}

#[test]
fn certificate_that_does_not_fit_is_left_out_and_told_to_be() {
    let small = TestLeaf::new().subject("Ann").dns("a.example").identity();
    let large = TestLeaf::new()
        .subject("Ann")
        .extension(&[1, 2, 3], &[0; 65_350])
        .identity();
    let tls = |peer| TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        protocol: Some("h2"),
        server_name: Some("a.example"),
        peer,
        resumed: false,
    };
    for (peer, fits) in [(&small, true), (&large, false)] {
        let told = Told {
            tls: Some(tls(Some(peer.identity()))),
            ..Told::default()
        };
        let (header, whole) = v2(&told);
        assert_eq!(whole, fits);
        let holds = |needle: &[u8]| header.windows(needle.len()).any(|window| window == needle);
        assert!(holds(b"\x22\0\x03Ann"));
        assert_eq!(holds(&peer.identity().chain().unwrap()[0]), fits);
    }
    let (header, _) = v2(&Told {
        tls: Some(tls(None)),
        ..Told::default()
    });
    assert!(!header.windows(3).any(|window| window == b"Ann"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_a_panic_and_within_bounds(bytes: Vec<u8>, v2: bool) {
        let begin: &[u8] = if v2 { SIGNATURE } else { b"PROXY " };
        let bytes = [begin, &bytes].concat();
        if let Ok((_, taken)) = read_off(&bytes) {
            prop_assert!(taken <= FIXED + 16 * 1024);
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was_told(v4: bool, from: [u16; 8], to: [u16; 8], ports: (u16, u16)) {
        let end = |ip: [u16; 8], port| if v4 {
            let [high, low] = [ip[0].to_be_bytes(), ip[1].to_be_bytes()];
            SocketAddr::from(([high[0], high[1], low[0], low[1]], port))
        } else {
            SocketAddr::from((ip, port))
        };
        let (source, destination) = (end(from, ports.0), end(to, ports.1));
        let told = Told { source: Some(source), destination: Some(destination), tls: None };
        for header in [v1(&told), v2(&told).0] {
            let (announced, taken) = read_off(&header).unwrap();
            prop_assert_eq!(taken, header.len());
            let Announced::Ends { source: read, destination: also } = announced else {
                panic!("{announced:?}");
            };
            prop_assert_eq!(read.ip(), source.ip().to_canonical());
            prop_assert_eq!((read.port(), also.port()), ports);
        }
    }
}
