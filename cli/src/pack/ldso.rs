//! Finding libraries as the dynamic linker would (ld.so(8), and musl's `ldso/dynlink.c`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::elf::Elf;

/// Where glibc looks last. Debian's own directories come first, as its linker has them.
const GLIBC_DIRECTORIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
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
    /// `ld-linux-x86-64.so.2`
    Glibc,
    /// `ld-musl-x86_64.so.1`
    Musl,
}

impl Family {
    /// The family that an interpreter belongs to, judged by its name.
    pub fn of(interpreter: &str) -> Self {
        let name = interpreter.rsplit('/').next().unwrap_or(interpreter);
        if name.starts_with("ld-musl") { Family::Musl } else { Family::Glibc }
    }
}

/// An object that the dynamic linker would load.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its path as it was found.
    pub path: PathBuf,
    /// The name it was asked for by; empty for programs.
    pub name: String,
    /// The object that asked for it.
    pub loader: Option<usize>,
    /// Whether it was found in a place that is looked into for every program (so that a cache may name it).
    pub common: bool,
    elf: Elf,
}

impl Loaded {
    /// The names that others may need it by.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.name), self.elf.soname.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

/// A library that was not found.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// The file that needs it.
    pub wanted_by: PathBuf,
    /// The directories that were looked into.
    pub searched: Vec<PathBuf>,
}

/// Finds the libraries of programs, and theirs.
#[derive(Debug)]
pub struct Resolver {
    family: Family,
    cache: Cache,
    /// `LD_LIBRARY_PATH` of the guest.
    library_path: Vec<String>,
    /// Directories for every program, in order.
    directories: Vec<PathBuf>,
    loaded: Vec<Loaded>,
    /// Loaded objects by name and by soname.
    known: BTreeMap<String, usize>,
}

impl Resolver {
    /// A linker of that family with this `LD_LIBRARY_PATH`.
    pub fn new(family: Family, library_path: Option<&str>) -> Self {
        let mut directories: Vec<PathBuf> = Vec::new();
        let mut cache = Cache::default();
        match family {
            Family::Glibc => {
                match fs::read(CACHE) {
                    Ok(file) => cache = Cache::parse(&file),
                    Err(_) => config_directories(Path::new(CACHE_CONFIG), &mut directories, 0),
                }
                directories.extend(GLIBC_DIRECTORIES.map(PathBuf::from));
            }
            Family::Musl => match fs::read_to_string(musl_path_file()) {
                Ok(text) => {
                    let words = text.split([':', '\n']).map(str::trim).filter(|word| !word.is_empty());
                    directories.extend(words.map(PathBuf::from));
                }
                Err(_) => directories.extend(MUSL_DIRECTORIES.map(PathBuf::from)),
            },
        }
        let library_path = library_path.unwrap_or_default();
        Resolver {
            family,
            cache,
            library_path: library_path
                .split([':', ';'])
                .filter(|dir| !dir.is_empty())
                .map(str::to_owned)
                .collect(),
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
    pub fn add(&mut self, path: &Path, elf: Elf, preload: &[String]) -> Vec<Missing> {
        let interpreter = elf.interpreter.clone();
        let first = self.loaded.len();
        self.push(path.to_owned(), String::new(), elf, None, false);
        let mut missing = Vec::new();
        if let Some(interpreter) = interpreter {
            match read_library(Path::new(&interpreter)) {
                Some(elf) => {
                    let name = interpreter.rsplit('/').next().unwrap_or_default().to_owned();
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
        if self.known.contains_key(LIBC) && !self.known.contains_key(UNWINDER) {
            // Most programs never need it, so it may be missing.
            if let Some((path, elf, common)) = self.find(UNWINDER, first, &mut Vec::new()) {
                let unwinder = self.loaded.len();
                self.push(path, UNWINDER.to_owned(), elf, Some(first), common);
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

    fn push(&mut self, path: PathBuf, name: String, elf: Elf, loader: Option<usize>, common: bool) {
        let index = self.loaded.len();
        for key in [Some(&name), elf.soname.as_ref()].into_iter().flatten().filter(|key| !key.is_empty()) {
            self.known.entry(key.clone()).or_insert(index);
        }
        self.loaded.push(Loaded { path, name, loader, common, elf });
    }

    /// musl's linker is the C library too.
    fn is_linker_itself(&self, name: &str) -> bool {
        let stem = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')).map(|(stem, _)| stem);
        self.family == Family::Musl
            && stem.is_some_and(|stem| MUSL_OWN.contains(&stem) || stem.starts_with("c.musl"))
    }

    /// Looks for `name` on behalf of `loaded[wanting]`. The flag says whether any program would find it there.
    fn find(&self, name: &str, wanting: usize, searched: &mut Vec<PathBuf>) -> Option<(PathBuf, Elf, bool)> {
        if name.contains('/') {
            return read_library(Path::new(name)).map(|elf| (name.into(), elf, false));
        }
        let mut own: Vec<PathBuf> = Vec::new();
        let asking = &self.loaded[wanting];
        let musl = self.family == Family::Musl;
        if asking.elf.runpath.is_empty() || musl {
            // DT_RPATH holds for the libraries of libraries, unless they have a DT_RUNPATH themselves.
            let mut at = Some(wanting);
            while let Some(object) = at.map(|index| &self.loaded[index]) {
                if object.elf.runpath.is_empty() {
                    own.extend(object.elf.rpath.iter().map(|dir| expand(dir, &object.path)));
                } else if musl {
                    own.extend(object.elf.runpath.iter().map(|dir| expand(dir, &object.path)));
                }
                at = object.loader;
            }
        }
        let environment = self.library_path.iter().map(|dir| expand(dir, &self.loaded[0].path));
        if musl {
            own.splice(0..0, environment);
        } else {
            own.extend(environment);
            own.extend(asking.elf.runpath.iter().map(|dir| expand(dir, &asking.path)));
        }
        let try_file = |path: PathBuf| read_library(&path).map(|elf| (path, elf));
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
}

/// Where musl's path file is.
pub fn musl_path_file() -> &'static Path {
    Path::new("/etc/ld-musl-x86_64.path")
}

/// The library, if there is a fitting one; like the dynamic linker, passes over those for other machines.
fn read_library(path: &Path) -> Option<Elf> {
    Elf::read(path).ok()
}

/// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM` (ld.so(8), "Dynamic string tokens").
fn expand(directory: &str, object: &Path) -> PathBuf {
    let origin = object.canonicalize().unwrap_or_else(|_| object.to_owned());
    let origin = origin.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let mut text = directory.to_owned();
    for (token, value) in
        [("ORIGIN", origin.as_str()), ("LIB", "lib/x86_64-linux-gnu"), ("PLATFORM", "x86_64")]
    {
        text = text.replace(&format!("${{{token}}}"), value).replace(&format!("${token}"), value);
    }
    PathBuf::from(text)
}

/// The directories that an `ld.so.conf` names, with those of the files it includes (ldconfig(8)).
fn config_directories(path: &Path, out: &mut Vec<PathBuf>, depth: usize) {
    /// Files may include each other.
    const DEPTH: usize = 8;
    let Ok(text) = fs::read_to_string(path) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.split_once(char::is_whitespace) {
            Some(("include", patterns)) if depth < DEPTH => {
                for pattern in patterns.split_whitespace() {
                    let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern);
                    for file in glob(&pattern) {
                        config_directories(&file, out, depth + 1);
                    }
                }
            }
            _ if line.starts_with('/') => out.push(line.into()),
            _ => {}
        }
    }
}

/// The files that a pattern names, with `*` in its last part, in order.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let Some(directory) = pattern.parent().and_then(|parent| fs::read_dir(parent).ok()) else {
        return vec![];
    };
    let mut files: Vec<PathBuf> = directory
        .flatten()
        .filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        })
        .map(|file| file.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let object = Path::new("/nowhere/bin/app");
        assert_eq!(expand("$ORIGIN/../lib", object), Path::new("/nowhere/bin/../lib"));
        assert_eq!(expand("${ORIGIN}/$LIB", object), Path::new("/nowhere/bin/lib/x86_64-linux-gnu"));
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
        config_directories(&path("ld.so.conf"), &mut found, 7);
        assert_eq!(found[..2], [PathBuf::from("/opt/a"), PathBuf::from("/opt/b")]);
        assert_eq!(found.last(), Some(&PathBuf::from("/opt/last")));
    }

    #[test]
    fn musl_is_its_own_library() {
        let resolver = Resolver::new(Family::of("/lib/ld-musl-x86_64.so.1"), None);
        assert!(resolver.is_linker_itself("libc.so") && resolver.is_linker_itself("libc.musl-x86_64.so.1"));
        assert!(!resolver.is_linker_itself("libcrypto.so.3"));
    }
}
