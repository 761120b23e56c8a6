//! Which files of secrets are open to everybody on this machine.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::{Config, CredentialSource, Files};

/// The bits by which others than the owner and the group may read, write or run.
const OTHERS: u32 = 0o007;

/// A file of secrets that every user of this machine may read or change.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Exposed {
    path: PathBuf,
    mode: u32,
}

impl std::fmt::Display for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        let mode = self.mode;
        write!(
            f,
            "{path} holds a secret, and its mode {mode:04o} opens it to every user of this machine; chmod o= {path}"
        )
    }
}

/// Those of the secrets of `config`, by their modes when they were read through
/// `files`, and of those that are for other commands to read by their modes now.
/// The group's bits are the operator's: it is how a service is given files that are
/// not its own.
pub(super) fn exposed(config: &Config, files: &Files) -> Vec<Exposed> {
    let mut found: Vec<Exposed> = secrets(config)
        .flat_map(|path| members(path, files).to_vec())
        .filter_map(|path| {
            let mode = files.mode(&path).or_else(|| mode_now(&path))?;
            (mode & OTHERS != 0).then_some(Exposed { path, mode })
        })
        .collect();
    // One file may serve several listeners.
    found.sort();
    found.dedup();
    found
}

/// The paths that the config names for secrets.
fn secrets(config: &Config) -> impl Iterator<Item = &Path> {
    let admin = config.admin().and_then(|admin| admin.tls.as_ref());
    let servers = config.listeners().iter().filter_map(|one| one.tls.as_ref());
    let servers = servers.chain(admin.map(|tls| &tls.server));
    let servers = servers.flat_map(|tls| &tls.certificates);
    let own = admin.and_then(|tls| tls.client.as_ref());
    let upstreams = config.upstreams().iter();
    let clients = upstreams
        .clone()
        .filter_map(|one| one.tls.as_ref()?.certificate.as_ref());
    let keys = servers
        .chain(clients)
        .chain(own)
        .map(|certificate| &certificate.key);
    let credentials = upstreams.filter_map(|one| match &one.outbound.source {
        CredentialSource::Forward => None,
        CredentialSource::Basic { password_file, .. } => Some(password_file),
        CredentialSource::Bearer { token_file } => Some(token_file),
        CredentialSource::PerCaller { file } => Some(file),
    });
    let signing = config.upstreams().iter();
    let signing = signing.filter_map(|one| one.outbound.signed.as_ref());
    let signing = signing.flat_map(|signed| &signed.keys);
    let tickets = config.server().session_ticket_keys.iter();
    let all = keys.chain(credentials).chain(signing).chain(tickets);
    all.map(|located| located.value.as_path())
}

/// The permission bits of a file that nobody has read.
fn mode_now(path: &Path) -> Option<u32> {
    let found = path.metadata().ok().filter(Metadata::is_file)?;
    Some(found.permissions().mode() & 0o7777)
}

/// The files of a path that may be a directory.
fn members(path: &Path, files: &Files) -> Rc<[PathBuf]> {
    match files.listed(path) {
        Some(listed) => listed,
        None => Rc::new([path.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::config;

    /// What is exposed where the one secret of each kind has this mode.
    fn exposed_with(mode: u32) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tickets")).unwrap();
        let names = [
            "admin.key",
            "own.key",
            "server.key",
            "client.key",
            "password",
            "token",
            "callers",
            "assertion.pem",
            "tickets/1",
        ];
        for name in names {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let file = folder.path().join("config.toml");
        let draft = config::parse(CONFIG, &file);
        let files = Files::new();
        // That one is for the commands that ask the admin address.
        for name in names.into_iter().filter(|name| *name != "own.key") {
            files.read(&folder.path().join(name), 10).unwrap();
        }
        files.list(&folder.path().join("tickets")).unwrap();
        let prefix = format!("{}/", folder.path().display());
        let found = exposed(&draft.finish(Vec::new()).unwrap(), &files);
        let found = found
            .iter()
            .map(|exposed| exposed.to_string().replace(&prefix, ""));
        found.collect()
    }

    const CONFIG: &str = r#"
server.session_ticket_keys = "tickets"
[trust.t]
ca = ["c"]
[admin]
bind = "127.0.0.1:1"
tls = { certificates = [{ chain = "c", key = "admin.key" }], client_auth = "require", trust = "t", client = { chain = "c", key = "own.key" } }
[listeners.a]
bind = "127.0.0.1:0"
tls = { certificates = [{ chain = "c", key = "server.key" }], client_auth = "none" }
[[routes]]
upstream = "a"
[upstreams.a]
endpoints = ["https://127.0.0.1"]
tls = { trust = "system", certificate = { chain = "c", key = "client.key" } }
outbound.credential = { source = "basic", user = "u", password_file = "password" }
[upstreams.b]
endpoints = ["http://127.0.0.1"]
outbound.credential = { source = "bearer", token_file = "token" }
outbound.assertion = { encode = ["jwt"], jwt = { keys = ["assertion.pem"], issuer = "i" } }
[upstreams.c]
endpoints = ["http://127.0.0.1"]
outbound.credential = { source = "per_caller", file = "callers" }
"#;

    #[test]
    fn secret_that_everybody_may_read_is_told_with_its_mode_and_what_to_do() {
        let told = exposed_with(0o644);
        let names: Vec<_> = told
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        let all = [
            "admin.key",
            "assertion.pem",
            "callers",
            "client.key",
            "own.key",
            "password",
            "server.key",
            "tickets/1",
            "token",
        ];
        assert_eq!(names, all);
        assert_eq!(
            told[6],
            "server.key holds a secret, and its mode 0644 opens it to every user of this machine; chmod o= server.key"
        );
        assert_eq!(exposed_with(0o602).len(), 9);
    }

    #[test]
    fn secret_of_its_owner_and_group_is_fine() {
        for mode in [0o600, 0o400, 0o640, 0o440, 0o660] {
            assert_eq!(exposed_with(mode), [""; 0], "{mode:o}");
        }
    }
}
