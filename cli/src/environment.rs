//! Environment variables for the guest: `-e NAME[=VALUE]` and `--env-file`.

use std::path::Path;

use crate::error::{self, Error, Result, warn};

/// The variable that `NAME=VALUE` sets, or `NAME` alone to the host's value; `None`, with a warning, if the host has none.
pub fn variable(text: &str) -> Option<(String, String)> {
    if let Some((name, value)) = text.split_once('=') {
        return Some((name.to_owned(), value.to_owned()));
    }
    match std::env::var(text) {
        Ok(value) => Some((text.to_owned(), value)),
        Err(std::env::VarError::NotPresent) => {
            warn(format!("the environment variable `{text}` is not set here, so the guest does not get it"));
            None
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            warn(format!("the environment variable `{text}` is not UTF-8, so the guest does not get it"));
            None
        }
    }
}

/// The variables of a file: a `NAME=VALUE` or a `NAME` a line, values taken literally; empty lines and those that begin
/// with `#` mean nothing.
///
/// # Errors
/// If the file cannot be read, or has another line.
pub fn of_file(path: &Path) -> Result<Vec<(String, String)>> {
    let wrong = |why: String| {
        Error::new(format!("the variables in `{}` cannot be used", path.display()))
            .why(why)
            .help("each line is NAME=VALUE, NAME, or a comment after `#`")
    };
    let text =
        String::from_utf8(error::read(path)?).map_err(|_| wrong("it is not text (UTF-8)".to_owned()))?;
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong(format!("line {} is `{line}`", index + 1)));
        }
        variables.extend(variable(line));
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
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let path_here = std::env::var("PATH").unwrap();
        assert_eq!(
            of_file(&path).unwrap(),
            [pair("A", "1"), pair("B", "two words # and more"), pair("C", ""), pair("PATH", &path_here)]
        );
        for wrong in ["=x", "export A=1", "two words"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(of_file(&path).is_err(), "{wrong}");
        }
    }
}
