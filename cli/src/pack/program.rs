//! Which program is meant: by path, by name, or by the first line of a script.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::elf::{Elf, is_elf};
use crate::error::{self, Error, Result};

/// A program to put into an image.
#[derive(Debug)]
pub struct Program {
    /// The ELF file, at the path that it has in the image too.
    pub path: PathBuf,
    /// What that file says of itself.
    pub elf: Elf,
    /// `argv`, as execve(2) would make it.
    pub args: Vec<String>,
    /// How many of them are the interpreter's and the script's, not the caller's.
    pub own_args: usize,
    /// The scripts that led to the ELF file, the one that was asked for first.
    pub scripts: Vec<PathBuf>,
}

/// Bytes of a script in which its first line must end; Linux takes less (`BINPRM_BUF_SIZE`, execve(2)).
const SCRIPT_LINE: u64 = 4096;
/// As many interpreters of interpreters as Linux takes (`BINPRM_MAX_RECURSION`-like limit of execve(2)).
const MOST_SCRIPTS: usize = 4;

/// The absolute path of a program that is given as a path or as a name in `PATH`.
pub fn find(given: &str) -> Result<PathBuf> {
    let missing = || Error::new(format!("there is no program or image `{given}`"));
    if given.is_empty() {
        return Err(Error::new("the name of the program is empty"));
    }
    let found = if given.contains('/') || (Path::new(given).exists() && in_path(given).is_none()) {
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
        _ => error::cannot("read", &path, &error),
    })?;
    if meta.is_dir() {
        return Err(Error::new(format!("`{given}` is a directory"))
            .help("give a program in it; a directory can be added with --add"));
    }
    if !meta.is_file() {
        return Err(Error::new(format!("`{given}` is not a file")).help("give a program or an image"));
    }
    std::path::absolute(&path).map_err(|error| error::cannot("find", &path, &error))
}

/// The first executable file of that name in the directories of `PATH`.
fn in_path(name: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(executable)
}

impl Program {
    /// Reads the program at an absolute path; of a script, the interpreter that its `#!` line names.
    pub fn read(path: &Path, args: &[String]) -> Result<Self> {
        let mut argv = vec![path.to_string_lossy().into_owned()];
        argv.extend(args.iter().cloned());
        let (mut path, mut scripts) = (path.to_owned(), Vec::new());
        loop {
            let head = error::read_start(&path, SCRIPT_LINE)?;
            let line = match head.strip_prefix(b"#!") {
                Some(rest) if !is_elf(&head) => rest.split(|&byte| byte == b'\n').next().unwrap_or_default(),
                _ => {
                    let own_args = argv.len() - args.len();
                    return Ok(Program {
                        elf: Elf::program(&path, &head)?,
                        path,
                        args: argv,
                        own_args,
                        scripts,
                    });
                }
            };
            let line = String::from_utf8_lossy(line).into_owned();
            let wrong = |why: String| {
                Error::new(format!("the script `{}` cannot be run", path.display()))
                    .why(why)
                    .help("its first line must name a program, as in `#!/usr/bin/python3`")
            };
            if scripts.len() == MOST_SCRIPTS {
                return Err(wrong(
                    "its interpreter is a script, whose interpreter is a script, and so on".to_owned(),
                ));
            }
            let (mut interpreter, mut option) = match line.trim().split_once(char::is_whitespace) {
                Some((interpreter, option)) => (interpreter.to_owned(), option.trim().to_owned()),
                None => (line.trim().to_owned(), String::new()),
            };
            if interpreter.ends_with("/env") && !option.is_empty() {
                // env would look for the program in PATH and start it: done here, it need not be done in the guest.
                let words = option.trim_start_matches("-S").trim().to_owned();
                let (name, rest) = words.split_once(char::is_whitespace).unwrap_or((&words, ""));
                interpreter =
                    find(name).map_err(|error| wrong(error.to_string()))?.to_string_lossy().into_owned();
                option = rest.trim().to_owned();
            }
            let next = PathBuf::from(&interpreter);
            if !next.is_absolute() || !next.is_file() {
                return Err(wrong(format!("its first line names `{interpreter}`, which is not there")));
            }
            argv[0] = path.to_string_lossy().into_owned();
            argv.splice(
                0..0,
                [Some(interpreter), Some(option).filter(|option| !option.is_empty())].into_iter().flatten(),
            );
            scripts.push(std::mem::replace(&mut path, next));
        }
    }
}
