//! One reading of a request: what could be read in two ways is refused with 400
//! and a closed connection, and nothing of it, nor of what comes behind it,
//! reaches the service. What is refused has its twin that is served.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::witness::{Seen, Witness};

/// What a smuggler would send behind the first request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n";

/// What goes wrong, and the bytes.
type Case = (&'static str, &'static str);

/// Each is refused, on a connection of its own: in one piece, and line by line.
async fn refuses(cases: &[Case]) {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    for (what, bytes) in cases {
        for by_line in [false, true] {
            let mut raw = client.raw(proxy.public()).await;
            if by_line {
                for piece in bytes.split_inclusive('\n') {
                    raw.write(piece).await;
                }
                raw.write(SMUGGLED).await;
            } else {
                raw.write(format!("{bytes}{SMUGGLED}")).await;
            }
            let answer = raw.read_response().await;
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            assert_eq!(raw.read_to_end().await, "", "{what}: the connection ends");
        }
    }
}

/// A proxy before a [`Witness`], and a client.
async fn witnessed(change: impl FnOnce(Setup) -> Setup) -> (Proxy, Client, Witness) {
    let (pki, witness) = (Pki::new(), Witness::start().await);
    let setup = Setup::to(&pki, witness.endpoint());
    let client = Client::new(&pki).presenting(&pki.client());
    (change(setup).start().await, client, witness)
}

/// Each is served as this line with this content, and so is the next request on
/// the connection.
async fn serves(cases: &[(Case, &str, &str)]) {
    let (proxy, client, witness) = witnessed(|setup| setup).await;
    for ((what, bytes), line, body) in cases {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(format!("{bytes}{SMUGGLED}")).await;
        for _ in 0..2 {
            let answer = raw.read_response().await;
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        }
        let Seen { whole, broken, .. } = witness.take();
        assert!(broken.is_empty(), "{what}: {broken:?}");
        assert_eq!(whole.len(), 2, "{what}");
        assert_eq!(whole[0].line, *line, "{what}");
        assert_eq!(String::from_utf8_lossy(&whole[0].body), *body, "{what}");
        assert_eq!(whole[1].line, "GET /smuggled", "{what}");
    }
}

const BAD_LENGTHS: &[Case] = &[
    (
        "a sign",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: +5\r\n\r\nhello",
    ),
    (
        "hexadecimal",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 0x5\r\n\r\nhello",
    ),
    (
        "two numbers",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5 5\r\n\r\nhello",
    ),
    (
        "a list",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5, 5\r\n\r\nhello",
    ),
    (
        "negative",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: -5\r\n\r\nhello",
    ),
    (
        "nothing",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: \r\n\r\nhello",
    ),
    (
        "a fraction",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5.0\r\n\r\nhello",
    ),
    (
        "20 digits",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "a negative number to many",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 9223372036854775813\r\n\r\nhello",
    ),
    (
        "two that are the same",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello",
    ),
    (
        "two that differ",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
    ),
    (
        "of a GET",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5x\r\n\r\nhello",
    ),
    (
        "other digits",
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: \u{665}\r\n\r\nhello",
    ),
];

const GOOD_LENGTHS: &[(Case, &str, &str)] = &[
    (
        (
            "one number",
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5\r\n\r\nhello",
        ),
        "POST /",
        "hello",
    ),
    (
        (
            "lower case, no space",
            "POST / HTTP/1.1\r\nhost:proxy.test\r\ncontent-length:5\r\n\r\nhello",
        ),
        "POST /",
        "hello",
    ),
    (
        (
            "white space about it",
            "POST / HTTP/1.1\r\nHOST: \t proxy.test \t\r\nCONTENT-LENGTH: \t5\t \r\n\r\nhello",
        ),
        "POST /",
        "hello",
    ),
    (
        (
            "leading zeros",
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 005\r\n\r\nhello",
        ),
        "POST /",
        "hello",
    ),
    (
        (
            "of a GET",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5\r\n\r\nhello",
        ),
        "GET /",
        "hello",
    ),
    (
        (
            "none",
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 0\r\n\r\n",
        ),
        "POST /",
        "",
    ),
];

#[tokio::test]
async fn length_that_is_not_one_number_is_refused() {
    refuses(BAD_LENGTHS).await;
    serves(GOOD_LENGTHS).await;
}

#[tokio::test]
async fn transfer_coding_other_than_a_single_chunked_is_refused() {
    refuses(&[
        ("beside a length", "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("before a length", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        ("twice", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("twice in one", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("gzip", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
        ("gzip before it", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("identity", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("nothing", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
        ("in another spelling", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("in quotes", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        ("with a parameter", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
        ("behind a vertical tab", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n"),
        ("before a form feed", "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\u{c}\r\n\r\n0\r\n\r\n"),
        ("in HTTP/1.0", "POST / HTTP/1.0\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("of a GET", "GET / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: identity\r\n\r\n"),
    ])
    .await;
    // It stands so far behind that nobody looks for it there.
    for coding in ["chunked", "gzip, chunked", "chunked, identity"] {
        let bytes = format!(
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked{},{coding}\r\n\r\n0\r\n\r\n",
            " ".repeat(1000)
        );
        refuses(&[("far behind another", bytes.leak())]).await;
    }
    let chunks = "5;a=b\r\nhello\r\n00\r\n\r\n";
    let cases = [
        format!(
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: proxy.test\r\ntransfer-encoding:\tCHUNKED \r\n\r\n{chunks}"
        ),
    ];
    let cases = cases.map(|bytes| -> &'static str { bytes.leak() });
    serves(&cases.map(|bytes| (("a single one", bytes), "POST /", "hello"))).await;
}

#[tokio::test]
async fn line_that_does_not_end_in_cr_lf_is_refused() {
    refuses(&[
        (
            "the request line",
            "GET / HTTP/1.1\nHost: proxy.test\r\n\r\n",
        ),
        (
            "a field",
            "GET / HTTP/1.1\r\nHost: proxy.test\nA: b\r\n\r\n",
        ),
        ("the last field", "GET / HTTP/1.1\r\nHost: proxy.test\n\r\n"),
        ("the empty line", "GET / HTTP/1.1\r\nHost: proxy.test\r\n\n"),
        ("all of them", "GET / HTTP/1.1\nHost: proxy.test\n\n"),
        (
            "an empty line before",
            "\nGET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        (
            "a CR in the request line",
            "GET /\r HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        (
            "a CR in a name",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nA\rB: c\r\n\r\n",
        ),
        (
            "a CR in a value",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nA: b\rc\r\n\r\n",
        ),
        (
            "a CR before the end",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nA: b\r\r\n\r\n",
        ),
        ("a CR alone", "GET / HTTP/1.1\rHost: proxy.test\r\r"),
    ])
    .await;
    serves(&[
        (
            (
                "empty lines before",
                "\r\n\r\nGET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
            ),
            "GET /",
            "",
        ),
        (
            (
                "an empty value",
                "GET / HTTP/1.1\r\nHost: proxy.test\r\nA:\r\nB: \r\n\r\n",
            ),
            "GET /",
            "",
        ),
    ])
    .await;
}

const BAD_FIELD_LINES: &[Case] = &[
    (
        "folded",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA: b\r\n c\r\n\r\n",
    ),
    (
        "folded with a tab",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA: b\r\n\tc\r\n\r\n",
    ),
    (
        "the first is folded",
        "GET / HTTP/1.1\r\n Host: proxy.test\r\n\r\n",
    ),
    (
        "folded to nothing",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA: b\r\n \r\n\r\n",
    ),
    (
        "a space before the colon",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA : b\r\n\r\n",
    ),
    (
        "a tab before the colon",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA\t: b\r\n\r\n",
    ),
    (
        "a space in a name",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA B: c\r\n\r\n",
    ),
    (
        "no colon",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA\r\n\r\n",
    ),
    (
        "no name",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\n: b\r\n\r\n",
    ),
    (
        "a bracket in a name",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nA[1]: b\r\n\r\n",
    ),
    (
        "other letters in a name",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\n\u{e4}: b\r\n\r\n",
    ),
];

const GOOD_FIELD_LINES: &[(Case, &str, &str)] = &[
    (
        (
            "every character of a token",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nA!#$%&'*+-.^_`|~9: b\r\n\r\n",
        ),
        "GET /",
        "",
    ),
    (
        (
            "other letters in a value",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nA: \u{e4}\tb c\r\n\r\n",
        ),
        "GET /",
        "",
    ),
];

#[tokio::test]
async fn field_line_that_is_none_is_refused() {
    refuses(BAD_FIELD_LINES).await;
    serves(GOOD_FIELD_LINES).await;
}

#[tokio::test]
async fn control_character_in_a_head_is_refused() {
    let places: [fn(char) -> String; 4] = [
        |c| format!("G{c}ET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
        |c| format!("GET /a{c}b HTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
        |c| format!("GET / HTTP/1.1\r\nHost: proxy.test\r\nA{c}B: c\r\n\r\n"),
        |c| format!("GET / HTTP/1.1\r\nHost: proxy.test\r\nA: b{c}c\r\n\r\n"),
    ];
    let bad = [
        '\0', '\u{1}', '\u{8}', '\u{b}', '\u{1b}', '\u{1f}', '\u{7f}',
    ];
    let cases = places
        .iter()
        .flat_map(|place| bad.map(|character| -> &'static str { place(character).leak() }));
    let cases: Vec<Case> = cases.map(|bytes| (bytes, bytes)).collect();
    refuses(&cases).await;
}

#[tokio::test]
async fn host_that_is_not_one_host_is_refused() {
    let hosts = [
        "",
        "user@proxy.test",
        "user:secret@proxy.test",
        "proxy.test/path",
        "proxy.test?query",
        "proxy.test#fragment",
        "proxy.test,other.test",
        "proxy.test other.test",
        "proxy.test\tother.test",
        "proxy.test:port",
        "proxy.test:99999",
        "proxy.test:+80",
        "proxy.test:80:80",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1%25eth0]",
        "[proxy.test]",
        "proxy%2etest",
        "%00.test",
        "proxy..test",
        ".proxy.test",
        "http://proxy.test",
        "proxy\\test",
        "\"proxy.test\"",
        "\u{e4}.test",
    ];
    let host =
        |host: &str| -> &'static str { format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").leak() };
    let mut cases: Vec<Case> = hosts.map(|text| (text, host(text))).to_vec();
    cases.extend([
        ("none", "GET / HTTP/1.1\r\n\r\n"),
        ("none in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        (
            "two",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nHost: other.test\r\n\r\n",
        ),
        (
            "the same twice",
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nhost: proxy.test\r\n\r\n",
        ),
    ]);
    refuses(&cases).await;
    let served = [
        "proxy.test",
        "PROXY.test",
        "proxy.test:8443",
        "proxy.test:",
        "proxy.test.",
    ];
    serves(&served.map(|text| ((text, host(text)), "GET /", ""))).await;
}

const BAD_TARGETS: &[Case] = &[
    (
        "another host",
        "GET https://other.test/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "another port",
        "GET https://proxy.test:1/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "another scheme",
        "GET http://proxy.test/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "no scheme of ours",
        "GET ftp://proxy.test/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "user information",
        "GET https://user@proxy.test/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "user information twice",
        "GET https://user@proxy.test/ HTTP/1.1\r\nHost: user@proxy.test\r\n\r\n",
    ),
    (
        "absolute without Host",
        "GET https://proxy.test/ HTTP/1.1\r\n\r\n",
    ),
    (
        "absolute with an empty Host",
        "GET https://proxy.test/ HTTP/1.1\r\nHost:\r\n\r\n",
    ),
    (
        "a fragment",
        "GET /a#b HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "an empty fragment",
        "GET /# HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "a fragment behind a query",
        "GET /a?b#c HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "a fragment of an absolute one",
        "GET https://proxy.test/#a HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "authority form",
        "GET proxy.test:443 HTTP/1.1\r\nHost: proxy.test:443\r\n\r\n",
    ),
    (
        "a name",
        "GET proxy.test HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "no slash",
        "GET index.html HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "a query alone",
        "GET ?a HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    ("an asterisk", "GET * HTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
    ("nothing", "GET  HTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
    (
        "two spaces before",
        "GET  / HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "two spaces behind",
        "GET /  HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    ("a tab", "GET\t/\tHTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
    (
        "a space in it",
        "GET /a b HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    (
        "a space before the method",
        " GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
    ("no method", "/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
    (
        "a method that is none",
        "GE(T) / HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ),
];

const GOOD_TARGETS: &[(Case, &str, &str)] = &[
    (
        (
            "absolute",
            "GET https://proxy.test/a?b HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        "GET /a?b",
        "",
    ),
    (
        (
            "absolute in upper case",
            "GET HTTPS://PROXY.test/a HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        "GET /a",
        "",
    ),
    (
        (
            "absolute without a path",
            "GET https://proxy.test HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        "GET /",
        "",
    ),
    (
        (
            "an encoded `#`",
            "GET /a?b=%23 HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        "GET /a?b=%23",
        "",
    ),
    (
        (
            "an asterisk",
            "OPTIONS * HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        ),
        "OPTIONS *",
        "",
    ),
];

#[tokio::test]
async fn target_that_is_none_or_contradicts_is_refused() {
    refuses(BAD_TARGETS).await;
    serves(GOOD_TARGETS).await;
}

#[tokio::test]
async fn version_other_than_1_0_and_1_1_is_refused() {
    refuses(&[
        ("0.9", "GET /\r\n"),
        ("0.9 with fields", "GET /\r\nHost: proxy.test\r\n\r\n"),
        ("1.2", "GET / HTTP/1.2\r\nHost: proxy.test\r\n\r\n"),
        ("2.0", "GET / HTTP/2.0\r\nHost: proxy.test\r\n\r\n"),
        ("2", "GET / HTTP/2\r\nHost: proxy.test\r\n\r\n"),
        ("01.1", "GET / HTTP/01.1\r\nHost: proxy.test\r\n\r\n"),
        ("1.10", "GET / HTTP/1.10\r\nHost: proxy.test\r\n\r\n"),
        ("lower case", "GET / http/1.1\r\nHost: proxy.test\r\n\r\n"),
        (
            "another protocol",
            "GET / ICAP/1.0\r\nHost: proxy.test\r\n\r\n",
        ),
        ("nearly a preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
    ])
    .await;
    // Who sends this speaks HTTP/2, and could not read an answer of HTTP/1.1.
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write(format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{SMUGGLED}"))
        .await;
    let answer = raw.read_to_end().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

const CHUNKED: &str =
    "POST /upload HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Bodies in chunks that break a rule somewhere.
fn broken_chunks() -> Vec<(&'static str, String)> {
    let rows = [
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("no number", "x\r\nhello\r\n0\r\n\r\n"),
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("white space before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("white space behind", "5 \r\nhello\r\n0\r\n\r\n"),
        (
            "a size of 17 digits",
            "00000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a size beyond all",
            "8000000000000000\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a size that comes round",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("LF behind a size", "5\nhello\r\n0\r\n\r\n"),
        ("CR behind a size", "5\rhello\r\n0\r\n\r\n"),
        ("LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("LF behind a chunk", "5\r\nhello\n0\r\n\r\n"),
        ("nothing behind a chunk", "5\r\nhello0\r\n\r\n"),
        ("longer than it says", "4\r\nhello\r\n0\r\n\r\n"),
        ("shorter than it says", "7\r\nhello\r\n0\r\n\r\n"),
        ("LF behind the last chunk", "5\r\nhello\r\n0\n\r\n"),
        ("LF at the end", "5\r\nhello\r\n0\r\n\n"),
        ("LF behind a trailer", "5\r\nhello\r\n0\r\nA: b\n\r\n\r\n"),
        ("a trailer that is none", "5\r\nhello\r\n0\r\nA b\r\n\r\n"),
        (
            "a space before the colon",
            "5\r\nhello\r\n0\r\nA : b\r\n\r\n",
        ),
        ("a folded trailer", "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n"),
        ("NUL in a trailer", "5\r\nhello\r\n0\r\nA: b\0\r\n\r\n"),
    ];
    let mut rows = rows.map(|(what, bytes)| (what, bytes.to_owned())).to_vec();
    let flood = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20 * 1024));
    rows.push(("an endless extension", flood));
    let many = "1;abcdefgh\r\nx\r\n".repeat(4096);
    rows.push(("extensions without end", format!("{many}0\r\n\r\n")));
    let long = format!("5\r\nhello\r\n0\r\nA: {}\r\n\r\n", "a".repeat(40 * 1024));
    rows.push(("a long trailer", long));
    let many = "A: b\r\n".repeat(200);
    rows.push(("many trailers", format!("5\r\nhello\r\n0\r\n{many}\r\n")));
    rows
}

#[tokio::test]
async fn broken_chunked_body_is_refused_whether_or_not_some_of_it_has_gone_up() {
    let (proxy, client, witness) = witnessed(|setup| setup).await;
    for (what, bytes) in broken_chunks() {
        for has_begun in [false, true] {
            let mut raw = client.raw(proxy.public()).await;
            raw.write(CHUNKED).await;
            if has_begun {
                raw.write("3\r\nabc\r\n").await;
                eventually("the request has begun", || {
                    (!witness.seen().begun.is_empty()).then_some(())
                })
                .await;
            }
            raw.write(format!("{bytes}{SMUGGLED}")).await;
            let answer = raw.read_response().await;
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            assert_eq!(raw.read_to_end().await, "", "{what}: the connection ends");
            let Seen {
                whole,
                begun,
                broken,
            } = witness.take();
            assert!(broken.is_empty(), "{what}: {broken:?}");
            assert!(whole.is_empty(), "{what}: taken for whole: {whole:?}");
            assert!(
                begun.iter().all(|line| line.contains("/upload")),
                "{what}: {begun:?}"
            );
        }
    }
}

#[tokio::test]
async fn line_of_a_body_that_broke_says_which_rule_it_breaks() {
    let (proxy, client, witness) = witnessed(|setup| setup).await;
    let mut raw = client.raw(proxy.public()).await;
    raw.write(CHUNKED).await;
    eventually("the request has begun", || {
        (!witness.seen().begun.is_empty()).then_some(())
    })
    .await;
    raw.write("4\r\nhello\r\n").await;
    assert_eq!(raw.read_response().await.status, 400);
    let line = proxy.access_line("/upload").await;
    assert_eq!(
        line["fault"], "downstream/request_body/body_broken",
        "{line}"
    );
    let cause = line["cause"].as_str().unwrap();
    assert!(
        cause.contains("a chunk that is longer than it says"),
        "{line}"
    );
}

#[tokio::test]
async fn body_that_ends_before_it_should_is_refused() {
    let (proxy, client, witness) = witnessed(|setup| setup).await;
    for bytes in [
        "POST /short HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 10\r\n\r\nhello",
        "POST /short HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
        "POST /short HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /short HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(bytes).await;
        raw.finish().await;
        let answer = raw.read_to_end().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{bytes:?}: {answer}"
        );
        let Seen { whole, broken, .. } = witness.take();
        assert!(
            broken.is_empty() && whole.is_empty(),
            "{bytes:?}: {whole:?} {broken:?}"
        );
    }
}

#[tokio::test]
async fn chunked_body_by_the_rules_goes_up_in_chunks_of_our_own() {
    let body = "5 ; name = \"a value\"\r\nhello\r\n0000000000000001;x\r\n!\r\n000;last\r\nX-Sum : no\r\n\r\n";
    let good = body.replace("X-Sum : no", "X-Sum: \t42 ");
    let (proxy, client, witness) = witnessed(|setup| setup).await;
    let head = CHUNKED.replace(
        "\r\n\r\n",
        "\r\nTrailer: X-Sum\r\nX-Odd:\t  spaced\tout \t\r\n\r\n",
    );
    for by_byte in [false, true] {
        let mut raw = client.raw(proxy.public()).await;
        let bytes = format!("{head}{good}{SMUGGLED}");
        if by_byte {
            for byte in bytes.bytes() {
                raw.write([byte]).await;
            }
        } else {
            raw.write(bytes).await;
        }
        for _ in 0..2 {
            assert_eq!(raw.read_response().await.status, 200);
        }
        let Seen { whole, broken, .. } = witness.take();
        assert!(broken.is_empty(), "{broken:?}");
        let [upload, next] = &whole[..] else {
            panic!("two requests: {whole:?}");
        };
        assert_eq!(upload.line, "POST /upload");
        assert_eq!(upload.body, b"hello!");
        assert_eq!(upload.values("transfer-encoding"), ["chunked"]);
        assert_eq!(upload.values("x-odd"), ["spaced\tout"]);
        let sum = ("x-sum".to_owned(), "42".to_owned());
        assert_eq!(upload.trailers, [sum]);
        assert_eq!(next.line, "GET /smuggled");
    }
    // The twin of the trailer.
    let mut raw = client.raw(proxy.public()).await;
    raw.write(format!("{head}{body}{SMUGGLED}")).await;
    assert_eq!(raw.read_response().await.status, 400);
}

#[tokio::test]
async fn requests_before_a_bad_one_are_served_and_none_behind_it() {
    let (proxy, client, witness) = witnessed(|setup| setup).await;
    let good = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\n\r\n");
    let posted = "POST /2 HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 3\r\n\r\nabc";
    let bad =
        "GET /3 HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";
    let mut raw = client.raw(proxy.public()).await;
    raw.write(format!("{}{posted}{bad}{SMUGGLED}", good("/1")))
        .await;
    for status in [200, 200, 400] {
        assert_eq!(raw.read_response().await.status, status);
    }
    assert_eq!(raw.read_to_end().await, "");
    let Seen { whole, begun, .. } = witness.take();
    let lines: Vec<_> = whole.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(lines, ["GET /1", "POST /2"]);
    assert_eq!(begun.len(), 2, "{begun:?}");
    let line = proxy.access_line("/3").await;
    assert_eq!(line["fault"], "downstream/request_head/malformed", "{line}");
}
