//! Errors for people: what is wrong, why, and what to do about it.

use std::fmt::{self, Display};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use crate::args::Color;

/// What every fallible step of the command returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit status when `coracle` itself failed, as container tools use it.
pub const FAILED: u8 = 125;

/// Exit status when the program can't be invoked.
pub const NOT_INVOKED: u8 = 126;

/// Exit status when there is no such program.
pub const NOT_FOUND: u8 = 127;

/// Something that ends the command.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    what: String,
    why: Vec<String>,
    help: Vec<String>,
    status: u8,
}

impl Error {
    /// Says what is wrong, in one line without a capital or a full stop.
    pub fn new(what: impl Display) -> Self {
        Error(Box::new(Parts { what: what.to_string(), why: Vec::new(), help: Vec::new(), status: FAILED }))
    }

    /// Has `coracle run` end with this status, in place of [`FAILED`].
    pub fn with_status(mut self, status: u8) -> Self {
        self.0.status = status;
        self
    }

    /// The exit status of `coracle run` for it.
    pub fn status(&self) -> u8 {
        self.0.status
    }

    /// Adds a reason.
    pub fn why(mut self, why: impl Display) -> Self {
        self.0.why.push(why.to_string());
        self
    }

    /// Adds something to do.
    pub fn help(mut self, help: impl Display) -> Self {
        self.0.help.push(help.to_string());
        self
    }

    /// What it says, without colours.
    pub fn text(&self) -> String {
        let parts = &self.0;
        let why = parts.why.iter().map(|why| format!("\n  why: {}", indent(why)));
        let help = parts.help.iter().map(|help| format!("\n  help: {}", indent(help)));
        format!("error: {}{}", parts.what, why.chain(help).collect::<String>())
    }

    /// Prints the error on stderr, in colour if that is a terminal.
    pub fn print(&self) {
        let paint = paint();
        let mut err = std::io::stderr().lock();
        let parts = &self.0;
        let mut text = format!("{}: {}\n", paint.red("error"), parts.what);
        for why in &parts.why {
            text += &format!("  {} {}\n", paint.blue("why:"), indent(why));
        }
        for help in &parts.help {
            text += &format!("  {} {}\n", paint.green("help:"), indent(help));
        }
        // Without stderr, there is no place for the message.
        let _ = err.write_all(text.as_bytes());
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

/// Sets the lines after the first below the text of the first.
fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n       ")
}

/// Colours, or none.
#[derive(Clone, Copy)]
pub struct Paint(bool);

/// What `--color` says.
static COLOR: OnceLock<Color> = OnceLock::new();

/// Says when messages are in colour from now on.
pub fn set_color(color: Color) {
    // The first one stays: there is one command line.
    let _ = COLOR.set(color);
}

/// Colours for stderr: unless `--color` says otherwise, if it is a terminal and `NO_COLOR` (no-color.org) is not set.
pub fn paint() -> Paint {
    Paint(match COLOR.get().copied().unwrap_or_default() {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    })
}

impl Paint {
    fn sgr(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    fn red(self, text: &str) -> String {
        self.sgr("1;31", text)
    }
    fn blue(self, text: &str) -> String {
        self.sgr("1;34", text)
    }
    fn green(self, text: &str) -> String {
        self.sgr("1;32", text)
    }
    /// Text that matters less.
    pub fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }
}

/// Says something that does not end the command.
pub fn warn(text: impl Display) {
    say(&format!("warning: {text}"), || format!("{}: {text}", paint().sgr("1;33", "warning")));
}

/// The terminal does not begin a line anew at a line feed.
static RAW_TERMINAL: AtomicBool = AtomicBool::new(false);

/// Says whether the terminal is raw.
pub fn set_raw_terminal(raw: bool) {
    RAW_TERMINAL.store(raw, Ordering::SeqCst);
}

/// The file that takes what would be said on stderr, as long as it can be written.
struct Log {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Has [`note`] and [`warn`] write to a file from now on, which is made or emptied, and which others can't read.
///
/// # Errors
/// If it can't be written.
pub fn log_to(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(|error| cannot("write", path, &error))?;
    // The first one stays: there is one command line.
    let _ = LOG.set(Log { path: path.to_owned(), file: Mutex::new(Some(file)) });
    Ok(())
}

/// Takes what [`note`] says; returns whether it needs no other place.
type Tap = Box<dyn Fn(&str) -> bool + Send + Sync>;

static TAP: RwLock<Option<Arc<Tap>>> = RwLock::new(None);

/// Has [`note`] and [`warn`] pass on what they say, without colours.
pub fn tap_notes(tap: Option<Tap>) {
    *TAP.write().unwrap_or_else(PoisonError::into_inner) = tap.map(Arc::new);
}

/// Says something after the command's name: in the log, if there is one, else on stderr. A log that can't be written, on a
/// full disk say, must not end a guest: a warning says so, and stderr takes what the log would.
pub fn note(text: impl Display) {
    let text = text.to_string();
    say(&text, || text.clone());
}

fn say(plain: &str, painted: impl FnOnce() -> String) {
    let tap = TAP.read().unwrap_or_else(PoisonError::into_inner).clone();
    if tap.is_some_and(|tap| tap(plain)) {
        return;
    }
    let line = format!("coracle: {}\n", painted());
    if let Some(log) = LOG.get() {
        let mut file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.as_mut().map(|file| file.write_all(line.as_bytes())) {
            Some(Ok(())) => return,
            Some(Err(error)) => {
                *file = None;
                let (path, warning) = (log.path.display(), paint().sgr("1;33", "warning"));
                to_stderr(format!(
                    "coracle: {warning}: cannot write `{path}`: {error}; messages go to standard error from now on\n"
                ));
            }
            None => {}
        }
    }
    to_stderr(line);
}

fn to_stderr(mut line: String) {
    if RAW_TERMINAL.load(Ordering::SeqCst) && std::io::stderr().is_terminal() {
        line = line.replace('\n', "\r\n");
    }
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Reads a file, and says which one if that fails. What has no length of its own, such as a pipe, may have a bounded number of
/// bytes: a device may never end.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    /// Bytes that are read of such.
    const MOST: u64 = 64 << 20;
    let fail = |error: std::io::Error| cannot("read", path, &error);
    if std::fs::metadata(path).map_err(fail)?.is_file() {
        return std::fs::read(path).map_err(fail);
    }
    let bytes = read_start(path, MOST + 1)?;
    if bytes.len() as u64 > MOST {
        return Err(Error::new(format!("cannot read `{}`", path.display()))
            .why(format!("it is not a file, and does not end within {} MiB", MOST >> 20)));
    }
    Ok(bytes)
}

/// Reads no more than the first `length` bytes of a file.
pub fn read_start(path: &Path, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(length).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| cannot("read", path, &error))
}

/// That something could not be done with a file.
pub fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> Error {
    let what = Error::new(format!("cannot {verb} `{}`", path.display()));
    match error.kind() {
        std::io::ErrorKind::NotFound if verb == "write" => what.why("there is no such directory"),
        std::io::ErrorKind::NotFound => what.why("there is no such file"),
        std::io::ErrorKind::PermissionDenied => {
            what.why("permission denied").help("run as a user who may, or change the file's permissions")
        }
        _ => what.why(error),
    }
}
