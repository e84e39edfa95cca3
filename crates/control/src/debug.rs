//! Requests of a debugger (gdb, core dumps).
//!
//! A process that is attached stops as a whole: when a thread of it reaches a breakpoint, ends a step, touches a watched place, or is
//! about to get a signal, every other thread is held where it next enters its program. A thread that sleeps in a system
//! call goes on sleeping.
use crate::message::{Fields, Writer};

/// A request of a debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debug<'a> {
    /// Attaches to a process and stops it. ESRCH; EBUSY if another debugger has it.
    Attach {
        /// The process.
        pid: u32,
    },
    /// Takes breakpoints and watchpoints away, and lets the process go on. Also ends the stop in which a crashed process is
    /// kept for its core dump.
    Detach {
        /// The process.
        pid: u32,
    },
    /// Waits for the next [`DebugEvent`] of an attached process, which is the answer.
    Wait {
        /// The process.
        pid: u32,
    },
    /// Lets an attached process go on: a [`Resume`] for each thread with a wish of its own. An event that came while it stopped is told
    /// first, and then nothing goes on.
    Resume {
        /// The process.
        pid: u32,
        /// As [`Resume::encode`] writes them.
        threads: &'a [u8],
    },
    /// Stops an attached process that runs; the event [`debug_event::STOPPED`] follows.
    Stop {
        /// The process.
        pid: u32,
    },
    /// The registers of a thread: a [`ThreadState`], the [`REGISTERS`](crate::REGISTERS), the signal's information (siginfo_t, 128 bytes),
    /// and the area of the floating-point registers as the CPU saves it.
    Registers {
        /// The thread.
        tid: u32,
    },
    /// Replaces some of what [`Debug::Registers`] answers: of the registers, the bases in the state, and the area. EBUSY if the thread is not
    /// held.
    SetRegisters {
        /// The thread.
        tid: u32,
        /// Where in the answer.
        offset: u32,
        /// What is to be there.
        bytes: &'a [u8],
    },
    /// Writes to the memory of an attached process. What the program may only read becomes a page of its own. EFAULT.
    Write {
        /// The process.
        pid: u32,
        /// The first byte.
        address: u64,
        /// What is to be there.
        bytes: &'a [u8],
    },
    /// Sets a breakpoint, or takes it away. EFAULT.
    Breakpoint {
        /// The process.
        pid: u32,
        /// The first byte of an instruction.
        address: u64,
        /// Whether it is to be there.
        set: bool,
    },
    /// Sets a watchpoint, or takes it away. ENOSPC if the CPU has no more; EINVAL.
    Watchpoint {
        /// The process.
        pid: u32,
        /// A multiple of `len`.
        address: u64,
        /// 1, 2, 4 or 8.
        len: u16,
        /// Whether reading stops as well.
        reads: bool,
        /// Whether it is to be there.
        set: bool,
    },
    /// Bytes of any file of the guest, from `offset` on; needs full access.
    File {
        /// Where to begin.
        offset: u64,
        /// How many at most.
        len: u32,
        /// The path, as the process 1 sees it.
        path: &'a [u8],
    },
    /// Which pages of a process are in memory: a byte for each, 0 or 1.
    Present {
        /// The process.
        pid: u32,
        /// The first byte of the first page.
        address: u64,
        /// How many.
        pages: u32,
    },
}

/// Numbers of the requests.
mod number {
    pub const ATTACH: u16 = 16;
    pub const DETACH: u16 = 17;
    pub const WAIT: u16 = 18;
    pub const RESUME: u16 = 19;
    pub const STOP: u16 = 20;
    pub const REGISTERS: u16 = 21;
    pub const SET_REGISTERS: u16 = 22;
    pub const WRITE: u16 = 23;
    pub const BREAKPOINT: u16 = 24;
    pub const WATCHPOINT: u16 = 25;
    pub const FILE: u16 = 26;
    pub const PRESENT: u16 = 27;
}

/// Flags of a watchpoint as it is sent.
const SET: u16 = 1;
const READS: u16 = 2;

impl<'a> Debug<'a> {
    /// Whether it changes nothing. What only ends a stop counts as such.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Debug::Detach { .. } | Debug::Registers { .. } | Debug::Present { .. })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        let mut start = |number, id| {
            out.half(number);
            out.word(id);
        };
        match *self {
            Debug::Attach { pid } => start(number::ATTACH, pid),
            Debug::Detach { pid } => start(number::DETACH, pid),
            Debug::Wait { pid } => start(number::WAIT, pid),
            Debug::Resume { pid, threads } => {
                start(number::RESUME, pid);
                out.bytes(threads);
            }
            Debug::Stop { pid } => start(number::STOP, pid),
            Debug::Registers { tid } => start(number::REGISTERS, tid),
            Debug::SetRegisters { tid, offset, bytes } => {
                start(number::SET_REGISTERS, tid);
                out.word(offset);
                out.bytes(bytes);
            }
            Debug::Write { pid, address, bytes } => {
                start(number::WRITE, pid);
                out.long(address);
                out.bytes(bytes);
            }
            Debug::Breakpoint { pid, address, set } => {
                start(number::BREAKPOINT, pid);
                out.long(address);
                out.half(set.into());
            }
            Debug::Watchpoint { pid, address, len, reads, set } => {
                start(number::WATCHPOINT, pid);
                out.long(address);
                out.half(len);
                out.half(if set { SET } else { 0 } | if reads { READS } else { 0 });
            }
            Debug::File { offset, len, path } => {
                out.half(number::FILE);
                out.long(offset);
                out.word(len);
                out.bytes(path);
            }
            Debug::Present { pid, address, pages } => {
                start(number::PRESENT, pid);
                out.long(address);
                out.word(pages);
            }
        }
    }

    /// The request of this number; `Ok(None)` if it has another meaning, or none.
    pub(crate) fn read(number: u16, mut fields: Fields<'a>) -> Option<Option<Debug<'a>>> {
        if number == number::FILE {
            let (offset, len) = (fields.long()?, fields.word()?);
            return Some(Some(Debug::File { offset, len, path: fields.rest() }));
        }
        if !(number::ATTACH..=number::PRESENT).contains(&number) {
            return Some(None);
        }
        let pid = fields.word()?;
        Some(Some(match number {
            number::ATTACH => Debug::Attach { pid },
            number::DETACH => Debug::Detach { pid },
            number::WAIT => Debug::Wait { pid },
            number::RESUME => Debug::Resume { pid, threads: fields.rest() },
            number::STOP => Debug::Stop { pid },
            number::REGISTERS => Debug::Registers { tid: pid },
            number::SET_REGISTERS => {
                Debug::SetRegisters { tid: pid, offset: fields.word()?, bytes: fields.rest() }
            }
            number::WRITE => Debug::Write { pid, address: fields.long()?, bytes: fields.rest() },
            number::BREAKPOINT => {
                Debug::Breakpoint { pid, address: fields.long()?, set: fields.half()? != 0 }
            }
            number::WATCHPOINT => {
                let (address, len, flags) = (fields.long()?, fields.half()?, fields.half()?);
                Debug::Watchpoint { pid, address, len, reads: flags & READS != 0, set: flags & SET != 0 }
            }
            number::PRESENT => Debug::Present { pid, address: fields.long()?, pages: fields.word()? },
            _ => return Some(None),
        }))
    }
}

/// How one thread goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The thread; 0: all that are not named.
    pub tid: u32,
    /// [`resume_flag`]s.
    pub flags: u16,
    /// The signal that it gets in place of the one that it stopped for; 0: none.
    pub signal: u16,
}

/// Flags of a [`Resume`].
pub mod resume_flag {
    /// It makes one step: an instruction, or a system call.
    pub const STEP: u16 = 1;
    /// It stays where it is.
    pub const HOLD: u16 = 2;
}

impl Resume {
    /// Bytes of one.
    pub const BYTES: usize = 8;

    /// As it is sent.
    pub fn encode(&self) -> [u8; Resume::BYTES] {
        let mut bytes = [0; Resume::BYTES];
        bytes[..4].copy_from_slice(&self.tid.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.flags.to_le_bytes());
        bytes[6..].copy_from_slice(&self.signal.to_le_bytes());
        bytes
    }

    /// All in what was sent; what is left over is not looked at.
    pub fn decode_all(bytes: &[u8]) -> impl Iterator<Item = Resume> {
        bytes.chunks_exact(Resume::BYTES).filter_map(|one| {
            let mut fields = Fields(one);
            Some(Resume { tid: fields.word()?, flags: fields.half()?, signal: fields.half()? })
        })
    }
}

words! {
    /// Why an attached process stopped, or that it ended.
    DebugEvent {
        /// One of [`debug_event`].
        kind,
        /// The thread.
        tid,
        /// The signal of [`debug_event::SIGNAL`]; the status of [`debug_event::EXITED`], as wait(2) has it.
        number,
        /// The place that was watched, of [`debug_event::WATCHPOINT`].
        address,
    }
}

/// Kinds of a [`DebugEvent`].
pub mod debug_event {
    /// It was asked to stop.
    pub const STOPPED: u64 = 1;
    /// A thread came to a breakpoint, and is about to execute the instruction there.
    pub const BREAKPOINT: u64 = 2;
    /// A thread has made its step.
    pub const STEP: u64 = 3;
    /// A thread, or the kernel for it, touched a watched place.
    pub const WATCHPOINT: u64 = 4;
    /// A thread is about to get a signal.
    pub const SIGNAL: u64 = 5;
    /// The process ended.
    pub const EXITED: u64 = 6;
    /// It executes another program (execve(2)).
    pub const EXECUTED: u64 = 7;
}

words! {
    /// The beginning of a thread's registers.
    ThreadState {
        /// 1 if it is held where it enters its program: then the registers that follow are all its. Else it is in a system call,
        /// and the kernel has those that the call preserves on its stack.
        is_held,
        /// The base of FS, which is the thread pointer.
        fs_base,
        /// The base of GS.
        gs_base,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{HEADER_BYTES, LONGEST_TO_GUEST, Message, Request};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn any_debug(bytes: &[u8]) -> impl Strategy<Value = Debug<'_>> {
        (0u8..12, any::<u32>(), any::<u64>(), any::<u32>(), any::<(u16, bool, bool)>()).prop_map(
            move |(kind, pid, address, number, (len, set, reads))| match kind {
                0 => Debug::Attach { pid },
                1 => Debug::Detach { pid },
                2 => Debug::Wait { pid },
                3 => Debug::Resume { pid, threads: bytes },
                4 => Debug::Stop { pid },
                5 => Debug::Registers { tid: pid },
                6 => Debug::SetRegisters { tid: pid, offset: number, bytes },
                7 => Debug::Write { pid, address, bytes },
                8 => Debug::Breakpoint { pid, address, set },
                9 => Debug::Watchpoint { pid, address, len, reads, set },
                10 => Debug::File { offset: address, len: number, path: bytes },
                _ => Debug::Present { pid, address, pages: number },
            },
        )
    }

    const SOME: &[u8] = &[1, 2, 3, 0, 255, 7, 8, 9, 10];

    proptest! {
        #[test]
        fn requests_are_read_as_they_were_written(id: u32, debug in any_debug(SOME)) {
            let mut buffer = [0; HEADER_BYTES + LONGEST_TO_GUEST];
            let message = Message::Request { id, request: Request::Debug(debug) };
            let sent = message.encode(&mut buffer).map(<[u8]>::to_vec);
            prop_assert_eq!(sent.as_deref().and_then(Message::parse), Some(message));
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            prop_assert!(Resume::decode_all(&bytes).count() <= bytes.len() / Resume::BYTES);
            for number in 0..40u16 {
                let mut request = std::vec![1, 0, 0, 0];
                request.extend(number.to_le_bytes());
                request.extend(&bytes);
                let mut message = std::vec![4, 0];
                message.extend((request.len() as u16).to_le_bytes());
                message.extend(request);
                let _ = Message::parse(&message);
            }
        }

        #[test]
        fn wishes_are_read_as_they_were_written(tid: u32, flags: u16, signal: u16) {
            let wish = Resume { tid, flags, signal };
            prop_assert_eq!(Resume::decode_all(&wish.encode()).collect::<Vec<_>>(), std::vec![wish]);
        }
    }
}
