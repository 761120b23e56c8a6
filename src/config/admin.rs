//! Reads `[admin]`: where countersign tells of itself, and to whom.

use super::defaults;
use super::listeners::{client_trust, own_certificate};
use super::model::{
    Admin, AdminTls, Bind, ClientAuth, ListenerTls, Located, Outcomes, OwnCertificate, TlsVersion,
    TlsVersions, UnknownSni,
};
use super::names::Names;
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::units::quoted;
use super::values::host_name;

pub(super) fn admin(section: &mut Section<'_>, bundles: &Names) -> Read<Admin> {
    let bind = section.required("bind", |field| field.bind());
    let hosts = section.defaulted("hosts", Vec::new(), |field| {
        field.list(|member| member.parsed(host))
    });
    let allow_changes = section.defaulted("allow_changes", false, |field| field.boolean());
    let tls = section.optional("tls", |field| field.section(|tls| self::tls(tls, bundles)));
    let (bind, allow_changes, tls) = (bind?, allow_changes?, tls?);
    let demands = tls
        .as_ref()
        .is_some_and(|tls| tls.server.client_auth == ClientAuth::Require);
    if allow_changes && !demands {
        is_not_for_everybody(section, &bind)?;
    }
    Ok(Admin {
        bind,
        hosts: hosts?,
        allow_changes,
        tls,
    })
}

fn host(text: &str) -> Result<String, Problem> {
    host_name(text).ok_or_else(|| {
        Problem::new(format!("{} is not the name of a host", quoted(text)))
            .remedy("write a name alone, such as \"status.example.com\"")
    })
}

/// Sees that whoever may have something changed is on this machine.
fn is_not_for_everybody(section: &mut Section<'_>, bind: &Located<Bind>) -> Read<()> {
    let others = match &bind.value {
        Bind::Tcp(address) if address.ip().to_canonical().is_loopback() => None,
        Bind::Tcp(_) => Some("which others can reach"),
        // Nobody knows here where it is bound.
        Bind::Systemd(_) => Some("which others may reach"),
        Bind::Unix(_) => None,
    };
    match others {
        Some(others) => {
            let problem = Problem::new(format!("true, on {}, {others}", bind.value))
                .causes("whoever reaches the status page could reload, drain and end this process")
                .remedy("bind to 127.0.0.1 or a unix socket, write a table [admin.tls] with client_auth = \"require\",\nor remove allow_changes");
            let place = section
                .field("allow_changes")
                .map_or(bind.place, |field| field.place());
            let path = section.shown("allow_changes");
            Err(section.reader.report(problem.of_key(place, &path)))
        }
        None => Ok(()),
    }
}

fn tls(section: &mut Section<'_>, bundles: &Names) -> Read<AdminTls> {
    let certificates = section.required("certificates", |field| field.list(certificate));
    let client_auth = section.required("client_auth", |field| {
        field.choice(&[("none", ClientAuth::None), ("require", ClientAuth::Require)])
    });
    let trust = section.field("trust");
    let trust = client_trust(section, client_auth, trust, bundles);
    let client = section.optional("client", certificate);
    let (client_auth, client) = (client_auth?, client?);
    if client_auth == ClientAuth::None
        && client.is_some()
        && let Some(field) = section.field("client")
    {
        let problem = Problem::new("a certificate with client_auth = \"none\"")
            .causes("nobody would ask for it")
            .remedy("write client_auth = \"require\", or remove client");
        return Err(field.refuse(problem));
    }
    let server = ListenerTls {
        place: section.place(),
        certificates: certificates?,
        client_auth,
        trust: trust?,
        outcomes: Outcomes::STRICT,
        names: Vec::new(),
        unknown_sni: UnknownSni::Refuse,
        session_resumption: false,
        session_lifetime: defaults::SESSION_LIFETIME,
        versions: TlsVersions {
            min: TlsVersion::Tls13,
            max: TlsVersion::Tls13,
        },
        cipher_suites: Vec::new(),
        key_exchange: Vec::new(),
    };
    Ok(AdminTls {
        server,
        limits: defaults::CHAIN,
        client,
    })
}

/// A chain and its key, as a listener has them.
fn certificate(field: &Field<'_>) -> Read<OwnCertificate> {
    field
        .described_as("listeners.NAME.tls.certificates[]")
        .section(own_certificate)
}
