//! The way of a request in steps, up to the one at which it ends.

use super::account::{Account, End};
use super::words;
use crate::config::Outcome;
use crate::identity::CertificateNames;
use crate::proxy::{Destination, Kind};
use crate::tls::{Refusal, TriedPath};

/// One step of the way.
pub(super) struct Step {
    /// Its stable name.
    pub(super) name: &'static str,
    /// Whether the way ends here.
    pub(super) is_refused: bool,
    pub(super) text: String,
}

/// The steps, in order. Where the caller would not be served, the last one says why.
pub(super) fn of(account: &Account<'_>) -> Vec<Step> {
    let mut way = Way {
        account,
        steps: Vec::new(),
        refused_at: account.refusal().map(|_| refused_at(account)),
    };
    let path = account.config().path().display();
    way.step(
        "config",
        format!("{path}: everything was loaded and fits together"),
    );
    way.listener();
    way.handshake();
    if account.request().is_some() {
        way.identity();
        way.request();
    }
    way.steps
}

/// The step at which it is refused.
fn refused_at(account: &Account<'_>) -> &'static str {
    if let End::Handshake(refused) = &account.end {
        return step_of(refused.reason);
    }
    match account.fault().map(|fault| fault.kind) {
        Some(Kind::AssertionRefused) => "spoken_for",
        Some(Kind::AuthorityNotServed) => "host",
        Some(Kind::NoRoute) => "route",
        Some(Kind::CertificateRequired | Kind::DeniedByRule | Kind::NoRuleMatched) => "rule",
        Some(Kind::Maintenance) => "maintenance",
        Some(Kind::BodyTooLarge | Kind::RateExceeded) => "limits",
        Some(Kind::CredentialMissing) => "message_layer",
        Some(Kind::AssertionMissing | Kind::AssertionTooLarge | Kind::AssertionUnsigned) => {
            "attribute_layer"
        }
        _ => "request",
    }
}

/// The step of a handshake at which a client is refused for this reason.
fn step_of(reason: Refusal) -> &'static str {
    match reason {
        Refusal::UnknownName => "server_name",
        Refusal::NoCertificate => "client_certificate",
        Refusal::Revoked | Refusal::RevocationUnknown => "revocation",
        _ => "chain",
    }
}

struct Way<'w, 'a> {
    account: &'w Account<'a>,
    steps: Vec<Step>,
    refused_at: Option<&'static str>,
}

impl Way<'_, '_> {
    fn is_over(&self) -> bool {
        self.steps.last().is_some_and(|last| last.is_refused)
    }

    /// Adds a step, unless the way has ended before.
    fn step(&mut self, name: &'static str, text: impl Into<String>) {
        if self.is_over() {
            return;
        }
        let refusal = self.account.refusal();
        let refusal = refusal.filter(|_| self.refused_at == Some(name));
        let text = match &refusal {
            Some(refused) => {
                let miss = words::miss(refused.nearest_miss.as_deref());
                format!("{}: {}{miss}", refused.reason, refused.cause)
            }
            None => text.into(),
        };
        self.steps.push(Step {
            name,
            is_refused: refusal.is_some(),
            text,
        });
    }

    /// Adds something to know that refuses nobody by itself.
    fn remark(&mut self, name: &'static str, text: String) {
        if !self.is_over() {
            let is_refused = false;
            self.steps.push(Step {
                name,
                is_refused,
                text,
            });
        }
    }

    fn listener(&mut self) {
        let Some(listener) = self.account.listener() else {
            return;
        };
        let bind = &listener.bind.value;
        let tls = match listener.tls.as_ref().map(|tls| tls.client_auth) {
            None => "plaintext, every caller anonymous",
            Some(_) => "TLS",
        };
        self.step("listener", format!("{}, {bind}, {tls}", listener.name));
    }

    fn handshake(&mut self) {
        let account = self.account;
        let Some(handshake) = &account.handshake else {
            return;
        };
        let asked = match &handshake.server_name {
            Some(name) => format!("asks for {name}"),
            None => "asks for no name".to_owned(),
        };
        let shown = handshake.shown.as_ref().map_or("-", words::label);
        self.step(
            "server_name",
            format!("{asked}, and is shown the certificate of {shown}"),
        );
        let policy = match &handshake.trust {
            None => "none is asked for".to_owned(),
            Some((bundle, true)) => format!("one is demanded, of trust.{}", bundle.name()),
            Some((bundle, false)) => format!("one is asked for, of trust.{}", bundle.name()),
        };
        let presented = match (account.case.chain(), &handshake.trust) {
            ([], _) => "the client has none".to_owned(),
            (_, None) => "the client's is not sent".to_owned(),
            ([leaf, above @ ..], Some(_)) => {
                let leaf = match CertificateNames::read(leaf) {
                    Ok(names) => words::certificate(&names, account.case.at),
                    Err(cause) => format!("one that cannot be read ({cause})"),
                };
                let above = match above.len() {
                    0 => "no other certificate".to_owned(),
                    1 => "1 more".to_owned(),
                    more => format!("{more} more"),
                };
                format!("the client presents {leaf}, and {above}")
            }
        };
        self.step("client_certificate", format!("{policy}; {presented}"));
        for path in &handshake.paths {
            self.path(path, handshake.would_refuse.is_some());
        }
        if let Some(cause) = &handshake.would_refuse {
            let text = format!("would refuse, but is not acted on (enforce_crl): {cause}");
            self.remark("revocation", text);
        }
        if let Some(client) = account.not_accepted() {
            let step = step_of(client.reason);
            let what = match client.outcome {
                Outcome::Http => "it is let in, and each request gets 403",
                _ => "it is let in, and is anonymous",
            };
            let miss = words::miss(client.nearest_miss.as_deref());
            self.remark(
                step,
                format!("{}: {}{miss}; {what}", client.reason, client.cause),
            );
        }
        // Where no path was found there is nothing else to say.
        if matches!(&account.end, End::Handshake(_)) {
            self.step(self.refused_at.unwrap_or("chain"), "");
        }
    }

    fn path(&mut self, path: &TriedPath, stands_anyhow: bool) {
        let way = path.issuers.iter().map(|name| format!("\"{name}\""));
        let way = way.collect::<Vec<_>>().join(", issued by ");
        let passed_over = match &path.fault {
            Some(fault) if !matches!(self.account.end, End::Handshake(_)) && !stands_anyhow => {
                format!("; passed over: {fault}")
            }
            _ => String::new(),
        };
        let text = format!(
            "the leaf was issued by {way}, an anchor with fingerprint {}; the chain is good until {}{passed_over}",
            path.anchor,
            words::time(path.not_after)
        );
        if self.refused_at == Some("revocation") {
            self.remark("chain", text);
        } else {
            self.step("chain", text);
        }
        for looked_up in &path.lookups {
            self.remark("revocation", words::lookup(looked_up, self.account.case.at));
        }
    }

    fn identity(&mut self) {
        let Some(request) = self.account.request() else {
            return;
        };
        let text = match self.account.peer() {
            None => "anonymous".to_owned(),
            Some(peer) => format!("{} ({})", peer.primary(), words::names(peer.names())),
        };
        self.step("identity", text);
        if let Some(whom) = &request.spoken_for {
            self.step("spoken_for", format!("it speaks for {whom}"));
        } else if self.refused_at == Some("spoken_for") {
            self.step("spoken_for", "");
        }
    }

    fn request(&mut self) {
        let account = self.account;
        let (case, head) = (&account.case, &account.case.head);
        let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let version = if case.http2 { "HTTP/2" } else { "HTTP/1.1" };
        self.step(
            "request",
            format!(
                "{} {target} for host {}, over {version}",
                head.method, case.host
            ),
        );
        self.step("host", format!("{} belongs to this listener", case.host));
        let outcome = account.request().map(|it| &it.outcome);
        if let Some(Ok(Destination::Keys)) = outcome {
            self.step(
                "route",
                "none: countersign answers with the public keys of its assertions (jwks_path)",
            );
            return;
        }
        if let Some(Ok(Destination::Elsewhere(to))) = outcome {
            let (status, to) = (to.status.as_u16(), to.location.to_str().unwrap_or_default());
            self.step(
                "route",
                format!("none: countersign answers with {status} to {to} (redirect_to_https)"),
            );
            return;
        }
        let route = account.route();
        self.step("route", route.map_or_else(String::new, words::route));
        let Some((_, route)) = route else { return };
        self.step("rule", words::rule(account, route));
        if self.refused_at == Some("rule") {
            self.steps
                .extend(words::entries(route).into_iter().map(|text| Step {
                    name: "rule",
                    is_refused: true,
                    text,
                }));
        }
        if route.maintenance.is_some() {
            self.step("maintenance", "");
        }
        if let Some(limits) = words::limits(route) {
            self.step("limits", limits);
        }
        let Some((upstream, plan)) = account.upstream() else {
            return;
        };
        self.step("upstream", words::upstream(account.config(), upstream));
        self.step("transport_layer", words::transport(upstream, plan));
        self.step("attribute_layer", words::attribute(account, upstream));
        self.step("message_layer", words::message(account, upstream));
    }
}
