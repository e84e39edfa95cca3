//! `--with`: files of the host that are sent along, and removed at the end of the connection.
//!
//! A program lies in a directory of its own among the guest's files in memory, with its dynamic linker and libraries, and is started by that linker
//! with the directory as its library path. So the guest's own libraries don't matter to it, nor do these to programs that it
//! starts.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use coracle_control::{SessionRequest, TreeChange};
use rustix::io::Errno;

use super::session::Session;
use crate::error::{Error, Result, cannot};
use crate::pack::Root;
use crate::{bytes, pack};

/// Where the directory is made: the first of these that is there.
const PLACES: [&str; 4] = ["/run", "/dev/shm", "/tmp", ""];
/// Permissions of what is sent: any user may run it.
const MODE: u32 = 0o755;
/// Tries for a name that is not taken.
const TRIES: u32 = 100;

/// What was sent.
#[derive(Default)]
pub struct Sent {
    /// The directory.
    directory: Vec<u8>,
    programs: Vec<Program>,
    there: BTreeSet<Vec<u8>>,
}

struct Program {
    /// Its file's name.
    name: OsString,
    path: Vec<u8>,
    /// What starts it, unless it is static.
    linker: Option<Vec<u8>>,
}

impl Sent {
    /// Sends files: `FILE`, a program, or `FILE:GUESTPATH`, a file to be at that path.
    ///
    /// # Errors
    /// If one can't be read here, or not be written there.
    pub fn send(session: &Session, specs: &[OsString]) -> Result<Sent> {
        let mut sent = Sent::default();
        for spec in specs {
            match bytes::rsplit_once(spec, b':').filter(|(_, guest)| guest.as_bytes().starts_with(b"/")) {
                Some((file, guest)) => {
                    sent.put(session, Path::new(file), guest.as_bytes().to_vec())?;
                }
                None => sent.program(session, &pack::find_program(spec, &Root::default())?.file)?,
            }
        }
        Ok(sent)
    }

    /// The directory with the programs; empty if there are none.
    pub fn directory(&self) -> &[u8] {
        &self.directory
    }

    /// The path of the program that `name` means and what its arguments are, the first of which is `name`: the program that was sent
    /// under it, else the first. `None` if it is a path, or none was sent.
    pub fn command(&self, words: &[Vec<u8>]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
        let name = words.first().filter(|name| !name.contains(&b'/'))?;
        let named = self.programs.iter().find(|program| program.name.as_bytes() == name.as_slice());
        let program = named.or(self.programs.first())?;
        Some(match &program.linker {
            None => (program.path.clone(), words.to_vec()),
            Some(linker) => {
                let mut all: Vec<Vec<u8>> =
                    [&linker[..], b"--library-path", &self.directory, b"--argv0", name, &program.path]
                        .map(<[u8]>::to_vec)
                        .into();
                all.extend_from_slice(&words[1..]);
                (linker.clone(), all)
            }
        })
    }

    fn program(&mut self, session: &Session, path: &Path) -> Result<()> {
        if self.directory.is_empty() {
            self.directory = make_directory(session)?;
        }
        let within = |name: &OsStr| [&self.directory[..], b"/", name.as_bytes()].concat();
        let needs = pack::needs(path)?;
        let name = path.file_name().unwrap_or_default().to_owned();
        let (own, linker) = (within(&name), needs.as_ref().map(|needs| within(&needs.interpreter)));
        let libraries: Vec<(PathBuf, Vec<u8>)> = needs
            .into_iter()
            .flat_map(|needs| needs.libraries)
            .map(|(name, host)| (host, within(&name)))
            .collect();
        self.put(session, path, own.clone())?;
        for (host, guest) in libraries {
            // Several programs may need it.
            if !self.there.contains(&guest) {
                self.put(session, &host, guest)?;
            }
        }
        self.programs.push(Program { name, path: own, linker });
        Ok(())
    }

    fn put(&mut self, session: &Session, host: &Path, guest: Vec<u8>) -> Result<()> {
        let content = std::fs::read(host).map_err(|error| cannot("read", host, &error))?;
        let fail = |error: Errno| {
            let shown = OsString::from_vec(guest.clone());
            Error::new(format!("`{}` cannot be sent to `{}` in the guest", host.display(), shown.display()))
                .why(error)
        };
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
        let handle = session.open(flags.cast_unsigned(), MODE, &guest)?.map_err(fail)?;
        session.remove_later(&guest)?;
        session.write_file(handle, 0, &content)?.map_err(fail)?;
        session.call(SessionRequest::Close { handle, half: false })?.map_err(fail)?;
        self.there.insert(guest);
        Ok(())
    }
}

/// Makes a directory that no other has.
fn make_directory(session: &Session) -> Result<Vec<u8>> {
    for place in PLACES {
        for number in 1..TRIES {
            let path = format!("{place}/.coracle-exec-{}-{number}", std::process::id()).into_bytes();
            let change = TreeChange::MakeDirectory;
            match session.call(SessionRequest::Tree { change, mode: MODE, path: &path })? {
                Ok(_) => {
                    session.remove_later(&path)?;
                    return Ok(path);
                }
                Err(Errno::EXIST) => {}
                Err(_) => break,
            }
        }
    }
    Err(Error::new("there is no place in the guest for what is sent along")
        .why("its directories can't be written to"))
}
