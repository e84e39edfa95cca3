//! A program of the host that is sent to a running guest, with what its dynamic linker needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::build::missing_library;
use super::elf::Elf;
use super::ldso::{Family, Loaded, Resolver};
use super::root::Root;
use crate::error::Result;

/// What a dynamic program needs beside itself.
pub struct Needs {
    /// The name of its dynamic linker among the libraries.
    pub interpreter: OsString,
    /// Libraries, the linker among them: their names, and where they are here.
    pub libraries: Vec<(OsString, PathBuf)>,
}

/// What the program at `path` needs; `None` if nothing: it is static, or no ELF file.
///
/// # Errors
/// If a library is not found.
pub fn needs(path: &Path) -> Result<Option<Needs>> {
    let Ok(elf) = Elf::read(path) else { return Ok(None) };
    let Some(interpreter) = elf.interpreter.clone() else { return Ok(None) };
    let mut resolver = Resolver::new(Family::of(&interpreter), elf.arch, &Root::default(), None);
    let missing = resolver.add(path, elf, &[]);
    if let Some(first) = missing.first() {
        return Err(missing_library(first, missing.len() - 1));
    }
    // Those that are asked for by a path would be looked for there.
    let library = |loaded: &Loaded| {
        let name = Path::new(&loaded.name).file_name().unwrap_or_default();
        (name.to_owned(), loaded.path.clone())
    };
    let libraries = resolver.loaded().iter().filter(|loaded| !loaded.name.is_empty()).map(library).collect();
    let interpreter = Path::new(&interpreter).file_name().unwrap_or_default().to_owned();
    Ok(Some(Needs { interpreter, libraries }))
}
