//! /proc/PID/fd, fdinfo and task: the entries are numbers.
use super::process::{Subject, directory};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::inode::Link;
use coracle_core::fs::locks;
use coracle_core::ipc::eventfd::EventFd;
use coracle_core::ipc::pidfd;
use coracle_core::task::look_into;
use coracle_core::task::pid_space::PidSpace;
use coracle_core::task::process::Process;
use coracle_fallible::prelude::*;
use coracle_fallible::{Text, try_box};
use coracle_fs::synthetic::{Directory, Kind, Made, Piece, TakeName, list_numbers};
use linux_raw_sys::general::{O_CLOEXEC, S_IFDIR, S_IFLNK, S_IFREG};

/// The number that a name is, as it is listed: digits alone, of which the first is no 0 before others.
pub(super) fn number(name: &[u8]) -> Option<i32> {
    if !name.iter().all(u8::is_ascii_digit) || name.len() > 1 && name[0] == b'0' {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

/// /proc/PID/fd and /proc/PID/fdinfo.
pub(super) struct Descriptors {
    pub subject: Subject,
    /// Its entries are links, those of /proc/PID/fd.
    pub links: bool,
}

/// EACCES unless the running program may look into a process.
fn check(process: &Arc<Process>) -> Result<(), Errno> {
    look_into::check(process).map_err(|_| Errno::ACCES)
}

impl Directory for Descriptors {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        let Subject { process, space, .. } = &self.subject;
        check(process)?;
        let Some(fd) = number(name) else { return Ok(None) };
        if process.descriptors.get(fd).is_err() {
            return Ok(None);
        }
        let made = try_box(Descriptor { process: process.clone(), space: space.clone(), fd })?;
        Ok(Some(if self.links { Kind::Link(made) } else { Kind::File(made) }))
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let process = &self.subject.process;
        check(process)?;
        let kind = if self.links { S_IFLNK } else { S_IFREG };
        list_numbers(from, "", kind, take, |fd| process.descriptors.next_from(fd));
        Ok(())
    }
}

/// A descriptor. It does not keep the file, since that may be the entry of another: a chain of them would have no end.
struct Descriptor {
    process: Arc<Process>,
    /// The PID namespace whose numbers it shows.
    space: Option<Arc<PidSpace>>,
    fd: i32,
}

impl Descriptor {
    /// What it refers to now. EACCES; ENOENT if it is closed, as proc_pid_fdinfo(5) has it.
    fn open(&self) -> Result<Arc<OpenFile>, Errno> {
        check(&self.process)?;
        self.process.descriptors.get(self.fd).map_err(|_| Errno::NOENT)
    }
}

impl Made for Descriptor {
    fn piece(&self, _from: u64, text: &mut Text) -> Piece {
        let open = self.open()?;
        let close_on_exec = self.process.descriptors.is_close_on_exec(self.fd).unwrap_or(false);
        let flags = open.flags() | if close_on_exec { O_CLOEXEC } else { 0 };
        let position = *open.position.lock();
        let inode = open.file.stat().map_or(0, |stat| stat.st_ino);
        writeln!(text, "pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t1\nino:\t{inode}")?;
        let space = self.space.as_ref();
        let seen = |machine| space.map_or(machine, |space| space.inside(machine));
        locks::describe_of(&open, self.process.pid, text, seen)?;
        if let Some(event) = open.file.as_any().downcast_ref::<EventFd>() {
            let (count, semaphore) = event.state();
            writeln!(text, "eventfd-count: {count:16x}\neventfd-semaphore: {}", u8::from(semaphore))?;
        }
        if let Some((process, is_there)) = pidfd::process_of(&*open.file) {
            let subject = Subject { process: process.clone(), thread: None, space: self.space.clone() };
            let shown = if is_there { subject.id() } else { -1 };
            write!(text, "Pid:\t{shown}\nNSpid:")?;
            match is_there {
                true => super::status::numbers(&subject, process.pid, text)?,
                false => write!(text, "\t{shown}")?,
            }
            text.push(b"\n")?;
        }
        Ok(None)
    }
    fn link(&self) -> Result<Link, Errno> {
        let file = &self.open()?.file;
        Ok(match file.place() {
            Some(place) if place.path.inode.is_directory() => Link::Place(place.path.clone()),
            _ => Link::File(file.clone()),
        })
    }
}

/// /proc/PID/task.
pub(super) struct Tasks(pub Subject);

impl Directory for Tasks {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        let Some(tid) = number(name) else { return Ok(None) };
        let subject = &self.0;
        let machine = match &subject.space {
            None => Some(tid),
            Some(space) => space.machine(tid),
        };
        let Some(machine) = machine else { return Ok(None) };
        let thread = subject.process.threads.lock().iter().find(|thread| thread.tid() == machine).cloned();
        if thread.is_none() {
            return Ok(None);
        }
        Ok(Some(Kind::Directory(directory(Subject { thread, ..subject.clone() })?)))
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let mut tids = self.0.process.threads.lock().iter().map(|thread| thread.tid()).try_collect_vec()?;
        tids.iter_mut().for_each(|tid| *tid = self.0.seen(*tid));
        coracle_heap_sort::heap_sort(&mut tids, |&tid| tid);
        list_numbers(from, "", S_IFDIR, take, |tid| {
            tids.get(tids.partition_point(|&other| other < tid)).copied()
        });
        Ok(())
    }
}
