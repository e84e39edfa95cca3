//! What a guest is asked about itself.
use crate::message::{Fields, Writer};

/// A request. Those that this version knows only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The contents of a file of /proc or /sys (proc(5), sysfs(5)). Its path leads through no symbolic link.
    Read(&'a [u8]),
    /// The names in a directory there, a zero byte after each.
    List(&'a [u8]),
    /// What a symbolic link there leads to.
    Link(&'a [u8]),
    /// Bytes of a process's memory, up to the first that is not there, which ends the answer with EFAULT.
    Memory {
        /// The process.
        pid: u32,
        /// The first byte.
        address: u64,
        /// How many.
        len: u32,
    },
    /// All threads with their registers and kernel stacks: a [`Moment`](crate::Moment), and a
    /// [`ThreadRecord`](crate::ThreadRecord) for each, its name and its stack behind it.
    Threads,
    /// One that this version doesn't know; the answer is ENOSYS.
    Unknown(u16),
}

/// Numbers of the requests.
mod number {
    pub const READ: u16 = 1;
    pub const LIST: u16 = 2;
    pub const LINK: u16 = 3;
    pub const MEMORY: u16 = 4;
    pub const THREADS: u16 = 5;
}

impl<'a> Request<'a> {
    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        match *self {
            Request::Read(path) => {
                out.half(number::READ);
                out.bytes(path);
            }
            Request::List(path) => {
                out.half(number::LIST);
                out.bytes(path);
            }
            Request::Link(path) => {
                out.half(number::LINK);
                out.bytes(path);
            }
            Request::Memory { pid, address, len } => {
                out.half(number::MEMORY);
                out.word(pid);
                out.long(address);
                out.word(len);
            }
            Request::Threads => out.half(number::THREADS),
            Request::Unknown(number) => out.half(number),
        }
    }

    pub(crate) fn read(mut fields: Fields<'a>) -> Option<Request<'a>> {
        Some(match fields.half()? {
            number::READ => Request::Read(fields.rest()),
            number::LIST => Request::List(fields.rest()),
            number::LINK => Request::Link(fields.rest()),
            number::MEMORY => {
                Request::Memory { pid: fields.word()?, address: fields.long()?, len: fields.word()? }
            }
            number::THREADS => Request::Threads,
            other => Request::Unknown(other),
        })
    }
}
