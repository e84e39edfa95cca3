//! Environment variables for the guest: `-e NAME[=VALUE]` and `--env-file`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::bytes;
use crate::error::{self, Error, Result, warn};

/// The variable that `NAME=VALUE` sets, or `NAME` alone to the host's value; `None`, with a warning, if the host has none.
pub fn variable(text: &OsStr) -> Option<(OsString, OsString)> {
    if let Some((name, value)) = bytes::split_once(text, b'=') {
        return Some((name.to_owned(), value.to_owned()));
    }
    let Some(value) = std::env::var_os(text) else {
        let name = text.display();
        warn(format!("the environment variable `{name}` is not set here, so the guest does not get it"));
        return None;
    };
    Some((text.to_owned(), value))
}

/// A variable with its value, as a program gets it (environ(7)).
pub fn joined((name, value): (&OsString, &OsString)) -> Vec<u8> {
    [name.as_bytes(), b"=", value.as_bytes()].concat()
}

/// The variables of a file: a `NAME=VALUE` or a `NAME` a line, values taken literally; empty lines and those that begin
/// with `#` mean nothing.
///
/// # Errors
/// If the file cannot be read, or has another line.
pub fn of_file(path: &Path) -> Result<Vec<(OsString, OsString)>> {
    let text = error::read(path)?;
    let mut variables = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let name = line.split(|&byte| byte == b'=').next().unwrap_or_default();
        if name.is_empty() || line.contains(&0) || name.iter().any(u8::is_ascii_whitespace) {
            return Err(Error::new(format!("the variables in `{}` cannot be used", path.display()))
                .why(format!("line {} is `{}`", index + 1, String::from_utf8_lossy(line)))
                .help("each line is NAME=VALUE, NAME, or a comment after `#`"));
        }
        variables.extend(variable(OsStr::from_bytes(line)));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        std::fs::write(&path, "# none\n\nA=1\n  B=two words # and more\nC=\nPATH\n").unwrap();
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let path_here = std::env::var("PATH").unwrap();
        assert_eq!(
            of_file(&path).unwrap(),
            [pair("A", "1"), pair("B", "two words # and more"), pair("C", ""), pair("PATH", &path_here)]
        );
        std::fs::write(&path, b"A=\xff\r\n").unwrap();
        assert_eq!(of_file(&path).unwrap(), [("A".into(), OsStr::from_bytes(b"\xff").to_owned())]);
        for wrong in ["=x", "A=\0", "export A=1", "two words"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(of_file(&path).is_err(), "{wrong}");
        }
    }
}
