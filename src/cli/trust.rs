//! `countersign trust preview`.

use std::path::Path;

use super::admin_client::{Target, get};
use super::admin_tls::Believed;
use super::{Exit, admin_target, complain, print, with_causes};
use crate::config::Config;
use crate::generation::prepare;

mod preview;
mod report;
mod running;

use preview::Preview;
use running::Running;

/// How the answer is printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Json,
    Text,
}

/// Loads a config and everything it names, and says who of the peers of a
/// running countersign would be refused by it, and what becomes of its bundles.
///
/// `admin`: where to ask instead of at the config's own admin address.
pub(super) fn preview(path: &Path, admin: Option<&str>, form: Form) -> Exit {
    let prepared = match prepare(path) {
        Ok(prepared) => prepared,
        Err(problems) => {
            complain(problems);
            return Exit::Usage;
        }
    };
    let loaded = prepared.loaded();
    let (trust, peers) = match targets(loaded.config(), admin) {
        Ok(targets) => targets,
        Err(cause) => {
            complain(cause);
            return Exit::Usage;
        }
    };
    let running = match ask(&trust, &peers) {
        Ok(running) => running,
        Err(cause) => {
            complain(format_args!(
                "{cause}\nthe files are in order, but whom they would refuse is not known"
            ));
            return Exit::Failure;
        }
    };
    let preview = Preview::of(running, loaded);
    let text = match form {
        Form::Json => report::json(&preview),
        Form::Text => report::text(path, &trust.address, &preview),
    };
    match print(text.as_bytes()) {
        Exit::Ok => outcome(&preview),
        failed => failed,
    }
}

/// Whoever cannot be judged might be refused: that is no good news either.
fn outcome(preview: &Preview) -> Exit {
    if !preview.refused.is_empty() {
        Exit::Refused
    } else if !preview.unjudged.is_empty() {
        Exit::Failure
    } else {
        Exit::Ok
    }
}

/// Where to ask for what is in force, and for who is known.
fn targets(config: &Config, admin: Option<&str>) -> Result<(Target, Target), String> {
    let trust = match admin {
        Some(address) => admin_target(address, TRUST)?.secured_as(config, Believed::Named),
        None => Target::of(config, TRUST, Believed::Named)
            .map_err(|cause| format!("{cause}, or say with --admin where to ask")),
    }?;
    let peers = Target {
        path: PEERS.to_owned(),
        ..trust.clone()
    };
    Ok((trust, peers))
}

fn ask(trust: &Target, peers: &Target) -> Result<Running, String> {
    let in_force = get(trust).map_err(|e| with_causes(&e))?;
    let known = get(peers).map_err(|e| with_causes(&e))?;
    Running::read(&in_force, &known).map_err(|cause| format!("{trust}: {cause}"))
}

const TRUST: &str = "/trust";
const PEERS: &str = "/trust/peers";
