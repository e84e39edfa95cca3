//! What a shell and man(1) know of this command: `coracle completions` and `coracle man`.

use std::fs;

use clap::{Arg, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::{self, CompletionsArgs, ManArgs, Shell};
use crate::error::{Error, Result, cannot};
use crate::{instances, output, volume};

/// Names the environment variable with the shell that asks this command to complete words.
const MARK: &str = "CORACLE_COMPLETE";
/// The command.
const NAME: &str = "coracle";

/// Exit statuses, as the man pages have them.
const STATUSES: [(&str, &str); 5] = [
    ("0", "Success; of a guest, that its program has ended so."),
    ("1 to 255", "run: the exit status of the program, if it has run."),
    ("125", "The command itself has failed."),
    ("126", "run: what was given is there, but is no program that can be invoked."),
    ("127", "run: there is no such program."),
];

/// Completes words for a shell, and ends, if a shell has called this command for that.
pub fn complete() {
    CompleteEnv::with_factory(with_candidates).var(MARK).bin(NAME).complete();
}

/// The command line, with the names that there are at this moment.
fn with_candidates() -> Command {
    let mut command = args::command();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(&name, |sub| match name.as_str() {
            "volume" => {
                let names: Vec<String> = sub.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
                let is_old = |name: &&String| !["create", "import"].contains(&name.as_str());
                names.iter().filter(is_old).fold(sub, |sub, name| {
                    sub.mut_subcommand(name, |sub| with_names(sub, &["volume", "names"], volumes))
                })
            }
            // The name that it gives a guest is new.
            "run" => sub,
            _ => with_names(sub, &["name", "names", "old"], guests),
        });
    }
    command
}

fn with_names(command: Command, arguments: &[&str], names: fn() -> Vec<CompletionCandidate>) -> Command {
    command.mut_args(|argument: Arg| match arguments.contains(&argument.get_id().as_str()) {
        true => argument.add(ArgValueCandidates::new(names)),
        false => argument,
    })
}

fn guests() -> Vec<CompletionCandidate> {
    instances::names().unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

fn volumes() -> Vec<CompletionCandidate> {
    volume::names().unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

/// `coracle completions`: prints what a shell reads at its start.
///
/// # Errors
/// If it can't be printed.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut text = Vec::new();
    let written = shell.write_registration(MARK, NAME, NAME, NAME, &mut text);
    written.map_err(|error| Error::new("cannot write the completions").why(error))?;
    output::write(&text)
}

/// `coracle man`: writes a page for the command, and one for each of its commands.
///
/// # Errors
/// If a file can't be written.
pub fn man(args: &ManArgs) -> Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).map_err(|error| cannot("make the directory", directory, &error))?;
    let mut command = args::command().disable_help_subcommand(true).version(env!("CARGO_PKG_VERSION"));
    // The usage of each begins with the whole name.
    command.build();
    write_pages(&command, NAME, args)
}

fn write_pages(command: &Command, name: &str, args: &ManArgs) -> Result<()> {
    let path = args.directory.join(format!("{name}.1"));
    let fail = |error: std::io::Error| cannot("write", &path, &error);
    let page = Man::new(command.clone().display_name(name.to_owned()))
        .title(name.to_uppercase())
        .section("1")
        .source(format!("coracle {}", env!("CARGO_PKG_VERSION")))
        .manual("Coracle");
    let mut text = Vec::new();
    page.render(&mut text).map_err(fail)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in STATUSES {
        if meaning.starts_with("run: ") && !["coracle", "coracle-run"].contains(&name) {
            continue;
        }
        roff.control("TP", []).text([bold(status)]).text([roman(meaning.trim_start_matches("run: "))]);
    }
    roff.to_writer(&mut text).map_err(fail)?;
    // troff knows bytes, and characters beyond by their numbers (groff_char(7)).
    let text: String = String::from_utf8_lossy(&text).chars().map(escaped).collect();
    fs::write(&path, text).map_err(fail)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), args)?;
    }
    Ok(())
}

fn escaped(character: char) -> String {
    match character {
        character if character.is_ascii() => character.to_string(),
        character => format!("\\[u{:04X}]", u32::from(character)),
    }
}
