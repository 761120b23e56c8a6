//! Reads `[upstreams.NAME]`: a service and how to reach it.

use std::net::IpAddr;

use super::algorithms::versions_from;
use super::balancing::balancing;
use super::defaults;
use super::delivery::delivery;
use super::listeners::own_certificate;
use super::model::{
    BundleId, Endpoint, EndpointAddress, LayerMode, Protocol, RunAs, Upstream, UpstreamHost,
    UpstreamTls, UpstreamTrust,
};
use super::names::Names;
use super::outbound::{Target, outbound};
use super::problem::Problem;
use super::rewriting::{has_hosts, upstream_host};
use super::section::{Field, Read, Section};
use super::units::quoted;
use super::values::host_name;
use crate::identity::proxy_header::Version;

/// The words for the HTTP versions, and whether it is HTTP/1.0.
const UPSTREAM_PROTOCOLS: [(&str, (Protocol, bool)); 3] = [
    ("h2", (Protocol::Http2, false)),
    ("http/1.1", (Protocol::Http1, false)),
    ("http/1.0", (Protocol::Http1, true)),
];

pub(super) fn upstream(section: &mut Section<'_>, name: &str, bundles: &Names) -> Read<Upstream> {
    let allowed = section.defaulted("allow_plaintext", false, |field| field.boolean());
    let endpoints = endpoints(section, &allowed);
    let proxy_protocol = section.optional("proxy_protocol", |field| {
        field.choice(&[("v1", Version::V1), ("v2", Version::V2)])
    });
    let protocol = section.defaulted("protocol", (Protocol::Http1, false), |field| {
        field.choice(&UPSTREAM_PROTOCOLS)
    });
    let mut timeout = |key, default| section.defaulted(key, default, |field| field.duration());
    let connect_timeout = timeout("connect_timeout", defaults::CONNECT_TIMEOUT);
    let response_timeout = timeout("response_timeout", defaults::RESPONSE_TIMEOUT);
    let idle_timeout = timeout("idle_timeout", defaults::POOL_IDLE_TIMEOUT);
    let delivery = delivery(section, protocol.map(|(protocol, _)| protocol));
    let balancing = balancing(section);
    let tls = tls_if_spoken(section, endpoints.as_deref().ok(), bundles);
    let target = Target {
        name,
        endpoints: endpoints.as_deref().ok(),
        has_certificate: tls.as_ref().ok().map(|tls| {
            let tls = tls.as_ref();
            tls.is_some_and(|tls| tls.certificate.is_some())
        }),
    };
    let outbound = section.subsection("outbound", |section| outbound(section, &target));
    let host = section.defaulted("host", UpstreamHost::Keep, upstream_host);
    let upstream = Upstream {
        name: name.to_owned(),
        place: section.place(),
        endpoints: endpoints?,
        protocol: protocol?.0,
        http10: protocol?.1,
        tls: tls?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        idle_timeout: idle_timeout?,
        delivery: delivery?,
        balancing: balancing?,
        outbound: outbound?,
        host: host?,
        proxy_protocol: proxy_protocol?,
    };
    has_hosts(section, &upstream)?;
    may_announce(section, &upstream, allowed?)?;
    Ok(upstream)
}

/// Sees that certificates are told before TLS only where that is believed, and
/// cannot be changed on the way, or the config takes that upon itself.
fn may_announce(section: &Section<'_>, upstream: &Upstream, allowed: bool) -> Read<()> {
    let outbound = &upstream.outbound;
    let tells = upstream.proxy_protocol == Some(Version::V2)
        && outbound.assertion != LayerMode::Never
        && outbound.run_as == RunAs::Client;
    let remote = upstream.endpoints.iter().find(|one| !is_local(one));
    let Some(endpoint) = remote.filter(|_| tells) else {
        return Ok(());
    };
    let problem = if !outbound.authenticates_countersign() {
        Problem::new(format!(
            "{} could not know that the certificates it is told of come from countersign",
            quoted(&endpoint.text)
        ))
        .causes("whoever else can connect to it could claim to be anybody")
        .remedy(
            "write client_certificate_authentication = \"required\" or a credential of countersign's own in the table `outbound`,\n\
             or endpoints on loopback or a unix socket, or identity_assertion = \"never\", or proxy_protocol = \"v1\"",
        )
    } else if !allowed {
        Problem::new(format!(
            "certificates in the clear to another machine: {}",
            quoted(&endpoint.text)
        ))
        .causes("the header comes before TLS, and whoever is on the way could read it and write another")
        .remedy(
            "write identity_assertion = \"never\" (addresses alone are told), or allow_plaintext = true where nobody is on the way",
        )
    } else {
        return Ok(());
    };
    Err(section.refuse_key("proxy_protocol", problem))
}

fn endpoints(section: &mut Section<'_>, allowed: &Read<bool>) -> Read<Vec<Endpoint>> {
    section.required("endpoints", |field| {
        field.list(|member| {
            let endpoint = member.endpoint()?;
            if !endpoint.tls && !is_local(&endpoint) && matches!(allowed, Ok(false)) {
                return Err(member.refuse(plaintext(&endpoint)));
            }
            Ok(endpoint)
        })
    })
}

fn plaintext(endpoint: &Endpoint) -> Problem {
    Problem::new(format!(
        "plaintext to another machine: {}",
        quoted(&endpoint.text)
    ))
    .causes("requests and the identities in them could be read and changed on the way")
    .remedy("write https://, or allow_plaintext = true")
}

/// Whether only this machine reaches the endpoint.
pub(super) fn is_local(endpoint: &Endpoint) -> bool {
    match &endpoint.address {
        EndpointAddress::Unix(_) => true,
        EndpointAddress::Tcp { host, .. } => {
            let ip = host.parse::<IpAddr>();
            host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
        }
    }
}

/// The TLS settings, which are there exactly if an endpoint is `https://`.
fn tls_if_spoken(
    section: &mut Section<'_>,
    endpoints: Option<&[Endpoint]>,
    bundles: &Names,
) -> Read<Option<UpstreamTls>> {
    let field = section.field("tls");
    let tls = field
        .as_ref()
        .map(|field| field.section(|section| tls(section, bundles)))
        .transpose();
    let Some(endpoints) = endpoints else {
        return tls;
    };
    match (endpoints.iter().find(|endpoint| endpoint.tls), &field) {
        (Some(endpoint), None) => {
            let problem = Problem::new("missing")
                .causes(format!(
                    "without it the certificate of {} would be checked against nothing",
                    quoted(&endpoint.text)
                ))
                .remedy(format!(
                    "write a table [{}] with trust = \"NAME\" of a bundle, or \"system\"",
                    section.shown("tls")
                ));
            Err(section.lack_with("tls", problem))
        }
        (None, Some(field)) => Err(field.refuse(
            Problem::new("no endpoint is https://")
                .causes("requests would go up in plaintext all the same")
                .remedy("write https:// in the endpoints, or remove the table"),
        )),
        _ => tls,
    }
}

fn tls(section: &mut Section<'_>, bundles: &Names) -> Read<UpstreamTls> {
    let trust = section.required("trust", |field| trust(field, bundles));
    let server_name = section.optional("server_name", |field| {
        let name = field.parsed(server_name)?;
        Ok(field.located(name))
    });
    let certificate = section.optional("certificate", |field| field.section(own_certificate));
    let versions = versions_from(section);
    Ok(UpstreamTls {
        place: section.place(),
        trust: trust?,
        server_name: server_name?,
        certificate: certificate?,
        versions: versions?,
    })
}

fn trust(field: &Field<'_>, bundles: &Names) -> Read<UpstreamTrust> {
    match field.value().as_str() {
        Some("system") => Ok(UpstreamTrust::System(field.place())),
        _ => Ok(UpstreamTrust::Bundle(BundleId(bundles.resolve(field)?))),
    }
}

fn server_name(text: &str) -> Result<String, Problem> {
    let ip = text.parse::<IpAddr>().ok().map(|ip| ip.to_string());
    ip.or_else(|| host_name(text)).ok_or_else(|| {
        Problem::new(format!(
            "{} is not a name that a certificate can carry",
            quoted(text)
        ))
        .remedy("write one name or address, such as \"orders.internal\"")
    })
}
