//! What is asked, with everything filled in that was not said.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, Version, request};
use rustls_pki_types::{CertificateDer, DnsName, UnixTime};

use super::{Question, instant};
use crate::cli::terminal::shown;
use crate::config::{Bind, Config, Files, Listener, ListenerId, Protocol};
use crate::generation::Loaded;
use crate::tls::{ServerTls, client_chain};

/// A client, and a request of it.
pub(super) struct Case {
    pub(super) listener: ListenerId,
    /// The name that the client asks for in the handshake.
    pub(super) server_name: Option<String>,
    /// Where the certificate stands, and the chain, the leaf first.
    pub(super) certificate: Option<(PathBuf, Vec<CertificateDer<'static>>)>,
    pub(super) at: UnixTime,
    /// `None`: a unix socket.
    pub(super) from: Option<SocketAddr>,
    pub(super) http2: bool,
    /// The host as it was asked for, with its port.
    pub(super) host: String,
    pub(super) head: request::Parts,
    /// What was not said, and is taken for granted.
    pub(super) assumed: Vec<String>,
}

impl Case {
    /// Reads a question.
    ///
    /// # Errors
    ///
    /// A sentence: what of it cannot be meant.
    pub(super) fn of(question: &Question, loaded: &Loaded) -> Result<Self, String> {
        let config = loaded.config();
        let mut assumed = Vec::new();
        let (id, listener) = listener(question.listener.as_deref(), config)?;
        let server = loaded.material().servers.get(id.0).and_then(Option::as_ref);
        let certificate = question.cert.as_deref().map(read).transpose()?;
        let at = match &question.at {
            None => UnixTime::now(),
            Some(text) => instant::parse(text).ok_or_else(|| {
                format!("--at: \"{text}\" is no time; write 2026-12-31 or 2026-12-31T23:59:00Z")
            })?,
        };
        let from = from(question.from.as_deref(), listener, &mut assumed)?;
        let http2 = http2(question.http.as_deref(), listener)?;
        let host = match (&question.host, question.sni.as_deref()) {
            (Some(host), _) => host.clone(),
            (None, Some(name)) if !name.is_empty() => name.to_owned(),
            (None, _) => {
                let host = server.map_or("localhost".to_owned(), |tls| own_name(tls));
                assumed.push(format!("the host is {host} (--host)"));
                host
            }
        };
        let server_name = match question.sni.as_deref() {
            Some("") => None,
            Some(name) => {
                // No client could ask for anything else.
                let legal = DnsName::try_from(name).is_ok() && name.parse::<IpAddr>().is_err();
                let name = legal.then(|| name.to_owned());
                Some(name.ok_or_else(|| {
                    format!(
                        "--sni: \"{}\" is not the name of a host",
                        shown(question.sni.as_deref().unwrap_or_default())
                    )
                })?)
            }
            None => name_in(&host),
        };
        if server.is_some() && certificate.is_some() {
            assumed.push("the client holds the key of its certificate".to_owned());
        }
        assumed.extend(made_up(config).map(ToOwned::to_owned));
        let head = head(question, &host, (http2, server.is_some()))?;
        Ok(Self {
            listener: id,
            server_name: server_name.filter(|_| server.is_some()),
            certificate,
            at,
            from,
            http2,
            host,
            head,
            assumed,
        })
    }

    /// The chain that the client has, the leaf first; empty: none.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        self.certificate
            .as_ref()
            .map_or(&[], |(_, chain)| chain.as_slice())
    }
}

fn listener<'c>(
    name: Option<&str>,
    config: &'c Config,
) -> Result<(ListenerId, &'c Listener), String> {
    let mut all = config.listeners().iter().enumerate();
    let names = || -> String {
        let names = config.listeners().iter().map(|one| one.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let found = match (name, config.listeners()) {
        (None, [_]) => all.next(),
        (None, _) => return Err(format!("say with --listener which: {}", names())),
        (Some(name), _) => all.find(|(_, one)| one.name == name),
    };
    let (index, listener) = found.ok_or_else(|| {
        format!(
            "--listener: there is no such listener; there are {}",
            names()
        )
    })?;
    Ok((ListenerId(index), listener))
}

fn read(path: &Path) -> Result<(PathBuf, Vec<CertificateDer<'static>>), String> {
    let chain = client_chain(&Files::new(), path).map_err(|cause| {
        format!(
            "--cert: {}\nwrite the path of a PEM file: the client's certificate, then its intermediates",
            shown(&cause)
        )
    })?;
    Ok((path.to_owned(), chain))
}

/// What is told of a request that is another one each time.
fn made_up(config: &Config) -> Option<&'static str> {
    let has_id = config.log().request_id_header.is_some();
    match (config.trace().is_some(), has_id) {
        (false, false) => None,
        (true, false) => Some("the ids in traceparent, which are others each time"),
        (false, true) => Some("the id of the request, which is another one each time"),
        (true, true) => {
            Some("the ids in traceparent and of the request, which are others each time")
        }
    }
}

fn from(
    text: Option<&str>,
    listener: &Listener,
    assumed: &mut Vec<String>,
) -> Result<Option<SocketAddr>, String> {
    match (text, &listener.bind.value) {
        (Some(_), Bind::Unix(_)) => Err(format!(
            "--from: clients of listener {} come over a unix socket, and have no address",
            listener.name
        )),
        (None, Bind::Unix(_)) => Ok(None),
        (Some(text), Bind::Tcp(_) | Bind::Systemd(_)) => {
            let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
            let address = address.or_else(|_| text.parse::<SocketAddr>());
            let address = address.map_err(|_| format!("--from: \"{text}\" is no IP address"))?;
            Ok(Some(address))
        }
        (None, Bind::Tcp(_) | Bind::Systemd(_)) => {
            assumed.push("the client comes from 127.0.0.1 (--from)".to_owned());
            Ok(Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)))
        }
    }
}

fn http2(version: Option<&str>, listener: &Listener) -> Result<bool, String> {
    let speaks = |protocol| listener.protocols.contains(&protocol);
    let asked = version.map(|version| match version {
        "2" => Protocol::Http2,
        _ => Protocol::Http1,
    });
    match asked {
        Some(protocol) if !speaks(protocol) => Err(format!(
            "--http: listener {} does not speak this version (protocols)",
            listener.name
        )),
        Some(protocol) => Ok(protocol == Protocol::Http2),
        None => Ok(!speaks(Protocol::Http1)),
    }
}

/// A name for which the listener's first certificate is good.
fn own_name(tls: &ServerTls) -> String {
    let shown = tls.rehearse(None, &[], UnixTime::now()).shown;
    let dns = shown.as_ref().map_or(&[][..], |names| names.dns());
    let exact = dns.iter().find(|name| !name.starts_with("*."));
    match exact.or(dns.first()) {
        Some(name) => name.replacen("*.", "www.", 1),
        None => {
            let ip = shown.as_ref().and_then(|names| names.ip().first().copied());
            match ip {
                Some(IpAddr::V6(ip)) => format!("[{ip}]"),
                Some(ip) => ip.to_string(),
                None => "localhost".to_owned(),
            }
        }
    }
}

/// What a client asks for in SNI that connects to this host; addresses cannot be
/// asked for (RFC 6066 §3).
fn name_in(host: &str) -> Option<String> {
    if host.starts_with('[') {
        return None;
    }
    let name = host.split(':').next().unwrap_or(host);
    let is_name = DnsName::try_from(name).is_ok() && name.parse::<IpAddr>().is_err();
    is_name.then(|| name.to_owned())
}

fn head(
    question: &Question,
    host: &str,
    (http2, tls): (bool, bool),
) -> Result<request::Parts, String> {
    if question.path.contains('#') {
        return Err(
            "--path: countersign refuses a request target with a fragment (`#`) with 400, before anything is decided"
                .to_owned(),
        );
    }
    let method = Method::from_bytes(question.method.as_bytes());
    let method =
        method.map_err(|_| format!("--method: \"{}\" is none", shown(&question.method)))?;
    let scheme = if tls { "https" } else { "http" };
    let builder = Request::builder().method(method);
    let builder = if http2 {
        let uri = format!("{scheme}://{host}{}", question.path);
        builder.uri(uri).version(Version::HTTP_2)
    } else {
        builder.uri(question.path.as_str()).header(HOST, host)
    };
    let (mut head, ()) = builder
        .body(())
        .map_err(|cause| format!("--host, --path: no request can be made of them: {cause}"))?
        .into_parts();
    for field in &question.header {
        let (name, value) =
            parse_field(field).ok_or_else(|| "--header: write \"NAME: VALUE\"".to_owned())?;
        head.headers.append(name, value);
    }
    Ok(head)
}

fn parse_field(field: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = field.split_once(':')?;
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = HeaderValue::from_str(value.trim()).ok()?;
    Some((name, value))
}
