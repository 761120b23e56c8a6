//! The programs that are compared: which there are, and how each is set up.
//!
//! All alike: two workers, TLS 1.2 and 1.3, a client certificate required, who
//! is calling in a field of the request, sessions resumed, connections to the
//! service kept, bodies passed on as they come, no access log, and no limit that
//! the load meets. What is not said is as each program comes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::scene::{Scene, WORKERS};
use super::support::command::BINARY;
use super::support::pki::PROXY_NAME;
use super::support::proxy::Setup;

/// A program that is compared.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// The one that cargo has built.
    Countersign,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

impl Program {
    /// This program, and those beside which it is measured.
    pub(crate) const ALL: [Self; 3] = [Self::Countersign, Self::Nginx, Self::Haproxy];

    /// As its makers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Countersign => "countersign",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }

    /// What Debian's package of it is called.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Countersign => "countersign",
            Self::Nginx => "nginx-light",
            Self::Haproxy => "haproxy",
        }
    }

    /// Where it is; `None`: it is not installed.
    pub(crate) fn binary(self) -> Option<PathBuf> {
        let name = match self {
            Self::Countersign => return Some(BINARY.into()),
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let mut places = folders.map(|folder| folder.join(name));
        places.find(|place| place.is_file())
    }

    /// Its version, with that of its TLS library where it is not built in.
    pub(crate) fn version(self) -> String {
        let option = match self {
            Self::Countersign => "--version",
            Self::Nginx => "-V",
            Self::Haproxy => "-vv",
        };
        let said = Command::new(self.binary().unwrap()).arg(option).output();
        let said = said.unwrap();
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = ["countersign ", "nginx version: nginx/", "HAProxy version "];
        let library = [
            "running with OpenSSL ",
            "Running on OpenSSL version : OpenSSL ",
            "built with OpenSSL ",
        ];
        let version = word_after(&text, &version).unwrap_or("of unknown version");
        match word_after(&text, &library) {
            Some(library) => format!("{} {version} (OpenSSL {library})", self.name()),
            None => format!("{} {version}", self.name()),
        }
    }
}

/// The word after the first of these that occurs.
fn word_after<'a>(text: &'a str, marks: &[&str]) -> Option<&'a str> {
    let mut rests = marks.iter().filter_map(|mark| text.split_once(mark));
    rests.next()?.1.split_whitespace().next()
}

/// countersign, as it is installed with nothing but this said. Others than root
/// may read what memory it holds only if it may leave core dumps.
pub(crate) fn countersign(scene: &Scene) -> Setup {
    Setup::to(&scene.pki, &format!("http://{}", scene.service))
        .certificate("proxy", &scene.own)
        .without("admin")
        .with(&format!(
            "
            server.workers = {WORKERS}
            server.confinement.unsafe_core_dumps = true
            log.access = false
            listeners.public.limits.max_requests_per_connection = 1000000000"
        ))
}

/// The config of nginx, whose files are all in this folder.
pub(crate) fn nginx(folder: &Path, address: SocketAddr, service: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"
daemon off; worker_processes {WORKERS};
pid {folder}/pid; error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_timeout 75s; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream service {{ server {service}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen {address} ssl http2 backlog=4096;
    server_name {PROXY_NAME};
    ssl_certificate {folder}/own.pem; ssl_certificate_key {folder}/own.pem.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:sessions:10m;
    ssl_client_certificate {folder}/clients.pem; ssl_verify_client on; ssl_verify_depth 3;
    client_max_body_size 0;
    location / {{
      proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Client-DN $ssl_client_s_dn;
      # No body goes to a file.
      proxy_request_buffering off; proxy_max_temp_file_size 0;
    }}
  }}
}}
"#
    )
}

/// The config of HAProxy, whose files are all in this folder.
pub(crate) fn haproxy(folder: &Path, address: SocketAddr, service: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "
global
  nbthread {WORKERS}
  maxconn 1500
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout http-keep-alive 75s
frontend downstream
  bind {address} backlog 4096 ssl crt {folder}/own.pem ca-file {folder}/clients.pem verify required alpn h2,http/1.1
  http-request set-header X-Client-DN %[ssl_c_s_dn]
  default_backend service
backend service
  http-reuse always
  server service {service}
"
    )
}
