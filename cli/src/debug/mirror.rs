//! The files that a process has mapped, below a directory here, where gdb finds them by their paths in the guest: links to
//! this machine's files where these are the same, else copies of the guest's.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use coracle_control::{Debug, Request};

use super::link_map;
use super::session::Session;
use crate::error::{Result, cannot};
use crate::observe::{Client, Mapping, is_same_file, mapping};

/// Bytes of a file that are asked for at once.
const PIECE: u32 = 1 << 20;

/// The directory.
pub struct Mirror {
    root: PathBuf,
    pid: u32,
    known: HashSet<String>,
}

impl Mirror {
    /// An empty one in a directory that exists.
    pub fn new(root: PathBuf, pid: u32) -> Mirror {
        Mirror { root, pid, known: HashSet::new() }
    }

    /// Adds the files that the process has mapped by now, by all names that it has for them.
    ///
    /// # Errors
    /// If the guest does not answer, or the files can't be written.
    pub fn fill(&mut self, session: &mut Session) -> Result<()> {
        let pid = session.pid;
        let maps = session.client.text(&format!("/proc/{pid}/maps"))?;
        let maps: Vec<Mapping> = maps.lines().filter_map(mapping).collect();
        for mapping in maps.iter().filter(|mapping| mapping.name.starts_with('/')) {
            if self.known.insert(mapping.name.clone()) {
                self.add(mapping, &mut session.client)?;
            }
        }
        let auxv = session.auxv()?;
        let mut names = link_map::names(session, &auxv)?;
        if let Some(program) = self.program(&mut session.client, pid)? {
            let bytes = fs::read(&program).map_err(|error| cannot("read", &program, &error))?;
            names.extend(link_map::interpreter(&bytes, &auxv));
        }
        for (address, name) in names {
            let mapping = maps.iter().find(|map| (map.start..map.end).contains(&address));
            if let Some(mapping) = mapping.filter(|map| map.name != name && name.starts_with('/'))
                && self.known.insert(name.clone())
                && let Some(place) = self.place_for(&name)?
                && self.place(&mapping.name).exists()
                && !place.exists()
            {
                symlink(self.place(&mapping.name), &place)
                    .map_err(|error| cannot("write", &place, &error))?;
            }
        }
        Ok(())
    }

    /// Where the program is.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn program(&self, client: &mut Client, pid: u32) -> Result<Option<PathBuf>> {
        let path = client.link(&format!("/proc/{pid}/exe"))?;
        Ok(path.map(|path| self.place(&path)).filter(|place| place.exists()))
    }

    /// Where a file of this name belongs, its directory made; `None` if the name leads out of here, as no kernel says it.
    fn place_for(&self, path: &str) -> Result<Option<PathBuf>> {
        if path.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let place = self.place(path);
        let parent = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|error| cannot("make the directory", parent, &error))?;
        Ok(Some(place))
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn add(&self, mapping: &Mapping, client: &mut Client) -> Result<()> {
        let Some(place) = self.place_for(&mapping.name)? else { return Ok(()) };
        if is_same_file(client, self.pid, mapping) {
            return symlink(&mapping.name, &place).map_err(|error| cannot("write", &place, &error));
        }
        let mut bytes = Vec::new();
        loop {
            let path = mapping.name.as_bytes();
            let request = Request::Debug(Debug::File { offset: bytes.len() as u64, len: PIECE, path });
            // One that is deleted, or not to be read, is left out.
            match client.ask(request)? {
                Ok(piece) if !piece.is_empty() => bytes.extend(piece),
                _ => break,
            }
        }
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(());
        }
        fs::write(&place, bytes).map_err(|error| cannot("write", &place, &error))
    }
}
