//! `coracle run -d` and `coracle start`: a command in the background, with its output in a log.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::supervise::own_path;
use crate::args::RunArgs;
use crate::error::{Error, Result};
use crate::instances::{Claim, Options};
use crate::{instances, log, output};

/// Names the environment variable with the name of its guest for the command in the background.
const MARK: &str = "CORACLE_DETACHED";
/// How often the start is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// In the background: the guest's name. Leaves the terminal, whose end must not be the guest's.
pub fn background_name() -> Result<Option<String>> {
    let Ok(name) = std::env::var(MARK) else { return Ok(None) };
    let own = rustix::process::getpid();
    if rustix::process::getsid(None) != Ok(own) {
        rustix::process::setsid().map_err(|error| Error::new("cannot run in the background").why(error))?;
    }
    Ok(Some(name))
}

/// Tells a command that this process executes what its guest is called now.
pub fn rename(command: &mut Command, name: &str) {
    if std::env::var_os(MARK).is_some() {
        command.env(MARK, name);
    }
}

/// Starts the guest in the background, waits until it has started, and prints its name.
pub fn detach(args: &RunArgs, program: &str) -> Result<u8> {
    let name = args.name.clone().map_or_else(|| instances::free_name(program), Ok)?;
    // Whether the name is free is found out here, where there is a terminal to say so.
    let claim = Claim::take(&name)?;
    log::remove(&name)?;
    let mut command = Command::new(own_path()?);
    command.args(std::env::args_os().skip(1));
    let status = spawn(&claim, &name, command)?;
    if status == 0 {
        output::line(&name)?;
    }
    Ok(status)
}

/// Starts a guest in the background with the options that it had, and waits until it has started. Its log goes on. Returns the status
/// of its command, if that has failed.
///
/// # Errors
/// If it does not start.
pub fn launch(claim: &Claim, name: &str, options: &Options) -> Result<u8> {
    if !options.directory.is_dir() {
        return Err(Error::new(format!("`{name}` cannot be started again"))
            .why(format!("the directory `{}`, where it was started, is gone", options.directory.display())));
    }
    let mut command = Command::new(own_path()?);
    command.args(&options.words).current_dir(&options.directory);
    command.envs(options.variables.iter().map(|(name, value)| (name, value)));
    spawn(claim, name, command)
}

fn spawn(claim: &Claim, name: &str, mut command: Command) -> Result<u8> {
    let fail = |error: std::io::Error| Error::new("cannot start in the background").why(error);
    // For what the command says while it has no log.
    let mut said = tempfile::tempfile().map_err(fail)?;
    let before = Timestamp::now();
    claim.pass(&mut command)?;
    let mut child = command
        .env(MARK, name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone().map_err(fail)?)
        .spawn()
        .map_err(fail)?;
    // It does so itself, too; until then a stop must not be this command's.
    claim.sign(child.id()).map_err(fail)?;
    let info = instances::file(name, "info")?;
    loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            // It ended before or just after it started: what it said is what there is to say.
            let mut text = log::text(name, before);
            if text.is_empty() {
                let _ = said.seek(SeekFrom::Start(0)).and_then(|_| said.read_to_string(&mut text));
            }
            output::to_stderr(format_args!("{text}"));
            return Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(crate::error::FAILED));
        }
        if info.exists() {
            return Ok(0);
        }
        thread::sleep(GLANCE);
    }
}
