//! Which part of the file system a config needs.

mod held;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Bind, Config};
use held::Held;

/// The folders that a process with this config works in, links resolved.
///
/// # Rules
///
/// * Files are replaced: by a rename, or by a link that leads elsewhere. So it is
///   the folder of a file that is within reach, and where a link leads out of
///   that folder, the one above the folder that it leads to (`releases/8` will be
///   `releases/9`); so too where the link is a folder on the way.
/// * A folder may be made anew. So it is the one above it that is within reach.
/// * What lies directly below the root is never a reason for the whole of it.
/// * Who may remove a socket from a folder may remove everything from it. So nothing
///   is removed where there is more than sockets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reach {
    readable: Held,
    sockets: Held,
    /// Those of the sockets' folders that have more in them.
    shared: BTreeSet<PathBuf>,
}

impl Reach {
    /// What `config` needs; `looked_at`: everything that was read when it was
    /// loaded. Asks the file system.
    pub fn of<'p>(config: &'p Config, looked_at: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut reach = Self::default();
        let looked_at: Vec<_> = looked_at.into_iter().chain([config.path()]).collect();
        for path in &looked_at {
            reach.add_read(path);
        }
        for folder in &config.server().confinement.also_readable {
            reach.add_whole(&folder.value);
        }
        for path in sockets(config) {
            if let Some(folder) = folder_of(path) {
                reach.sockets.insert(folder);
            }
        }
        // What is named for later is not there yet.
        let later = &config.server().confinement.also_readable;
        let named = looked_at.into_iter();
        let named: Vec<_> = named.chain(later.iter().map(|it| &*it.value)).collect();
        let shared = reach
            .sockets
            .paths()
            .filter(|folder| reach.has_more(folder, &named));
        reach.shared = shared.map(Path::to_owned).collect();
        reach
    }

    /// Whether `config` has unix sockets at all.
    pub fn has_sockets(config: &Config) -> bool {
        sockets(config).next().is_some()
    }

    /// What can be read: folders with all that is in them, and single files.
    pub fn readable(&self) -> impl Iterator<Item = &Path> {
        self.readable.paths()
    }

    /// The folders that unix sockets are made in.
    pub fn socket_folders(&self) -> impl Iterator<Item = &Path> {
        self.sockets.paths()
    }

    /// Those of them in which there is nothing else, so that files are removed there.
    pub fn folders_of_sockets_alone(&self) -> impl Iterator<Item = &Path> {
        let all = self.sockets.paths();
        all.filter(|folder| !self.shared.contains(*folder))
    }

    /// The unix sockets of `config` that stand in folders with more than sockets, each
    /// with its folder.
    pub fn sockets_beside_files<'c>(
        &self,
        config: &'c Config,
    ) -> impl Iterator<Item = (&'c Path, PathBuf)> {
        let placed = sockets(config).filter_map(|path| Some((path, folder_of(path)?)));
        placed.filter(|(_, folder)| self.shared.contains(folder))
    }

    /// Whether a path can be read, as far as it is for this to say.
    pub fn may_read(&self, path: &Path) -> bool {
        self.readable.holds(&whole(path))
    }

    /// The folder on the way to a path that was within reach, and that another has
    /// taken the place of since, or come to be at all.
    pub fn exchanged(&self, path: &Path) -> Option<PathBuf> {
        self.readable.exchanged(&whole(path)).map(Path::to_owned)
    }

    /// The unix sockets of `config` that could not be made.
    pub fn out_of_reach(&self, config: &Config) -> Vec<PathBuf> {
        let can_be_made = |path: &&Path| {
            let folder = folder_of(path);
            folder.is_some_and(|folder| self.sockets.holds(&folder))
        };
        let all = sockets(config).filter(|path| !can_be_made(path));
        all.map(Path::to_owned).collect()
    }

    /// Whether a folder has more in it than sockets: what was looked at, a link to it,
    /// what else can be read; or it is directly below the root.
    fn has_more(&self, folder: &Path, looked_at: &[&Path]) -> bool {
        let is_in = |path: PathBuf| path.starts_with(folder);
        let leads_in = |path: &&Path| {
            whole(path).starts_with(folder) || std::path::absolute(path).is_ok_and(is_in)
        };
        let mut readable = self.readable.paths();
        depth(folder) < 2
            || looked_at.iter().any(leads_in)
            || readable.any(|known| known.starts_with(folder))
    }

    /// A file or a folder that was looked at.
    fn add_read(&mut self, path: &Path) {
        self.add_links(path);
        let literal = folder_of(path);
        let Ok(target) = path.canonicalize() else {
            // It is not there, and may come to be.
            if let Some(folder) = literal.filter(|folder| !is_root(folder)) {
                self.readable.insert(folder);
            }
            return;
        };
        if target.is_dir() {
            self.add_whole(&target);
            return;
        }
        let folder = target.parent().unwrap_or(&target);
        match &literal {
            Some(literal) if folder.starts_with(literal) && !is_root(literal) => {
                self.readable.insert(literal.clone());
            }
            Some(literal) => {
                self.add_with_above(folder, &target);
                if !is_root(literal) {
                    self.readable.insert(literal.clone());
                }
            }
            None => self.add_with_above(folder, &target),
        }
    }

    /// A folder, and the one above it unless that is nearly everything.
    fn add_with_above(&mut self, folder: &Path, target: &Path) {
        if is_root(folder) {
            self.readable.insert(target.to_owned());
            return;
        }
        let above = folder.parent().filter(|above| depth(above) >= 2);
        self.readable.insert(above.unwrap_or(folder).to_owned());
    }

    /// Where a folder on the way to a path is a link, the one above the folder that
    /// it leads to: it may lead to the next one later.
    fn add_links(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else {
            return;
        };
        let is_link = |way: &&Path| way.symlink_metadata().is_ok_and(|it| it.is_symlink());
        for link in path.ancestors().skip(1).filter(is_link) {
            let target = link.canonicalize().ok();
            let above = target.as_deref().and_then(Path::parent);
            let above = above.filter(|above| depth(above) >= 2);
            if let Some(above) = above {
                self.readable.insert(above.to_owned());
            }
        }
    }

    fn add_whole(&mut self, folder: &Path) {
        self.add_links(folder);
        if let Ok(folder) = folder.canonicalize() {
            let above = folder.parent().filter(|above| depth(above) >= 2);
            self.readable.insert(above.unwrap_or(&folder).to_owned());
        }
    }
}

/// The unix sockets that a config has bound.
fn sockets(config: &Config) -> impl Iterator<Item = &Path> {
    let listeners = config.listeners().iter().map(|listener| &listener.bind);
    let admin = config.admin().map(|admin| &admin.bind);
    let binds = listeners.chain(admin).filter_map(|bind| match &bind.value {
        Bind::Unix(path) => Some(path.as_path()),
        Bind::Tcp(_) | Bind::Systemd(_) => None,
    });
    let upgrade = config.server().upgrade_socket.as_ref();
    binds.chain(upgrade.map(|path| path.value.as_path()))
}

/// A path from the root on, without links as far as it leads anywhere.
fn whole(path: &Path) -> PathBuf {
    let found = path.canonicalize().or_else(|_| std::path::absolute(path));
    found.unwrap_or_else(|_| path.to_owned())
}

/// The folder that a path stands in, from the root on and without links.
fn folder_of(path: &Path) -> Option<PathBuf> {
    // That of a name alone is where the process is.
    let whole = std::path::absolute(path).ok()?;
    whole.parent()?.canonicalize().ok()
}

fn is_root(folder: &Path) -> bool {
    depth(folder) == 0
}

/// How many names lead to a folder from the root.
fn depth(folder: &Path) -> usize {
    folder.components().count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn reach_of(paths: &[&Path]) -> Reach {
        let mut reach = Reach::default();
        for path in paths {
            reach.add_read(path);
        }
        reach
    }

    #[test]
    fn file_is_replaced_in_its_folder_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let (tls, other) = (folder.path().join("tls"), folder.path().join("other"));
        for folder in [&tls, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("a.pem"), "").unwrap();
        }
        let reach = reach_of(&[&tls.join("a.pem")]);
        assert!(reach.may_read(&tls.join("a.pem")));
        assert!(reach.may_read(&tls.join("new.pem")), "not there yet");
        assert!(!reach.may_read(&other.join("a.pem")));
        symlink(other.join("a.pem"), tls.join("b.pem")).unwrap();
        assert!(!reach.may_read(&tls.join("b.pem")), "a link out of it");
    }

    #[test]
    fn link_may_lead_to_the_next_release() {
        let folder = tempfile::tempdir().unwrap();
        let releases = folder.path().join("releases");
        for release in ["8", "9"] {
            fs::create_dir_all(releases.join(release)).unwrap();
            fs::write(releases.join(release).join("a.pem"), "").unwrap();
        }
        let current = folder.path().join("current");
        fs::create_dir(&current).unwrap();
        symlink(releases.join("8/a.pem"), current.join("a.pem")).unwrap();
        let reach = reach_of(&[&current.join("a.pem")]);
        assert!(reach.may_read(&releases.join("9/a.pem")));
        assert!(!reach.may_read(&folder.path().join("x.pem")));
    }

    #[test]
    fn folder_on_the_way_may_lead_to_the_next_release() {
        let folder = tempfile::tempdir().unwrap();
        let releases = folder.path().join("app/releases");
        for release in ["8", "9"] {
            fs::create_dir_all(releases.join(release).join("trust")).unwrap();
            fs::write(releases.join(release).join("a.pem"), "").unwrap();
        }
        let current = folder.path().join("app/current");
        symlink("releases/8", &current).unwrap();
        for path in [current.join("a.pem"), current.join("trust")] {
            let reach = reach_of(&[&path]);
            assert!(reach.may_read(&releases.join("9/a.pem")));
            assert!(!reach.may_read(&folder.path().join("x.pem")));
        }
    }

    #[test]
    fn folder_may_be_made_anew_where_the_one_above_it_is_not_nearly_everything() {
        let folder = tempfile::tempdir().unwrap();
        let trust = folder.path().join("here/trust");
        fs::create_dir_all(&trust).unwrap();
        let reach = reach_of(&[&trust]);
        let above = folder.path().join("here").canonicalize().unwrap();
        assert!(reach.readable().any(|known| known == above));
        assert!(!reach.may_read(&folder.path().join("x")));
        let top = reach_of(&[Path::new("/etc")]);
        let all: Vec<_> = top.readable().collect();
        assert_eq!(all, [Path::new("/etc")]);
    }

    #[test]
    fn folder_of_sockets_has_nothing_else_in_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let folder = |name: &str| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            folder
        };
        let (keys, sockets) = (folder("keys"), folder("keys/sockets"));
        let (linked, trust) = (folder("linked"), folder("here/trust"));
        fs::write(keys.join("a.pem"), "").unwrap();
        symlink(keys.join("a.pem"), linked.join("b.pem")).unwrap();
        let looked_at = [keys.join("a.pem"), linked.join("b.pem"), trust.clone()];
        let looked_at = looked_at.each_ref().map(PathBuf::as_path);
        let reach = reach_of(&looked_at);
        for shared in [
            &keys,
            &linked,
            &trust,
            &root,
            Path::new("/run"),
            Path::new("/"),
        ] {
            assert!(reach.has_more(shared, &looked_at), "{}", shared.display());
        }
        for alone in [&sockets, &folder("here/sockets")] {
            assert!(!reach.has_more(alone, &looked_at), "{}", alone.display());
        }
    }

    #[test]
    fn name_alone_stands_where_the_process_is() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(folder_of(Path::new("a.sock")), Some(here));
        assert!(reach_of(&[Path::new("Cargo.toml")]).may_read(Path::new("Cargo.lock")));
    }

    #[test]
    fn file_below_the_root_is_within_reach_alone() {
        let reach = reach_of(&[
            Path::new("/dev/../etc/hostname"),
            Path::new("/no-such-file"),
        ]);
        assert!(!reach.readable().any(is_root));
    }
}
