//! Starting a program in a guest.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use coracle_control::{Attributes, SessionRequest, Started, WRITE_MOST, Window};
use rustix::io::Errno;

use super::account::Account;
use super::session::Session;
use crate::error::{self, Error, Result};

/// Where programs are looked for if the environment has no PATH (docker's default).
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Permission bits of which one lets a file be executed.
const EXECUTABLE: u32 = 0o111;
/// The kind of a file, and a regular one (inode(7)).
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// How long a guest may take to start its program, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// What the image's program was started with, and the users that the guest knows.
pub struct Guest {
    /// The user that it runs as.
    pub account: Account,
    /// Its working directory.
    pub directory: Vec<u8>,
    /// Its environment.
    pub environment: BTreeMap<Vec<u8>, Vec<u8>>,
    passwd: String,
    group: String,
}

/// A program to be started.
pub struct Launch<'a> {
    /// Its file.
    pub path: &'a [u8],
    /// Its arguments, its name first.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    /// Its working directory.
    pub directory: &'a [u8],
    /// Its user.
    pub account: &'a Account,
    /// Flags of [`coracle_control::exec_flag`].
    pub flags: u32,
    /// The size of its terminal.
    pub window: Window,
}

impl Guest {
    /// Asks the guest.
    ///
    /// # Errors
    /// If it doesn't allow programs to be started.
    pub fn ask(session: &Session) -> Result<Guest> {
        let started = Instant::now();
        let answer = loop {
            match session.call(SessionRequest::Defaults)? {
                // It is still booting.
                Err(Errno::AGAIN) if started.elapsed() < PATIENCE => thread::sleep(GLANCE),
                answer => break answer,
            }
        };
        let answer = answer.map_err(|error| {
            Error::new(format!("`{}` does not tell what its program was started with", session.name()))
                .why(error)
        })?;
        let number = |at: usize| {
            answer.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
        };
        let mut strings = answer.get(8..).unwrap_or_default().split(|&byte| byte == 0);
        let directory = strings.next().unwrap_or_default().to_vec();
        let environment = strings.filter_map(variable).collect();
        let text = |path| -> Result<String> {
            Ok(String::from_utf8_lossy(&session.file(path)?.unwrap_or_default()).into_owned())
        };
        let (passwd, group) = (text("/etc/passwd")?, text("/etc/group")?);
        let account = Account::of_ids(number(0), number(4), &passwd);
        Ok(Guest { account, directory, environment, passwd, group })
    }

    /// The user that `text` names; see [`Account::parse`].
    ///
    /// # Errors
    /// If there is none.
    pub fn account(&self, text: &str) -> Result<Account> {
        Account::parse(text, &self.passwd, &self.group)
    }
}

/// A variable's name and value.
fn variable(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let at = text.iter().position(|&byte| byte == b'=')?;
    Some((text[..at].to_vec(), text[at + 1..].to_vec()))
}

/// The path of the program that `name` means: itself if it has a slash, else that in a directory of PATH.
///
/// # Errors
/// If there is none that can be executed.
pub fn find(session: &Session, name: &[u8], environment: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<u8>> {
    if name.contains(&b'/') {
        return Ok(name.to_vec());
    }
    let directories = environment.get(b"PATH".as_slice()).map_or(PATH.as_bytes(), Vec::as_slice);
    let mut refused = None;
    for directory in directories.split(|&byte| byte == b':').filter(|directory| !directory.is_empty()) {
        let path = [directory, b"/", name].concat();
        let request = SessionRequest::Attributes { follow: true, path: &path };
        let answer = session.call(request)?;
        match answer.ok().and_then(|bytes| Attributes::decode(&bytes)) {
            Some(found) if found.mode & KIND == REGULAR && found.mode & EXECUTABLE != 0 => return Ok(path),
            Some(_) => refused = Some(path),
            None => {}
        }
    }
    match refused {
        Some(path) => Err(cannot_run(&path, Errno::ACCESS)),
        None => {
            let name = String::from_utf8_lossy(name);
            Err(Error::new(format!("`{name}` is not in the guest's PATH"))
                .with_status(error::NOT_FOUND)
                .why(format!("that is {}", String::from_utf8_lossy(directories)))
                .help(format!("give its path, or send it along: --with $(which {name})")))
        }
    }
}

/// The path of the shell of the guest's user, or of another shell; `None` if the guest has none.
///
/// # Errors
/// If the guest can't be asked.
pub fn shell(name: &str) -> Result<Option<String>> {
    /// Tried after the one that /etc/passwd names, which is /usr/sbin/nologin for some.
    const OTHERS: [&str; 2] = ["/bin/bash", "/bin/sh"];
    let session = Session::connect(name)?;
    let guest = Guest::ask(&session)?;
    let own = guest.account.shell.filter(|shell| !shell.ends_with("nologin") && !shell.ends_with("false"));
    for path in own.into_iter().chain(OTHERS.map(str::to_owned)) {
        let request = SessionRequest::Attributes { follow: true, path: path.as_bytes() };
        if session.call(request)?.is_ok() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Starts a program.
///
/// # Errors
/// If it can't be executed, or the guest lacks memory.
pub fn start(session: &Session, launch: &Launch<'_>) -> Result<Started> {
    let mut staged = Vec::new();
    let mut stage = |string: &[u8]| {
        staged.extend_from_slice(string);
        staged.push(0);
    };
    stage(launch.path);
    stage(launch.directory);
    launch.arguments.iter().for_each(|argument| stage(argument));
    launch.environment.iter().for_each(|(name, value)| stage(&[name, &b"="[..], value].concat()));
    for part in staged.chunks(WRITE_MOST) {
        let answer = session.call(SessionRequest::Stage(part))?;
        answer.map_err(|error| cannot_run(launch.path, error))?;
    }
    let groups: Vec<u8> = launch.account.groups.iter().flat_map(|group| group.to_le_bytes()).collect();
    let request = SessionRequest::Exec {
        flags: launch.flags,
        uid: launch.account.uid,
        gid: launch.account.gid,
        arguments: u32::try_from(launch.arguments.len()).unwrap_or(u32::MAX),
        window: launch.window,
        groups: &groups,
    };
    let answer = session.call(request)?;
    match answer {
        Ok(bytes) => {
            Started::decode(&bytes).ok_or_else(|| Error::new("the guest's answer is not understood"))
        }
        Err(error) if error == Errno::NOENT || error == Errno::NOTDIR => Err(missing(session, launch)),
        Err(error) => Err(cannot_run(launch.path, error)),
    }
}

/// The program, its interpreter or the working directory is not there.
fn missing(session: &Session, launch: &Launch<'_>) -> Error {
    let request = SessionRequest::Attributes { follow: true, path: launch.directory };
    let is_there = launch.directory.is_empty() || session.call(request).is_ok_and(|answer| answer.is_ok());
    if is_there {
        return cannot_run(launch.path, Errno::NOENT);
    }
    let directory = String::from_utf8_lossy(launch.directory);
    Error::new(format!("the guest has no directory `{directory}`"))
        .with_status(error::NOT_INVOKED)
        .help("give another with --workdir")
}

fn cannot_run(path: &[u8], error: Errno) -> Error {
    let path = String::from_utf8_lossy(path);
    let fail = Error::new(format!("`{path}` cannot be run in the guest"));
    match error {
        Errno::NOENT => fail
            .with_status(error::NOT_FOUND)
            .why("it, or its interpreter, is not there")
            .help("send a program of the host along with --with"),
        Errno::ACCESS | Errno::NOEXEC | Errno::ISDIR | Errno::LOOP | Errno::TXTBSY => {
            fail.with_status(error::NOT_INVOKED).why(error)
        }
        Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOSPC => fail
            .why("the guest is short of memory, descriptors or terminals for it")
            .help("give the guest more memory (-m), or end other programs in it"),
        Errno::TOOBIG => fail.why("its arguments and environment are too long"),
        error => fail.why(error),
    }
}
