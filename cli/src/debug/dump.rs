//! When a core file is written, and where.

use std::path::{Path, PathBuf};

use coracle_control::{Debug, Request};

use super::core_file::{self, Cause};
use super::session::Session;
use crate::args::CoreArgs;
use crate::error::{Error, Result, note, warn};
use crate::observe::Client;
use crate::output;

/// A process that crashed and waits for its core, as the guest's kernel says it: `PID TID SIGNAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dump {
    pid: u32,
    tid: u32,
    signal: u8,
}

impl Dump {
    /// From the kernel's words.
    pub fn parse(text: &str) -> Option<Dump> {
        let mut words = text.split_whitespace();
        let (pid, tid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Dump { pid, tid, signal: words.next()?.parse().ok()? })
    }

    /// Writes the core, and lets the process end.
    pub fn write(self, [mut own, first, second]: [Client; 3], place: &Path) {
        let path = place_of(place, own.name(), self.pid);
        let pid = self.pid;
        let detach = Request::Debug(Debug::Detach { pid });
        let result = Session::with(first, pid, second).and_then(|mut session| {
            session.settle()?;
            core_file::write(&mut session, Cause { tid: self.tid, signal: self.signal }, &path)
        });
        match result {
            Ok(()) => note(format_args!("core dumped to {}", path.display())),
            Err(error) => error.print(),
        }
        // A guest that has ended needs it no more.
        let _ = own.ask(detach);
    }
}

/// The file for the core of a process.
fn place_of(place: &Path, name: &str, pid: u32) -> PathBuf {
    if place.is_dir() { place.join(format!("core.{name}.{pid}")) } else { place.to_owned() }
}

/// `coracle core`
///
/// # Errors
/// If the guest can't be asked, or the file can't be written.
pub fn core(args: &CoreArgs) -> Result<()> {
    let place = args.output.clone().unwrap_or_else(|| ".".into());
    let path = place_of(&place, &args.name, args.pid);
    let (mut session, is_stopped) = match Session::try_attach(&args.name, args.pid)? {
        Some(session) => (session, true),
        None => {
            warn(format_args!(
                "`{}` may only be observed (`--control full` allows more): its threads run on, so what is copied is not of one moment",
                args.name
            ));
            (Session::observe(&args.name, args.pid)?, false)
        }
    };
    if session.threads.is_empty() {
        return Err(Error::new(format!("`{}` has no process {}", args.name, args.pid))
            .help(format!("`coracle stack {}` lists them", args.name)));
    }
    let written = core_file::write(&mut session, Cause::default(), &path);
    if is_stopped {
        session.detach();
    }
    written?;
    output::line(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_crash() {
        assert_eq!(Dump::parse("7 9 11"), Some(Dump { pid: 7, tid: 9, signal: 11 }));
        assert_eq!((Dump::parse("7 9"), Dump::parse("x")), (None, None));
    }

    #[test]
    fn a_directory_gets_a_file_of_its_own_name() {
        assert_eq!(place_of(Path::new("/tmp"), "web", 3), Path::new("/tmp/core.web.3"));
        assert_eq!(place_of(Path::new("/tmp/x/y"), "web", 3), Path::new("/tmp/x/y"));
    }
}
