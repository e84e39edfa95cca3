//! A terminal for commands to run on, and a person's hands and eyes at it.
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{ffi::OsStr, thread};

use crate::wait;

/// A command on a terminal of its own (pty(7)); it is ended when dropped.
pub struct Terminal {
    child: Child,
    /// The person's side.
    ours: File,
    /// The command's side, held open so that the terminal and its modes outlive the command.
    theirs: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a command in a session of its own, on a new terminal of this size.
    ///
    /// # Errors
    /// If there is no terminal to be had, or the command does not start.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Result<Self, String> {
        let text = |e: rustix::io::Errno| format!("no terminal: {e}");
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(text)?;
        grantpt(&ours).map_err(text)?;
        unlockpt(&ours).map_err(text)?;
        let name = ptsname(&ours, Vec::new()).map_err(text)?;
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.as_bytes()))
            .map_err(|e| e.to_string())?;
        let twin = || theirs.try_clone().map(Stdio::from).map_err(|e| e.to_string());
        // setsid(1) makes it the controlling terminal.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        session.stdin(twin()?).stdout(twin()?).stderr(twin()?);
        let ours = File::from(ours);
        let terminal = Self {
            screen: Arc::default(),
            child: {
                resize(&ours, rows, columns)?;
                session.spawn().map_err(|e| format!("setsid does not start: {e}"))?
            },
            theirs,
            ours,
        };
        let (mut from, screen) =
            (terminal.ours.try_clone().map_err(|e| e.to_string())?, terminal.screen.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                screen.lock().unwrap_or_else(|e| e.into_inner()).extend_from_slice(&buffer[..n]);
            }
        });
        Ok(terminal)
    }

    /// All that was shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap_or_else(|e| e.into_inner())).into_owned()
    }

    /// Waits until a text is shown.
    ///
    /// # Errors
    /// What is shown, if that does not have it in time.
    pub fn expect(&self, text: &str, limit: Duration) -> Result<(), String> {
        match wait::until(limit, || self.screen().contains(text)) {
            true => Ok(()),
            false => Err(format!("{text:?} is not shown, but: {:?}", self.screen())),
        }
    }

    /// Types keys.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn enter(&mut self, keys: &str) -> Result<(), String> {
        self.ours.write_all(keys.as_bytes()).map_err(|e| e.to_string())
    }

    /// Changes the size of the terminal.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), String> {
        resize(&self.ours, rows, columns)
    }

    /// The modes of the terminal (termios(3)).
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn modes(&self) -> Result<Termios, String> {
        tcgetattr(&self.theirs).map_err(|e| e.to_string())
    }

    /// The process id of the command.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The status of the command once it has ended of itself.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        wait::finish(&mut self.child, limit).map(wait::shell_status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        wait::end(&mut self.child);
    }
}

fn resize(terminal: &File, rows: u16, columns: u16) -> Result<(), String> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(|e| e.to_string())
}
