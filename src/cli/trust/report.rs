//! Prints a preview, for people and for programs.

use std::fmt::Display;
use std::path::Path;

use serde_json::{Value, json};

use super::preview::{BundleChange, Fate, NewAnchor, Preview, RefusedPeer};
use super::running::{List, RunningAnchor};
use crate::cli::count;
use crate::cli::terminal::shown;
use crate::generation::moment;
use crate::tls::{describe, unix_now};

/// The preview in lines: bundles, then peers, then the sum.
pub(super) fn text(path: &Path, asked: &impl Display, preview: &Preview) -> String {
    let mut lines = vec![format!(
        "{}: everything was loaded; compared with generation {} at {asked}",
        path.display(),
        preview.generation
    )];
    for bundle in &preview.bundles {
        let name = shown(&bundle.name);
        let what = of_bundle(bundle).into_iter();
        lines.extend(what.map(|what| format!("  trust {name}: {what}")));
    }
    lines.extend(preview.refused.iter().map(|peer| of_peer("refused", peer)));
    let unjudged = preview.unjudged.iter();
    lines.extend(unjudged.map(|peer| of_peer("cannot be judged", peer)));
    lines.push(sum(preview));
    lines.push(String::new());
    lines.join("\n")
}

/// The preview as one JSON document.
pub(super) fn json(preview: &Preview) -> String {
    let bundles: Vec<_> = preview.bundles.iter().map(bundle_to_json).collect();
    let peers = |peers: &[RefusedPeer]| -> Vec<_> { peers.iter().map(peer_to_json).collect() };
    let document = json!({
        "generation": preview.generation,
        "known": preview.known,
        "staying": preview.staying(),
        "refused": peers(&preview.refused),
        "refused_connected": preview.refused_now(),
        "unjudged": peers(&preview.unjudged),
        "bundles": bundles,
    });
    format!("{document}\n")
}

fn of_bundle(bundle: &BundleChange) -> Vec<String> {
    let mut lines = Vec::new();
    match bundle.fate {
        Fate::Gone => lines.push("is gone; whoever it vouched for would be refused".to_owned()),
        Fate::New => lines.push("is new".to_owned()),
        Fate::Stays => {}
    }
    lines.extend(bundle.anchors_added.iter().map(of_added));
    lines.extend(bundle.anchors_removed.iter().map(of_removed));
    let of_lists = |verb: &str, lists: &[List]| -> Vec<_> {
        lists.iter().map(|list| of_list(verb, list)).collect()
    };
    lines.extend(of_lists("adds", &bundle.lists_added));
    lines.extend(of_lists("removes", &bundle.lists_removed));
    if bundle.fate == Fate::Stays {
        lines.push(format!(
            "{} and {} stay",
            count(bundle.anchors_kept, "anchor"),
            count(bundle.lists_kept, "revocation list"),
        ));
    }
    if let Some(withheld) = &bundle.held_back {
        lines.push(format!(
            "would be held back: {}; {} confirms it",
            shown(&withheld.loss),
            withheld.confirmation()
        ));
    }
    let warnings = bundle.warnings.iter();
    lines.extend(warnings.map(|warning| format!("warning: {warning}")));
    lines
}

fn of_added(anchor: &NewAnchor) -> String {
    let left = anchor.not_after.saturating_sub(unix_now());
    let ends = if left < 0 {
        format!("expired {} ago", describe(left.saturating_neg()))
    } else {
        format!("expires in {}", describe(left))
    };
    format!(
        "adds anchor \"{}\", fingerprint {}, {ends}",
        anchor.subject, anchor.fingerprint
    )
}

fn of_removed(anchor: &RunningAnchor) -> String {
    let usage = match (anchor.handshakes, &anchor.last_handshake) {
        (0, _) => "no handshake rested on it".to_owned(),
        (handshakes, None) => format!("{handshakes} handshakes rested on it"),
        (1, Some(last)) => format!("1 handshake rested on it, at {}", shown(last)),
        (handshakes, Some(last)) => {
            let last = shown(last);
            format!("{handshakes} handshakes rested on it, the last at {last}")
        }
    };
    format!(
        "removes anchor \"{}\", fingerprint {}, {usage}",
        shown(&anchor.subject),
        anchor.fingerprint
    )
}

fn of_list(verb: &str, list: &List) -> String {
    let number = list.number.as_deref().unwrap_or("without a number");
    format!(
        "{verb} revocation list {} of \"{}\", of {}, good until {}, {}",
        shown(number),
        shown(&list.issuer),
        shown(&list.this_update),
        shown(&list.next_update),
        count(
            usize::try_from(list.entries).unwrap_or(usize::MAX),
            "revoked certificate"
        ),
    )
}

fn of_peer(what: &str, peer: &RefusedPeer) -> String {
    let fingerprint = peer.fingerprint.map_or("-".to_owned(), |f| f.to_string());
    let open = count(
        usize::try_from(peer.connections).unwrap_or(usize::MAX),
        "open connection",
    );
    let ago = unix_now().saturating_sub(peer.last_seen).max(0);
    format!(
        "  {what}: {}, subject \"{}\", fingerprint {fingerprint}, trust {}, {open}, seen last {} ago: {}, {}",
        shown(&peer.name),
        shown(&peer.subject),
        shown(&peer.bundle),
        describe(ago),
        peer.reason,
        shown(&peer.cause),
    )
}

fn sum(preview: &Preview) -> String {
    let unjudged = match preview.unjudged.len() {
        0 => String::new(),
        number => format!(", {number} cannot be judged"),
    };
    format!(
        "{} known, {} stay, {} would be refused, {} of them connected now{unjudged}",
        count(preview.known, "peer"),
        preview.staying(),
        preview.refused.len(),
        preview.refused_now(),
    )
}

fn bundle_to_json(bundle: &BundleChange) -> Value {
    let added: Vec<_> = bundle
        .anchors_added
        .iter()
        .map(|anchor| {
            json!({
                "subject": anchor.subject,
                "fingerprint": anchor.fingerprint.to_string(),
                "not_after": moment(anchor.not_after),
            })
        })
        .collect();
    let removed: Vec<_> = bundle
        .anchors_removed
        .iter()
        .map(|anchor| {
            json!({
                "subject": anchor.subject,
                "fingerprint": anchor.fingerprint.to_string(),
                "handshakes": anchor.handshakes,
                "last_handshake": anchor.last_handshake,
            })
        })
        .collect();
    let lists = |lists: &[List]| -> Vec<_> { lists.iter().map(list_to_json).collect() };
    let held_back = bundle
        .held_back
        .as_ref()
        .map(|held| json!({ "loss": held.loss, "confirm": held.confirmation() }));
    json!({
        "name": bundle.name,
        "fate": match bundle.fate {
            Fate::Gone => "gone",
            Fate::New => "new",
            Fate::Stays => "stays",
        },
        "anchors_added": added,
        "anchors_removed": removed,
        "anchors_kept": bundle.anchors_kept,
        "revocation_lists_added": lists(&bundle.lists_added),
        "revocation_lists_removed": lists(&bundle.lists_removed),
        "revocation_lists_kept": bundle.lists_kept,
        "held_back": held_back,
        "warnings": bundle.warnings,
    })
}

fn list_to_json(list: &List) -> Value {
    json!({
        "issuer": list.issuer,
        "number": list.number,
        "this_update": list.this_update,
        "next_update": list.next_update,
        "entries": list.entries,
    })
}

fn peer_to_json(peer: &RefusedPeer) -> Value {
    json!({
        "peer": peer.name,
        "subject": peer.subject,
        "fingerprint": peer.fingerprint.map(|f| f.to_string()),
        "bundle": peer.bundle,
        "connections": peer.connections,
        "last_seen_unix": peer.last_seen,
        "reason": peer.reason,
        "cause": peer.cause,
    })
}
