//! `coracle run -d`: the same command once more, in the background, with its output in a log.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::args::RunArgs;
use crate::error::{Error, Result, cannot};
use crate::{instances, output};

/// Names the environment variable with the name of its guest for the command in the background.
const MARK: &str = "CORACLE_DETACHED";
/// How often the start is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// In the background: the guest's name. Leaves the terminal, whose end must not be the guest's.
pub fn background_name() -> Result<Option<String>> {
    let Ok(name) = std::env::var(MARK) else { return Ok(None) };
    rustix::process::setsid().map_err(|error| Error::new("cannot run in the background").why(error))?;
    Ok(Some(name))
}

/// Starts the guest in the background, waits until it has started, and prints its name.
pub fn detach(args: &RunArgs, program: &str) -> Result<u8> {
    let name = args.name.clone().map_or_else(|| instances::free_name(program), Ok)?;
    // Whether the name is free is found out here, where there is a terminal to say so.
    drop(instances::Claim::take(&name)?);
    let path = instances::file(&name, "log")?;
    let fail = |error: std::io::Error| cannot("write", &path, &error);
    let log = File::create(&path).map_err(fail)?;
    let own = std::env::current_exe().map_err(|error| Error::new("cannot find this command").why(error))?;
    let mut child = Command::new(own)
        .args(std::env::args_os().skip(1))
        .env(MARK, &name)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(fail)?)
        .stderr(log)
        .spawn()
        .map_err(|error| Error::new("cannot start in the background").why(error))?;
    let info = instances::file(&name, "info")?;
    loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            // It ended before or just after it started: what it said is what there is to say.
            output::to_stderr(format_args!("{}", fs::read_to_string(&path).unwrap_or_default()));
            return Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(crate::error::FAILED));
        }
        if info.exists() {
            output::line(&name)?;
            return Ok(0);
        }
        thread::sleep(GLANCE);
    }
}
