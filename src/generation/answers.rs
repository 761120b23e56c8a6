//! What the admin address is told of generations.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::load::{Loaded, load};
use super::reload::{InForce, Request};
use super::status::Cause;
use crate::config::{Files, Reach};
use crate::process::Confined;
use crate::telemetry::admin::{AdminAnswer, AdminCommand, AdminRequest};
use crate::tls::{KnownPeer, Peers};
use crate::upstream::assertion::{self, Asserter};

/// Answers what the admin address asks.
pub(super) struct Answers {
    pub(super) path: PathBuf,
    pub(super) in_force: Rc<RefCell<InForce>>,
    pub(super) peers: Arc<Peers>,
    pub(super) requests: mpsc::Sender<Request>,
    /// To what the process has confined itself, if it has.
    pub(super) reach: Option<Arc<Reach>>,
    /// What it has given up.
    pub(super) confined: Arc<Confined>,
}

impl Answers {
    /// Goes on until nobody can ask any more.
    pub(super) async fn run(self, mut commands: mpsc::Receiver<AdminCommand>) {
        let answers = Rc::new(self);
        while let Some(command) = commands.recv().await {
            let AdminCommand {
                request,
                answer,
                place,
            } = command;
            let answers = Rc::clone(&answers);
            // One that waits for a reload does not hold up the others.
            tokio::task::spawn_local(async move {
                // Who asked may have gone.
                answer.send(answers.answer(request).await).ok();
                // Only now, though who asked may have gone long ago.
                drop(place);
            });
        }
    }

    async fn answer(&self, request: AdminRequest) -> AdminAnswer {
        match request {
            AdminRequest::Keys => {
                let loaded = Arc::clone(&self.in_force.borrow().loaded);
                let asserters = loaded.plans().iter().filter_map(|plan| plan.asserter());
                AdminAnswer {
                    status: StatusCode::OK,
                    json: assertion::key_set(asserters.map(Asserter::keys)),
                }
            }
            AdminRequest::Trust => {
                let in_force = self.in_force.borrow();
                let InForce { loaded, status, .. } = &*in_force;
                let mut answer = status.describe(loaded, &self.peers, SystemTime::now());
                if let Some(answer) = answer.as_object_mut() {
                    answer.insert("confinement".to_owned(), describe_confined(&self.confined));
                }
                answer_of(StatusCode::OK, &answer)
            }
            AdminRequest::Peers => {
                let peers: Vec<_> = self.peers.all().iter().map(|p| describe_peer(p)).collect();
                answer_of(StatusCode::OK, &json!({ "peers": peers }))
            }
            AdminRequest::Reload { accept_shrink } => self.reload(accept_shrink).await,
            AdminRequest::Preview => self.preview().await,
        }
    }

    async fn reload(&self, accepted: Vec<String>) -> AdminAnswer {
        let config = Arc::clone(self.in_force.borrow().loaded.config());
        let unknown = accepted.iter().find(|name| {
            let mut bundles = config.bundles().iter();
            !bundles.any(|bundle| bundle.name == **name)
        });
        if let Some(name) = unknown {
            let what = format!("there is no trust bundle of the name {name}");
            return answer_of(StatusCode::BAD_REQUEST, &json!({ "error": what }));
        }
        let (answer, outcome) = oneshot::channel();
        let request = Request::Confirm { accepted, answer };
        let asked = self.requests.send(request).await;
        let Some(outcome) = (match asked {
            Ok(()) => outcome.await.ok(),
            Err(_) => None,
        }) else {
            let what = "countersign is about to end";
            return answer_of(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": what }));
        };
        let status = match &outcome.refused {
            None => StatusCode::OK,
            Some(Cause::HeldBack(_)) => StatusCode::CONFLICT,
            Some(Cause::Problems(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let answer = self.in_force.borrow().status.of_outcome(&outcome);
        answer_of(status, &answer)
    }

    /// Whom of those that are known the files would refuse that are on disk now.
    async fn preview(&self) -> AdminAnswer {
        let former = Arc::clone(&self.in_force.borrow().loaded);
        let (path, peers) = (self.path.clone(), Arc::clone(&self.peers));
        let reach = self.reach.clone();
        let previewing = tokio::task::spawn_blocking(move || {
            let (_, loaded) = load(&path, Files::within(reach), (Some(&former), &[]));
            loaded.map(|loaded| preview(&loaded, &peers))
        });
        match previewing.await {
            Ok(Ok(answer)) => answer_of(StatusCode::OK, &answer),
            Ok(Err(problems)) => answer_of(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "problems": problems.each() }),
            ),
            Err(cause) => {
                let what = format!("loading broke off: {cause}");
                answer_of(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": what }))
            }
        }
    }
}

/// Each part of what the process has given up, in words.
fn describe_confined(confined: &Confined) -> Value {
    let parts = confined.parts().iter();
    let parts = parts.map(|part| (part.name.to_owned(), part.state.to_string().into()));
    Value::Object(parts.collect())
}

/// Judges everybody who is known by bundles that are not in force.
fn preview(loaded: &Loaded, peers: &Peers) -> Value {
    let mut refused = Vec::new();
    let all = peers.all();
    for peer in &all {
        let mut bundles = loaded.material().bundles.iter();
        let bundle = bundles.find(|bundle| bundle.name() == peer.bundle());
        let cause = match bundle.map(|bundle| peer.preview(bundle)) {
            Some(Ok(())) => continue,
            Some(Err(withdrawal)) => (withdrawal.reason.code(), withdrawal.cause),
            None => (
                "no_bundle",
                format!("there is no trust.{} any more", peer.bundle()),
            ),
        };
        let mut described = describe_peer(peer);
        if let Some(described) = described.as_object_mut() {
            described.insert("reason".to_owned(), cause.0.into());
            described.insert("cause".to_owned(), cause.1.into());
            described.remove("chain");
        }
        refused.push(described);
    }
    json!({ "judged": all.len(), "refused": refused })
}

fn describe_peer(peer: &KnownPeer) -> Value {
    let chain: Vec<_> = peer.chain().iter().map(|der| BASE64.encode(der)).collect();
    json!({
        "peer": peer.name(),
        "subject": peer.subject(),
        "fingerprint": peer.fingerprint().map(|fingerprint| fingerprint.to_string()),
        "bundle": peer.bundle(),
        "anchor": peer.anchor().to_string(),
        "connections": peer.connections(),
        "handshakes": peer.handshakes(),
        "last_seen_unix": peer.last_seen(),
        "chain": chain,
    })
}

fn answer_of(status: StatusCode, answer: &Value) -> AdminAnswer {
    AdminAnswer {
        status,
        json: answer.to_string(),
    }
}
