//! `coracle start`, `restart` and `rename`.

use std::time::{Duration, Instant};

use super::{Claim, Options, PATIENCE, Seen, ask_to_end, await_end, claim, names};
use crate::args::{RenameArgs, RestartArgs, StartArgs};
use crate::error::{Error, Result};
use crate::output;
use crate::run::{self, Restart, SYNC};

/// `coracle start`: starts guests that have ended, with the options they had.
///
/// # Errors
/// If one can't be started. The others are tried all the same.
pub fn start(args: &StartArgs) -> Result<u8> {
    let mut chosen = args.names.clone();
    if args.all {
        for name in names()? {
            // What can't be read is told when it is started.
            let wants = Options::load(&name)
                .map_or(true, |options| options.is_some_and(|options| is_for_boot(&options)));
            if wants {
                chosen.push(name);
            }
        }
    }
    let mut status = 0;
    for name in &chosen {
        match begin(name) {
            Ok(0) => output::line(name)?,
            Ok(other) => status = other,
            Err(error) if chosen.len() > 1 => {
                error.print();
                status = crate::error::FAILED;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(status)
}

/// Whether a boot of the host starts it.
fn is_for_boot(options: &Options) -> bool {
    match options.restart {
        Restart::Always => true,
        Restart::UnlessStopped => !options.is_stopped,
        Restart::No | Restart::OnFailure(_) => false,
    }
}

/// Starts a guest in the background, unless it runs. Returns the status of its command, if that has failed.
fn begin(name: &str) -> Result<u8> {
    if Seen::find(name)?.running.is_some() {
        return Ok(0);
    }
    let options = Options::load(name)?.ok_or_else(|| {
        Error::new(format!("`{name}` cannot be started again"))
            .why("its options are not known: it never ran, or an older `coracle` ran it")
    })?;
    let claim = match Claim::take(name) {
        // Another command starts it at this moment.
        Err(_) if Seen::find(name)?.running.is_some() => return Ok(0),
        // Or it has held the name, and lost it again.
        Err(_) => Claim::take(name)?,
        claim => claim?,
    };
    run::launch(&claim, name, &options)
}

/// `coracle restart`: stops guests that run, and starts them.
///
/// # Errors
/// If one can't be stopped or started.
pub fn restart(args: &RestartArgs) -> Result<u8> {
    let grace = Duration::from_secs(args.seconds);
    let mut status = 0;
    for name in &args.names {
        if let Some(pid) = Seen::find(name)?.running {
            ask_to_end(name, pid, args.seconds)?;
            let limit = Instant::now().checked_add(grace.saturating_add(SYNC + PATIENCE));
            if await_end(name, pid, args.seconds, limit)?.is_none() {
                return Err(Error::new(format!("`{name}` is gone")).why("it was run with --rm"));
            }
        }
        match begin(name)? {
            0 => output::line(name)?,
            other => status = other,
        }
    }
    Ok(status)
}

/// `coracle rename`: gives a guest another name, also while it runs.
///
/// # Errors
/// If there is no such guest, or one that has the other name.
pub fn rename(args: &RenameArgs) -> Result<()> {
    let (old, new) = (&args.old, &args.new);
    if Seen::find(old)?.running.is_some() {
        claim::rename(old, new)
    } else {
        // Held, so that no command starts it meanwhile.
        let _claim = Claim::hold(old)?;
        claim::rename(old, new)
    }
}
