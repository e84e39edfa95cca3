//! Python's standard library, without which the interpreter does not even start. No ELF file names it: the interpreter looks for
//! `lib/pythonX.Y/os.py` in the directory that it is in itself and in all those above (CPython's `Modules/getpath.py`).

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use object::read::ReadCache;

use super::elf;

/// The function that starts an interpreter: a file that defines it is one.
const START: &[u8] = b"Py_Initialize";
/// The file by which the interpreter recognises its library.
const LANDMARK: &str = "os.py";

/// The directory of the standard library, if the program or one of its libraries is a Python interpreter.
pub fn library<'p>(program: &'p Path, libraries: impl Iterator<Item = &'p Path>) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    let libraries = libraries.filter_map(|library| library.canonicalize().ok());
    std::iter::once(program.clone()).chain(libraries).find_map(|interpreter| {
        let version = version(interpreter.file_name()?)?;
        if !is_interpreter(&interpreter) {
            return None;
        }
        let places = [&program, &interpreter].into_iter().flat_map(|path| path.ancestors().skip(1));
        let mut candidates = places.map(|place| place.join("lib").join(OsStr::from_bytes(version)));
        candidates.find(|library| library.join(LANDMARK).is_file())
    })
}

/// The `pythonX.Y` in the name of a file.
fn version(name: &OsStr) -> Option<&[u8]> {
    const NAME: &[u8] = b"python";
    let name = name.as_bytes();
    let start = name.windows(NAME.len()).position(|window| window == NAME)?;
    let digits = |at: usize| name[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let major = start + NAME.len();
    let dot = major + digits(major);
    let minor = dot + 1;
    let is_version = dot > major && name.get(dot) == Some(&b'.') && digits(minor) > 0;
    is_version.then(|| &name[start..minor + digits(minor)])
}

fn is_interpreter(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut found = false;
    elf::dynamic_symbols(&ReadCache::new(file), |name, defined| found |= defined && name == START);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_names() {
        let version = |name| version(OsStr::new(name)).map(|name| std::str::from_utf8(name).unwrap());
        assert_eq!(version("python3.11"), Some("python3.11"));
        assert_eq!(version("libpython3.9.so.1.0"), Some("python3.9"));
        for other in ["python3", "python3.", "python.3", "ipython", "libc.so.6", "python"] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
