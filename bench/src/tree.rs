//! The files that programs come from: this machine's own, or a tree of another architecture's packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use object::Endianness;
use object::elf::{self, DynamicTag, FileHeader64};
use object::read::elf::{ElfFile, ProgramHeader};

use crate::arch::Arch;
use crate::tools;

/// Where programs are looked for.
const PROGRAMS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// A tree of files that is a guest's `/`.
#[derive(Clone, Debug)]
pub struct Tree {
    arch: Arch,
    directory: PathBuf,
}

impl Tree {
    /// This machine's own files for its own architecture; else a tree below `out`, which is made if it isn't there.
    ///
    /// # Errors
    /// If packages can't be fetched.
    pub fn open(arch: Arch, out: &Path, scripts: &Path) -> Result<Self> {
        if arch.is_host() {
            return Ok(Self { arch, directory: PathBuf::from("/") });
        }
        let directory = out.join("root");
        let (script, packages) = arch.packages(scripts)?;
        tools::run(Command::new(script).arg(&directory).args(packages))?;
        Ok(Self { arch, directory })
    }

    /// The architecture of its programs.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Its directory on this machine.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file of the tree is on this machine.
    pub fn host(&self, path: &Path) -> PathBuf {
        self.directory.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Finds a program where Debian puts them.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        PROGRAMS.iter().map(|at| Path::new(at).join(name)).find(|path| self.host(path).exists())
    }

    /// The interpreter and the shared libraries of an ELF file, as the dynamic linker finds them (ld.so(8)), by their paths in the guest; none
    /// for another file.
    pub fn libraries(&self, file: &Path) -> BTreeMap<String, PathBuf> {
        let (mut found, mut left) = (BTreeMap::new(), vec![file.to_owned()]);
        while let Some(file) = left.pop() {
            let Some((interpreter, needed, run_paths)) = links(&file) else { continue };
            let libraries = self.arch.facts().libraries;
            let usual =
                ["/lib", "/usr/lib"].into_iter().flat_map(|at| [format!("{at}/{libraries}"), at.to_owned()]);
            let places: Vec<_> = run_paths.into_iter().chain(usual).collect();
            let paths = needed.iter().filter_map(|name| {
                places
                    .iter()
                    .map(|at| format!("{at}/{name}"))
                    .find(|path| self.host(Path::new(path)).exists())
            });
            for path in paths.chain(interpreter) {
                let host = self.host(Path::new(&path));
                if found.insert(path, host.clone()).is_none() {
                    left.push(host);
                }
            }
        }
        found
    }
}

/// The interpreter of an ELF file, the names of its libraries, and where it has them looked for.
fn links(file: &Path) -> Option<(Option<String>, Vec<String>, Vec<String>)> {
    let bytes = fs::read(file).ok()?;
    let file = ElfFile::<FileHeader64<Endianness>>::parse(&*bytes).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let interpreter = file
        .elf_program_headers()
        .iter()
        .find_map(|header| header.interpreter(file.endian(), &*bytes).ok()?.map(text));
    let table = file.elf_dynamic_table().ok()?;
    let named = |tag: DynamicTag| -> Vec<String> {
        table
            .iter()
            .filter(|entry| entry.tag == tag)
            .filter_map(|entry| table.string(entry).ok())
            .map(text)
            .collect()
    };
    let split =
        |paths: Vec<String>| paths.iter().flat_map(|path| path.split(':')).map(str::to_owned).collect();
    Some((interpreter, named(elf::DT_NEEDED), split([named(elf::DT_RUNPATH), named(elf::DT_RPATH)].concat())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_program_are_those_that_the_dynamic_linker_loads() {
        let tree =
            Tree { arch: Arch::named(std::env::consts::ARCH).expect("one of them"), directory: "/".into() };
        let shell = fs::canonicalize("/bin/sh").expect("every Debian has one");
        let said = tools::run(Command::new("ldd").arg(&shell)).expect("ldd is part of libc-bin");
        let words =
            |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
        let names = |paths: Vec<String>| -> std::collections::BTreeSet<PathBuf> {
            paths.iter().filter_map(|path| fs::canonicalize(path).ok()).collect()
        };
        let expected = names(said.lines().filter_map(words).collect());
        assert!(!expected.is_empty());
        assert_eq!(names(tree.libraries(&shell).into_keys().collect()), expected);
    }
}
