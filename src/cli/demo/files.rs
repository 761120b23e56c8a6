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

/// The identity of the client that may do everything.
pub(super) const CLIENT: &str = "spiffe://demo.example/client";
/// The identity of the client that may not see `/admin`.
pub(super) const OTHER: &str = "spiffe://demo.example/other";

/// The config's name in the folder.
const CONFIG: &str = "countersign.toml";

/// Where the demo's files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// The config.
    pub(super) config: PathBuf,
}

/// What stands in the config, all on this machine's loopback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binds {
    /// Where the service is.
    pub(super) service: SocketAddr,
    /// Where the proxy is to be; port 0 lets the system choose.
    pub(super) proxy: SocketAddr,
    /// Where health and metrics are to be, likewise.
    pub(super) admin: SocketAddr,
}

/// Why they could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// Something of this name is there already.
    #[error("{} is there already, and the demo overwrites nothing; name another folder", .0.display())]
    InTheWay(PathBuf),
    /// The system refuses it.
    #[error("{}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    /// A certificate cannot be made.
    #[error("a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Files {
    /// Makes an authority with a server and two clients, another authority with
    /// a stranger, and the config. A folder that is not there is made.
    ///
    /// # Errors
    ///
    /// [`FilesError::InTheWay`] before anything is written, if one of the files
    /// is there already.
    pub(super) fn write(dir: &Path, binds: Binds) -> Result<Self, FilesError> {
        let contents = Contents::make(binds)?;
        // What is pasted into another terminal starts from another directory.
        let dir = std::path::absolute(dir).map_err(|cause| refused(dir.to_owned(), cause))?;
        let files = Self {
            config: dir.join(CONFIG),
            dir: dir.clone(),
        };
        let taken = |path: &PathBuf| path.symlink_metadata().is_ok();
        let mut paths = contents.0.iter().map(|(name, _)| files.path(name));
        if let Some(path) = paths.find(taken) {
            return Err(FilesError::InTheWay(path));
        }
        fs::create_dir_all(&dir).map_err(|cause| refused(dir, cause))?;
        for (name, content) in &contents.0 {
            files.put(name, content)?;
        }
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

    /// Writes one file that is new and that only its owner can read.
    fn put(&self, name: &str, content: &str) -> Result<(), FilesError> {
        let path = self.path(name);
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|cause| refused(path, cause))
    }
}

fn refused(path: PathBuf, cause: io::Error) -> FilesError {
    match cause.kind() {
        io::ErrorKind::AlreadyExists => FilesError::InTheWay(path),
        _ => FilesError::Write { path, cause },
    }
}

/// The names and texts of the files, before there are any.
struct Contents(Vec<(String, String)>);

impl Contents {
    fn make(binds: Binds) -> Result<Self, FilesError> {
        let mut contents = Self(Vec::new());
        let authority = contents.authority("ca", "countersign demo authority")?;
        contents.server(&authority)?;
        contents.client("client", CLIENT, &authority)?;
        contents.client("other-client", OTHER, &authority)?;
        let unknown = contents.authority("stranger-ca", "an authority nobody here trusts")?;
        contents.client("stranger", CLIENT, &unknown)?;
        contents.add(CONFIG, config(binds));
        Ok(contents)
    }

    fn authority(
        &mut self,
        name: &str,
        common_name: &str,
    ) -> Result<Issuer<'static, KeyPair>, FilesError> {
        let mut params = named(common_name, Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        self.add(&format!("{name}.pem"), certificate.pem());
        Ok(Issuer::new(params, key))
    }

    fn server(&mut self, issuer: &Issuer<'static, KeyPair>) -> Result<(), FilesError> {
        let names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        ];
        let mut params = named("localhost", names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf("server", &params, issuer)
    }

    fn client(
        &mut self,
        name: &str,
        identity: &str,
        issuer: &Issuer<'static, KeyPair>,
    ) -> Result<(), FilesError> {
        let mut params = named(name, vec![SanType::URI(identity.try_into()?)]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(name, &params, issuer)
    }

    fn leaf(
        &mut self,
        name: &str,
        params: &CertificateParams,
        issuer: &Issuer<'static, KeyPair>,
    ) -> Result<(), FilesError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        self.add(&format!("{name}.pem"), certificate.pem());
        self.add(&format!("{name}.key"), key.serialize_pem());
        Ok(())
    }

    fn add(&mut self, name: &str, content: String) {
        self.0.push((name.to_owned(), content));
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
    Binds {
        service,
        proxy,
        admin,
    }: Binds,
) -> String {
    format!(
        r#"# Made by `countersign demo`. Every option stands in config/reference.toml,
# and is explained in config/README.md.

[admin]
bind = "{admin}"                  # status page and metrics; any free port will do

[trust.clients]
ca = ["ca.pem"]                           # whoever this authority has certified

[listeners.public]
bind = "{proxy}"                  # any free port will do

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
endpoints = ["http://{service}"]   # put your own service here

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
