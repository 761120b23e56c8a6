//! Whatever bytes come over a connection: the service sees well-formed requests
//! alone, each with who is calling, as countersign says it, and in no other form.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::client::Client;
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::witness::{Wire, Witness};

const SEED: u64 = 0x5EED_0F5A;
/// The most connections, and how long the test may go on beginning some.
const CONNECTIONS: u64 = 2000;
const TIME: Duration = Duration::from_secs(6);
/// How many connections are open at one time.
const AT_ONCE: usize = 4;

/// Numbers that are the same in every run (splitmix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Requests as they should be.
const GOOD: [&str; 6] = [
    "GET /a HTTP/1.1\r\nHost: proxy.test\r\nAccept: */*\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 11\r\n\r\nhello world",
    "POST /c HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
     5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
    "GET /d?e=f HTTP/1.0\r\nHost: proxy.test\r\n\r\n",
    "PUT https://proxy.test/g HTTP/1.1\r\nHost: proxy.test\r\nConnection: keep-alive, x-h\r\n\
     X-H: i\r\nContent-Length: 0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: proxy.test\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
];

/// What is put into them.
const BAD: [&str; 40] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    "\u{b}",
    "\u{7f}",
    "\u{e4}",
    "0",
    "5",
    "f",
    "-",
    "%00",
    "%2f",
    "../",
    "#",
    "?",
    "\r\n ",
    "\r\n\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "chunked",
    "\r\nHost: other.test",
    "\r\nContent-Length: 3",
    "\r\nContent-Length: 300",
    "\r\nTransfer-Encoding: chunked",
    "\r\nTransfer-Encoding: identity",
    "\r\nConnection: close",
    "\r\nX-Forwarded-Client-Cert: forged",
    "\r\nx_forwarded.client_cert: forged",
    "\r\nX-SSL-Client-S-DN: forged",
    "\r\nIv-User: forged",
    "\r\nSSL_CLIENT_CERT: forged",
    "\r\nConnection: x-forwarded-client-cert",
    "\r\nExpect: 100-continue",
    "\r\nUpgrade: websocket\r\nConnection: upgrade",
    "GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
];

/// Names, as servers fold them, in which who is calling is told.
const IDENTITY: [&str; 6] = [
    "x-forwarded-client-cert",
    "x-ssl-client-s-dn",
    "iv-user",
    "ssl-client-cert",
    "client-cert",
    "remote-user",
];

/// What comes over one connection, in pieces.
fn pieces(number: u64) -> Vec<Vec<u8>> {
    let mut choices = Choices(SEED.wrapping_add(number << 20));
    let mut bytes = Vec::new();
    for _ in 0..=choices.below(3) {
        bytes.extend_from_slice(choices.of(&GOOD).as_bytes());
    }
    for _ in 0..choices.below(5) {
        if bytes.is_empty() {
            break;
        }
        let at = choices.below(bytes.len());
        match choices.below(6) {
            0 => drop(bytes.remove(at)),
            1 => bytes[at] = u8::try_from(choices.below(256)).unwrap(),
            2 => bytes.truncate(at.max(1)),
            3 => {
                let end = at + choices.below(bytes.len() - at).min(40);
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let bad = choices.of(&BAD);
                let at = place(&bytes, bad, &mut choices).unwrap_or(at);
                drop(bytes.splice(at..at, bad.bytes()));
            }
        }
    }
    if choices.below(10) == 0 {
        bytes = (0..200)
            .map(|_| u8::try_from(choices.below(256)).unwrap())
            .collect();
    }
    let cut = choices.below(bytes.len());
    let rest = bytes.split_off(cut);
    vec![bytes, rest]
}

/// A field is mostly put where a line ends, since it would seldom be one elsewhere.
fn place(bytes: &[u8], bad: &str, choices: &mut Choices) -> Option<usize> {
    if !bad.starts_with("\r\n") || !bad.contains(':') || choices.below(4) == 0 {
        return None;
    }
    let pairs = bytes.windows(2).enumerate();
    let ends: Vec<_> = pairs.filter(|(_, pair)| *pair == b"\r\n").collect();
    (!ends.is_empty()).then(|| ends[choices.below(ends.len())].0)
}

/// Sees that a request says who is calling in the one form that is meant.
fn check(request: &Wire, expected: &str, number: u64) {
    let fields = request.fields.iter().chain(&request.trailers);
    for (name, _) in fields.clone() {
        let folded: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let is_ours = name == "x-forwarded-client-cert";
        assert!(
            is_ours || !IDENTITY.contains(&folded.as_str()),
            "{number}: {request:?}"
        );
    }
    let said = request.values("x-forwarded-client-cert");
    assert_eq!(said, [expected], "{number}: {request:?}");
    let mut trailers = request.trailers.iter();
    assert!(
        trailers.all(|(name, _)| name != "x-forwarded-client-cert"),
        "{number}: {request:?}"
    );
}

#[tokio::test]
async fn service_sees_well_formed_requests_with_our_identity_alone_whatever_bytes_come() {
    let (pki, witness) = (Pki::new(), Witness::start().await);
    let proxy = Setup::to(&pki, witness.endpoint()).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let to = proxy.public();
    client.get(to, "/").await.unwrap();
    let mut first = witness.take().whole;
    let expected = first.remove(0).values("x-forwarded-client-cert")[0].to_owned();
    let (begun, mut whole, mut unserved) = (Instant::now(), 0, 0);
    let mut numbers = 0..CONNECTIONS;
    while begun.elapsed() < TIME {
        let some: Vec<_> = numbers.by_ref().take(AT_ONCE).collect();
        let Some(number) = some.first().copied() else {
            break;
        };
        let mut open = JoinSet::new();
        for number in some {
            let client = client.clone();
            open.spawn(async move {
                let mut raw = client.raw(to).await;
                for piece in pieces(number) {
                    raw.write(piece).await;
                }
                raw.finish().await;
                raw.read_to_end().await
            });
        }
        for answer in open.join_all().await {
            unserved += usize::from(!answer.contains(" 200 "));
        }
        let seen = witness.take();
        assert!(seen.broken.is_empty(), "from {number}: {:?}", seen.broken);
        whole += seen.whole.len();
        for request in &seen.whole {
            check(request, &expected, number);
        }
    }
    println!("{whole} requests, {unserved} connections without one, next {numbers:?}");
    assert!(whole > 20 && unserved > 20, "{whole} and {unserved}");
}
