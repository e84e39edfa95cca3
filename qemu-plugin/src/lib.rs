//! Compiles plugins for QEMU's translator (TCG; QEMU's manual, "QEMU TCG Plugins"), on the host: for the bench, the fuzzer of system
//! calls, tests, and `coracle profile --instructions`.
//!
//! Distributions do not package QEMU's header for plugins, so `include/qemu.h` declares what they use of it.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

/// What plugins include as "qemu.h".
const HEADER: &str = include_str!("../include/qemu.h");
/// The variable of the environment that names the compiler, as make(1) has it.
const COMPILER: &str = "CC";
/// The compiler, unless that names another.
const USUAL_COMPILER: &str = "cc";
/// How plugins are compiled.
const FLAGS: [&str; 7] = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"];

/// Why a plugin could not be compiled.
#[derive(Debug)]
pub enum Failure {
    /// There is no compiler of this name.
    NoCompiler(String),
    /// It says this.
    Refused(String),
    /// A file could not be written, or the compiler not be run.
    Other(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoCompiler(name) => write!(out, "there is no C compiler `{name}`"),
            Failure::Refused(said) => write!(out, "the C compiler refuses it: {said}"),
            Failure::Other(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Other(error)
    }
}

/// Compiles the plugin whose C source is `source` into the file `product`, by the compiler that CC names, or `cc`.
///
/// # Errors
/// If there is no compiler, or it fails.
pub fn compile(source: &str, product: &Path) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("plugin.c");
    std::fs::write(&file, source)?;
    std::fs::write(folder.path().join("qemu.h"), HEADER)?;
    let compiler = std::env::var_os(COMPILER).filter(|name| !name.is_empty());
    let compiler = compiler.unwrap_or_else(|| OsString::from(USUAL_COMPILER));
    let output = Command::new(&compiler).args(FLAGS).arg("-o").arg(product).arg(&file).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::NoCompiler(compiler.to_string_lossy().into_owned()),
        _ => Failure::Other(error),
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_compiled() {
        let folder = tempfile::tempdir().unwrap();
        let product = folder.path().join("plugin.so");
        compile("#include \"qemu.h\"\nint answer(void) { return qemu_plugin_version; }\n", &product).unwrap();
        assert!(std::fs::read(&product).unwrap().starts_with(b"\x7fELF"));
        let refused = compile("nonsense", &folder.path().join("other.so"));
        assert!(matches!(&refused, Err(Failure::Refused(said)) if said.contains("nonsense")), "{refused:?}");
    }
}
