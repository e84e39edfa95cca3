//! `coracle trace`: the system calls of a guest as they are made, as strace(1) writes them.

mod printer;
mod stacks;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use coracle_control::{CALLS, CHOICE_BYTES, Request};

use super::client::Client;
use super::{calls, errno, events, numbers, process};
use crate::arch::Arch;
use crate::args::{RunTraceArgs, TraceArgs};
use crate::error::{Error, Result, warn};
use crate::output;
use printer::Printer;

/// How long to wait for further calls when none was made.
const PAUSE: Duration = Duration::from_millis(20);
/// The same when some were made, but not many.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// Bytes of records after which to fetch the next at once: a part of those that the guest has room for.
const MANY: usize = 256 << 10;
/// Bytes of the program's stack that the guest notes with each call, where stacks are shown.
const STACK_BYTES: u32 = 8 << 10;

/// The calls that the words of `-e` name: a bit for each number.
fn chosen(words: &[String]) -> Result<[u8; CHOICE_BYTES]> {
    let mut bits = [if words.is_empty() { u8::MAX } else { 0 }; CHOICE_BYTES];
    let (mut is_first, set) = (true, |bits: &mut [u8; CHOICE_BYTES], number: usize, on: bool| {
        if number < CALLS {
            let bit = 1 << (number % 8);
            bits[number / 8] = if on { bits[number / 8] | bit } else { bits[number / 8] & !bit };
        }
    });
    for word in words {
        let word = word.strip_prefix("trace=").unwrap_or(word);
        let (word, on) = word.strip_prefix('!').map_or((word, true), |rest| (rest, false));
        if !on && is_first {
            bits = [u8::MAX; CHOICE_BYTES];
        }
        is_first = false;
        let numbers = calls::named(word);
        if numbers.is_empty() {
            return Err(Error::new(format!("`{word}` is no system call, and no kind of them"))
                .help("kinds are file, desc, network, process, memory, signal, ipc and all"));
        }
        numbers.into_iter().for_each(|number| set(&mut bits, number, on));
    }
    Ok(bits)
}

/// The choice of calls as a guest takes it: a bit for each, and what is noted of their arguments, which a summary does not need.
fn choice(arch: Arch, words: &[String], is_summary: bool) -> Result<Vec<u8>> {
    let bits = chosen(words)?;
    if is_summary {
        return Ok(numbers::choice_for(arch, &bits, &[]));
    }
    let is_chosen = |number: usize| bits.get(number / 8).is_some_and(|byte| byte & 1 << (number % 8) != 0);
    Ok(numbers::choice_for(arch, &bits, &calls::captures(arch, is_chosen)))
}

fn cannot_trace(name: &str, error: u16) -> Error {
    let why = match i32::from(error) {
        libc::EBUSY => "another command traces it".to_owned(),
        error => errno::describe(error),
    };
    Error::new(format!("`{name}` cannot be traced")).why(why)
}

/// `coracle trace`
pub fn trace(args: &TraceArgs) -> Result<()> {
    if !args.events.is_empty() {
        return events::trace(args);
    }
    // What is wrong with the words does not depend on the guest.
    chosen(&args.calls)?;
    let mut client = Client::connect(&args.name)?;
    let choice = choice(client.arch(), &args.calls, args.summary)?;
    if args.pid.is_some() {
        process::processes(&mut client, args.pid)?;
    }
    let pid = args.pid.unwrap_or_default();
    client
        .ask(Request::TraceStart { pid, stack: if args.stack { STACK_BYTES } else { 0 }, choice: &choice })?
        .map_err(|error| cannot_trace(&args.name, error))?;
    // Ctrl-C ends the trace; what was noted so far is shown.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| Error::new("cannot wait for signals").why(error))?;
    }
    follow(&mut client, (args.summary, args.json), &ended, &mut output::write)
}

/// What `coracle run --trace` shows, and where.
pub struct RunTrace {
    arch: Arch,
    choice: Vec<u8>,
    /// Bytes of stacks that are noted.
    stack: u32,
    file: Option<File>,
}

impl RunTrace {
    /// From the command line; `None`: nothing is traced.
    ///
    /// # Errors
    /// If there are no such calls, or the file cannot be written.
    pub fn new(args: &RunTraceArgs, arch: Arch) -> Result<Option<RunTrace>> {
        if args.trace.is_empty() {
            return Ok(None);
        }
        let create = |path: &PathBuf| {
            let wrong = |error| Error::new(format!("cannot write `{}`", path.display())).why(error);
            File::create(path).map_err(wrong)
        };
        let file = args.trace_file.as_ref().map(create).transpose()?;
        let stack = if args.stack { STACK_BYTES } else { 0 };
        Ok(Some(RunTrace { arch, choice: choice(arch, &args.trace, false)?, stack, file }))
    }

    /// Shows the calls of a guest whose program waits for that, until it has ended, or what it does can't be written any more: the
    /// program goes on then.
    ///
    /// # Errors
    /// If it can't be traced.
    pub fn follow(&self, mut client: Client) -> Result<()> {
        /// How long to wait before a guest that is still starting is asked again.
        const GLANCE: Duration = Duration::from_millis(5);
        client.set_arch(self.arch);
        let request = Request::TraceStart { pid: 0, stack: self.stack, choice: &self.choice };
        loop {
            match client.ask_for_part(request)?.1 {
                0 => break,
                error if i32::from(error) == libc::EAGAIN => sleep(GLANCE),
                error => return Err(cannot_trace(client.name(), error)),
            }
        }
        let is_cut = AtomicBool::new(false);
        let mut write = |text: &[u8]| {
            match &self.file {
                Some(_) if is_cut.load(Ordering::SeqCst) => {}
                Some(file) => {
                    let mut file = file;
                    if let Err(error) = file.write_all(text) {
                        is_cut.store(true, Ordering::SeqCst);
                        warn(format_args!("the trace ends here: its file can't be written: {error}"));
                    }
                }
                None => output::to_stderr(format_args!("{}", String::from_utf8_lossy(text))),
            }
            Ok(())
        };
        follow(&mut client, (false, false), &is_cut, &mut write)
    }
}

/// Shows calls until the guest has ended, or `ended` is set.
fn follow(
    client: &mut Client,
    (is_summary, is_json): (bool, bool),
    ended: &AtomicBool,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut printer = Printer::new(is_summary, client.arch());
    loop {
        let is_last = ended.load(Ordering::SeqCst) || output::is_unread();
        let records = match client.ask(Request::TraceFetch) {
            Ok(Ok(records)) => records,
            // A guest that ended is traced no more.
            Err(_) if client.has_ended() => break,
            Err(error) => return Err(error),
            Ok(Err(error)) => {
                return Err(Error::new(format!("`{}` cannot be traced any more", client.name()))
                    .why(errno::describe(error.into())));
            }
        };
        let lines = printer.take(&records);
        write(lines.as_deref().unwrap_or_default().as_bytes())?;
        if is_last {
            let _ = client.ask(Request::TraceStop)?;
            break;
        }
        if records.len() < MANY {
            // Each fetch costs the guest something, too.
            sleep(if lines.is_none() { PAUSE } else { SHORT_PAUSE });
        }
        write(printer.waiting(false).as_bytes())?;
    }
    write(printer.waiting(true).as_bytes())?;
    if is_json {
        write((printer.summary_json()? + "\n").as_bytes())?;
    } else if is_summary {
        write(printer.summary().as_bytes())?;
    }
    if printer.lost() > 0 {
        warn(format_args!("{} records were lost: choose fewer calls with -e", printer.lost()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        let has = |bits: &[u8; CHOICE_BYTES], number: i64| bits[number as usize / 8] & 1 << (number % 8) != 0;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let bits = chosen(&words(&["openat", "network"])).unwrap();
        assert!(has(&bits, libc::SYS_openat) && has(&bits, libc::SYS_connect) && !has(&bits, libc::SYS_read));
        let bits = chosen(&words(&["!futex"])).unwrap();
        assert!(has(&bits, libc::SYS_read) && !has(&bits, libc::SYS_futex));
        assert!(chosen(&words(&["no_such_call"])).is_err());
    }
}
