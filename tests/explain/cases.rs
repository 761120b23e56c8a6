//! Clients and requests of many kinds, the same in every run.

use http::Method;

use crate::support::pki::PROXY_NAME;

const SEED: u64 = 0x00C0_FFEE;

/// Some are met more often than others.
const NAMES: [&str; 16] = [
    "public", "public", "public", "listed", "listed", "wanting", "wanting", "stale", "open",
    "named", "named", "strict", "telling", "lenient", "lenient", "vouched",
];

/// Where, among those who may call, the one is who speaks for others.
const EDGE: usize = 2;

/// Numbers that are the same in every run (splitmix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.next() % all.len() as u64).unwrap()]
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}

/// One client and one request.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) listener: &'static str,
    pub(super) certificate: Option<usize>,
    /// `None`: no SNI.
    pub(super) sni: Option<&'static str>,
    pub(super) host: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) fields: Vec<Field>,
    pub(super) http2: bool,
    pub(super) tls12: bool,
}

impl Case {
    /// The case with this number, of a caller who is one of so many.
    pub(super) fn generate(number: u64, leaves: usize) -> Self {
        let mut choices = Choices(SEED.wrapping_add(number << 20));
        let listener = if choices.once_in(12) {
            "plain"
        } else {
            choices.of(&NAMES)
        };
        let http2 = choices.once_in(2);
        let certificate = (!choices.once_in(7)).then(|| {
            // Those who are in order meet more rules than the others.
            let most = if choices.once_in(3) { leaves as u64 } else { 7 };
            usize::try_from(choices.next() % most).unwrap()
        });
        // Few others say for whom they speak.
        let speaks = certificate == Some(EDGE) && choices.once_in(2);
        let listener = if speaks { "wanting" } else { listener };
        // Whoever gets another certificate than that which was asked for goes away.
        let sni = sni(&mut choices);
        let sni = sni.filter(|name| listener != "strict" || *name != "unknown.test");
        let host = match choices.next() % 10 {
            0 => choices.of(&ODD_HOSTS),
            _ => sni.unwrap_or(PROXY_NAME),
        };
        let method = match choices.next() % 20 {
            0 => Method::TRACE,
            1 | 2 => Method::DELETE,
            3 | 4 => Method::HEAD,
            _ => Method::GET,
        };
        let path = match choices.next() % 5 {
            0 => choices.of(&ODD_PATHS),
            _ => choices.of(&PATHS),
        };
        Self {
            listener,
            certificate,
            sni,
            host,
            method,
            path: format!("{path}?case={number}"),
            fields: fields(&mut choices, (speaks, http2)),
            http2,
            tls12: choices.once_in(3),
        }
    }
}

fn sni(choices: &mut Choices) -> Option<&'static str> {
    match choices.next() % 16 {
        0 => None,
        1 | 2 => Some("one.apps.test"),
        3 => Some("unknown.test"),
        _ => Some(PROXY_NAME),
    }
}

fn fields(choices: &mut Choices, (speaks, http2): (bool, bool)) -> Vec<Field> {
    let mut fields = Vec::new();
    for (times, field) in FIELDS {
        if choices.once_in(times) {
            fields.push(field);
        }
    }
    if speaks && choices.once_in(2) {
        fields.push((XFCC, "nonsense"));
    }
    if !http2 && choices.once_in(5) {
        fields.push(("connection", "cookie, x-forwarded-client-cert"));
    }
    fields
}

type Field = (&'static str, &'static str);

const XFCC: &str = "x-forwarded-client-cert";

/// Fields of requests, each once in so many.
const FIELDS: [(u64, Field); 8] = [
    (3, ("authorization", "Bearer of-the-caller")),
    (3, (XFCC, "URI=spiffe://prod.example/billing")),
    (3, (XFCC, "nonsense")),
    (4, ("x-forwarded-for", "203.0.113.7")),
    (4, ("X-SSL-Client-S-DN", "CN=forged")),
    (5, ("cookie", "a=b")),
    (5, ("te", "trailers")),
    (6, ("x_team", "red")),
];

const ODD_HOSTS: [&str; 7] = [
    "ONE.Apps.test:443",
    "unknown.test",
    "127.0.0.1:8443",
    "a.b.apps.test",
    "proxy.test.",
    "a..b",
    "proxy.test:99999",
];

const PATHS: [&str; 15] = [
    "/billing/1",
    "/team/a",
    "/team",
    "/told/x",
    "/credential/x",
    "/each/x",
    "/old",
    "/mutual",
    "/mutual/x",
    "/billing/2/3",
    "/moved/x",
    "/moved/y/moved/",
    "/below/x",
    "/anybody/x",
    "/anybody",
];

const ODD_PATHS: [&str; 13] = [
    "/billing",
    "/keys.json",
    "/keys.json",
    "/other",
    "/%62illing/1",
    "/team//a",
    "/x/%2e%2e/team/%61",
    "/team/../billing/1",
    "/team/a;x=y",
    "/billing%2f1",
    "/teams",
    "/moved//x",
    "/",
];
