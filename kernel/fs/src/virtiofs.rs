//! Servers of virtio-fs: FUSE (the crate `coracle-fuse`) over a virtio device (virtio 1.2, section 5.11), as virtiofsd serves it.
//!
//! A handle of a file is the server's node, with a count of how often it was looked up; the server forgets it when that is told back. One of an
//! open file has the server's number of that besides. Locks are the guest's own, as they are on Linux with a server that does not offer
//! them (FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS); virtiofsd does not. Entries are listed without their attributes, because no names are kept
//! that these could be kept with.
use crate::remote::carrier::{Carrier, Data, HALF, Manners, Message, frames, read_frames, small};
use crate::remote::server::{
    self, Attributes, Found, Gone, Handle, Kind, MAX_SIZE, Resize, Server, errno, from_timestamp, timestamp,
};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Changes, DirEntry, NewNode, Usage};
use coracle_devices::virtio::share::Share;
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc, try_box};
use coracle_fuse::{
    DATA_HEAD_BYTES, Entries, Init, Operation, REPLY_HEAD_BYTES, ROOT, Reader, Request, SYNC_DATA_ONLY,
    Statistics, VERSION, change, open_reply, option,
};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::virtio::exchanges::Exchange;
use coracle_wire::open;
use linux_raw_sys::general::{S_IFMT, SEEK_DATA, SEEK_HOLE, XATTR_SIZE_MAX};

static KIND: Kind = Kind { name: "virtiofs", magic: 0x6573_5546, by_name: false };

static MANNERS: Manners = Manners { interrupt, farewell, chooses_numbers: false };

fn interrupt(old: u16, tag: u16) -> Result<Exchange, Errno> {
    let operation = Operation::Interrupt { number: old.into() };
    small(&Request { node: 0, operation }, tag, false)
}

fn farewell(gone: &Gone, tag: u16) -> Result<Exchange, Errno> {
    let operation = match gone.open {
        Some((handle, true)) => Operation::ReleaseDirectory { handle },
        Some((handle, false)) => Operation::Release { handle },
        None => Operation::Forget { lookups: gone.lookups },
    };
    small(&Request { node: gone.number, operation }, tag, operation.has_answer())
}

/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;
/// The oldest version whose answers are laid out as [`coracle_fuse`] reads them (FUSE 7.23).
const OLDEST_MINOR: u32 = 23;
/// Bytes of extended attributes that an answer of half a frame has room for.
const SHORT_XATTR: u32 = (HALF - REPLY_HEAD_BYTES) as u32;

/// A server.
struct VirtioFs(Carrier);

/// The server behind a device. ENOMEM.
pub fn server(device: &'static Share) -> Result<&'static dyn Server, Errno> {
    Ok(Box::leak(try_box(VirtioFs(Carrier::new(device, &MANNERS)))?))
}

impl Message for Request<'_> {
    fn write(&self, tag: u16, buffer: &mut [u8]) -> Option<usize> {
        Request::write(self, tag.into(), buffer)
    }
}

fn known(node: u64, found: &coracle_fuse::Attributes) -> Attributes {
    Attributes {
        number: node,
        inode: found.inode,
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        links: found.links.into(),
        device: found.device.into(),
        size: found.size.min(MAX_SIZE),
        blocks: found.blocks,
        accessed: timestamp(found.accessed),
        modified: timestamp(found.modified),
        changed: timestamp(found.changed),
        created: None,
    }
}

/// The server's number of an open file.
fn opened(handle: &Handle) -> u64 {
    handle.open.map_or(0, |(number, _)| number)
}

fn is_directory(handle: &Handle) -> bool {
    handle.open.is_some_and(|(_, flags)| flags & open::DIRECTORY != 0)
}

impl VirtioFs {
    /// Asks, and reads what the answer has.
    fn ask<T>(
        &self,
        node: u64,
        operation: Operation<'_>,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<T, Errno> {
        let is_long = matches!(operation, Operation::ReadLink);
        let (answer, tag) = self.0.carry(&Request { node, operation }, is_long, None)?;
        let (mut body, _) = open_reply(&answer, answer.len(), tag.into()).map_err(errno)?;
        read(&mut body).ok_or(Errno::IO)
    }

    /// The same for an answer that has nothing.
    fn tell(&self, node: u64, operation: Operation<'_>) -> Result<(), Errno> {
        self.ask(node, operation, |_| Some(()))
    }

    /// Asks for a node that is found or made.
    fn find(&'static self, node: u64, operation: Operation<'_>) -> Result<Found, Errno> {
        let found = self.ask(node, operation, coracle_fuse::Found::read)?;
        self.found(&found)
    }

    /// Takes over what the server has counted.
    fn found(&'static self, found: &coracle_fuse::Found) -> Result<Found, Errno> {
        let handle = try_arc(Handle::new(&self.0, found.node, None, 1))?;
        Ok((handle, known(found.node, &found.attributes)))
    }

    /// Carries data; `head` has room for the request. The answer's data are as many as it has.
    fn carry_data(
        &self,
        (request, head): (&Request<'_>, &mut [u8]),
        data: (Data, &[Frame], usize),
        gives_up: bool,
    ) -> Result<usize, Errno> {
        let is_sent = data.0 == Data::Sent;
        // The count of bytes that were written, too.
        let mut answer = [0; REPLY_HEAD_BYTES + 8];
        let answer = &mut answer[..if is_sent { REPLY_HEAD_BYTES + 8 } else { REPLY_HEAD_BYTES }];
        self.0.carry_data((request, head), data, answer, gives_up, &|answer, written, tag| {
            let (mut body, len) = open_reply(answer, written, tag.into()).map_err(errno)?;
            if is_sent { body.u32().map(|count| count as usize).ok_or(Errno::IO) } else { Ok(len) }
        })
    }

    /// How much of the data a message may have.
    fn limited(&self, frames: &[Frame], count: usize) -> usize {
        count.min(self.0.data_bytes()).min(frames.len() * FRAME_SIZE)
    }
}

impl Server for VirtioFs {
    fn carrier(&self) -> &Carrier {
        &self.0
    }
    fn kind(&self) -> &'static Kind {
        &KIND
    }
    fn start(&self) -> Result<(), Errno> {
        let options = option::ASYNC_READ
            | option::BIG_WRITES
            | option::PARALLEL_DIRECTORY_OPERATIONS
            | option::MAX_PAGES;
        let agreed = self.ask(0, Operation::Init { options }, Init::read)?;
        let (major, minor) = agreed.version;
        // With shorter messages transfers would be cut otherwise than into frames.
        if major != VERSION.0 || minor < OLDEST_MINOR || (agreed.most_bytes as usize) < self.0.data_bytes() {
            let most = agreed.most_bytes;
            log!(
                "a shared directory can't be used: its server speaks FUSE {major}.{minor}, with messages of {most} bytes"
            );
            return Err(Errno::PROTO);
        }
        Ok(())
    }
    fn root(&'static self) -> Result<Found, Errno> {
        let root = try_arc(Handle::new(&self.0, ROOT, None, 0))?;
        let attributes = self.attributes(&root)?;
        Ok((root, attributes))
    }
    fn lookup(&'static self, directory: &Handle, name: &[u8]) -> Result<Found, Errno> {
        self.find(directory.number, Operation::Lookup { name })
    }
    fn attributes(&self, file: &Handle) -> Result<Attributes, Errno> {
        let node = file.number;
        let found = self.ask(node, Operation::GetAttributes, coracle_fuse::Attributes::read_alone)?;
        Ok(known(node, &found))
    }
    fn change(&self, file: &Handle, changes: &Changes, size: Option<Resize<'_>>) -> Result<(), Errno> {
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let writer = size.and_then(|(_, writer)| writer);
        let valid = bit(changes.mode.is_some(), change::MODE)
            | bit(changes.uid.is_some(), change::UID)
            | bit(changes.gid.is_some(), change::GID)
            | bit(changes.accessed.is_some(), change::ACCESSED)
            | bit(changes.modified.is_some(), change::MODIFIED)
            | bit(size.is_some(), change::SIZE)
            | bit(writer.is_some(), change::HANDLE);
        if valid == 0 {
            return Ok(());
        }
        let operation = Operation::SetAttributes {
            valid,
            handle: writer.map_or(0, opened),
            mode: changes.mode.unwrap_or(0) & PERMISSIONS,
            uid: changes.uid.unwrap_or(0),
            gid: changes.gid.unwrap_or(0),
            size: size.map_or(0, |(size, _)| size),
            accessed: from_timestamp(changes.accessed),
            modified: from_timestamp(changes.modified),
        };
        self.tell(file.number, operation)
    }
    fn open(&'static self, file: &Handle, flags: u32) -> Result<Arc<Handle>, Errno> {
        let is_directory = flags & open::DIRECTORY != 0;
        let operation = if is_directory { Operation::OpenDirectory } else { Operation::Open { flags } };
        let number = self.ask(file.number, operation, |body| body.u64())?;
        Ok(try_arc(Handle::new(&self.0, file.number, Some((number, flags)), 0))?)
    }
    fn create(
        &'static self,
        directory: &Handle,
        name: &[u8],
        mode: u32,
    ) -> Result<(Found, Arc<Handle>), Errno> {
        let flags = open::CREATE | open::EXCLUSIVE | open::READ_WRITE;
        let operation = Operation::Create { name, flags, mode };
        let (found, number) = self.ask(directory.number, operation, |body| {
            let found = coracle_fuse::Found::read(body)?;
            Some((found, body.u64()?))
        })?;
        let maker = Handle::new(&self.0, found.node, Some((number, open::READ_WRITE)), 0);
        Ok((self.found(&found)?, try_arc(maker)?))
    }
    fn make(
        &'static self,
        directory: &Handle,
        name: &[u8],
        node: &NewNode<'_>,
        mode: u32,
    ) -> Result<Found, Errno> {
        let operation = match *node {
            NewNode::File => return Err(Errno::INVAL),
            NewNode::Directory => Operation::Mkdir { name, mode },
            NewNode::Link(target) => Operation::Symlink { name, target },
            NewNode::Special(kind, rdev) => {
                Operation::Mknod { name, mode: kind & S_IFMT | mode, device: rdev as u32 }
            }
        };
        self.find(directory.number, operation)
    }
    fn add_link(&'static self, directory: &Handle, name: &[u8], file: &Handle) -> Result<(), Errno> {
        self.find(directory.number, Operation::Link { file: file.number, name }).map(drop)
    }
    fn unlink(&self, directory: &Handle, name: &[u8], is_directory: bool) -> Result<(), Errno> {
        let operation = if is_directory { Operation::Rmdir { name } } else { Operation::Unlink { name } };
        self.tell(directory.number, operation)
    }
    fn rename(&self, from: (&Handle, &[u8]), to: (&Handle, &[u8]), flags: u32) -> Result<(), Errno> {
        let operation = Operation::Rename { name: from.1, to: to.0.number, new_name: to.1, flags };
        self.tell(from.0.number, operation)
    }
    fn target(&self, link: &Handle) -> Result<Vec<u8>, Errno> {
        Ok(self.ask(link.number, Operation::ReadLink, |body| Some(body.rest().try_to_vec()))??)
    }
    fn read(&self, file: &Handle, offset: u64, frames: &[Frame], count: usize) -> Result<usize, Errno> {
        let count = self.limited(frames, count);
        let operation = Operation::Read { handle: opened(file), offset, count: count as u32 };
        let request = Request { node: file.number, operation };
        self.carry_data((&request, &mut [0; DATA_HEAD_BYTES]), (Data::Received, frames, count), true)
    }
    fn write(
        &self,
        file: &Handle,
        offset: u64,
        frames: &[Frame],
        count: usize,
        gives_up: bool,
    ) -> Result<usize, Errno> {
        let count = self.limited(frames, count);
        let flags = file.open.map_or(0, |(_, flags)| flags & open::APPEND);
        let operation = Operation::Write { handle: opened(file), offset, count: count as u32, flags };
        let request = Request { node: file.number, operation };
        self.carry_data((&request, &mut [0; DATA_HEAD_BYTES]), (Data::Sent, frames, count), gives_up)
    }
    fn read_directory(&self, directory: &Handle, offset: u64, frame: &Frame) -> Result<usize, Errno> {
        let (handle, count) = (opened(directory), FRAME_SIZE as u32);
        let operation = Operation::ReadDirectory { handle, offset, count };
        let request = Request { node: directory.number, operation };
        let data = (Data::Received, core::slice::from_ref(frame), FRAME_SIZE);
        self.carry_data((&request, &mut [0; DATA_HEAD_BYTES]), data, true)
    }
    fn entry<'a>(&self, bytes: &mut &'a [u8]) -> Option<DirEntry<'a>> {
        let mut entries = Entries(Reader::new(bytes));
        let entry = entries.next()?;
        *bytes = entries.0.rest();
        Some(DirEntry { inode: entry.inode, kind: entry.kind, name: entry.name, next: entry.next })
    }
    fn xattr(&'static self, file: &Handle, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let operation = |count| match name {
            b"" => Operation::ListXattrs { count },
            name => Operation::GetXattr { name, count },
        };
        match self.ask(file.number, operation(SHORT_XATTR), |body| Some(body.rest().try_to_vec())) {
            Err(Errno::RANGE) => {}
            value => return Ok(value??),
        }
        let frames = frames(XATTR_SIZE_MAX as usize)?;
        let request = Request { node: file.number, operation: operation(XATTR_SIZE_MAX) };
        let data = (Data::Received, frames.as_slice(), XATTR_SIZE_MAX as usize);
        let len = self.carry_data((&request, &mut filled(0, HALF)?), data, true)?;
        let mut value = filled(0, len)?;
        read_frames(&frames, 0, &mut value);
        Ok(value)
    }
    fn set_xattr(
        &'static self,
        file: &Handle,
        name: &[u8],
        value: Option<&[u8]>,
        flags: u32,
    ) -> Result<(), Errno> {
        let Some(value) = value else {
            return self.tell(file.number, Operation::RemoveXattr { name });
        };
        let count = value.len() as u32;
        let request = Request { node: file.number, operation: Operation::SetXattr { name, count, flags } };
        let frames = frames(value.len())?;
        for (frame, piece) in frames.iter().zip(value.chunks(FRAME_SIZE)) {
            frame.write(0, piece);
        }
        let (mut head, mut answer) = (filled(0, HALF)?, [0; REPLY_HEAD_BYTES]);
        let data = (Data::Sent, frames.as_slice(), value.len());
        let done =
            self.0.carry_data((&request, &mut head), data, &mut answer, true, &|answer, written, tag| {
                open_reply(answer, written, tag.into()).map_err(errno).map(|_| 0)
            });
        done.map(drop)
    }
    fn sync(&self, open: &Handle, data_only: bool) -> Result<(), Errno> {
        let (handle, flags) = (opened(open), if data_only { SYNC_DATA_ONLY } else { 0 });
        let operation = match is_directory(open) {
            true => Operation::SyncDirectory { handle, flags },
            false => Operation::Sync { handle, flags },
        };
        self.tell(open.number, operation)
    }
    fn usage(&self, file: &Handle) -> Result<Usage, Errno> {
        let found = self.ask(file.number, Operation::Statistics, Statistics::read)?;
        let counts = [found.blocks, found.free, found.files, found.files_free];
        Ok(server::usage(&KIND, found.block_bytes, counts))
    }
    fn allocate(&self, open: &Handle, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.tell(open.number, Operation::Allocate { handle: opened(open), offset, len, mode })
    }
    fn seek_data(&self, open: &Handle, offset: u64, is_hole: bool) -> Result<u64, Errno> {
        let whence = if is_hole { SEEK_HOLE } else { SEEK_DATA };
        self.ask(open.number, Operation::Seek { handle: opened(open), offset, whence }, |body| body.u64())
    }
}
