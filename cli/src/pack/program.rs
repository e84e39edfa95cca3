//! Which program is meant: by path, by name, or by the first line of a script.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::elf::{Elf, is_elf};
use super::root::Root;
use crate::bytes;
use crate::error::{self, Error, Result};

/// A program to put into an image.
#[derive(Debug)]
pub struct Program {
    /// The path of the ELF file in the image.
    pub path: PathBuf,
    /// What that file says of itself.
    pub elf: Elf,
    /// `argv`, as execve(2) would make it.
    pub args: Vec<OsString>,
    /// How many of them are the interpreter's and the script's, not the caller's.
    pub own_args: usize,
    /// The scripts that led to the ELF file, the one that was asked for first.
    pub scripts: Vec<PathBuf>,
}

/// Bytes of a script in which its first line must end; Linux takes less (`BINPRM_BUF_SIZE`, execve(2)).
const SCRIPT_LINE: u64 = 4096;
/// As many interpreters of interpreters as Linux takes (`BINPRM_MAX_RECURSION`-like limit of execve(2)).
const MOST_SCRIPTS: usize = 4;

/// Where programs are, in a tree that is not this machine's.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A file that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its absolute path in the guest.
    pub path: PathBuf,
    /// Where it is on this machine.
    pub file: PathBuf,
}

/// A program that is given as a path or as a name in `PATH`: one of the tree, or else one of this machine that is given as a path.
pub fn find(given: &OsStr, root: &Root) -> Result<Found> {
    let Some(directory) = root.directory() else {
        let path = find_here(given)?;
        return Ok(Found { file: path.clone(), path });
    };
    let candidates: Vec<PathBuf> = match bytes::is_path(given) {
        true => vec![Path::new("/").join(given)],
        false => DIRECTORIES.map(|place| Path::new(place).join(given)).into(),
    };
    let inside = candidates.into_iter().find_map(|path| {
        let file = root.locate(&path).filter(|file| file.is_file())?;
        Some(Found { path, file })
    });
    match inside {
        Some(found) => Ok(found),
        None if bytes::is_path(given) && Path::new(given).is_file() => {
            let path = std::path::absolute(given).map_err(|error| error::cannot("find", Path::new(given), &error))?;
            Ok(Found { file: path.clone(), path })
        }
        None => Err(Error::new(format!("there is no program `{}`", given.display()))
            .with_status(error::NOT_FOUND)
            .why(format!("`{}`, which is to be the guest's root, does not have it", directory.display()))
            .help("give its path in that directory, such as /usr/bin/NAME, or the path of a program of this machine")),
    }
}

/// The absolute path of a program of this machine.
fn find_here(given: &OsStr) -> Result<PathBuf> {
    let shown = given.display();
    let missing =
        || Error::new(format!("there is no program or image `{shown}`")).with_status(error::NOT_FOUND);
    if given.is_empty() {
        return Err(Error::new("the name of the program is empty"));
    }
    let found = if bytes::is_path(given) || (Path::new(given).exists() && in_path(given).is_none()) {
        Some(PathBuf::from(given))
    } else {
        in_path(given)
    };
    let path = found.ok_or_else(|| {
        missing()
            .why("neither this directory nor one of PATH has it")
            .help("give its path, or install it (on Debian, `apt-file search bin/NAME` tells the package)")
    })?;
    let meta = std::fs::metadata(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing()
            .why(format!("`{}` does not exist", path.display()))
            .help("check the path, or install the program"),
        _ => error::cannot("read", &path, &error).with_status(error::NOT_INVOKED),
    })?;
    if meta.is_dir() {
        return Err(Error::new(format!("`{shown}` is a directory"))
            .with_status(error::NOT_INVOKED)
            .help("give a program in it; a directory can be added with --add"));
    }
    if !meta.is_file() {
        return Err(Error::new(format!("`{shown}` is not a file"))
            .with_status(error::NOT_INVOKED)
            .help("give a program or an image"));
    }
    std::path::absolute(&path).map_err(|error| error::cannot("find", &path, &error))
}

/// The first executable file of that name in the directories of `PATH`.
fn in_path(name: &OsStr) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(executable)
}

/// The first word of a line, and what follows the blanks after it.
fn first_word(line: &[u8]) -> (&OsStr, &OsStr) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (OsStr::from_bytes(word), OsStr::from_bytes(rest.trim_ascii()))
}

impl Program {
    /// Reads a program that was found; of a script, the interpreter that its `#!` line names.
    pub fn read(found: &Found, root: &Root, args: &[OsString]) -> Result<Self> {
        let mut argv = vec![found.path.as_os_str().to_owned()];
        argv.extend(args.iter().cloned());
        let (Found { mut path, mut file }, mut scripts) = (found.clone(), Vec::new());
        loop {
            let head =
                error::read_start(&file, SCRIPT_LINE).map_err(|why| why.with_status(error::NOT_INVOKED))?;
            let line = match head.strip_prefix(b"#!") {
                Some(rest) if !is_elf(&head) => rest.split(|&byte| byte == b'\n').next().unwrap_or_default(),
                _ => {
                    let own_args = argv.len() - args.len();
                    return Ok(Program {
                        elf: Elf::program(&file, &head).map_err(|why| why.with_status(error::NOT_INVOKED))?,
                        path,
                        args: argv,
                        own_args,
                        scripts,
                    });
                }
            };
            let line = line.trim_ascii();
            let wrong = |why: String| {
                Error::new(format!("the script `{}` cannot be run", path.display()))
                    .with_status(error::NOT_INVOKED)
                    .why(why)
                    .help("its first line must name a program, as in `#!/usr/bin/python3`")
            };
            if scripts.len() == MOST_SCRIPTS {
                return Err(wrong(
                    "its interpreter is a script, whose interpreter is a script, and so on".to_owned(),
                ));
            }
            let (interpreter, mut option) = first_word(line);
            let mut next = PathBuf::from(interpreter);
            if interpreter.as_bytes().ends_with(b"/env") && !option.is_empty() {
                // env would look for the program in PATH and start it: done here, it need not be done in the guest.
                let words = option.as_bytes();
                let (name, rest) = first_word(words.strip_prefix(b"-S").unwrap_or(words).trim_ascii());
                next = find(name, root).map_err(|error| wrong(error.to_string()))?.path;
                option = rest;
            }
            let located = root.locate(&next).filter(|file| next.is_absolute() && file.is_file());
            let Some(located) = located else {
                let why = format!("its first line names `{}`, which is not there", next.display());
                return Err(wrong(why).with_status(error::NOT_FOUND));
            };
            argv[0] = path.as_os_str().to_owned();
            let option = Some(option).filter(|option| !option.is_empty());
            argv.splice(0..0, std::iter::once(next.as_os_str()).chain(option).map(OsStr::to_owned));
            scripts.push(std::mem::replace(&mut path, next));
            file = located;
        }
    }
}
