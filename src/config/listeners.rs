//! Reads `[listeners.NAME]`: where clients connect and how they prove who they are.

use std::num::{NonZeroU32, NonZeroUsize};

use super::accepted;
use super::algorithms::{algorithms, versions};
use super::announcers;
use super::defaults;
use super::limits::{self, MOST_CONNECTIONS};
use super::model::{
    Bind, BundleId, ClientAuth, ClientPolicy, Limits, Listener, ListenerTls, Located,
    OwnCertificate, Protocol,
};
use super::named_policies::{has_a_strictest, named_policies, unknown_sni};
use super::names::Names;
use super::outcomes::outcomes;
use super::problem::Problem;
use super::redirect;
use super::section::{Field, Read, Section};
use super::signed;
use super::units::quoted;
use super::values::network;
use super::wire;

/// More requests at one time than one client has a use for.
const MOST_STREAMS: usize = 10_000;

/// A well-behaved client may have no request served and still need some; the most is
/// a flood in anybody's eyes.
const CONTROL_FRAMES: (usize, usize) = (100, 1_000_000);

/// What an HTTP parser needs at least, and the most that one client may make it hold.
const HEADER_BYTES: (&str, &str) = ("8KiB", "1MiB");

/// Less than a second is no resumption, and a day is as long as a stolen key may go unnoticed.
const SESSION_LIFETIME: (&str, &str) = ("1s", "24h");

/// The words for the HTTP versions, as ALPN has them.
const PROTOCOLS: [(&str, Protocol); 2] = [("h2", Protocol::Http2), ("http/1.1", Protocol::Http1)];

pub(super) fn listener(section: &mut Section<'_>, name: &str, bundles: &Names) -> Read<Listener> {
    let bind = section.required("bind", |field| field.bind());
    let both = vec![Protocol::Http2, Protocol::Http1];
    let protocols = section.defaulted("protocols", both, |field| {
        field.list(|member| member.choice(&PROTOCOLS))
    });
    let trusted_proxies = section.defaulted("trusted_proxies", Vec::new(), |field| {
        field.list_or_empty(|member| member.parsed(network))
    });
    let allow_plaintext = section.defaulted("allow_plaintext", false, |field| field.boolean());
    let announcers = announcers::announcers(section);
    let redirect = redirect::redirect(section);
    let accepted = accepted::accepted(section);
    let jwks_path = section.optional("jwks_path", signed::jwks_path);
    let tls = section.optional("tls", |field| field.section(|tls| self::tls(tls, bundles)));
    let limits = section.subsection("limits", limits);
    let path = wire::path(section);
    let known = accepted.as_ref().ok().and_then(Option::as_ref);
    let field_names = wire::field_names(section, known);
    let (bind, tls) = (bind?, tls?);
    let redirect = redirect?;
    // Where nothing is served nothing can be read on the way.
    if tls.is_none() && redirect.is_none() && !allow_plaintext? {
        stays_on_this_machine(section, &bind)?;
    }
    let announcers = announcers?;
    announcers::can_connect(section, &announcers, &bind.value)?;
    let accepted = accepted?;
    accepted::can_have_speakers(section, accepted.as_ref(), tls.as_ref())?;
    let listener = Listener {
        name: name.to_owned(),
        place: section.place(),
        bind,
        protocols: protocols?,
        tls,
        limits: limits?,
        trusted_proxies: trusted_proxies?,
        announcers,
        redirect,
        jwks_path: jwks_path?,
        accepted,
        field_names: field_names?,
        path: path?,
    };
    redirect::serves_nothing_else(section, &listener)?;
    Ok(listener)
}

/// Sees that what is not encrypted cannot leave the machine.
fn stays_on_this_machine(section: &Section<'_>, bind: &Located<Bind>) -> Read<()> {
    match &bind.value {
        Bind::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            let problem = Problem::new(format!("plaintext on {address}, which others can reach"))
                .causes("requests and the identities in them could be read and changed on the way")
                .remedy(format!(
                    "write a table [{}.tls], bind to 127.0.0.1 or a unix socket, write redirect_to_https = true,\n\
                     or allow_plaintext = true",
                    section.own_path()
                ));
            let path = section.shown("bind");
            Err(section.reader.report(problem.of_key(bind.place, &path)))
        }
        Bind::Systemd(name) => {
            let problem = Problem::new(format!("plaintext on the socket \"{name}\" from systemd"))
                .causes("the socket unit may bind it where others can reach it, and then requests and the identities in them could be read and changed on the way")
                .remedy(format!(
                    "write a table [{}.tls], redirect_to_https = true,\n\
                     or allow_plaintext = true where ListenStream= is on loopback or a unix socket",
                    section.own_path()
                ));
            let path = section.shown("bind");
            Err(section.reader.report(problem.of_key(bind.place, &path)))
        }
        Bind::Tcp(_) | Bind::Unix(_) => Ok(()),
    }
}

fn tls(section: &mut Section<'_>, bundles: &Names) -> Read<ListenerTls> {
    let certificates = section.required("certificates", |field| {
        field.list(|member| member.section(own_certificate))
    });
    let client_auth = client_auth(section);
    let outcomes = outcomes(section);
    let trust = section.field("trust");
    let trust = client_trust(section, client_auth, trust, bundles);
    let own = policy(client_auth, trust);
    let names = named_policies(section, &own, bundles);
    let unknown_sni = unknown_sni(section);
    let session_resumption = section.defaulted("session_resumption", true, |field| field.boolean());
    let lifetime = defaults::SESSION_LIFETIME;
    let session_lifetime = section.defaulted("session_lifetime", lifetime, |field| {
        let (least, most) = SESSION_LIFETIME;
        field.duration_within(least, most)
    });
    let versions = versions(section);
    let cipher_suites = algorithms(section, "cipher_suites", versions);
    let key_exchange = algorithms(section, "key_exchange", versions);
    let own = own?;
    let tls = ListenerTls {
        place: section.place(),
        certificates: certificates?,
        client_auth: own.client_auth,
        trust: own.trust,
        names: names?,
        unknown_sni: unknown_sni?,
        outcomes: outcomes?,
        session_resumption: session_resumption?,
        session_lifetime: session_lifetime?,
        versions: versions?,
        cipher_suites: cipher_suites?,
        key_exchange: key_exchange?,
    };
    has_a_strictest(section, &tls)?;
    Ok(tls)
}

pub(super) fn client_auth(section: &mut Section<'_>) -> Read<ClientAuth> {
    section.required("client_auth", |field| {
        field.choice(&[
            ("none", ClientAuth::None),
            ("want", ClientAuth::Want),
            ("require", ClientAuth::Require),
        ])
    })
}

fn policy(client_auth: Read<ClientAuth>, trust: Read<Option<BundleId>>) -> Read<ClientPolicy> {
    Ok(ClientPolicy {
        client_auth: client_auth?,
        trust: trust?,
    })
}

/// The bundle, which is there exactly if clients are asked for a certificate.
pub(super) fn client_trust(
    section: &mut Section<'_>,
    client_auth: Read<ClientAuth>,
    field: Option<Field<'_>>,
    bundles: &Names,
) -> Read<Option<BundleId>> {
    let resolved = field
        .as_ref()
        .map(|field| client_bundle(field, bundles))
        .transpose();
    match (client_auth?, &field) {
        (asked @ (ClientAuth::Want | ClientAuth::Require), None) => {
            let word = if asked == ClientAuth::Want {
                "want"
            } else {
                "require"
            };
            let problem = Problem::new(format!("missing, with client_auth = \"{word}\""))
                .causes("client certificates would be asked for, and there is nothing to check them against")
                .remedy("write trust = \"NAME\", with a table [trust.NAME]");
            Err(section.lack_with("trust", problem))
        }
        (ClientAuth::None, Some(field)) => Err(field.refuse(
            Problem::new("a bundle with client_auth = \"none\"")
                .causes("no certificate is asked for, so nothing would be checked against it")
                .remedy("write client_auth = \"require\", or remove trust"),
        )),
        _ => resolved,
    }
}

fn client_bundle(field: &Field<'_>, bundles: &Names) -> Read<BundleId> {
    if field.value().as_str() == Some("system") {
        let problem = Problem::new("clients are not checked against \"system\"")
            .causes("anybody can get a certificate of a public certificate authority")
            .remedy("declare whom to trust in a table [trust.NAME]");
        return Err(field.refuse(problem));
    }
    bundles.resolve(field).map(BundleId)
}

/// A certificate chain and its key.
pub(super) fn own_certificate(section: &mut Section<'_>) -> Read<OwnCertificate> {
    let chain = section.required("chain", |field| field.path());
    let key = section.required("key", |field| field.path());
    Ok(OwnCertificate {
        chain: chain?,
        key: key?,
    })
}

fn limits(section: &mut Section<'_>) -> Read<Limits> {
    let default = defaults::LIMITS;
    let mut duration = |key, default| section.defaulted(key, default, |field| field.duration());
    let handshake_timeout = duration("handshake_timeout", default.handshake_timeout);
    let header_timeout = duration("header_timeout", default.header_timeout);
    let idle_timeout = duration("idle_timeout", default.idle_timeout);
    let body_timeout = duration("body_timeout", default.body_timeout);
    let max_connections =
        section.optional("max_connections", |field| field.count(MOST_CONNECTIONS));
    let max_header_bytes = section.optional("max_header_bytes", |field| {
        let (least, most) = HEADER_BYTES;
        field.size(least, most)
    });
    let max_concurrent_streams =
        section.optional("max_concurrent_streams", |field| field.count(MOST_STREAMS));
    let max_control_frames = section.optional("max_control_frames", |field| {
        let (least, most) = CONTROL_FRAMES;
        field.count_within(least, most)
    });
    let nonzero = |count: Option<usize>| {
        count
            .and_then(|count| u32::try_from(count).ok())
            .and_then(NonZeroU32::new)
    };
    let max_connections = max_connections?
        .and_then(NonZeroUsize::new)
        .unwrap_or(default.max_connections);
    let crowd = limits::crowd(section, max_connections);
    let chain = limits::chain(section);
    let traffic = limits::traffic(section);
    let header_bytes = max_header_bytes?.and_then(|bytes| u32::try_from(bytes).ok());
    Ok(Limits {
        handshake_timeout: handshake_timeout?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        body_timeout: body_timeout?,
        max_connections,
        max_header_bytes: header_bytes
            .and_then(NonZeroU32::new)
            .unwrap_or(default.max_header_bytes),
        max_concurrent_streams: nonzero(max_concurrent_streams?)
            .unwrap_or(default.max_concurrent_streams),
        max_control_frames: nonzero(max_control_frames?).unwrap_or(default.max_control_frames),
        crowd: crowd?,
        chain: chain?,
        traffic: traffic?,
    })
}

/// Describes a bind for messages.
pub(super) fn shown(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Systemd(name) => quoted(&format!("systemd:{name}")),
        Bind::Unix(path) => quoted(&path.to_string_lossy()),
    }
}
