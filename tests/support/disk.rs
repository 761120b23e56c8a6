//! The ways in which people and programs change files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Pid;

/// Names, and what the files of these names hold.
pub(crate) type Content = Vec<(&'static str, Vec<u8>)>;

/// A way to change the files of a folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Each file is opened, cut off and written again.
    InPlace,
    /// The new file is written aside under a hidden name and renamed.
    RenameOver,
    /// As kubelet updates the volume of a Secret or a ConfigMap.
    DataSwap,
    /// The folder is removed with all that is in it, and made again.
    FolderAgain,
    /// A folder that was filled aside takes the place of the folder.
    FolderExchanged,
    /// Each path is a link, whose target is replaced by a rename.
    LinkTarget,
    /// Each path is a link, which is replaced by one that leads elsewhere.
    LinkTurned,
    /// The folder is a link, which is turned to another one.
    FolderLinkTurned,
    /// The files are removed; the change after that puts new ones there.
    GoneThenBack,
    /// Each file is written in place under another name in another folder: no
    /// watch on a folder hears of it.
    OtherName,
    /// Another file is mounted over each, in the proxy's mount namespace.
    BindMount,
}

/// A folder whose files are changed in one way, and room beside it.
#[derive(Debug)]
pub(crate) struct Volume {
    way: Way,
    folder: PathBuf,
    /// Nothing in here is looked at but through links.
    aside: PathBuf,
    changes: u32,
}

impl Volume {
    /// Makes `live` below `root`, with these files.
    pub(crate) fn new(root: &Path, way: Way, content: &Content) -> Self {
        let volume = Self {
            way,
            folder: root.join("live"),
            aside: root.join("aside"),
            changes: 0,
        };
        fs::create_dir(&volume.aside).unwrap();
        if way != Way::FolderLinkTurned {
            fs::create_dir(&volume.folder).unwrap();
        }
        volume.lay_out(content);
        volume
    }

    fn lay_out(&self, content: &Content) {
        match self.way {
            Way::DataSwap => {
                self.swap_data(content);
                for (name, _) in content {
                    symlink(Path::new("..data").join(name), self.path(name)).unwrap();
                }
            }
            Way::FolderLinkTurned => {
                let version = self.version(content);
                symlink(version, &self.folder).unwrap();
            }
            Way::LinkTarget | Way::LinkTurned => {
                let version = self.version(content);
                for (name, _) in content {
                    symlink(version.join(name), self.path(name)).unwrap();
                }
            }
            Way::OtherName => {
                let version = self.version(content);
                for (name, _) in content {
                    fs::hard_link(version.join(name), self.path(name)).unwrap();
                }
            }
            _ => fill(&self.folder, content),
        }
    }

    /// Where a file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts other content there. `proxy`: whose mounts are changed.
    pub(crate) fn change(&mut self, content: &Content, proxy: Pid) {
        self.changes += 1;
        match self.way {
            Way::InPlace | Way::GoneThenBack => fill(&self.folder, content),
            Way::RenameOver => replace_each(&self.folder, content),
            Way::DataSwap => self.swap_data(content),
            Way::FolderAgain => {
                fs::remove_dir_all(&self.folder).unwrap();
                fs::create_dir(&self.folder).unwrap();
                fill(&self.folder, content);
            }
            Way::FolderExchanged => {
                let next = self.version(content);
                let old = self.aside.join(format!("old-{}", self.changes));
                fs::rename(&self.folder, old).unwrap();
                fs::rename(next, &self.folder).unwrap();
            }
            Way::LinkTarget => replace_each(&self.aside.join("v0"), content),
            Way::LinkTurned => {
                let version = self.version(content);
                for (name, _) in content {
                    turn(&version.join(name), &self.path(name));
                }
            }
            Way::FolderLinkTurned => turn(&self.version(content), &self.folder),
            Way::OtherName => fill(&self.aside.join("v0"), content),
            Way::BindMount => {
                let version = self.version(content);
                for (name, _) in content {
                    mount_over(&version.join(name), &self.path(name), proxy);
                }
            }
        }
    }

    /// Removes the files.
    pub(crate) fn remove(&self, content: &Content) {
        for (name, _) in content {
            fs::remove_file(self.path(name)).unwrap();
        }
    }

    /// A new folder aside with these files.
    fn version(&self, content: &Content) -> PathBuf {
        let folder = self.aside.join(format!("v{}", self.changes));
        fs::create_dir(&folder).unwrap();
        fill(&folder, content);
        folder
    }

    /// What kubelet does: a folder with a time for its name, a link `..data` to
    /// it that is exchanged by a rename, and the former folder removed.
    fn swap_data(&self, content: &Content) {
        let name = format!("..2026_11_21_10_00_{:02}.104729", self.changes);
        let folder = self.folder.join(&name);
        fs::create_dir(&folder).unwrap();
        fill(&folder, content);
        let data = self.folder.join("..data");
        let former = fs::read_link(&data).ok();
        symlink(&name, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), &data).unwrap();
        if let Some(former) = former {
            fs::remove_dir_all(self.folder.join(former)).unwrap();
        }
    }
}

/// Writes a file under a hidden name beside the path, and renames it over it.
pub(crate) fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let hidden = path.with_file_name(format!(".{name}.new"));
    fs::write(&hidden, content).unwrap();
    fs::rename(hidden, path).unwrap();
}

/// Makes a link beside the path, and renames it over it.
fn turn(target: &Path, path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let hidden = path.with_file_name(format!(".{name}.new"));
    symlink(target, &hidden).unwrap();
    fs::rename(hidden, path).unwrap();
}

fn fill(folder: &Path, content: &Content) {
    for (name, bytes) in content {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn replace_each(folder: &Path, content: &Content) {
    for (name, bytes) in content {
        replace(&folder.join(name), bytes);
    }
}

fn mount_over(file: &Path, path: &Path, proxy: Pid) {
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &proxy.as_raw_nonzero().to_string()]);
    let mounted = command.args(["mount", "--bind"]).arg(file).arg(path);
    let Output { status, stderr, .. } = mounted.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

/// Whether the machine lets this shell command succeed; says so if it does not.
pub(crate) fn permits(command: &str) -> bool {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr);
        println!("skipped: the machine does not permit `{command}`: {cause}");
    }
    output.status.success()
}
