//! Taking files of this machine into the image's tree, with the symbolic links that lead to them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use coracle_image::write::{Content, Meta, Node, Tree};

use super::elf::is_elf;
use super::exclude::Exclude;
use super::root::names;
use crate::bytes;
use crate::error::{self, Error, Result, cannot};

/// As many links as Linux follows (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// Collects files.
#[derive(Debug, Default)]
pub struct Collector {
    /// The files so far.
    pub tree: Tree<'static>,
    /// ELF files that came with [`Collector::add`]: they may need libraries.
    pub objects: Vec<PathBuf>,
    /// Where links of added directories lead, if that may be outside of what was added.
    leads: Vec<PathBuf>,
    /// Files that were passed over, with the reason.
    pub skipped: Vec<String>,
    /// Where what [`Collector::add`] added is in the image.
    pub added: Vec<PathBuf>,
    exclude: Exclude,
    /// Called with the path of each file that is taken.
    progress: Option<indicatif::ProgressBar>,
}

impl Collector {
    /// Leaves out what `exclude` says, and shows the names of files as they are taken.
    pub fn new(exclude: Exclude, progress: indicatif::ProgressBar) -> Self {
        Collector { exclude, progress: Some(progress), ..Collector::default() }
    }

    /// Patterns that no file matched.
    pub fn unused_patterns(&self) -> impl Iterator<Item = &str> {
        self.exclude.unused()
    }

    /// Takes the file at an absolute path of this machine to the same path, with every link on the way, so that the
    /// path means the same in the image. Returns the path that it comes to when all links are followed.
    /// Of a directory only itself is taken.
    pub fn add_linked(&mut self, path: &Path) -> Result<PathBuf> {
        let mut rest: VecDeque<OsString> = names(path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            let meta = fs::symlink_metadata(&next).map_err(|error| cannot("read", path, &error))?;
            if meta.is_symlink() {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Error::new(format!("cannot read `{}`", path.display()))
                        .why("its symbolic links lead in a circle"));
                }
                let target = fs::read_link(&next).map_err(|error| cannot("read", &next, &error))?;
                // Where the image has a directory of that name already, the link would hide it: go on beside it.
                if !matches!(self.tree.get(next.as_os_str().as_bytes()), Some(Node::Directory(..))) {
                    self.insert(
                        &next,
                        Node::Symlink(meta_of(&meta), target.as_os_str().as_bytes().to_vec()),
                    )?;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            } else if meta.is_dir() {
                self.insert(&next, Node::Directory(meta_of(&meta), Default::default()))?;
                here = next;
            } else {
                self.insert_file(&next, &next, &meta)?;
                here = next;
            }
        }
        Ok(here)
    }

    /// Takes what `--add HOST[:GUEST]` says: a file, or a directory with all below it.
    pub fn add(&mut self, spec: &OsStr) -> Result<()> {
        let (host, guest) = match bytes::rsplit_once(spec, b':') {
            Some((host, guest)) if Path::new(guest).is_absolute() && !host.is_empty() => (host, Some(guest)),
            Some((_, guest)) if !Path::new(spec).exists() => {
                return Err(Error::new(format!("cannot add `{}`", spec.display()))
                    .why(format!("`{}` is not an absolute path", guest.display()))
                    .help("write --add HOST or --add HOST:/PATH/IN/IMAGE"));
            }
            _ => (spec, None),
        };
        let path = std::path::absolute(host).map_err(|error| cannot("add", Path::new(host), &error))?;
        let meta = fs::metadata(&path).map_err(|error| cannot("add", &path, &error))?;
        let (from, to) = match guest {
            None => {
                let real = self.add_linked(&path)?;
                (real.clone(), real)
            }
            Some(guest) => (path, self.follow(Path::new(guest))),
        };
        self.added.push(to.clone());
        if meta.is_dir() {
            self.add_directory(&from, &to, Path::new(""))
        } else {
            self.add_file(&from, &to, &meta)
        }
    }

    /// Takes all below a directory as the guest's root.
    pub fn add_root(&mut self, directory: &Path) -> Result<()> {
        self.add_directory(directory, Path::new("/"), Path::new(""))?;
        // Their libraries are in the tree, or missing there, too.
        self.objects.clear();
        self.leads.clear();
        Ok(())
    }

    /// Takes a file of this machine to a path of the image.
    pub fn add_as(&mut self, host: &Path, guest: &Path) -> Result<()> {
        let meta = fs::metadata(host).map_err(|error| cannot("read", host, &error))?;
        self.insert_file(host, &self.follow(guest), &meta)
    }

    /// Takes a file or directory of this machine to the same path, unless it is not there or is excluded.
    pub fn add_if_there(&mut self, path: &Path) -> Result<bool> {
        if !path.exists() || self.exclude.matches(path, path) {
            return Ok(false);
        }
        let real = self.add_linked(path)?;
        let meta = fs::metadata(&real).map_err(|error| cannot("read", &real, &error))?;
        if meta.is_dir() {
            self.add_directory(&real, &real, Path::new(""))?;
        }
        Ok(true)
    }

    /// Takes a directory with all below it. Links are kept as they are.
    /// `below`: the path from the directory that was asked for to this one, which patterns may name.
    fn add_directory(&mut self, host: &Path, guest: &Path, below: &Path) -> Result<()> {
        let meta = fs::metadata(host).map_err(|error| cannot("read", host, &error))?;
        self.insert(guest, Node::Directory(meta_of(&meta), Default::default()))?;
        let entries = fs::read_dir(host).map_err(|error| cannot("read", host, &error))?;
        let mut entries: Vec<_> =
            entries.collect::<std::io::Result<_>>().map_err(|error| cannot("read", host, &error))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (from, to) = (entry.path(), guest.join(entry.file_name()));
            let below = below.join(entry.file_name());
            if self.exclude.matches(&from, &below) {
                continue;
            }
            let meta = fs::symlink_metadata(&from).map_err(|error| cannot("read", &from, &error))?;
            if meta.is_symlink() {
                let target = fs::read_link(&from).map_err(|error| cannot("read", &from, &error))?;
                self.insert(&to, Node::Symlink(meta_of(&meta), target.as_os_str().as_bytes().to_vec()))?;
                // A relative link of a directory that is elsewhere in the image leads to nothing of this machine.
                if target.is_absolute() || host == guest {
                    self.leads.push(host.join(target));
                }
            } else if meta.is_dir() {
                self.add_directory(&from, &to, &below)?;
            } else if meta.is_file() {
                self.add_file(&from, &to, &meta)?;
            } else {
                self.skipped.push(format!("{}: neither file, directory nor link", from.display()));
            }
        }
        Ok(())
    }

    /// Takes the files that links of added directories lead to, where they are not in the image otherwise: a link that
    /// leads to a file of this machine must not lead to nothing in the image. Directories must be added by name.
    pub fn add_link_targets(&mut self) -> Result<()> {
        for path in std::mem::take(&mut self.leads) {
            let real = self.follow(&path);
            let there = self.tree.get(real.as_os_str().as_bytes()).is_some();
            let excluded = path.ancestors().any(|part| self.exclude.matches(part, part));
            if !there && !excluded && fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
                let real = self.add_linked(&path)?;
                if is_elf_file(&real)? {
                    self.objects.push(real);
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, host: &Path, guest: &Path, meta: &Metadata) -> Result<()> {
        if !meta.is_file() {
            return Err(Error::new(format!("cannot add `{}`", host.display()))
                .why("it is neither a file nor a directory"));
        }
        if is_elf_file(host)? {
            self.objects.push(host.to_owned());
        }
        self.insert_file(host, guest, meta)
    }

    /// Puts a regular file of this machine into the tree, with its capabilities.
    fn insert_file(&mut self, host: &Path, guest: &Path, meta: &Metadata) -> Result<()> {
        /// More bytes than the attribute has in any form (linux/capability.h, `struct vfs_ns_cap_data`).
        const ROOM: usize = 64;
        self.insert(guest, Node::File(meta_of(meta), content(host)?))?;
        let mut value = [0; ROOM];
        // Most files have none, and some file systems have no attributes.
        if let Ok(len) = rustix::fs::getxattr(host, "security.capability", &mut value[..]) {
            self.tree.set_capabilities(guest.as_os_str().as_bytes(), value[..len].to_vec());
        }
        Ok(())
    }

    /// Puts a file into the tree unless there is one that the user did not give.
    pub fn insert(&mut self, path: &Path, node: Node<'static>) -> Result<()> {
        if let Some(progress) = &self.progress {
            progress.set_message(path.display().to_string());
            progress.inc(1);
        }
        self.tree
            .insert(path.as_os_str().as_bytes(), node)
            .map_err(|why| Error::new(format!("cannot put `{}` into the image", path.display())).why(why))
    }

    /// Follows the links that the tree has on the way to a path, so that files added below a link land where it leads.
    fn follow(&self, path: &Path) -> PathBuf {
        let mut rest = names(path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            match self.tree.get(next.as_os_str().as_bytes()) {
                Some(Node::Symlink(_, target)) if !rest.is_empty() && links < MOST_LINKS => {
                    links += 1;
                    let target = PathBuf::from(OsString::from_vec(target.clone()));
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        rest.push_front(name);
                    }
                }
                _ => here = next,
            }
        }
        here
    }
}

/// Whether a file begins like an ELF file.
fn is_elf_file(path: &Path) -> Result<bool> {
    Ok(is_elf(&error::read_start(path, object::elf::ELFMAG.len() as u64)?))
}

/// What is in a file. It is read when the image is written; a small one that has no blocks is read now, since it may be one
/// of a file system whose files have no true length, like /proc and /sys.
fn content(path: &Path) -> Result<Content<'static>> {
    /// No file of /sys is longer than a page, unless it has its true length.
    const SMALL: u64 = 4096;
    let meta = fs::metadata(path).map_err(|error| cannot("read", path, &error))?;
    if !meta.is_file() || (meta.blocks() == 0 && meta.len() <= SMALL) {
        return Ok(error::read(path)?.into());
    }
    // A file that cannot be read is better refused now.
    fs::File::open(path).map_err(|error| cannot("read", path, &error))?;
    let len = usize::try_from(meta.len()).map_err(|why| Error::new("a file is too large").why(why))?;
    Ok(Content::File { path: path.to_owned(), len })
}

/// Owner, permissions and time as on this machine.
fn meta_of(meta: &Metadata) -> Meta {
    Meta {
        permissions: meta.permissions().mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: meta.mtime(),
        mtime_nsec: u32::try_from(meta.mtime_nsec()).unwrap_or(0),
    }
}
