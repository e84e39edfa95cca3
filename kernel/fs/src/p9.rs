//! Servers of 9P2000.L (the crate `coracle-p9`), as Linux's v9fs uses them: QEMU's own.
use crate::remote::carrier::{Carrier, Data, Manners, Message, frames, read_frames, small};
use crate::remote::server::{
    self, Attributes, Found, Gone, Handle, Kind, MAX_SIZE, Resize, Server, errno, from_timestamp, timestamp,
};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Changes, DirEntry, NewNode, Usage};
use coracle_core::fs::stat::split_device;
use coracle_devices::virtio::share::Share;
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc, try_box};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use coracle_hal::virtio::exchanges::Exchange;
use coracle_p9::{
    DATA_HEAD_BYTES, Entries, NO_FID, NO_TAG, Qid, REMOVE_DIRECTORY, REPLY_HEAD_BYTES, Reader, Request,
    Statistics, VERSION, change, open_reply, wanted,
};
use coracle_wire::open;
use linux_raw_sys::general::{S_IFMT, XATTR_SIZE_MAX};

static KIND: Kind = Kind { name: "9p", magic: 0x0102_1997, by_name: true };

static MANNERS: Manners = Manners { interrupt, farewell, chooses_numbers: true };

fn interrupt(old: u16, tag: u16) -> Result<Exchange, Errno> {
    small(&Request::Flush { tag: old }, tag, true)
}

fn farewell(gone: &Gone, tag: u16) -> Result<Exchange, Errno> {
    small(&Request::Clunk { fid: gone.number as u32 }, tag, true)
}

/// The fid of the root.
const ROOT: u32 = 0;
/// The group of what is made is the server's choice; its owner is set when it is made.
const ANY_GROUP: u32 = u32::MAX;
/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;

/// A server. Handles are its fids.
struct P9 {
    carrier: Carrier,
    next_fid: AtomicU32,
}

/// The server behind a device. ENOMEM.
pub fn server(device: &'static Share) -> Result<&'static dyn Server, Errno> {
    let carrier = Carrier::new(device, &MANNERS);
    Ok(Box::leak(try_box(P9 { carrier, next_fid: AtomicU32::new(ROOT + 1) })?))
}

impl Message for Request<'_> {
    fn write(&self, tag: u16, buffer: &mut [u8]) -> Option<usize> {
        Request::write(self, tag, buffer)
    }
}

fn fid(handle: &Handle) -> u32 {
    handle.number as u32
}

impl P9 {
    /// Asks, and reads what the answer has.
    fn ask<T>(&self, request: &Request, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, Errno> {
        let tag = matches!(request, Request::Version { .. }).then_some(NO_TAG);
        let is_long = matches!(request, Request::ReadLink { .. });
        let (answer, tag) = self.carrier.carry(request, is_long, tag)?;
        let mut body = open_reply(&answer, answer.len(), request.kind(), tag).map_err(errno)?;
        read(&mut body).ok_or(Errno::IO)
    }

    /// The same for an answer that has nothing.
    fn tell(&self, request: &Request) -> Result<(), Errno> {
        self.ask(request, |_| Some(()))
    }

    fn carry_data(
        &self,
        request: impl Fn(u32) -> Request<'static>,
        (data, frames, count): (Data, &[Frame], usize),
        gives_up: bool,
    ) -> Result<usize, Errno> {
        let count = count.min(self.carrier.data_bytes()).min(frames.len() * FRAME_SIZE);
        let request = request(count as u32);
        let kind = request.kind();
        let mut head = [0; DATA_HEAD_BYTES];
        let mut answer = [0; REPLY_HEAD_BYTES];
        let data = (data, frames, count);
        self.carrier.carry_data(
            (&request, &mut head),
            data,
            &mut answer,
            gives_up,
            &|answer, written, tag| {
                let mut body = open_reply(answer, written, kind, tag).map_err(errno)?;
                Ok(body.u32().ok_or(Errno::IO)? as usize)
            },
        )
    }

    /// A fid that is free; one that the server did not come to know is given back by dropping it, which does no harm.
    fn new_fid(&'static self) -> Result<Handle, Errno> {
        let number = match self.carrier.free_number() {
            Some(number) => number,
            None => match self.next_fid.fetch_add(1, Ordering::Relaxed) {
                NO_FID | ROOT => return Err(Errno::NFILE),
                number => number.into(),
            },
        };
        Ok(Handle::new(&self.carrier, number, None, 1))
    }

    /// A fid for the entry `name` of a directory, or one more for the same file.
    fn walk(&'static self, from: u32, name: Option<&[u8]>) -> Result<(Arc<Handle>, Qid), Errno> {
        let new = try_arc(self.new_fid()?)?;
        let request = Request::Walk { fid: from, new: fid(&new), name };
        let qid = self.ask(&request, |body| match body.u16()? {
            0 if name.is_none() => Some(Qid::default()),
            1 if name.is_some() => Qid::read(body),
            _ => None,
        })?;
        Ok((new, qid))
    }

    fn found(&'static self, from: u32, name: Option<&[u8]>) -> Result<Found, Errno> {
        let (handle, _) = self.walk(from, name)?;
        let attributes = self.attributes(&handle)?;
        Ok((handle, attributes))
    }
}

impl Server for P9 {
    fn carrier(&self) -> &Carrier {
        &self.carrier
    }
    fn kind(&self) -> &'static Kind {
        &KIND
    }
    fn start(&self) -> Result<(), Errno> {
        let wanted = (self.carrier.data_bytes() + DATA_HEAD_BYTES) as u32;
        let agreed = self.ask(&Request::Version { most_bytes: wanted }, |body| {
            let most = body.u32()?;
            Some((most, body.text()? == VERSION))
        })?;
        // With smaller messages transfers would be cut otherwise than into frames: QEMU's server takes larger ones.
        if agreed != (wanted, true) {
            let most = agreed.0;
            log!(
                "a shared directory can't be used: its server speaks another protocol, or takes messages of {most} bytes only"
            );
            return Err(Errno::PROTO);
        }
        self.ask(&Request::Attach { fid: ROOT, user: u32::MAX }, Qid::read).map(drop)
    }
    fn root(&'static self) -> Result<Found, Errno> {
        self.found(ROOT, None)
    }
    fn lookup(&'static self, directory: &Handle, name: &[u8]) -> Result<Found, Errno> {
        self.found(fid(directory), Some(name))
    }
    fn number_of(&'static self, directory: &Handle, name: &[u8]) -> Result<u64, Errno> {
        self.walk(fid(directory), Some(name)).map(|(_, qid)| qid.path)
    }
    fn attributes(&self, file: &Handle) -> Result<Attributes, Errno> {
        let request = Request::GetAttributes { fid: fid(file), wanted: wanted::BASIC };
        let found = self.ask(&request, coracle_p9::Attributes::read)?;
        Ok(Attributes {
            number: found.qid.path,
            inode: found.qid.path,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            links: found.links,
            device: found.device,
            size: found.size.min(MAX_SIZE),
            blocks: found.blocks,
            accessed: timestamp(found.accessed),
            modified: timestamp(found.modified),
            changed: timestamp(found.changed),
            created: (found.valid & wanted::CREATED != 0).then(|| timestamp(found.created)),
        })
    }
    fn change(&self, file: &Handle, changes: &Changes, size: Option<Resize<'_>>) -> Result<(), Errno> {
        let bit = |is_set: bool, bits: u32| if is_set { bits } else { 0 };
        let valid = bit(changes.mode.is_some(), change::MODE)
            | bit(changes.uid.is_some(), change::UID)
            | bit(changes.gid.is_some(), change::GID)
            | bit(changes.accessed.is_some(), change::ACCESSED | change::ACCESSED_SET)
            | bit(changes.modified.is_some(), change::MODIFIED | change::MODIFIED_SET)
            | if size.is_some() { change::SIZE } else { change::CHANGED };
        self.tell(&Request::SetAttributes {
            fid: fid(file),
            valid,
            mode: changes.mode.unwrap_or(0) & PERMISSIONS,
            uid: changes.uid.unwrap_or(0),
            gid: changes.gid.unwrap_or(0),
            size: size.map_or(0, |(size, _)| size),
            accessed: from_timestamp(changes.accessed),
            modified: from_timestamp(changes.modified),
        })
    }
    fn open(&'static self, file: &Handle, flags: u32) -> Result<Arc<Handle>, Errno> {
        let (new, _) = self.walk(fid(file), None)?;
        self.tell(&Request::Open { fid: fid(&new), flags })?;
        Ok(new)
    }
    fn create(
        &'static self,
        directory: &Handle,
        name: &[u8],
        mode: u32,
    ) -> Result<(Found, Arc<Handle>), Errno> {
        let (maker, _) = self.walk(fid(directory), None)?;
        let flags = open::CREATE | open::EXCLUSIVE | open::READ_WRITE;
        self.tell(&Request::Create { fid: fid(&maker), name, flags, mode, gid: ANY_GROUP })?;
        Ok((self.lookup(directory, name)?, maker))
    }
    fn make(
        &'static self,
        directory: &Handle,
        name: &[u8],
        node: &NewNode<'_>,
        mode: u32,
    ) -> Result<Found, Errno> {
        let (parent, gid) = (fid(directory), ANY_GROUP);
        self.tell(&match *node {
            NewNode::File => return Err(Errno::INVAL),
            NewNode::Directory => Request::Mkdir { directory: parent, name, mode, gid },
            NewNode::Link(target) => Request::Symlink { directory: parent, name, target, gid },
            NewNode::Special(kind, rdev) => {
                let (major, minor) = split_device(rdev);
                let mode = kind & S_IFMT | mode;
                Request::Mknod { directory: parent, name, mode, major, minor, gid }
            }
        })?;
        self.lookup(directory, name)
    }
    fn add_link(&'static self, directory: &Handle, name: &[u8], file: &Handle) -> Result<(), Errno> {
        self.tell(&Request::Link { directory: fid(directory), fid: fid(file), name })
    }
    fn unlink(&self, directory: &Handle, name: &[u8], is_directory: bool) -> Result<(), Errno> {
        let flags = if is_directory { REMOVE_DIRECTORY } else { 0 };
        self.tell(&Request::Unlink { directory: fid(directory), name, flags })
    }
    fn rename(&self, from: (&Handle, &[u8]), to: (&Handle, &[u8]), flags: u32) -> Result<(), Errno> {
        // The protocol has no flags, and Linux's v9fs takes none.
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        self.tell(&Request::Rename { from: fid(from.0), name: from.1, to: fid(to.0), new_name: to.1 })
    }
    fn target(&self, link: &Handle) -> Result<Vec<u8>, Errno> {
        let request = Request::ReadLink { fid: fid(link) };
        Ok(self.ask(&request, |body| Some(body.text()?.try_to_vec()))??)
    }
    fn read(&self, file: &Handle, offset: u64, frames: &[Frame], count: usize) -> Result<usize, Errno> {
        let fid = fid(file);
        let request = |count| Request::Read { fid, offset, count };
        self.carry_data(request, (Data::Received, frames, count), true)
    }
    fn write(
        &self,
        file: &Handle,
        offset: u64,
        frames: &[Frame],
        count: usize,
        gives_up: bool,
    ) -> Result<usize, Errno> {
        let fid = fid(file);
        let request = |count| Request::Write { fid, offset, count };
        self.carry_data(request, (Data::Sent, frames, count), gives_up)
    }
    fn read_directory(&self, directory: &Handle, offset: u64, frame: &Frame) -> Result<usize, Errno> {
        let fid = fid(directory);
        let request = |count| Request::ReadDirectory { fid, offset, count };
        self.carry_data(request, (Data::Received, core::slice::from_ref(frame), FRAME_SIZE), true)
    }
    fn entry<'a>(&self, bytes: &mut &'a [u8]) -> Option<DirEntry<'a>> {
        let mut entries = Entries(Reader::new(bytes));
        let entry = entries.next()?;
        *bytes = entries.0.rest();
        Some(DirEntry { inode: entry.qid.path, kind: entry.kind, name: entry.name, next: entry.next })
    }
    fn xattr(&'static self, file: &Handle, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let new = self.new_fid()?;
        let request = Request::XattrWalk { fid: fid(file), new: fid(&new), name };
        let size = self.ask(&request, |body| body.u64())?;
        if size > XATTR_SIZE_MAX.into() {
            return Err(Errno::TOOBIG);
        }
        let mut value = filled(0, size as usize)?;
        let mut done = 0;
        while done < value.len() {
            let frames = frames(value.len() - done)?;
            let count = self.read(&new, done as u64, &frames, value.len() - done)?;
            if count == 0 {
                break;
            }
            read_frames(&frames, 0, &mut value[done..done + count]);
            done += count;
        }
        value.truncate(done);
        Ok(value)
    }
    fn set_xattr(
        &'static self,
        file: &Handle,
        name: &[u8],
        value: Option<&[u8]>,
        flags: u32,
    ) -> Result<(), Errno> {
        // The server takes a value without bytes for a removal.
        if value.is_some_and(<[u8]>::is_empty) {
            return Err(Errno::OPNOTSUPP);
        }
        let value = value.unwrap_or_default();
        let (attribute, _) = self.walk(fid(file), None)?;
        let size = value.len() as u64;
        self.tell(&Request::XattrCreate { fid: fid(&attribute), name, size, flags })?;
        for (number, piece) in value.chunks(FRAME_SIZE).enumerate() {
            let frame = Frame::alloc().ok_or(Errno::NOMEM)?;
            frame.write(0, piece);
            let frames = core::slice::from_ref(&frame);
            let offset = (number * FRAME_SIZE) as u64;
            if self.write(&attribute, offset, frames, piece.len(), true)? != piece.len() {
                return Err(Errno::IO);
            }
        }
        self.tell(&Request::Clunk { fid: fid(&attribute) })
    }
    fn sync(&self, open: &Handle, data_only: bool) -> Result<(), Errno> {
        self.tell(&Request::Sync { fid: fid(open), data_only })
    }
    fn usage(&self, file: &Handle) -> Result<Usage, Errno> {
        let found = self.ask(&Request::Statistics { fid: fid(file) }, Statistics::read)?;
        let counts = [found.blocks, found.free, found.files, found.files_free];
        Ok(server::usage(&KIND, found.block_bytes, counts))
    }
}
