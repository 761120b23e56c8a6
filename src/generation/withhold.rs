//! Which trust bundles are held back, because what is on disk drops so much of
//! them that it is more likely a mistake than meant.

use std::collections::HashMap;

use rustls_pki_types::UnixTime;
use serde_json::{Value, json};

use super::load::Loaded;
use crate::config::Share;
use crate::tls::Shrinkage;

/// A bundle that is not put in force until somebody confirms it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Withheld {
    /// Its name in the config.
    pub(crate) bundle: String,
    /// What it would lose, in words.
    pub(crate) loss: String,
    /// Whether `max_shrink` has a say in it.
    pub(crate) by_share: bool,
}

impl Withheld {
    /// The request that puts it in force as it is.
    pub(crate) fn confirmation(&self) -> String {
        format!("POST /reload?accept_shrink={}", self.bundle)
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> String {
        let confirmation = self.confirmation();
        let more = if self.by_share {
            "; max_shrink = \"100%\" asks no more"
        } else {
            ""
        };
        format!("put the files right, or confirm with {confirmation} on the admin address{more}")
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "bundle": self.bundle,
            "loss": self.loss,
            "confirm": self.confirmation(),
        })
    }
}

/// The bundles of `new` that lose more than they may, and that nobody has
/// confirmed. Those that are new are as they were meant.
pub(super) fn withheld(new: &Loaded, former: &Loaded, accepted: &[String]) -> Vec<Withheld> {
    let now = UnixTime::now();
    let old = former.config().bundles().iter();
    let old = old.zip(&former.material().bundles);
    let old: HashMap<&str, _> = old.map(|both| (both.0.name.as_str(), both)).collect();
    let pairs = new.config().bundles().iter().zip(&new.material().bundles);
    pairs
        .filter(|(config, _)| !accepted.contains(&config.name))
        .filter_map(|(config, bundle)| {
            let (former_config, former) = old.get(config.name.as_str())?;
            let all_had_expired = former.shrinkage_from(former, now).all_expired;
            let shrinkage = bundle.shrinkage_from(former, now);
            let same_lists = config.crl == former_config.crl;
            let loss = loss(&shrinkage, config.max_shrink, all_had_expired, same_lists)?;
            let by_share = shrinkage.exceeds(config.max_shrink) || shrinkage.all_expired;
            Some(Withheld {
                bundle: config.name.clone(),
                loss,
                by_share,
            })
        })
        .collect()
}

/// What is lost, in words, if it is more than may be without being confirmed.
///
/// `all_had_expired`: nobody was accepted before either. `same_lists`: the
/// config names the same files of revocation lists as before, so that fewer
/// lists are not what somebody wrote there.
pub(crate) fn loss(
    shrinkage: &Shrinkage,
    max_shrink: Share,
    all_had_expired: bool,
    same_lists: bool,
) -> Option<String> {
    if shrinkage.exceeds(max_shrink) {
        Some(of_anchors(shrinkage, max_shrink))
    } else if shrinkage.all_expired && !all_had_expired && max_shrink.percent() < 100 {
        let what =
            "every anchor of it has expired, or is not valid yet; every peer would be refused";
        Some(what.to_owned())
    } else if !shrinkage.uncovered.is_empty() && same_lists {
        Some(of_lists(shrinkage))
    } else if !shrinkage.older.is_empty() {
        Some(format!(
            "the revocation list of {} is older than the one in force: what was revoked in between would be trusted again",
            some_of(&shrinkage.older)
        ))
    } else {
        None
    }
}

fn of_anchors(shrinkage: &Shrinkage, share: Share) -> String {
    format!(
        "it drops {} of its {} anchors, {} %, and max_shrink is {} %; gone would be {}",
        shrinkage.dropped.len(),
        shrinkage.of,
        shrinkage.percent(),
        share.percent(),
        some_of(&shrinkage.dropped),
    )
}

fn of_lists(shrinkage: &Shrinkage) -> String {
    format!(
        "the revocation list of {} is gone",
        some_of(&shrinkage.uncovered),
    )
}

/// The first few of them, in quotes.
fn some_of(names: &[String]) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|n| format!("\"{n}\""))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

/// So many are named.
const SHOWN: usize = 5;
