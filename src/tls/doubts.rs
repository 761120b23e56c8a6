//! What is legal and likely a mistake, as far as it shows without a handshake.
//!
//! Each is a [`Problem`] like those that refuse a start: where, what, what it
//! would cause and what to write. But these refuse nothing.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;

use super::bundle::Bundle;
use super::origins::Origins;
use super::own_certificate::OwnChain;
use crate::config::{
    self, BundleId, Config, EndpointAddress, OwnCertificate, Problem, TrustBundle, Upstream,
    UpstreamTls, UpstreamTrust,
};
use crate::identity::der::{self, tag};
use crate::identity::{Assertable, CertificateNames, Fingerprint};

mod confusable;

/// With so many authorities of the machine's own a bundle is no longer somebody's
/// choice of a few.
const PUBLIC: usize = 10;
/// In bytes. Windows cuts the list of authorities there, and clients then find
/// none of their certificates fitting; Java gives up at twice as much.
const LONG_LIST: usize = 16 * 1024;

/// Everything about a config and what it names that is likely a mistake.
/// `machine` reads the machine's own authorities, and is asked only where
/// something depends on them.
pub(super) fn doubts(
    config: &Config,
    bundles: &[Arc<Bundle>],
    origins: &Origins,
    machine: impl FnOnce() -> Vec<CertificateDer<'static>>,
) -> Vec<Problem> {
    let machine = LazyCell::new(machine);
    let mut all = confusable::confusable(config);
    for (settings, bundle) in client_bundles(config, bundles) {
        all.extend(public(settings, bundle, || &machine));
        all.extend(long_list(settings, bundle));
    }
    // There may be many of them, and many certificates that ask for one.
    let anchors = LazyCell::new(|| subjects(bundles));
    let known = LazyCell::new(|| subjects_read(&machine));
    let is_anchor = |name: &str| anchors.contains(name) || known.contains(name);
    for (whose, own) in own_certificates(config) {
        let chain = origins.chains.made_of(own);
        all.extend(chain.and_then(|chain| without_intermediate((&whose, own), chain, is_anchor)));
    }
    for upstream in config.upstreams() {
        let Some(tls) = &upstream.tls else { continue };
        all.extend(unnamed_addresses(upstream, tls));
        all.extend(unvouched_names(config, upstream, tls));
    }
    all.sort_by_key(|problem| problem.place().map(config::Place::position));
    all
}

/// The bundles that clients are checked against, each once.
fn client_bundles<'a>(
    config: &'a Config,
    bundles: &'a [Arc<Bundle>],
) -> impl Iterator<Item = (&'a TrustBundle, &'a Bundle)> {
    let tls = config.listeners().iter().filter_map(|l| l.tls.as_ref());
    let policies = tls.flat_map(config::ListenerTls::policies);
    let used: HashSet<BundleId> = policies.filter_map(|policy| policy.trust).collect();
    let all = config.bundles().iter().zip(bundles).enumerate();
    all.filter(move |(index, _)| used.contains(&BundleId(*index)))
        .map(|(_, (settings, bundle))| (settings, &**bundle))
}

/// A bundle for clients that holds what browsers trust.
fn public<'m>(
    settings: &TrustBundle,
    bundle: &Bundle,
    machine: impl FnOnce() -> &'m Vec<CertificateDer<'static>>,
) -> Option<Problem> {
    if bundle.anchors().len() < PUBLIC {
        return None;
    }
    let known: HashSet<Fingerprint> = machine().iter().map(|der| Fingerprint::of(der)).collect();
    let anchors = bundle.anchors().iter();
    let common = anchors.filter(|a| known.contains(&a.fingerprint)).count();
    if common < PUBLIC || common.saturating_mul(2) < bundle.anchors().len() {
        return None;
    }
    Some(
        of_bundle(settings, format!("{common} of its authorities are those of this machine, which certify servers for everybody"))
            .causes("whoever gets a certificate of any of them would be let in as a client")
            .remedy("name the authority that issues your clients' certificates, and no other"),
    )
}

/// A bundle whose authorities' names are more than every client takes.
fn long_list(settings: &TrustBundle, bundle: &Bundle) -> Option<Problem> {
    let bytes = bundle.hint_bytes();
    if bytes <= LONG_LIST {
        return None;
    }
    let kib = bytes.div_ceil(1024);
    let problem = of_bundle(
        settings,
        format!(
            "the names of its {} authorities take {kib} KiB in every handshake",
            bundle.anchors().len()
        ),
    );
    let problem = if bundle.sends_hints() {
        problem.causes("clients on Windows read 16 KiB of them and Java 32 KiB, and fail or present no certificate")
    } else {
        problem.causes("TLS has no room for them, so clients are told none, and present whatever certificate they choose")
    };
    Some(problem.remedy(
        "keep one authority above many in the bundle in place of each of them, or give each group of clients a listener and a bundle of its own",
    ))
}

fn of_bundle(settings: &TrustBundle, what: String) -> Problem {
    let place = settings.ca.first().map_or(settings.place, |ca| ca.place);
    Problem::at(place, format!("trust.{}.ca: {what}", settings.name))
}

/// The certificates of countersign's own, with the key that names each.
fn own_certificates(config: &Config) -> impl Iterator<Item = (String, &OwnCertificate)> {
    let listeners = config.listeners().iter().flat_map(|listener| {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
        certificates.map(|own| (format!("listeners.{}.tls.certificates", listener.name), own))
    });
    let upstreams = config.upstreams().iter().filter_map(|upstream| {
        let own = upstream.tls.as_ref()?.certificate.as_ref()?;
        Some((format!("upstreams.{}.tls.certificate", upstream.name), own))
    });
    listeners.chain(upstreams)
}

/// The names of the anchors of all bundles.
fn subjects(bundles: &[Arc<Bundle>]) -> HashSet<&str> {
    let anchors = bundles.iter().flat_map(|bundle| bundle.anchors());
    anchors.map(|anchor| anchor.subject.as_str()).collect()
}

/// The names in those certificates that can be read.
fn subjects_read(certificates: &[CertificateDer<'_>]) -> HashSet<String> {
    let names = certificates.iter().filter_map(|der| {
        let names = CertificateNames::read(der).ok()?;
        Some(names.subject().to_owned())
    });
    names.collect()
}

/// A leaf alone, whose issuer is to be had elsewhere and is no root that is known.
///
/// Leaves that a root of one's own has signed directly do not say where the root
/// is to be had.
fn without_intermediate(
    (whose, own): (&str, &OwnCertificate),
    chain: &OwnChain,
    is_anchor: impl FnOnce(&str) -> bool,
) -> Option<Problem> {
    let [leaf] = chain.key.cert.as_slice() else {
        return None;
    };
    let issuer = chain.names.issuer();
    if issuer == chain.names.subject() {
        return None;
    }
    let source = issuers_address(leaf)?;
    if is_anchor(issuer) {
        return None;
    }
    let path = own.chain.value.display();
    Some(
        Problem::at(
            own.chain.place,
            format!("{whose}: {path} holds the leaf alone, and its issuer \"{issuer}\" seems to be an intermediate"),
        )
        .causes("whoever has only the root above it would refuse the certificate")
        .remedy(format!(
            "append the issuer's certificate to {path}, in PEM; the leaf says that it is at {source}"
        )),
    )
}

/// Where a certificate says that its issuer's is to be had: caIssuers in its
/// authorityInfoAccess (RFC 5280 §4.2.2.1).
fn issuers_address(leaf: &CertificateDer<'_>) -> Option<String> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (_, certificate) = parser.parse(leaf).ok()?;
    let mut extensions = certificate.extensions().iter();
    let access = extensions.find(|e| e.oid.as_bytes() == AUTHORITY_INFO_ACCESS)?;
    let list = der::only(access.value, tag::SEQUENCE).ok()?;
    der::elements(list.contents).find_map(|description| {
        let (method, location) = der::pair(description.ok()?.contents).ok()?;
        let is_http = location.contents.starts_with(b"http");
        (method.contents == CA_ISSUERS && is_http)
            .then(|| location.contents.escape_ascii().to_string())
    })
}

/// Endpoints by address whose certificate would have to carry that address.
fn unnamed_addresses(upstream: &Upstream, tls: &UpstreamTls) -> Vec<Problem> {
    if tls.server_name.is_some() {
        return Vec::new();
    }
    let endpoints = upstream.endpoints.iter().filter(|endpoint| endpoint.tls);
    let doubt = |endpoint: &config::Endpoint| {
        let EndpointAddress::Tcp { host, .. } = &endpoint.address else {
            return None;
        };
        let address: IpAddr = host.parse().ok()?;
        let name = &upstream.name;
        Some(
            Problem::at(
                endpoint.place,
                format!("upstreams.{name}.endpoints: without server_name the certificate must carry the address {address} itself, and few do"),
            )
            .causes("requests would be answered with 502 unless it does")
            .remedy(format!(
                "write server_name = \"NAME\" in [upstreams.{name}.tls], with the name in its certificate"
            )),
        )
    };
    endpoints.filter_map(doubt).collect()
}

/// Names of an upstream for which the anchors of its bundle may not vouch.
fn unvouched_names(config: &Config, upstream: &Upstream, tls: &UpstreamTls) -> Vec<Problem> {
    let UpstreamTrust::Bundle(id) = tls.trust else {
        return Vec::new();
    };
    let Some((bundle, may_assert)) = config
        .bundle(id)
        .and_then(|bundle| Some((bundle, bundle.may_assert.as_ref()?)))
    else {
        return Vec::new();
    };
    let path = format!("upstreams.{}", upstream.name);
    if let Some(name) = &tls.server_name {
        let key = format!("{path}.tls.server_name");
        let doubt = unvouched((&key, name.place), &name.value, (bundle, may_assert));
        return doubt.into_iter().collect();
    }
    let endpoints = upstream.endpoints.iter().filter(|endpoint| endpoint.tls);
    let doubt = |endpoint: &config::Endpoint| {
        let EndpointAddress::Tcp { host, .. } = &endpoint.address else {
            return None;
        };
        let key = format!("{path}.endpoints");
        unvouched((&key, endpoint.place), host, (bundle, may_assert))
    };
    endpoints.filter_map(doubt).collect()
}

fn unvouched(
    (key, place): (&str, config::Place),
    name: &str,
    (bundle, may_assert): (&TrustBundle, &Assertable),
) -> Option<Problem> {
    // Addresses are not looked at.
    if name.parse::<IpAddr>().is_ok() || may_assert.permits_host(&name.to_ascii_lowercase()) {
        return None;
    }
    let bundle = &bundle.name;
    Some(
        Problem::at(
            place,
            format!("{key}: no certificate for {name} is accepted: trust.{bundle} may only assert {may_assert}"),
        )
        .causes("every request would be answered with 502")
        .remedy(format!(
            "add {{ dns = \"{name}\" }} to may_assert of trust.{bundle}, or name another bundle or server_name"
        )),
    )
}

/// id-pe-authorityInfoAccess, 1.3.6.1.5.5.7.1.1, as the contents of a DER OID.
const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
/// id-ad-caIssuers, 1.3.6.1.5.5.7.48.2, as the contents of a DER OID.
const CA_ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 2];

#[cfg(test)]
mod tests;
