//! The demo's throwaway authority, certificates and config.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::Ports;

/// The identity of the client that may do everything.
pub(super) const CLIENT: &str = "spiffe://demo.example/client";
/// The identity of the client that may not see `/admin`.
pub(super) const OTHER: &str = "spiffe://demo.example/other";

/// Where the demo's files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// The config.
    pub(super) config: PathBuf,
}

/// Why they could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error("{}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error(
        "{}: there are files here already, and the demo overwrites nothing; name a new or an empty directory",
        .0.display()
    )]
    InUse(PathBuf),
    #[error("a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Files {
    /// Makes an authority with a server and two clients, another authority with
    /// a stranger, and the config.
    pub(super) fn write(dir: &Path, ports: Ports) -> Result<Self, FilesError> {
        let fault = |cause| FilesError::Write {
            path: dir.to_owned(),
            cause,
        };
        fs::create_dir_all(dir).map_err(fault)?;
        if fs::read_dir(dir).map_err(fault)?.next().is_some() {
            return Err(FilesError::InUse(dir.to_owned()));
        }
        // What is pasted into another terminal starts from another directory.
        let dir = &std::path::absolute(dir).map_err(fault)?;
        let files = Self {
            dir: dir.to_owned(),
            config: dir.join("countersign.toml"),
        };
        let authority = files.authority("ca", "countersign demo authority")?;
        files.server(&authority)?;
        files.client("client", CLIENT, &authority)?;
        files.client("other-client", OTHER, &authority)?;
        let unknown = files.authority("stranger-ca", "an authority nobody here trusts")?;
        files.client("stranger", CLIENT, &unknown)?;
        files.put("countersign.toml", config(ports).as_bytes())?;
        Ok(files)
    }

    /// The path of one of the files.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What a person can paste. `kept`: the files outlive the demo.
    pub(super) fn invitation(&self, proxy: SocketAddr, kept: bool) -> String {
        let dir = self.dir.display();
        let port = proxy.port();
        let curl = |certificate: &str, path: &str| {
            format!("  curl --cacert '{dir}/ca.pem' {certificate}https://localhost:{port}{path}\n")
        };
        let with = |name: &str| format!("--cert '{dir}/{name}.pem' --key '{dir}/{name}.key' ");
        [
            "\ncountersign terminates mutual TLS in front of a service that knows nothing of it.\n"
                .to_owned(),
            "\nAccepted; the service says who it was told is calling:\n\n".to_owned(),
            curl(&with("client"), "/"),
            "\nRefused in the handshake, for want of a certificate:\n\n".to_owned(),
            curl("", "/"),
            "\nRefused in the handshake, with a stranger's certificate:\n\n".to_owned(),
            curl(&with("stranger"), "/"),
            "\n(And with other-client.pem, /admin is answered 403.) Ctrl-C ends the demo.\n".to_owned(),
            match kept {
                true => format!(
                    "The files stay in {dir}: put your own service into countersign.toml, then\n\n  countersign run --config '{dir}/countersign.toml'\n\n"
                ),
                false => "It leaves no files.\n\n".to_owned(),
            },
        ]
        .concat()
    }

    fn authority(
        &self,
        name: &str,
        common_name: &str,
    ) -> Result<Issuer<'static, KeyPair>, FilesError> {
        let mut params = named(common_name, Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        self.put(&format!("{name}.pem"), certificate.pem().as_bytes())?;
        Ok(Issuer::new(params, key))
    }

    fn server(&self, issuer: &Issuer<'static, KeyPair>) -> Result<(), FilesError> {
        let names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        ];
        let mut params = named("localhost", names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf("server", &params, issuer)
    }

    fn client(
        &self,
        name: &str,
        identity: &str,
        issuer: &Issuer<'static, KeyPair>,
    ) -> Result<(), FilesError> {
        let mut params = named(name, vec![SanType::URI(identity.try_into()?)]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(name, &params, issuer)
    }

    fn leaf(
        &self,
        name: &str,
        params: &CertificateParams,
        issuer: &Issuer<'static, KeyPair>,
    ) -> Result<(), FilesError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        self.put(&format!("{name}.pem"), certificate.pem().as_bytes())?;
        self.put(&format!("{name}.key"), key.serialize_pem().as_bytes())
    }

    /// Writes one file that only its owner can read.
    fn put(&self, name: &str, content: &[u8]) -> Result<(), FilesError> {
        let path = self.path(name);
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content))
            .map_err(|cause| FilesError::Write { path, cause })
    }
}

fn named(common_name: &str, names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.subject_alt_names = names;
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2044, 1, 1);
    params
}

fn config(
    Ports {
        proxy,
        backend,
        admin,
    }: Ports,
) -> String {
    format!(
        r#"# Made by `countersign demo`. Every option stands in config/reference.toml,
# and is explained in config/README.md.

[admin]
bind = "{admin}"                  # /healthz, /readyz, /metrics

[trust.clients]
ca = ["ca.pem"]                           # whoever this authority has certified

[listeners.public]
bind = "{proxy}"

[listeners.public.tls]
certificates = [{{ chain = "server.pem", key = "server.key" }}]
client_auth = "require"                   # no certificate, no connection
trust = "clients"

# The first route that matches counts.
[[routes]]
name = "admin"
path = "/admin"
allow = [{{ uri = "{CLIENT}" }}]
upstream = "service"

[[routes]]
name = "all"
upstream = "service"

[upstreams.service]
endpoints = ["http://{backend}"]   # put your own service here

# The service reads who is calling from these fields. Whatever a client sends
# under such names is removed.
[upstreams.service.outbound.assertion]
encode = ["xfcc", "headers"]

[upstreams.service.outbound.assertion.headers]
X-Client-Subject = "{{subject}}"
X-Client-Uri = "{{uri}}"
"#
    )
}
