//! Loads one generation, aside from the one that is in force.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::secrets::{self, Exposed};
use crate::config::{self, Config, Files, Problems, Reach, Seen};
use crate::proxy::{self, Accepted, Quota, Records, Site};
use crate::telemetry::{MetricNames, events};
use crate::tls::{self, Material, RevocationListFacts, describe, unix_now};
use crate::upstream::{self, Plan};

/// A config and everything that it names on disk, loaded and found to fit
/// together. What has not changed since the former one is the very same.
#[derive(Debug)]
pub struct Loaded {
    config: Arc<Config>,
    material: Material,
    plans: Vec<Arc<Plan>>,
    accepted: Vec<Option<Arc<Accepted>>>,
    quotas: Vec<Option<Arc<Quota>>>,
    exposed: Vec<Exposed>,
    /// What is said of unix sockets in folders with files.
    beside_files: Vec<String>,
}

impl Loaded {
    /// The configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What was loaded for TLS.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The upstreams, in the order of the config.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.plans
    }

    /// What listeners accept of peers that speak for others, in the order of the
    /// config.
    pub fn accepted(&self) -> &[Option<Arc<Accepted>>] {
        &self.accepted
    }

    /// What it says about requests, as the generation of this number. The metrics
    /// of `records` count by [`metric_names`](Self::metric_names).
    pub(crate) fn site(&self, generation: u64, records: Records) -> Arc<Site> {
        let site = Site::new(
            generation,
            Arc::clone(&self.config),
            self.plans.clone(),
            (
                self.material.servers.clone(),
                self.material.bundles.clone(),
                self.accepted.clone(),
            ),
            records,
        );
        Arc::new(site.going_on_with(self.quotas.clone()))
    }

    /// What is counted of it.
    pub(crate) fn metric_names(&self) -> MetricNames {
        let config = &self.config;
        MetricNames {
            listeners: config.listeners().iter().map(|l| l.name.clone()).collect(),
            routes: config.routes().iter().map(|r| r.name.clone()).collect(),
            upstreams: config.upstreams().iter().map(|u| u.name.clone()).collect(),
        }
    }

    /// What will cease to be valid soon, or has, and what is odd about it.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let material = &self.material;
        let mut all: Vec<_> = material
            .expiries
            .iter()
            .filter_map(|expiry| {
                let text = expiry.warning()?;
                let (kind, name, index) = (expiry.kind, &expiry.name, expiry.index);
                let ended = text.contains(" ago: ");
                Some(Warning {
                    key: format!("{kind} {name} {index} {} {ended}", expiry.not_after),
                    event: events::CERTIFICATE_EXPIRING,
                    text,
                })
            })
            .collect();
        let purposes = material.wrong_purposes.iter();
        all.extend(
            purposes.map(|wrong| Warning::of(events::CERTIFICATE_UNUSUAL, wrong.to_string())),
        );
        let file = self.config.path();
        all.extend(material.doubts.iter().map(|doubt| {
            Warning {
                // Where it stands changes with what is written above it.
                key: doubt.what().to_owned(),
                event: events::CONFIG_UNUSUAL,
                text: doubt.in_one_line(file),
            }
        }));
        let exposed = self.exposed.iter();
        all.extend(exposed.map(|one| Warning::of(events::SECRET_EXPOSED, one.to_string())));
        let beside_files = self.beside_files.iter().cloned();
        all.extend(beside_files.map(|text| Warning::of(events::CONFIG_UNUSUAL, text)));
        let doubts = self.config.doubts().each().into_iter();
        let doubts = doubts.map(|text| text.replace("\n ", ";"));
        all.extend(doubts.map(|text| Warning::of(events::POLICY_UNUSUAL, text)));
        for bundle in &material.bundles {
            let name = bundle.name();
            all.extend(
                bundle
                    .revocation_lists()
                    .filter_map(|list| of_list(name, &list)),
            );
            let unusual = bundle.warnings().iter();
            let unusual = unusual.map(|warning| format!("trust.{name}: {warning}"));
            all.extend(unusual.map(|text| Warning::of(events::TRUST_UNUSUAL, text)));
        }
        all
    }

    /// Whether the admin address is as it was, its handshakes included.
    fn has_same_admin(&self, former: &Self) -> bool {
        let door = former.material.admin.as_ref();
        self.config.admin() == former.config.admin() && same_arc(self.material.admin.as_ref(), door)
    }

    /// What is another than in `former`, as `trust.NAME`, `listeners.NAME` and
    /// so on; empty: nothing is.
    pub(super) fn changes_from(&self, former: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let (config, old) = (&self.config, &former.config);
        for (what, differs) in [
            ("server", config.server() != old.server()),
            ("log", config.log() != old.log()),
            ("admin", !self.has_same_admin(former)),
            ("trace", config.trace() != old.trace()),
            ("rules", config.rules() != old.rules()),
            ("routes", config.routes() != old.routes()),
        ] {
            if differs {
                changes.push(what.to_owned());
            }
        }
        let bundles = |loaded: &Self| -> Vec<_> {
            let all = loaded.material.bundles.iter();
            all.map(|b| (b.name().to_owned(), Arc::clone(b))).collect()
        };
        compare(
            "trust",
            &bundles(self),
            &bundles(former),
            Arc::ptr_eq,
            &mut changes,
        );
        let listeners = |loaded: &Self| -> Vec<_> {
            let all = loaded.config.listeners().iter();
            let tls = loaded.material.servers.iter().cloned();
            let accepted = loaded.accepted.iter().cloned();
            all.zip(tls.zip(accepted))
                .map(|(l, (tls, accepted))| (l.name.clone(), (l.clone(), tls, accepted)))
                .collect()
        };
        let same = |a: &Server, b: &Server| {
            let same_tls = same_arc(a.1.as_ref(), b.1.as_ref());
            a.0 == b.0 && same_tls && same_arc(a.2.as_ref(), b.2.as_ref())
        };
        compare(
            "listeners",
            &listeners(self),
            &listeners(former),
            same,
            &mut changes,
        );
        let upstreams = |loaded: &Self| -> Vec<_> {
            let all = loaded.plans.iter();
            all.map(|p| (p.name().to_owned(), Arc::clone(p))).collect()
        };
        compare(
            "upstreams",
            &upstreams(self),
            &upstreams(former),
            Arc::ptr_eq,
            &mut changes,
        );
        // By the order of their tables the parts know each other.
        if changes.is_empty() && !has_same_order(config, old) {
            changes.push("order".to_owned());
        }
        changes
    }
}

/// A listener, its TLS side, and what it accepts of peers that speak for others.
type Server = (
    config::Listener,
    Option<Arc<tls::ServerTls>>,
    Option<Arc<Accepted>>,
);

/// Something that an operator should know, said once.
pub(crate) struct Warning {
    /// The same for the same.
    pub(super) key: String,
    pub(super) event: &'static str,
    pub(crate) text: String,
}

impl Warning {
    /// Something that is the same as long as it is said in the same words.
    fn of(event: &'static str, text: String) -> Self {
        Self {
            key: text.clone(),
            event,
            text,
        }
    }
}

fn of_list(bundle: &str, list: &RevocationListFacts) -> Option<Warning> {
    let left = list.next_update.saturating_sub(unix_now());
    let lifetime = list.next_update.saturating_sub(list.this_update);
    let what = format!("trust.{bundle}: the revocation list of {}", list.issuer);
    let (event, text) = if left < 0 {
        let ago = describe(left.saturating_neg());
        (events::CRL_STALE, format!("{what} ran out {ago} ago"))
    } else if left < lifetime / LAST_PART {
        let left = describe(left);
        (
            events::CRL_EXPIRING,
            format!("{what} runs out in {left}; the next one should be here"),
        )
    } else {
        return None;
    };
    Some(Warning {
        key: format!("{event} {bundle} {} {}", list.issuer, list.next_update),
        event,
        text,
    })
}

/// A revocation list is warned about in the last tenth of its life: whoever
/// issues them issues the next one earlier.
pub(super) const LAST_PART: i64 = 10;

/// Whether bundles, listeners and upstreams stand in the same order.
fn has_same_order(one: &Config, other: &Config) -> bool {
    let order = |config: &'_ Config| -> Vec<String> {
        let bundles = config.bundles().iter().map(|b| format!("trust.{}", b.name));
        let listeners = config
            .listeners()
            .iter()
            .map(|l| format!("listeners.{}", l.name));
        let upstreams = config
            .upstreams()
            .iter()
            .map(|u| format!("upstreams.{}", u.name));
        bundles.chain(listeners).chain(upstreams).collect()
    };
    order(one) == order(other)
}

fn same_arc<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// Notes the names under which there is something else in `new` than in `old`.
fn compare<T>(
    kind: &str,
    new: &[(String, T)],
    old: &[(String, T)],
    same: impl Fn(&T, &T) -> bool,
    changes: &mut Vec<String>,
) {
    let before: HashMap<&str, &T> = old.iter().map(|(name, value)| (&**name, value)).collect();
    for (name, value) in new {
        let former = before.get(name.as_str());
        if !former.is_some_and(|former| same(value, former)) {
            changes.push(format!("{kind}.{name}"));
        }
    }
    let now: HashSet<&str> = new.iter().map(|(name, _)| name.as_str()).collect();
    let gone = old.iter().filter(|(name, _)| !now.contains(name.as_str()));
    changes.extend(gone.map(|(name, _)| format!("{kind}.{name}")));
}

/// Loads the config at `path` and everything that it names, through `files`. What
/// has not changed since `former` is taken over. Reads files: it may take seconds.
///
/// Trust bundles of the names in `keep` are those of `former`, whatever their
/// files hold. Returns what was looked at on the way, in either case.
pub(super) fn load(
    path: &Path,
    files: Files,
    (former, keep): (Option<&Loaded>, &[String]),
) -> (Seen, Result<Loaded, Problems>) {
    let outcome = load_through(&files, path, (former, keep));
    (files.into_seen(), outcome)
}

fn load_through(
    files: &Files,
    path: &Path,
    (former, keep): (Option<&Loaded>, &[String]),
) -> Result<Loaded, Problems> {
    let draft = config::read(path, files);
    let mut problems = Vec::new();
    let material = tls::load_keeping(&draft.config, files, former.map(Loaded::material), keep)
        .map_err(|found| problems.extend(found))
        .ok();
    let former_plans = former.map_or(&[][..], Loaded::plans);
    let plans = upstream::load(&draft.config, files, material.as_ref(), former_plans)
        .map_err(|found| problems.extend(found))
        .ok();
    let former_accepted = former.map_or(&[][..], Loaded::accepted);
    let accepted = proxy::load(&draft.config, files, former_accepted)
        .map_err(|found| problems.extend(found))
        .ok();
    let config = Arc::new(draft.finish(problems)?);
    let quotas = proxy::quotas(&config, former.map_or(&[][..], |former| &former.quotas));
    let exposed = secrets::exposed(&config, files);
    let beside_files = beside_files(&config, files);
    Ok(Loaded {
        config,
        exposed,
        beside_files,
        material: material.unwrap_or_default(),
        plans: plans.unwrap_or_default(),
        accepted: accepted.unwrap_or_default(),
        quotas,
    })
}

/// What comes of unix sockets that stand where there is more than sockets.
fn beside_files(config: &Config, files: &Files) -> Vec<String> {
    if !config.server().confinement.landlock || !Reach::has_sockets(config) {
        return Vec::new();
    }
    let looked_at = files.looked_at();
    let reach = Reach::of(config, looked_at.iter().map(PathBuf::as_path));
    let all = reach.sockets_beside_files(config).map(|(path, folder)| {
        format!(
            "unix:{}: {} has more in it than sockets, so that nothing is removed there; the socket's file stays when it is closed, and a reload cannot bind it anew; give unix sockets a folder of their own, such as /run/countersign",
            path.display(),
            folder.display()
        )
    });
    all.collect()
}
