//! Every cell of the three layers: each mode of each, against services that
//! demand a certificate, ask for one or do not, that want a credential or do
//! not, for callers that are known or anonymous, with a credential or without.

use std::collections::HashMap;
use std::fmt::Write;

use http::Request;
use rustls::SignatureScheme;
use serde_json::Value;

use crate::support::body::Body;
use crate::support::client::{Client, get, with};
use crate::support::eventually;
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::{Received, Reply, Upstream};

const MODES: [&str; 3] = ["never", "supported", "required"];
const SERVICES: [&str; 3] = ["demanding", "asking", "silent"];
const CREDENTIAL: &str = "Bearer of-the-caller";
const XFCC: &str = "x-forwarded-client-cert";

/// Where it says so, the service wants a credential of whoever is calling.
fn answer(request: &Received) -> Reply {
    let wanting = request.path.contains("/wanting/");
    if wanting && request.header("authorization").is_none() {
        Reply::ok("who are you?").status(401)
    } else {
        Reply::ok("")
    }
}

async fn services(internal: &Authority) -> [Upstream; 3] {
    let leaf = internal.leaf().server().dns("orders.internal").issue();
    let new = || Upstream::build(answer).tls(&leaf);
    let schemes = vec![SignatureScheme::ECDSA_NISTP256_SHA256];
    [
        new().clients(internal).start().await,
        new().clients_signing(internal, schemes).start().await,
        new().start().await,
    ]
}

/// The modes of transport, message and attribute layer, in every combination.
fn combinations() -> impl Iterator<Item = [&'static str; 3]> {
    let two = MODES
        .into_iter()
        .flat_map(|first| MODES.map(|second| [first, second]));
    two.flat_map(|[first, second]| MODES.map(|third| [first, second, third]))
}

/// A route and an upstream for every three modes and each service.
fn every_combination(services: &[Upstream; 3]) -> String {
    let mut config = String::new();
    let all = SERVICES.iter().zip(services);
    let all = all.flat_map(|service| combinations().map(move |modes| (service, modes)));
    for ((kind, service), [transport, message, attribute]) in all {
        let (name, endpoint) = (
            format!("{kind}-{transport}-{message}-{attribute}"),
            service.endpoint(),
        );
        write!(
            config,
            "[[routes]]
            path = '/{name}/'
            upstream = '{name}'
            [upstreams.{name}]
            endpoints = ['{endpoint}']
            [upstreams.{name}.tls]
            trust = 'internal'
            server_name = 'orders.internal'
            certificate = {{ chain = 'own.pem', key = 'own.key' }}
            [upstreams.{name}.outbound]
            client_certificate_authentication = '{transport}'
            basic_authentication = '{message}'
            identity_assertion = '{attribute}'\n"
        )
        .unwrap();
    }
    config
}

/// One request, and what becomes of it.
struct Cell {
    service: usize,
    modes: [&'static str; 3],
    is_known: bool,
    has_credential: bool,
    wants_credential: bool,
}

impl Cell {
    fn all() -> impl Iterator<Item = Self> {
        let of_service = |service| combinations().map(move |modes| (service, modes));
        let modes = (0..SERVICES.len()).flat_map(of_service);
        modes.flat_map(|(service, modes)| {
            (0..8).map(move |bits| Self {
                service,
                modes,
                is_known: bits & 1 != 0,
                has_credential: bits & 2 != 0,
                wants_credential: bits & 4 != 0,
            })
        })
    }

    /// No two cells have the same.
    fn path(&self) -> String {
        let [transport, message, attribute] = self.modes;
        let kind = SERVICES[self.service];
        let word = |is_so, word, or| if is_so { word } else { or };
        let wish = word(self.wants_credential, "wanting", "content");
        let caller = word(self.is_known, "known", "anonymous");
        let credential = word(self.has_credential, "with", "without");
        format!("/{kind}-{transport}-{message}-{attribute}/{wish}/{caller}-{credential}")
    }

    /// Which layer that is required has nothing to say.
    fn refusal(&self) -> Option<&'static str> {
        let [_, message, attribute] = self.modes;
        if attribute == "required" && !self.is_known {
            Some("proxy/outbound/assertion_missing")
        } else if message == "required" && !self.has_credential {
            Some("proxy/outbound/credential_missing")
        } else {
            None
        }
    }

    fn connects(&self) -> bool {
        match SERVICES[self.service] {
            "demanding" => self.modes[0] != "never",
            "silent" => self.modes[0] != "required",
            _ => true,
        }
    }

    fn presents(&self) -> bool {
        SERVICES[self.service] != "silent" && self.modes[0] != "never"
    }

    fn sends_credential(&self) -> bool {
        self.has_credential && self.modes[1] != "never"
    }

    fn asserts(&self) -> bool {
        self.is_known && self.modes[2] != "never"
    }

    /// By which layer the service knows the caller: the highest that says anything.
    fn known_by(&self) -> &'static str {
        if self.refusal().is_some() {
            "none"
        } else if self.asserts() {
            "assertion"
        } else if self.sends_credential() {
            "credential"
        } else if self.modes[0] != "never" {
            "certificate"
        } else {
            "none"
        }
    }

    fn status(&self) -> u16 {
        match (self.refusal().is_some(), self.connects()) {
            (true, _) => 403,
            (false, false) => 502,
            (false, true) if self.wants_credential && !self.sends_credential() => 401,
            (false, true) => 200,
        }
    }

    fn request(&self) -> Request<Body> {
        let request = with(get(&self.path()), XFCC, "URI=spiffe://forged");
        if self.has_credential {
            with(request, "authorization", CREDENTIAL)
        } else {
            request
        }
    }

    fn is_told_by(&self, line: &Value) {
        assert_eq!(line["status"], self.status(), "{line}");
        assert_eq!(line["asserted"], self.known_by(), "{line}");
        if let Some(refusal) = self.refusal() {
            assert_eq!(line["fault"], refusal, "{line}");
        }
    }
}

#[tokio::test]
async fn every_mode_of_every_layer_does_what_its_cell_says() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let services = services(&internal).await;
    let own = internal.leaf().client().common_name("countersign").issue();
    let proxy = Setup::new(&pki, &services[0])
        .without("upstreams.orders")
        .without("routes")
        .file("internal.pem", &internal.pem())
        .certificate("own", &own)
        .with("trust.internal.ca = ['internal.pem']")
        .with("listeners.public.tls.client_auth = 'want'")
        .with(&every_combination(&services))
        .start()
        .await;
    let anonymous = Client::new(&pki);
    let known = anonymous.clone().presenting(&pki.client());
    let mut sessions = Vec::new();
    for client in [anonymous, known] {
        for client in client.in_both_protocols() {
            sessions.push(client.connect(proxy.public()).await.unwrap());
        }
    }

    for (number, cell) in Cell::all().enumerate() {
        let called = cell.path();
        // One way of being configured after the other comes over HTTP/2.
        let session = 2 * usize::from(cell.is_known) + number / 8 % 2;
        let service = &services[cell.service];
        let before = service.requests().len();
        let answer = sessions[session].send(cell.request()).await.unwrap();
        assert_eq!(answer.status.as_u16(), cell.status(), "{called}");

        let arrived = service.requests().split_off(before);
        let reaches = cell.refusal().is_none() && cell.connects();
        assert_eq!(arrived.len(), usize::from(reaches), "{called}");
        for request in arrived {
            let presented = cell.presents().then(|| own.chain()[0].clone());
            assert_eq!(request.certificate, presented, "{called}");
            let credential = cell.sends_credential().then_some(CREDENTIAL);
            assert_eq!(request.header("authorization"), credential, "{called}");
            let told = request.header(XFCC);
            assert_eq!(told.is_some(), cell.asserts(), "{called}: {told:?}");
            assert!(
                !told.is_some_and(|told| told.contains("forged")),
                "{called}"
            );
        }
    }

    let count = Cell::all().count();
    let lines = eventually("a line for each request", || {
        Some(proxy.access_log()).filter(|lines| lines.len() >= count)
    })
    .await;
    let told = lines.iter().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["path"].as_str().unwrap().to_owned(), line)
    });
    let told: HashMap<_, _> = told.collect();
    assert_eq!((lines.len(), told.len()), (count, count));
    for cell in Cell::all() {
        cell.is_told_by(&told[&cell.path()]);
    }
}
