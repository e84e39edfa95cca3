//! Where the options of `coracle run` end and the program's own words begin.
//!
//! Options end at the program: `coracle run -m 64M python3 -m http.server` gives `-m http.server` to Python. Three forms besides:
//!
//! - a `--` right after the program may set off its arguments;
//! - an image, whose arguments are settled when it is built, may be followed by options, and by other arguments after a `--`;
//! - options between a program and a `--` are options of this command, if all of them are.
//!
//! A `--` in front of all sets off arguments for the program that `Coracle.toml` names.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command, RunArgs};
use crate::error::note;

/// What sets arguments off from options.
const SEPARATOR: &str = "--";

/// Finds the program and its arguments in the words that follow the options.
/// `line`: the command line as it was given.
///
/// # Errors
/// If options that follow an image, or stand before a `--`, are wrong.
pub fn split(mut args: RunArgs, line: &[OsString]) -> Result<RunArgs, clap::Error> {
    let mut words = std::mem::take(&mut args.words);
    let options = &line[..line.len() - words.len()];
    if words.is_empty() {
        return Ok(args);
    }
    if options.last().is_some_and(|word| word == SEPARATOR) {
        args.args = words;
        return Ok(args);
    }
    let target = words.remove(0);
    let separator = words.iter().position(|word| word == SEPARATOR);
    let is_image = separator != Some(0) && crate::pack::is_image(Path::new(&target));
    let ours = separator.or(is_image.then_some(words.len())).unwrap_or(0);
    if ours > 0 {
        let options: Vec<&OsString> = options.iter().collect();
        let moved: Vec<OsString> = words[..ours].to_vec();
        match parse(options.into_iter().chain(&moved)) {
            // Every one of them is an option.
            Ok(Some(mut merged)) => {
                merged.target = Some(target);
                merged.args = words.split_off((ours + 1).min(words.len()));
                return Ok(merged);
            }
            // Some are none: all belong to the program.
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::UnknownArgument && !is_image => {}
            Err(error) => return Err(error),
        }
    }
    if separator == Some(0) {
        words.remove(0);
    } else if !args.quiet {
        remind(&words);
    }
    args.target = Some(target);
    args.args = words;
    Ok(args)
}

/// The arguments that these words are, if they hold options only.
fn parse<'w>(words: impl Iterator<Item = &'w OsString>) -> Result<Option<RunArgs>, clap::Error> {
    match Cli::try_parse_from(words)?.command {
        Command::Run(args) if args.words.is_empty() => Ok(Some(*args)),
        _ => Ok(None),
    }
}

/// Says so if the program is given what was perhaps meant as an option of this command.
fn remind(words: &[OsString]) {
    let Some(name) = words.first().and_then(|word| word.to_str()?.strip_prefix("--")) else { return };
    let name = name.split('=').next().unwrap_or(name);
    // Those that many programs have mean nothing.
    let common = ["help", "version", "verbose", "quiet", "user", "name", "config", "log", "env"];
    let command = Cli::command();
    let run = command.find_subcommand("run").into_iter().flat_map(clap::Command::get_arguments);
    if run.filter_map(clap::Arg::get_long).any(|long| long == name && !common.contains(&long)) {
        note(format_args!(
            "`--{name}` follows the program and is given to it; options of coracle stand before the program"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The target, its arguments, and the memory (in MiB) and CPUs that were asked for.
    type Parts = (Option<OsString>, Vec<OsString>, Option<u64>, Option<u8>);

    fn split_of(line: &str) -> Result<Parts, ErrorKind> {
        let line: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let Command::Run(args) = Cli::try_parse_from(&line).map_err(|error| error.kind())?.command else {
            panic!("another command");
        };
        let args = split(*args, &line).map_err(|error| error.kind())?;
        Ok((args.target, args.args, args.memory.map(|size| size.0 >> 20), args.cpus))
    }

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn options_end_at_the_program() {
        let python = || Some("python3".into());
        for (line, target, args, memory, cpus) in [
            ("coracle run python3 app.py", python(), "app.py", None, None),
            ("coracle run -m 64M python3 -m http.server 80", python(), "-m http.server 80", Some(64), None),
            ("coracle run python3 -- -m http.server", python(), "-m http.server", None, None),
            ("coracle run python3 -c x -- y", python(), "-c x -- y", None, None),
            ("coracle run python3 -- -c x -- y", python(), "-c x -- y", None, None),
            ("coracle run -q python3 --cpus 2 -m 9", python(), "--cpus 2 -m 9", None, None),
            ("coracle run python3 --cpus 2 -m 9 -- -q", python(), "-q", Some(9), Some(2)),
            ("coracle run --cpus 2 python3 -m 9 -- -q", python(), "-q", Some(9), Some(2)),
            ("coracle run python3 app.py --cpus 2 -- -q", python(), "app.py --cpus 2 -- -q", None, None),
            ("coracle run python3 -h", python(), "-h", None, None),
            ("coracle run --cpus 2 -- -q x", None, "-q x", None, Some(2)),
            ("coracle run --cpus 2", None, "", None, Some(2)),
        ] {
            assert_eq!(split_of(line), Ok((target, words(args), memory, cpus)), "{line}");
        }
    }

    #[test]
    fn wrong_options_are_told() {
        assert_eq!(split_of("coracle run -h"), Err(ErrorKind::DisplayHelp));
        assert_eq!(split_of("coracle run --cpus 99 true"), Err(ErrorKind::ValueValidation));
        assert_eq!(split_of("coracle run true --cpus 99 -- x"), Err(ErrorKind::ValueValidation));
        assert_eq!(split_of("coracle run --nonsense true"), Err(ErrorKind::UnknownArgument));
    }
}
