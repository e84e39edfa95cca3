//! Finding libraries as the dynamic linker would (ld.so(8), and musl's `ldso/dynlink.c`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::elf::Elf;
use super::root::Root;
use crate::arch::Arch;
use crate::bytes;

/// Where glibc looks last, after Debian's own directories, as its linker has them.
const GLIBC_DIRECTORIES: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Where musl looks if it has no path file.
const MUSL_DIRECTORIES: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// Libraries that musl's own file replaces: names begin with `lib`, one of these, and a dot.
const MUSL_OWN: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
/// The cache of glibc's linker.
const CACHE: &str = "/etc/ld.so.cache";
/// What the cache is made from.
const CACHE_CONFIG: &str = "/etc/ld.so.conf";

/// glibc's C library, and the library that it loads by itself when a thread is cancelled or exits, to unwind its stack.
const LIBC: &str = "libc.so.6";
const UNWINDER: &str = "libgcc_s.so.1";

/// The two families of dynamic linkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `ld-linux-x86-64.so.2`, `ld-linux-aarch64.so.1`
    Glibc,
    /// `ld-musl-x86_64.so.1`, `ld-musl-aarch64.so.1`
    Musl,
}

impl Family {
    /// The family that an interpreter belongs to, judged by its name.
    pub fn of(interpreter: &OsStr) -> Self {
        let name = Path::new(interpreter).file_name().unwrap_or_default();
        if name.as_bytes().starts_with(b"ld-musl") { Family::Musl } else { Family::Glibc }
    }
}

/// An object that the dynamic linker would load.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its path as it was found.
    pub path: PathBuf,
    /// The name it was asked for by; empty for programs.
    pub name: OsString,
    /// The object that asked for it.
    pub loader: Option<usize>,
    /// Whether it was found in a place that is looked into for every program (so that a cache may name it).
    pub common: bool,
    elf: Elf,
}

impl Loaded {
    /// The names that others may need it by.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        [Some(&self.name), self.elf.soname.as_ref()].into_iter().flatten().map(OsString::as_os_str)
    }
}

/// A library that was not found.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Its name.
    pub name: OsString,
    /// The file that needs it.
    pub wanted_by: PathBuf,
    /// The directories that were looked into.
    pub searched: Vec<PathBuf>,
}

/// Finds the libraries of programs, and theirs.
#[derive(Debug)]
pub struct Resolver {
    family: Family,
    arch: Arch,
    root: Root,
    cache: Cache,
    /// `LD_LIBRARY_PATH` of the guest.
    library_path: Vec<OsString>,
    /// Directories for every program, in order.
    directories: Vec<PathBuf>,
    loaded: Vec<Loaded>,
    /// Loaded objects by name and by soname.
    known: BTreeMap<OsString, usize>,
}

impl Resolver {
    /// A linker of that family and architecture with this `LD_LIBRARY_PATH`, in that tree.
    pub fn new(family: Family, arch: Arch, root: &Root, library_path: Option<&OsStr>) -> Self {
        let mut directories: Vec<PathBuf> = Vec::new();
        let mut cache = Cache::default();
        let read = |path: &Path| root.locate(path).and_then(|path| fs::read(path).ok());
        match family {
            Family::Glibc => {
                match read(Path::new(CACHE)) {
                    Some(file) => cache = Cache::parse(&file, arch),
                    None => config_directories(root, Path::new(CACHE_CONFIG), &mut directories, 0),
                }
                directories.extend(
                    ["/lib", "/usr/lib"].map(|above| Path::new(above).join(arch.library_directory())),
                );
                directories.extend(GLIBC_DIRECTORIES.map(PathBuf::from));
            }
            Family::Musl => match read(&musl_path_file(arch)) {
                Some(text) => {
                    let words = text.split(|byte| b":\n".contains(byte)).map(<[u8]>::trim_ascii);
                    let words = words.filter(|word| !word.is_empty()).map(OsStr::from_bytes);
                    directories.extend(words.map(PathBuf::from));
                }
                None => directories.extend(MUSL_DIRECTORIES.map(PathBuf::from)),
            },
        }
        let library_path = library_path.unwrap_or_default();
        Resolver {
            family,
            arch,
            root: root.clone(),
            cache,
            library_path: bytes::parts(library_path, b":;").map(OsStr::to_owned).collect(),
            directories,
            loaded: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// Everything found so far, programs first.
    pub fn loaded(&self) -> &[Loaded] {
        &self.loaded
    }

    /// Takes a program (or a module that a program may load), its interpreter, and all they need.
    /// Returns what was not found.
    pub fn add(&mut self, path: &Path, elf: Elf, preload: &[OsString]) -> Vec<Missing> {
        let interpreter = elf.interpreter.clone();
        let first = self.loaded.len();
        self.push(path.to_owned(), OsString::new(), elf, None, false);
        let mut missing = Vec::new();
        if let Some(interpreter) = interpreter {
            match self.read_library(Path::new(&interpreter)) {
                Some(elf) => {
                    let name = Path::new(&interpreter).file_name().unwrap_or_default().to_owned();
                    if !self.known.contains_key(&name) {
                        self.push(interpreter.into(), name, elf, Some(first), false);
                    }
                }
                None => missing.push(Missing {
                    name: interpreter,
                    wanted_by: path.to_owned(),
                    searched: Vec::new(),
                }),
            }
        }
        self.loaded[first].elf.needed.splice(0..0, preload.iter().cloned());
        self.load(first, &mut missing);
        if self.knows(LIBC) && !self.knows(UNWINDER) {
            // Most programs never need it, so it may be missing.
            if let Some((path, elf, common)) = self.find(OsStr::new(UNWINDER), first, &mut Vec::new()) {
                let unwinder = self.loaded.len();
                self.push(path, UNWINDER.into(), elf, Some(first), common);
                self.load(unwinder, &mut missing);
            }
        }
        missing
    }

    /// Loads what the objects from number `next` on need, and what that needs.
    fn load(&mut self, mut next: usize, missing: &mut Vec<Missing>) {
        while next < self.loaded.len() {
            for name in self.loaded[next].elf.needed.clone() {
                if self.known.contains_key(&name) || self.is_linker_itself(&name) {
                    continue;
                }
                let mut searched = Vec::new();
                match self.find(&name, next, &mut searched) {
                    Some((path, elf, common)) => self.push(path, name, elf, Some(next), common),
                    None => {
                        missing.push(Missing { name, wanted_by: self.loaded[next].path.clone(), searched });
                    }
                }
            }
            next += 1;
        }
    }

    fn push(&mut self, path: PathBuf, name: OsString, elf: Elf, loader: Option<usize>, common: bool) {
        let index = self.loaded.len();
        for key in [Some(&name), elf.soname.as_ref()].into_iter().flatten().filter(|key| !key.is_empty()) {
            self.known.entry(key.clone()).or_insert(index);
        }
        self.loaded.push(Loaded { path, name, loader, common, elf });
    }

    fn knows(&self, name: &str) -> bool {
        self.known.contains_key(OsStr::new(name))
    }

    /// musl's linker is the C library too.
    fn is_linker_itself(&self, name: &OsStr) -> bool {
        let name = name.to_str().unwrap_or_default();
        let stem = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')).map(|(stem, _)| stem);
        self.family == Family::Musl
            && stem.is_some_and(|stem| MUSL_OWN.contains(&stem) || stem.starts_with("c.musl"))
    }

    /// Looks for `name` on behalf of `loaded[wanting]`. The flag says whether any program would find it there.
    fn find(
        &self,
        name: &OsStr,
        wanting: usize,
        searched: &mut Vec<PathBuf>,
    ) -> Option<(PathBuf, Elf, bool)> {
        if bytes::is_path(name) {
            return self.read_library(Path::new(name)).map(|elf| (name.into(), elf, false));
        }
        let mut own: Vec<PathBuf> = Vec::new();
        let asking = &self.loaded[wanting];
        let musl = self.family == Family::Musl;
        if asking.elf.runpath.is_empty() || musl {
            // DT_RPATH holds for the libraries of libraries, unless they have a DT_RUNPATH themselves.
            let mut at = Some(wanting);
            while let Some(object) = at.map(|index| &self.loaded[index]) {
                if object.elf.runpath.is_empty() {
                    own.extend(object.elf.rpath.iter().map(|dir| self.expand(dir, &object.path)));
                } else if musl {
                    own.extend(object.elf.runpath.iter().map(|dir| self.expand(dir, &object.path)));
                }
                at = object.loader;
            }
        }
        let environment = self.library_path.iter().map(|dir| self.expand(dir, &self.loaded[0].path));
        if musl {
            own.splice(0..0, environment);
        } else {
            own.extend(environment);
            own.extend(asking.elf.runpath.iter().map(|dir| self.expand(dir, &asking.path)));
        }
        let try_file = |path: PathBuf| self.read_library(&path).map(|elf| (path, elf));
        for directory in own {
            if let Some((path, elf)) = try_file(directory.join(name)) {
                return Some((path, elf, false));
            }
            searched.push(directory);
        }
        let cached = self.cache.lookup(name).find_map(|path| try_file(path.clone()));
        let found =
            cached.or_else(|| self.directories.iter().find_map(|directory| try_file(directory.join(name))));
        if found.is_none() {
            searched.extend(self.directories.iter().cloned());
        }
        found.map(|(path, elf)| (path, elf, true))
    }

    /// The library, if there is a fitting one; like the dynamic linker, passes over those for other architectures.
    fn read_library(&self, path: &Path) -> Option<Elf> {
        Elf::read(&self.root.locate(path)?).ok().filter(|elf| elf.arch == self.arch)
    }

    /// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM` (ld.so(8), "Dynamic string tokens").
    fn expand(&self, directory: &OsStr, object: &Path) -> PathBuf {
        let origin = self.root.resolve(object).unwrap_or_else(|| object.to_owned());
        let origin = origin.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes();
        let lib = Path::new("lib").join(self.arch.library_directory());
        let tokens: [(&str, &[u8]); 3] = [
            ("ORIGIN", origin),
            ("LIB", lib.as_os_str().as_bytes()),
            ("PLATFORM", self.arch.name().as_bytes()),
        ];
        let mut rest = directory.as_bytes();
        let mut text = Vec::new();
        while let Some((&first, after)) = rest.split_first() {
            let found = tokens.iter().find_map(|(token, value)| {
                let forms = [format!("${{{token}}}"), format!("${token}")];
                forms.iter().find_map(|form| Some((rest.strip_prefix(form.as_bytes())?, value)))
            });
            match found {
                Some((behind, value)) => {
                    text.extend_from_slice(value);
                    rest = behind;
                }
                None => {
                    text.push(first);
                    rest = after;
                }
            }
        }
        PathBuf::from(OsString::from_vec(text))
    }
}

/// Where musl's path file is.
pub fn musl_path_file(arch: Arch) -> PathBuf {
    format!("/etc/ld-musl-{}.path", arch.name()).into()
}

/// The directories that an `ld.so.conf` names, with those of the files it includes (ldconfig(8)).
fn config_directories(root: &Root, path: &Path, out: &mut Vec<PathBuf>, depth: usize) {
    /// Files may include each other.
    const DEPTH: usize = 8;
    let Some(text) = root.locate(path).and_then(|path| fs::read(path).ok()) else { return };
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        let patterns =
            line.strip_prefix(b"include").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace));
        match patterns {
            Some(patterns) if depth < DEPTH => {
                for pattern in bytes::parts(OsStr::from_bytes(patterns), b" \t") {
                    let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern);
                    for file in glob(root, &pattern) {
                        config_directories(root, &file, out, depth + 1);
                    }
                }
            }
            _ if line.starts_with(b"/") => out.push(OsStr::from_bytes(line).into()),
            _ => {}
        }
    }
}

/// The files that a pattern names, with `*` in its last part, in order.
fn glob(root: &Root, pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default();
    let Some((start, end)) = bytes::split_once(name, b'*') else { return vec![pattern.to_owned()] };
    let parent = pattern.parent().unwrap_or(Path::new("/"));
    let Some(directory) = root.locate(parent).and_then(|parent| fs::read_dir(parent).ok()) else {
        return vec![];
    };
    let mut files: Vec<PathBuf> = directory
        .flatten()
        .filter(|file| {
            let name = file.file_name();
            let rest = name.as_bytes().strip_prefix(start.as_bytes());
            rest.is_some_and(|rest| rest.ends_with(end.as_bytes()))
        })
        .map(|file| parent.join(file.file_name()))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(family: Family) -> Resolver {
        Resolver::new(family, Arch::X86_64, &Root::default(), None)
    }

    #[test]
    fn tokens() {
        let object = Path::new("/nowhere/bin/app");
        let resolver = resolver(Family::Glibc);
        let expand = |text: &str, object| resolver.expand(OsStr::new(text), object);
        assert_eq!(expand("$ORIGIN/../lib", object), Path::new("/nowhere/bin/../lib"));
        assert_eq!(expand("${ORIGIN}/$LIB", object), Path::new("/nowhere/bin/lib/x86_64-linux-gnu"));
        let object = Path::new(OsStr::from_bytes(b"/nowhere/\xff/app"));
        assert_eq!(expand("$ORIGIN/$X", object).as_os_str().as_bytes(), b"/nowhere/\xff/$X");
    }

    #[test]
    fn configuration_files_include_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("d")).unwrap();
        fs::write(path("ld.so.conf"), "include d/*.conf\n# no\n/opt/last # yes\n").unwrap();
        fs::write(path("d/b.conf"), "/opt/b\ninclude ../ld.so.conf\n").unwrap();
        fs::write(path("d/a.conf"), "/opt/a\n").unwrap();
        fs::write(path("d/c.txt"), "/opt/c\n").unwrap();
        let mut found = Vec::new();
        config_directories(&Root::default(), &path("ld.so.conf"), &mut found, 7);
        assert_eq!(found[..2], [PathBuf::from("/opt/a"), PathBuf::from("/opt/b")]);
        assert_eq!(found.last(), Some(&PathBuf::from("/opt/last")));
    }

    #[test]
    fn musl_is_its_own_library() {
        let resolver = resolver(Family::of(OsStr::new("/lib/ld-musl-x86_64.so.1")));
        let is_linker_itself = |name: &str| resolver.is_linker_itself(OsStr::new(name));
        assert!(is_linker_itself("libc.so") && is_linker_itself("libc.musl-x86_64.so.1"));
        assert!(!is_linker_itself("libcrypto.so.3"));
    }
}
