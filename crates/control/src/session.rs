//! What a connection holds in the guest: programs that it has started beside the main one, their streams, and open files.
//!
//! Each has a handle, a number that the guest chooses and that means something in the session alone in which it was given.
//! `coracle run` fills the session in: a connection can't speak of another's. All need full access.
use crate::message::{Fields, Window, Writer};

/// Bytes that one [`SessionRequest::Read`] asks for at most.
pub const READ_MOST: usize = 64 << 10;
/// Bytes that one [`SessionRequest::Write`] or [`SessionRequest::Stage`] carries at most.
pub const WRITE_MOST: usize = 4000;
/// Bytes that a session stages at most.
pub const STAGE_MOST: usize = 512 << 10;

/// Flags of [`SessionRequest::Exec`].
pub mod exec_flag {
    /// The program gets a terminal, for all of its standard streams.
    pub const TERMINAL: u32 = 1;
    /// Its standard input is written by the session; without this, it is /dev/null.
    pub const INPUT: u32 = 2;
    /// Its output is read by the session; without this, it goes to /dev/null.
    pub const OUTPUT: u32 = 4;
}

/// What is done to the tree of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeChange {
    /// mkdir(2).
    MakeDirectory,
    /// unlink(2).
    Remove,
    /// rmdir(2).
    RemoveDirectory,
}

const TREE_CHANGES: [TreeChange; 3] =
    [TreeChange::MakeDirectory, TreeChange::Remove, TreeChange::RemoveDirectory];

/// Attributes of a file (inode(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Kind and permissions.
    pub mode: u32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
}

impl Attributes {
    /// Its bytes as it is sent.
    pub const BYTES: usize = 20;

    /// As it is sent.
    pub fn encode(&self) -> [u8; Attributes::BYTES] {
        let mut bytes = [0; Attributes::BYTES];
        let (words, size) = bytes.split_at_mut(12);
        for (place, word) in words.chunks_exact_mut(4).zip([self.mode, self.uid, self.gid]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        size.copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    /// From the front of `bytes`; `None` if there are too few.
    pub fn decode(bytes: &[u8]) -> Option<Attributes> {
        let mut fields = Fields(bytes);
        Some(Attributes {
            mode: fields.word()?,
            uid: fields.word()?,
            gid: fields.word()?,
            size: fields.long()?,
        })
    }
}

/// The answer to [`SessionRequest::Exec`]. Handles are 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The process's number in the guest.
    pub pid: u32,
    /// The process, for [`SessionRequest::Wait`]. Closed, it is left alone; at the session's end its group gets SIGHUP.
    pub process: u32,
    /// Its standard input, or the terminal.
    pub input: u32,
    /// Its standard output; with a terminal, that again.
    pub output: u32,
    /// Its standard error.
    pub error: u32,
}

impl Started {
    /// Its bytes as it is sent.
    pub const BYTES: usize = 20;

    /// As it is sent.
    pub fn encode(&self) -> [u8; Started::BYTES] {
        let mut bytes = [0; Started::BYTES];
        let words = [self.pid, self.process, self.input, self.output, self.error];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From the front of `bytes`; `None` if there are too few.
    pub fn decode(bytes: &[u8]) -> Option<Started> {
        let mut fields = Fields(bytes);
        Some(Started {
            pid: fields.word()?,
            process: fields.word()?,
            input: fields.word()?,
            output: fields.word()?,
            error: fields.word()?,
        })
    }
}

/// A request of a session. An empty [`Message::Piece`](crate::Message::Piece) at once says that it waits in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRequest<'a> {
    /// What the image's program was started with: its user and group, words of 32 bits, its working directory, and its
    /// environment, a zero byte after each.
    Defaults,
    /// Appends bytes to those that the next [`SessionRequest::Exec`] takes. E2BIG beyond [`STAGE_MOST`].
    Stage(&'a [u8]),
    /// Starts a program. Staged are, with a zero byte after each: its path, its working directory, its arguments, and its
    /// environment. The answer is [`Started`].
    Exec {
        /// Flags of [`exec_flag`].
        flags: u32,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// How many arguments there are, the first, its name, included.
        arguments: u32,
        /// The size of its terminal.
        window: Window,
        /// Supplementary groups, words of 32 bits.
        groups: &'a [u8],
    },
    /// Opens a file by open(2)'s flags and mode; the answer is a handle. Never waits (O_NONBLOCK).
    Open {
        /// O_*.
        flags: u32,
        /// Permissions of a file that is made.
        mode: u32,
        /// Its path.
        path: &'a [u8],
    },
    /// The next bytes of a stream, or those at a place of a file; none at the end. Waits for a stream unless `now` (EAGAIN).
    Read {
        /// What is read.
        handle: u32,
        /// The place.
        offset: u64,
        /// How many bytes at most.
        len: u32,
        /// Fails where it would wait.
        now: bool,
    },
    /// Writes bytes, and answers how many, a word of 32 bits. Waits until a stream takes some.
    Write {
        /// Where to.
        handle: u32,
        /// The place.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Closes a handle. Requests that wait for it end with EBADF.
    Close {
        /// The handle.
        handle: u32,
        /// Nothing more is written to a connection, which is still read (shutdown(2)).
        half: bool,
    },
    /// Ends what waits for a stream and still has to, with EAGAIN.
    Poke {
        /// The stream.
        handle: u32,
    },
    /// At the end of the session, this file or empty directory is removed, the last named first. For `coracle run`: the guest
    /// doesn't know it.
    RemoveLater {
        /// Its path.
        path: &'a [u8],
    },
    /// Waits for the end of a process, and answers its status, a word of 32 bits as wait(2) has it.
    Wait {
        /// The process.
        handle: u32,
    },
    /// The size of a terminal.
    Resize {
        /// The terminal.
        handle: u32,
        /// Its size.
        window: Window,
    },
    /// [`Attributes`] of a file.
    Attributes {
        /// Those of what a symbolic link leads to.
        follow: bool,
        /// Its path.
        path: &'a [u8],
    },
    /// Changes the tree of files.
    Tree {
        /// What is done.
        change: TreeChange,
        /// Permissions of a directory that is made.
        mode: u32,
        /// The path.
        path: &'a [u8],
    },
    /// Connects to a TCP port of the guest's loopback; the answer is a handle.
    Connect {
        /// The port.
        port: u16,
    },
    /// Ends the session: closes its handles, and sends the groups of its processes SIGHUP.
    End,
}

/// Numbers of the requests; 80 to 95 are reserved for them.
pub(crate) mod number {
    pub const FIRST: u16 = 80;
    pub const DEFAULTS: u16 = 80;
    pub const STAGE: u16 = 81;
    pub const EXEC: u16 = 82;
    pub const OPEN: u16 = 83;
    pub const READ: u16 = 84;
    pub const WRITE: u16 = 85;
    pub const CLOSE: u16 = 86;
    pub const WAIT: u16 = 87;
    pub const RESIZE: u16 = 88;
    pub const ATTRIBUTES: u16 = 89;
    pub const TREE: u16 = 91;
    pub const CONNECT: u16 = 92;
    pub const END: u16 = 93;
    pub const POKE: u16 = 94;
    pub const REMOVE_LATER: u16 = 95;
    pub const LAST: u16 = 95;
}

fn write_window(window: Window, out: &mut Writer<'_>) {
    [window.rows, window.columns, window.width, window.height].into_iter().for_each(|half| out.half(half));
}

fn read_window(fields: &mut Fields<'_>) -> Option<Window> {
    Some(Window {
        rows: fields.half()?,
        columns: fields.half()?,
        width: fields.half()?,
        height: fields.half()?,
    })
}

impl<'a> SessionRequest<'a> {
    fn number(&self) -> u16 {
        match self {
            SessionRequest::Defaults => number::DEFAULTS,
            SessionRequest::Stage(_) => number::STAGE,
            SessionRequest::Exec { .. } => number::EXEC,
            SessionRequest::Open { .. } => number::OPEN,
            SessionRequest::Read { .. } => number::READ,
            SessionRequest::Write { .. } => number::WRITE,
            SessionRequest::Close { .. } => number::CLOSE,
            SessionRequest::Wait { .. } => number::WAIT,
            SessionRequest::Resize { .. } => number::RESIZE,
            SessionRequest::Attributes { .. } => number::ATTRIBUTES,
            SessionRequest::Tree { .. } => number::TREE,
            SessionRequest::Connect { .. } => number::CONNECT,
            SessionRequest::End => number::END,
            SessionRequest::Poke { .. } => number::POKE,
            SessionRequest::RemoveLater { .. } => number::REMOVE_LATER,
        }
    }

    pub(crate) fn write(&self, session: u32, out: &mut Writer<'_>) {
        out.half(self.number());
        out.word(session);
        match *self {
            SessionRequest::Defaults | SessionRequest::End => {}
            SessionRequest::Stage(bytes) => out.bytes(bytes),
            SessionRequest::Exec { flags, uid, gid, arguments, window, groups } => {
                [flags, uid, gid, arguments].into_iter().for_each(|word| out.word(word));
                write_window(window, out);
                out.bytes(groups);
            }
            SessionRequest::Open { flags, mode, path } => {
                out.word(flags);
                out.word(mode);
                out.bytes(path);
            }
            SessionRequest::Read { handle, offset, len, now } => {
                out.word(handle);
                out.long(offset);
                out.word(len);
                out.word(now.into());
            }
            SessionRequest::Write { handle, offset, bytes } => {
                out.word(handle);
                out.long(offset);
                out.bytes(bytes);
            }
            SessionRequest::Close { handle, half } => {
                out.word(handle);
                out.word(half.into());
            }
            SessionRequest::Wait { handle } | SessionRequest::Poke { handle } => out.word(handle),
            SessionRequest::RemoveLater { path } => out.bytes(path),
            SessionRequest::Resize { handle, window } => {
                out.word(handle);
                write_window(window, out);
            }
            SessionRequest::Attributes { follow, path } => {
                out.word(follow.into());
                out.bytes(path);
            }
            SessionRequest::Tree { change, mode, path } => {
                out.half(change as u16);
                out.word(mode);
                out.bytes(path);
            }
            SessionRequest::Connect { port } => out.half(port),
        }
    }

    /// Reads the fields behind the number and the session. `None`: too few, or none of this version's.
    pub(crate) fn read(number: u16, mut fields: Fields<'a>) -> Option<SessionRequest<'a>> {
        Some(match number {
            number::DEFAULTS => SessionRequest::Defaults,
            number::STAGE => SessionRequest::Stage(fields.rest()),
            number::EXEC => SessionRequest::Exec {
                flags: fields.word()?,
                uid: fields.word()?,
                gid: fields.word()?,
                arguments: fields.word()?,
                window: read_window(&mut fields)?,
                groups: fields.rest(),
            },
            number::OPEN => {
                SessionRequest::Open { flags: fields.word()?, mode: fields.word()?, path: fields.rest() }
            }
            number::READ => SessionRequest::Read {
                handle: fields.word()?,
                offset: fields.long()?,
                len: fields.word()?,
                now: fields.word()? != 0,
            },
            number::WRITE => {
                SessionRequest::Write { handle: fields.word()?, offset: fields.long()?, bytes: fields.rest() }
            }
            number::CLOSE => SessionRequest::Close { handle: fields.word()?, half: fields.word()? != 0 },
            number::WAIT => SessionRequest::Wait { handle: fields.word()? },
            number::RESIZE => {
                SessionRequest::Resize { handle: fields.word()?, window: read_window(&mut fields)? }
            }
            number::ATTRIBUTES => {
                SessionRequest::Attributes { follow: fields.word()? != 0, path: fields.rest() }
            }
            number::TREE => SessionRequest::Tree {
                change: *TREE_CHANGES.get(usize::from(fields.half()?))?,
                mode: fields.word()?,
                path: fields.rest(),
            },
            number::CONNECT => SessionRequest::Connect { port: fields.half()? },
            number::END => SessionRequest::End,
            number::POKE => SessionRequest::Poke { handle: fields.word()? },
            number::REMOVE_LATER => SessionRequest::RemoveLater { path: fields.rest() },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{Message, Request};
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn requests_are_read_as_they_were_written(session: u32, words: [u32; 4], long: u64, flag: bool, bytes in prop::collection::vec(any::<u8>(), 0..WRITE_MOST)) {
            let [handle, len, mode, uid] = words;
            let window = Window { rows: handle as u16, columns: len as u16, width: 0, height: 7 };
            let change = TREE_CHANGES[handle as usize % TREE_CHANGES.len()];
            let all = [
                SessionRequest::Defaults,
                SessionRequest::Stage(&bytes),
                SessionRequest::Exec { flags: len, uid, gid: mode, arguments: handle, window, groups: &bytes },
                SessionRequest::Open { flags: len, mode, path: &bytes },
                SessionRequest::Read { handle, offset: long, len, now: flag },
                SessionRequest::Write { handle, offset: long, bytes: &bytes },
                SessionRequest::Close { handle, half: flag },
                SessionRequest::Wait { handle },
                SessionRequest::Resize { handle, window },
                SessionRequest::Attributes { follow: flag, path: &bytes },
                SessionRequest::Tree { change, mode, path: &bytes },
                SessionRequest::Connect { port: uid as u16 },
                SessionRequest::End,
                SessionRequest::Poke { handle },
                SessionRequest::RemoveLater { path: &bytes },
            ];
            for request in all {
                let message = Message::Request { id: 5, request: Request::Session { session, request } };
                let mut buffer = [0; crate::HEADER_BYTES + crate::LONGEST_TO_GUEST];
                let sent = message.encode(&mut buffer).expect("it fits");
                prop_assert_eq!(Message::parse(sent), Some(message));
                // What is cut short is nothing, or a request with fewer bytes; never a panic.
                (0..sent.len()).for_each(|len| _ = Message::parse(&sent[..len]));
            }
        }

        #[test]
        fn answers_are_read_as_they_were_written(words: [u32; 5], long: u64) {
            let [pid, process, input, output, error] = words;
            let started = Started { pid, process, input, output, error };
            prop_assert_eq!(Started::decode(&started.encode()), Some(started));
            let attributes = Attributes { mode: process, uid: input, gid: output, size: long };
            prop_assert_eq!(Attributes::decode(&attributes.encode()), Some(attributes));
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let number = u16::from(bytes.first().copied().unwrap_or(80));
            let _ = SessionRequest::read(number, Fields(&bytes));
            let _ = (Started::decode(&bytes), Attributes::decode(&bytes));
        }
    }
}
