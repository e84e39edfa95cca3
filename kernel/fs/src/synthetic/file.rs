//! Open made files.
use super::node::Node;
use super::table::Made;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::inode::Inode as _;
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::BLOCK_SIZE;
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::Text;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

/// An open made file. Its text is made anew when it is read from the start; one that is made in one piece shows one state
/// until then.
pub(super) struct MadeFile {
    node: Arc<Node>,
    place: Place,
    /// Where the last read ended; away while a read goes on.
    reading: Mutex<Option<Reading>>,
}

/// The piece that was made last.
#[derive(Default)]
struct Reading {
    text: Text,
    /// Offset in the file where the piece begins.
    offset: u64,
    /// Position of the piece after it.
    next: Option<u64>,
}

impl Reading {
    fn start() -> Self {
        Reading { next: Some(0), ..Reading::default() }
    }
    /// Reads from `offset` on, with further pieces as they are needed.
    fn read(&mut self, made: &dyn Made, dst: &mut UserBuf, mut offset: u64) -> Result<(), Errno> {
        if offset == 0 || offset < self.offset {
            *self = Reading::start();
        }
        while dst.remaining() > 0 {
            let from = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            if let Some(bytes) = self.text.as_bytes().get(from..).filter(|bytes| !bytes.is_empty()) {
                match dst.put(bytes)? {
                    0 => break,
                    done => offset += done as u64,
                }
                continue;
            }
            let Some(next) = self.next else { break };
            self.offset += self.text.len() as u64;
            self.text.clear();
            match made.piece(next, &mut self.text) {
                Ok(next) => self.next = next,
                Err(error) => {
                    *self = Reading::start();
                    return Err(error);
                }
            }
            long_call::pause_unless_killed()?;
        }
        Ok(())
    }
}

impl MadeFile {
    pub(super) fn new(node: Arc<Node>, place: Place) -> MadeFile {
        MadeFile { node, place, reading: Mutex::new(None) }
    }
}

impl File for MadeFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        let made = self.node.made().ok_or(Errno::INVAL)?;
        let before = dst.done();
        let mut reading = self.reading.lock().take().unwrap_or_else(Reading::start);
        let result = reading.read(made, dst, offset);
        *self.reading.lock() = Some(reading);
        match dst.done() - before {
            0 => result.map(|()| 0),
            done => Ok(done),
        }
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        let made = self.node.made().ok_or(Errno::INVAL)?;
        let mut bytes = coracle_fallible::filled(0, src.remaining().min(BLOCK_SIZE as usize))?;
        let len = src.take(&mut bytes)?;
        made.set(&bytes[..len])?;
        Ok(len)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.node.truncate(size)
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
