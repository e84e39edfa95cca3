//! A standard stream that is no terminal: a port of a virtio console, seen as one end of a pipe (pipe(7)).
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::stat::{self, Metadata, Timestamp};
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::mm::user_buf::UserBuf;
use coracle_devices::virtio::port::Port;
use coracle_fallible::{NoMemory, Text};
use coracle_image::User;
use core::any::Any;
use linux_raw_sys::general::{S_IFIFO, stat as Stat};
use linux_raw_sys::ioctl::FIONREAD;

/// The guest's end of a stream.
pub struct Stream {
    port: Arc<Port>,
    writes: bool,
    inode: u64,
    /// Whom the pipe belongs to: the user that the program runs as, who would have made it.
    owner: User,
}

impl Stream {
    /// The end of `port` that is read, or, if `writes`, written.
    pub fn new(port: Arc<Port>, writes: bool, owner: User) -> Stream {
        Stream { port, writes, inode: stat::next_inode(), owner }
    }
}

impl File for Stream {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if self.writes {
            return Err(Errno::BADF);
        }
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.port.read(dst, nonblock)
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if !self.writes {
            return Err(Errno::BADF);
        }
        self.port.write(src, nonblock)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        let now = Timestamp::now();
        let metadata = Metadata {
            inode: self.inode,
            mode: S_IFIFO | 0o600,
            links: 1,
            uid: self.owner.uid,
            gid: self.owner.gid,
            accessed: now,
            modified: now,
            changed: now,
            ..Metadata::default()
        };
        Ok(metadata.stat())
    }

    fn readiness(&self) -> Events {
        let mut events = Events::empty();
        if self.writes {
            events.set(Events::OUT, self.port.has_room());
            events.set(Events::ERR, self.port.is_hung_up());
        } else {
            events.set(Events::IN, self.port.has_input());
            events.set(Events::HUP, self.port.is_hung_up());
        }
        events
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(if self.writes { self.port.writable() } else { self.port.readable() })
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        if command == FIONREAD {
            coracle_core::mm::user::write_u32(argument, self.port.available() as u32)?;
            return Ok(0);
        }
        Err(Errno::NOTTY)
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "pipe:[{}]", self.inode)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
