//! Puts the sections together, and sees what only shows when all are there.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::listeners::{listener, shown};
use super::model::{
    Bind, Confinement, Listener, ListenerId, Located, Log, LogFormat, LogLevel, Place, Route,
    Server,
};
use super::names::{Names, named};
use super::problem::Problem;
use super::redirect::report_dead_ends;
use super::routes::{Ends, routes};
use super::rules::named_rules;
use super::section::{Reader, Section};
use super::upstreams::upstream;
use super::{Config, admin, defaults, process, trace};

/// Reads every section; those with a problem are left out, or hold their defaults.
pub(super) fn config(root: Section<'_>, path: &Path) -> Config {
    let mut config = Config {
        path: path.to_owned(),
        server: Server {
            workers: defaults::WORKERS,
            drain_timeout: defaults::DRAIN_TIMEOUT,
            drain_delay: None,
            poll_interval: defaults::POLL_INTERVAL,
            session_ticket_keys: None,
            max_memory: None,
            upgrade_socket: None,
            confinement: Confinement::default(),
        },
        log: Log {
            format: LogFormat::Text,
            access: true,
            level: LogLevel::Info,
            refusals_per_minute: defaults::REFUSALS_PER_MINUTE,
            access_template: None,
            request_id_header: None,
        },
        admin: None,
        trace: None,
        bundles: Vec::new(),
        listeners: Vec::new(),
        rules: Vec::new(),
        routes: Vec::new(),
        upstreams: Vec::new(),
    };
    let reader = root.reader;
    let checked = root.read(|root| {
        process_wide(root, &mut config);
        traffic(root, &mut config);
        Ok(())
    });
    if checked.is_ok() {
        report_clashes(reader, &config);
    }
    config
}

fn process_wide(root: &mut Section<'_>, config: &mut Config) {
    if let Ok(server) = root.subsection("server", process::server) {
        config.server = server;
    }
    if let Ok(log) = root.subsection("log", process::log) {
        config.log = log;
    }
}

fn traffic(root: &mut Section<'_>, config: &mut Config) {
    let (bundles, bundle_names) = named(root, ("trust", "trust bundle"), process::bundle);
    let admin = root.optional("admin", |field| {
        field.section(|section| admin::admin(section, &bundle_names))
    });
    config.admin = admin.ok().flatten();
    let (listeners, listener_names) = named(root, ("listeners", "listener"), |section, name| {
        listener(section, name, &bundle_names)
    });
    let (upstreams, upstream_names) = named(root, ("upstreams", "upstream"), |section, name| {
        upstream(section, name, &bundle_names)
    });
    let (rules, rule_names) = named_rules(root);
    let ends = Ends {
        listeners: &listeners,
        listener_names: &listener_names,
        upstreams: &upstreams,
        upstream_names: &upstream_names,
        rules: &rules,
        rule_names: &rule_names,
    };
    let (routes, all_legal) = routes(root, &ends);
    trace::report_clash(root.reader, config.log.request_id_header.as_ref(), &ends);
    let traces = root.optional("trace", |field| {
        field.section(|section| trace::trace(section, ends.upstream_names))
    });
    config.trace = traces.ok().flatten();
    report_nothing_to_do(root, &listener_names, all_legal && routes.is_empty());
    if all_legal && !routes.is_empty() {
        report_unrouted(root.reader, &listeners, &routes);
        report_dead_ends(root.reader, &listeners, &routes);
    }
    config.bundles = bundles;
    config.listeners = listeners;
    config.rules = rules;
    config.routes = routes;
    config.upstreams = upstreams;
}

fn report_nothing_to_do(root: &mut Section<'_>, listeners: &Names, no_routes: bool) {
    if listeners.is_empty() && !root.holds_a_value("listeners") {
        let problem = Problem::new("there is no listener")
            .causes("nothing could connect")
            .remedy("write a table [listeners.NAME] with bind = \"0.0.0.0:8443\"");
        root.lack_of("listeners", problem);
    }
    if no_routes {
        let problem = Problem::new("there is no route")
            .causes("every request would be answered with 404")
            .remedy("write a table [[routes]] with upstream = \"NAME\"");
        root.lack_of("routes", problem);
    }
}

fn report_unrouted(reader: &Reader<'_>, listeners: &[Listener], routes: &[Route]) {
    for (index, listener) in listeners.iter().enumerate() {
        let id = Some(ListenerId(index));
        let serves = listener.redirect.is_none();
        if serves
            && !routes
                .iter()
                .any(|route| route.listener.is_none() || route.listener == id)
        {
            let problem = Problem::new("no route leads away from this listener")
                .causes("every request to it would be answered with 404")
                .remedy(format!(
                    "write [[routes]] with listener = \"{}\"",
                    listener.name
                ));
            reader.report(problem.of_key(listener.place, &format!("listeners.{}", listener.name)));
        }
    }
}

/// Reports every address that is taken twice, at the later place.
fn report_clashes(reader: &Reader<'_>, config: &Config) {
    let listeners = config.listeners.iter();
    let mut binds: Vec<(String, &Located<Bind>)> = listeners
        .map(|listener| (format!("listeners.{}.bind", listener.name), &listener.bind))
        .collect();
    if let Some(admin) = &config.admin {
        binds.push(("admin.bind".to_owned(), &admin.bind));
    }
    binds.sort_by_key(|(_, bind)| bind.place.position());
    for (index, (path, bind)) in binds.iter().enumerate() {
        let mut earlier = binds.iter().take(index);
        let taken = earlier.find(|(_, other)| clash(&bind.value, &other.value));
        if let Some((other, taken)) = taken {
            reader.report(taken_twice(&bind.value, other, taken.place).of_key(bind.place, path));
        }
    }
}

fn taken_twice(bind: &Bind, other: &str, place: Place) -> Problem {
    Problem::new(format!(
        "{} is taken by {other} in line {}",
        shown(bind),
        place.line
    ))
    .causes("only one of the two could accept")
    .remedy("choose another address, port or name")
}

/// Whether the system would refuse to bind both.
fn clash(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Unix(one), Bind::Unix(other)) => one == other,
        (Bind::Tcp(one), Bind::Tcp(other)) => {
            one.port() == other.port() && one.port() != 0 && overlap(one, other)
        }
        (Bind::Systemd(one), Bind::Systemd(other)) => one == other,
        (Bind::Unix(_) | Bind::Tcp(_) | Bind::Systemd(_), _) => false,
    }
}

/// `0.0.0.0` takes every IPv4 address, `[::]` every address.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let (one, other) = (one.ip().to_canonical(), other.ip().to_canonical());
    let takes = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    one == other || takes(one, other) || takes(other, one)
}
