//! `coracle exec`

use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::thread;

use coracle_control::{Request, SessionRequest, Started, Window, exec_flag};
use rustix::stdio::{stderr, stdin, stdout};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use super::launch::{self, Guest, Launch};
use super::pump::{Output, shell_status, wait};
use super::session::Session;
use super::with::Sent;
use crate::args::ExecArgs;
use crate::environment;
use crate::error::{Error, FAILED, Result};
use crate::run::{self, Key, Keys, Terminal};

/// `coracle exec`: runs a program in a guest; returns its exit status.
///
/// # Errors
/// If the guest ends first.
pub fn exec(args: &ExecArgs) -> Result<u8> {
    if args.tty && args.interactive && !stdin().is_terminal() {
        return Err(Error::new("standard input is no terminal")
            .why("with -i and -t, it is the program's terminal")
            .help("leave out -t"));
    }
    let session = Arc::new(Session::connect(&args.name)?);
    let terminal = Arc::new(Terminal::default());
    let result = run(args, &session, &terminal);
    terminal.restore();
    result
}

fn run(args: &ExecArgs, session: &Arc<Session>, terminal: &Arc<Terminal>) -> Result<u8> {
    let guest = Guest::ask(session)?;
    let account = match &args.user {
        Some(text) => guest.account(text)?,
        None => guest.account.clone(),
    };
    let mut variables = guest.environment.clone();
    let mut set = |name: &str, value: &[u8]| variables.insert(name.as_bytes().to_vec(), value.to_vec());
    if args.tty {
        let term = std::env::var_os("TERM").unwrap_or_else(|| "xterm".into());
        set("TERM", term.as_bytes());
    }
    if args.user.is_some() || !guest.environment.contains_key(b"HOME".as_slice()) {
        set("HOME", account.home.as_deref().unwrap_or("/").as_bytes());
    }
    let given = args.env.iter().filter_map(|text| environment::variable(text));
    variables.extend(given.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    let words: Vec<Vec<u8>> = args.words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let sent = Sent::send(session, &args.with)?;
    if !sent.directory().is_empty() {
        let path = variables.entry(b"PATH".to_vec()).or_insert_with(|| launch::PATH.into());
        path.push(b':');
        path.extend_from_slice(sent.directory());
    }
    let (path, words) = match sent.command(&words) {
        Some(command) => command,
        None => (launch::find(session, &words[0], &variables)?, words),
    };
    let window = run::window().filter(|_| args.tty);
    // Before the program runs, so that no signal finds it without its keeper.
    let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT])
        .map_err(|error| Error::new("cannot catch signals").why(error))?;
    let flags = match (args.detach, args.tty, args.interactive) {
        (true, ..) => 0,
        (_, true, _) => exec_flag::TERMINAL,
        (_, _, true) => exec_flag::INPUT | exec_flag::OUTPUT,
        _ => exec_flag::OUTPUT,
    };
    let launch = Launch {
        path: &path,
        arguments: words,
        environment: &variables,
        directory: args.workdir.as_ref().map_or(&guest.directory, |directory| directory.as_bytes()),
        account: &account,
        flags,
        window: window.unwrap_or_default(),
    };
    let started = launch::start(session, &launch)?;
    session.be_patient();
    if args.detach {
        // Let go of, it gets no SIGHUP.
        let close = SessionRequest::Close { handle: started.process, half: false };
        session.call(close)?.map_err(|error| Error::new("cannot let go of the program").why(error))?;
        return Ok(0);
    }
    accompany(args, session, terminal, started, signals)
}

/// Is the program's terminal, or its streams, until it ends.
fn accompany(
    args: &ExecArgs,
    session: &Arc<Session>,
    terminal: &Arc<Terminal>,
    started: Started,
    signals: Signals,
) -> Result<u8> {
    if args.tty && args.interactive {
        terminal.take();
    }
    let mut outputs = vec![Output::copy(session, started.output, stdout())];
    if !args.tty {
        outputs.push(Output::copy(session, started.error, stderr()));
    }
    if args.interactive {
        let session = Arc::clone(session);
        let terminal = args.tty.then(|| Arc::clone(terminal));
        thread::spawn(move || feed(&session, started.input, terminal.as_deref()));
    }
    let (own, raw) = (Arc::clone(session), Arc::clone(terminal));
    let (tty, typed) = (args.tty, args.tty && args.interactive);
    thread::spawn(move || pass_signals(signals, &own, started, tty, typed.then_some(&raw)));
    let status = wait(session, &started)?;
    outputs.into_iter().for_each(|output| output.finish(session));
    Ok(shell_status(status))
}

/// Hands standard input on. `terminal`: it is the program's terminal.
fn feed(session: &Session, handle: u32, terminal: Option<&Terminal>) {
    let (mut buffer, mut keys) = (vec![0; 16 << 10], Keys::default());
    // An input that can't be read any more has ended for the program.
    while let Ok(length @ 1..) = run::read(stdin(), &mut buffer) {
        let mut typed = Vec::new();
        let bytes = match terminal {
            Some(terminal) => {
                if keys.take(&buffer[..length], true, &mut typed) == Some(Key::End) {
                    terminal.restore();
                    // The program gets SIGHUP, as its connection ends.
                    std::process::exit(FAILED.into());
                }
                &typed
            }
            None => &buffer[..length],
        };
        if !matches!(session.write(handle, 0, bytes), Ok(Ok(()))) {
            return;
        }
    }
    // For a terminal, this hangs it up.
    let _ = session.call(SessionRequest::Close { handle, half: false });
}

/// Sends the program the signals that this command gets, and its terminal the size of this one.
fn pass_signals(
    mut signals: Signals,
    session: &Session,
    started: Started,
    tty: bool,
    raw: Option<&Arc<Terminal>>,
) {
    let resize = |window: Window| session.call(SessionRequest::Resize { handle: started.input, window });
    for signal in signals.forever() {
        // A guest that has ended gets no signal.
        match signal {
            SIGWINCH if !tty => {}
            SIGCONT | SIGWINCH => {
                if let Some(terminal) = raw.filter(|_| signal == SIGCONT) {
                    terminal.take();
                }
                if let Some(window) = run::window().filter(|_| tty) {
                    let _ = resize(window);
                }
            }
            number => {
                let signal = u32::try_from(number).unwrap_or_default();
                let _ = session.ask(Request::Signal { pid: started.pid, signal });
            }
        }
    }
}
