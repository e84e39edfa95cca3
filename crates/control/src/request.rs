//! What a guest is asked about itself.
use crate::debug::Debug;
use crate::life::{self, LifeRequest};
use crate::message::{Fields, Writer};
use crate::session::{self, SessionRequest};

/// A request.
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
    /// Begins to trace system calls; EBUSY if that is done already.
    TraceStart {
        /// A process; 0: all.
        pid: u32,
        /// Bytes of the program's stack that are noted with each call: records of [`TraceRecord::Stack`](crate::TraceRecord::Stack) and
        /// [`TraceRecord::Code`](crate::TraceRecord::Code). 0: none.
        stack: u32,
        /// [`CHOICE_BYTES`](crate::CHOICE_BYTES) with a bit for each call to be traced, and [`Capture`](crate::Capture)s in the
        /// order of their calls.
        choice: &'a [u8],
    },
    /// The [`TraceRecord`](crate::TraceRecord)s since the last such request.
    TraceFetch,
    /// Ends the trace.
    TraceStop,
    /// A signal for a process; needs full access.
    Signal {
        /// The process.
        pid: u32,
        /// The signal's number (signal(7)).
        signal: u32,
    },
    /// Crashes the kernel; needs full access. There is no answer.
    Crash,
    /// All sockets: a [`SocketsHead`](crate::SocketsHead), and a [`SocketRecord`](crate::SocketRecord) for each.
    Sockets,
    /// Begins to capture packets; EBUSY if that is done already, EINVAL for a filter that is none.
    CaptureStart {
        /// Bits of the links: [`link::DEVICE`], [`link::LOOPBACK`].
        links: u32,
        /// Bytes of each packet that are kept at most.
        snap_len: u32,
        /// Instructions of classic BPF, 8 bytes each, little-endian (linux/filter.h); none: all packets.
        filter: &'a [u8],
    },
    /// The [`PacketRecord`](crate::PacketRecord)s since the last such request.
    CaptureFetch,
    /// Ends the capture.
    CaptureStop,
    /// One about programs and files that a connection holds.
    Session {
        /// The connection's number, which `coracle run` fills in.
        session: u32,
        /// What is asked.
        request: SessionRequest<'a>,
    },
    /// Begins to note what the guest's kernel does: kinds by their bits in [`event`](crate::event); EBUSY if that is done already.
    EventsStart(u32),
    /// The events since the last such request: an [`EventsHead`](crate::EventsHead), and for each CPU a
    /// [`RingHead`](crate::RingHead) with its [`EventRecord`](crate::EventRecord)s.
    EventsFetch,
    /// Ends what [`Request::EventsStart`] began.
    EventsStop,
    /// To the command that runs the guest, which answers itself: stops all CPUs of the machine, until [`Request::MachineResume`] or the
    /// end of the connection.
    MachinePause,
    /// To the same: the CPUs go on.
    MachineResume,
    /// To the same: a [`CpuRecord`](crate::CpuRecord) for each CPU.
    MachineCpus,
    /// To the same: bytes of the machine's memory, up to the first that is not there.
    MachineMemory {
        /// The physical address of the page tables by which `address` is meant (CR3); `u64::MAX`: it is a physical one.
        root: u64,
        /// The first byte.
        address: u64,
        /// How many.
        len: u32,
    },
    /// To the same: a debugger has QEMU's own server for gdb from now on, over a connection of its own (1), or has left it (0). If this
    /// connection ends meanwhile, what the debugger set is taken out of the machine, and it goes on.
    MachineDebugged(u32),
    /// To the same: from now on, a CPU is held once in every so many instructions of the guest, for [`Request::MachineSample`]; 0: no more. It
    /// ends with the connection. ENOENT: the machine does not count instructions; EBUSY: it is stopped, or sampled by another.
    MachineSampling(u64),
    /// To the same: a [`SampleRecord`](crate::SampleRecord) of the CPU that is held, until [`Request::MachineResume`]; nothing, if none was
    /// within a moment.
    MachineSample,
    /// One about how the guest fares.
    Life(LifeRequest<'a>),
    /// One of a debugger.
    Debug(Debug<'a>),
    /// One that this version doesn't know; the answer is ENOSYS.
    Unknown(u16),
}

/// Bits of the links whose packets are captured.
pub mod link {
    /// The network device.
    pub const DEVICE: u32 = 1;
    /// The loopback.
    pub const LOOPBACK: u32 = 2;
}

/// Numbers of the requests.
mod number {
    pub const READ: u16 = 1;
    pub const LIST: u16 = 2;
    pub const LINK: u16 = 3;
    pub const MEMORY: u16 = 4;
    pub const THREADS: u16 = 5;
    pub const TRACE_FETCH: u16 = 7;
    pub const TRACE_STOP: u16 = 8;
    pub const SIGNAL: u16 = 9;
    pub const CRASH: u16 = 10;
    pub const SOCKETS: u16 = 32;
    /// Not 6 and 112, after which guests noted calls in another form.
    pub const TRACE_START: u16 = 113;
    pub const CAPTURE_START: u16 = 33;
    pub const CAPTURE_FETCH: u16 = 34;
    pub const CAPTURE_STOP: u16 = 35;
    pub const EVENTS_START: u16 = 40;
    pub const EVENTS_FETCH: u16 = 41;
    pub const EVENTS_STOP: u16 = 42;
    pub const MACHINE_PAUSE: u16 = 48;
    pub const MACHINE_RESUME: u16 = 49;
    pub const MACHINE_CPUS: u16 = 50;
    pub const MACHINE_MEMORY: u16 = 51;
    pub const MACHINE_DEBUGGED: u16 = 52;
    pub const MACHINE_SAMPLING: u16 = 53;
    pub const MACHINE_SAMPLE: u16 = 54;
}

impl<'a> Request<'a> {
    /// Whether it changes nothing in the guest.
    pub fn only_reads(&self) -> bool {
        match self {
            Request::Debug(debug) => debug.only_reads(),
            other => !matches!(other, Request::Signal { .. } | Request::Crash | Request::Session { .. }),
        }
    }

    /// Whether the command that runs the guest answers it, and not the guest.
    pub fn is_of_machine(&self) -> bool {
        matches!(
            self,
            Request::MachinePause
                | Request::MachineResume
                | Request::MachineCpus
                | Request::MachineMemory { .. }
                | Request::MachineDebugged(_)
                | Request::MachineSampling(_)
                | Request::MachineSample
        )
    }

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
            Request::TraceStart { pid, stack, choice } => {
                out.half(number::TRACE_START);
                out.word(pid);
                out.word(stack);
                out.bytes(choice);
            }
            Request::TraceFetch => out.half(number::TRACE_FETCH),
            Request::TraceStop => out.half(number::TRACE_STOP),
            Request::Signal { pid, signal } => {
                out.half(number::SIGNAL);
                out.word(pid);
                out.word(signal);
            }
            Request::Crash => out.half(number::CRASH),
            Request::Sockets => out.half(number::SOCKETS),
            Request::CaptureStart { links, snap_len, filter } => {
                out.half(number::CAPTURE_START);
                out.word(links);
                out.word(snap_len);
                out.bytes(filter);
            }
            Request::CaptureFetch => out.half(number::CAPTURE_FETCH),
            Request::CaptureStop => out.half(number::CAPTURE_STOP),
            Request::Session { session, request } => request.write(session, out),
            Request::EventsStart(kinds) => {
                out.half(number::EVENTS_START);
                out.word(kinds);
            }
            Request::EventsFetch => out.half(number::EVENTS_FETCH),
            Request::EventsStop => out.half(number::EVENTS_STOP),
            Request::MachinePause => out.half(number::MACHINE_PAUSE),
            Request::MachineResume => out.half(number::MACHINE_RESUME),
            Request::MachineCpus => out.half(number::MACHINE_CPUS),
            Request::MachineMemory { root, address, len } => {
                out.half(number::MACHINE_MEMORY);
                out.long(root);
                out.long(address);
                out.word(len);
            }
            Request::MachineDebugged(is) => {
                out.half(number::MACHINE_DEBUGGED);
                out.word(is);
            }
            Request::MachineSampling(period) => {
                out.half(number::MACHINE_SAMPLING);
                out.long(period);
            }
            Request::MachineSample => out.half(number::MACHINE_SAMPLE),
            Request::Life(request) => request.write(out),
            Request::Debug(debug) => debug.write(out),
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
            number::TRACE_START => {
                Request::TraceStart { pid: fields.word()?, stack: fields.word()?, choice: fields.rest() }
            }
            number::TRACE_FETCH => Request::TraceFetch,
            number::TRACE_STOP => Request::TraceStop,
            number::SIGNAL => Request::Signal { pid: fields.word()?, signal: fields.word()? },
            number::CRASH => Request::Crash,
            number::SOCKETS => Request::Sockets,
            number::CAPTURE_START => Request::CaptureStart {
                links: fields.word()?,
                snap_len: fields.word()?,
                filter: fields.rest(),
            },
            number::CAPTURE_FETCH => Request::CaptureFetch,
            number::CAPTURE_STOP => Request::CaptureStop,
            other @ session::number::FIRST..=session::number::LAST => {
                match fields.word().and_then(|session| Some((session, SessionRequest::read(other, fields)?)))
                {
                    Some((session, request)) => Request::Session { session, request },
                    None => Request::Unknown(other),
                }
            }
            number::EVENTS_START => Request::EventsStart(fields.word()?),
            number::EVENTS_FETCH => Request::EventsFetch,
            number::EVENTS_STOP => Request::EventsStop,
            number::MACHINE_PAUSE => Request::MachinePause,
            number::MACHINE_RESUME => Request::MachineResume,
            number::MACHINE_CPUS => Request::MachineCpus,
            number::MACHINE_MEMORY => {
                Request::MachineMemory { root: fields.long()?, address: fields.long()?, len: fields.word()? }
            }
            number::MACHINE_DEBUGGED => Request::MachineDebugged(fields.word()?),
            number::MACHINE_SAMPLING => Request::MachineSampling(fields.long()?),
            number::MACHINE_SAMPLE => Request::MachineSample,
            other @ life::number::FIRST..=life::number::LAST => {
                Request::Life(LifeRequest::read(other, fields)?)
            }
            other => match Debug::read(other, fields)? {
                Some(debug) => Request::Debug(debug),
                None => Request::Unknown(other),
            },
        })
    }
}
