//! What the status page is told of the generation in force.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::load::{LAST_PART, Loaded, Warning};
use super::reload::InForce;
use super::status::{Cause, Failure, Status};
use crate::config::{ClientAuth, Config, Listener, ListenerTls, Protocol};
use crate::listener::Address;
use crate::telemetry::events;
use crate::telemetry::metrics::Uses;
use crate::telemetry::page::{
    End, EndKind, EndpointFacts, Facts, FailureFacts, GenerationFacts, LeftAloneFacts,
    ListenerFacts, Overview, PeerFacts, Program, UpstreamFacts, Warned,
};
use crate::tls::{Bundle, Expiry, KnownPeer, Peers, describe, unix_now};
use crate::upstream::Plan;

/// Tells of the generation in force, whichever that is.
#[derive(Debug)]
pub(super) struct InForceProgram {
    pub(super) in_force: Rc<RefCell<InForce>>,
    pub(super) peers: Arc<Peers>,
}

impl Program for InForceProgram {
    fn overview(&self) -> Overview {
        let in_force = self.in_force.borrow();
        let InForce {
            loaded,
            status,
            addresses,
        } = &*in_force;
        let config = loaded.config();
        let known = self.peers.all();
        let connected: Vec<_> = known.iter().filter(|peer| peer.connections() > 0).collect();
        Overview {
            generation: generation(status),
            warnings: loaded.warnings().into_iter().map(warned).collect(),
            listeners: config
                .listeners()
                .iter()
                .enumerate()
                .map(|(at, one)| listener((one, addresses.get(at)), config))
                .collect(),
            ends: ends(loaded),
            upstreams: loaded.plans().iter().map(|plan| upstream(plan)).collect(),
            peers: busiest(&connected),
            peers_connected: connected.len(),
            peers_known: known.len(),
            sections: vec![configuration(config)],
        }
    }
}

fn generation(status: &Status) -> GenerationFacts {
    GenerationFacts {
        number: status.generation,
        published: status.published,
        last_success: status.last_success,
        last_failure: status.last_failure.as_ref().map(failure),
        failing: status.failing,
    }
}

fn failure(failure: &Failure) -> FailureFacts {
    let (problems, held_back) = match &failure.cause {
        Cause::Problems(problems) => (problems.clone(), Vec::new()),
        Cause::HeldBack(all) => {
            let told = all.iter().map(|one| (one.bundle.clone(), one.loss.clone()));
            (Vec::new(), told.collect())
        }
    };
    FailureFacts {
        since: failure.since,
        last: failure.last,
        problems,
        held_back,
    }
}

fn warned(warning: Warning) -> Warned {
    let is_over = warning.event == events::CRL_STALE
        || warning.event == events::CERTIFICATE_EXPIRING && warning.text.contains(" expired ");
    Warned {
        is_bad: is_over,
        text: warning.text,
    }
}

fn listener((listener, at): (&Listener, Option<&Address>), config: &Config) -> ListenerFacts {
    let bind = &listener.bind.value;
    let demands = match (&listener.tls, &listener.redirect) {
        (Some(tls), _) => demands(tls, config),
        (None, Some(_)) => "plaintext, led to https".to_owned(),
        (None, None) => "plaintext".to_owned(),
    };
    ListenerFacts {
        name: listener.name.clone(),
        // The config may leave the port to the system, and all of it to systemd.
        address: at.map_or_else(|| bind.to_string(), Address::to_string),
        demands,
    }
}

/// What a listener demands, in words.
fn demands(tls: &ListenerTls, config: &Config) -> String {
    let bundle = tls.trust.and_then(|id| config.bundles().get(id.0));
    let bundle = bundle.map_or("", |bundle| &bundle.name);
    let mut words = match tls.client_auth {
        ClientAuth::None => "no certificate".to_owned(),
        ClientAuth::Want => format!("certificate wanted ({bundle})"),
        ClientAuth::Require => format!("certificate required ({bundle})"),
    };
    if !tls.names.is_empty() {
        words.push_str(", other for some names");
    }
    words
}

fn ends(loaded: &Loaded) -> Vec<End> {
    let material = loaded.material();
    let own = material.expiries.iter().filter(|one| one.kind == "own");
    let mut all: Vec<_> = own.map(own_certificate).collect();
    for bundle in &material.bundles {
        all.extend(of_bundle(bundle));
    }
    all
}

fn own_certificate(expiry: &Expiry) -> End {
    End {
        kind: EndKind::Own,
        of: expiry.name.clone(),
        name: expiry.subject.clone(),
        at: Some(expiry.not_after),
        soon: expiry.warning().is_some(),
        note: String::new(),
    }
}

fn of_bundle(bundle: &Bundle) -> impl Iterator<Item = End> {
    let name = bundle.name();
    let anchors = bundle.anchors().iter().map(move |anchor| End {
        kind: EndKind::Anchor,
        of: name.to_owned(),
        name: anchor.subject.clone(),
        at: Some(anchor.not_after),
        soon: Expiry::is_near(anchor.not_after),
        note: used(&*anchor.in_use),
    });
    let lists = bundle.revocation_lists().map(move |list| {
        let lifetime = list.next_update.saturating_sub(list.this_update);
        End {
            kind: EndKind::List,
            of: name.to_owned(),
            soon: list.next_update.saturating_sub(unix_now()) < lifetime / LAST_PART,
            note: format!("{} revoked", list.entries),
            name: list.issuer,
            at: Some(list.next_update),
        }
    });
    anchors.chain(lists)
}

/// How much an anchor is used.
fn used(uses: &dyn Uses) -> String {
    match uses.last_handshake() {
        None => "not used since the start".to_owned(),
        Some(last) => {
            let past = describe(unix_now().saturating_sub(last).max(0));
            let plural = if uses.handshakes() == 1 { "" } else { "s" };
            format!(
                "{} handshake{plural}, the last {past} ago",
                uses.handshakes()
            )
        }
    }
}

fn upstream(plan: &Plan) -> UpstreamFacts {
    let all = plan.endpoint_health().zip(plan.endpoint_troubles());
    let endpoints = all.map(|(known, (unwell, left_alone))| EndpointFacts {
        well: known.is_probed.then(|| known.health.is_well()),
        name: known.endpoint,
        unwell,
        left_alone: left_alone.map(|left_alone| LeftAloneFacts {
            workers: left_alone.workers,
            remaining: left_alone.remaining,
            cause: left_alone.cause,
        }),
    });
    UpstreamFacts {
        name: plan.name().to_owned(),
        protocol: match plan.protocol() {
            Protocol::Http2 => "HTTP/2",
            Protocol::Http1 => "HTTP/1.1",
        },
        endpoints: endpoints.collect(),
    }
}

/// Those who asked for most.
fn busiest(connected: &[&Arc<KnownPeer>]) -> Vec<PeerFacts> {
    let counted = connected.iter().map(|peer| (peer.requests(), *peer));
    let mut counted: Vec<_> = counted.collect();
    counted.sort_by_key(|(requests, _)| std::cmp::Reverse(*requests));
    counted.truncate(Overview::MOST_PEERS);
    let facts = counted.into_iter().map(|(requests, peer)| PeerFacts {
        name: peer.name().to_owned(),
        subject: peer.subject().to_owned(),
        bundle: peer.bundle().to_owned(),
        anchor: peer.anchor_name().subject.clone(),
        connections: peer.connections(),
        since: peer.since(),
        requests,
    });
    facts.collect()
}

fn configuration(config: &Config) -> Facts {
    let line = |name: &str, value: String| (name.to_owned(), value);
    Facts {
        title: "Configuration".to_owned(),
        lines: vec![
            line("File", config.path().display().to_string()),
            line("Workers", config.server().workers.to_string()),
            line("Trust bundles", config.bundles().len().to_string()),
            line("Routes", config.routes().len().to_string()),
        ],
    }
}
