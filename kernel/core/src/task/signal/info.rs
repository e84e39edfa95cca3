//! What is told about a signal: siginfo_t (sigaction(2), `asm-generic/siginfo.h`).
use crate::ipc::poll::Events;
use linux_raw_sys::general as abi;

/// Bytes of a siginfo_t.
pub const SIGINFO_LEN: usize = 128;
/// Signals are numbered from 1 to this.
pub const MAX_SIGNAL: u32 = 64;
/// Signals from here on are queued one by one (signal(7), real-time signals).
pub const FIRST_REALTIME: u32 = 32;

/// A signal with what is told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// The signal, 1 to 64.
    pub signal: u32,
    /// si_errno.
    pub errno: i32,
    /// si_code.
    pub code: i32,
    /// The bytes from offset 16 on, whose meaning depends on the code.
    pub fields: [u64; 4],
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl SigInfo {
    /// Sent by the kernel.
    pub const fn kernel(signal: u32) -> Self {
        SigInfo { signal, errno: 0, code: abi::SI_KERNEL as i32, fields: [0; 4] }
    }
    /// Sent by kill(2) or, with `code` SI_TKILL, by tgkill(2).
    pub const fn user(signal: u32, code: i32, pid: i32, uid: u32) -> Self {
        SigInfo { signal, errno: 0, code, fields: [pair(pid as u32, uid), 0, 0, 0] }
    }
    /// Caused by an instruction of the program.
    pub const fn fault(signal: u32, code: i32, addr: usize) -> Self {
        SigInfo { signal, errno: 0, code, fields: [addr as u64, 0, 0, 0] }
    }
    /// SIGCHLD.
    pub const fn child(code: i32, pid: i32, uid: u32, status: i32) -> Self {
        SigInfo {
            signal: abi::SIGCHLD,
            errno: 0,
            code,
            fields: [pair(pid as u32, uid), status as u32 as u64, 0, 0],
        }
    }
    /// An open file became ready (F_SETSIG of fcntl(2)): `code` is POLL_IN or its like.
    pub const fn io(signal: u32, code: u32, band: Events, fd: i32) -> Self {
        SigInfo { signal, errno: 0, code: code as i32, fields: [band.bits() as u64, fd as u32 as u64, 0, 0] }
    }
    /// A timer of timer_create(2) went off; [`Self::with_overrun`] is added when it is delivered.
    pub const fn timer(signal: u32, timer: i32, value: u64) -> Self {
        let fields = [pair(timer as u32, 0), value, 0, 0];
        SigInfo { signal, errno: 0, code: SI_TIMER, fields }
    }
    /// The same, with a timer's overrun (si_overrun).
    pub const fn with_overrun(mut self, overrun: i32) -> Self {
        self.fields[0] = pair(self.fields[0] as u32, overrun as u32);
        self
    }
    /// A message came into an empty queue (mq_notify(3)), sent by process `pid` of user `uid`.
    pub const fn message_queue(signal: u32, pid: i32, uid: u32, value: u64) -> Self {
        /// SI_MESGQ.
        const CODE: i32 = -3;
        SigInfo { signal, errno: 0, code: CODE, fields: [pair(pid as u32, uid), value, 0, 0] }
    }
    /// True if the kernel sends it, and not a program by some call.
    pub const fn is_from_kernel(&self) -> bool {
        self.code > 0
    }
    /// True for the three that mean an error of the running instruction, which can't be put off.
    pub fn is_fault(&self) -> bool {
        self.code > 0
            && matches!(self.signal, abi::SIGSEGV | abi::SIGBUS | abi::SIGFPE | abi::SIGILL | abi::SIGTRAP)
    }
    /// As the program sees it.
    pub fn to_bytes(self) -> [u8; SIGINFO_LEN] {
        let mut bytes = [0; SIGINFO_LEN];
        bytes[0..4].copy_from_slice(&self.signal.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.errno.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        for (i, field) in self.fields.iter().enumerate() {
            bytes[16 + i * 8..24 + i * 8].copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
    /// From the program's siginfo_t (rt_sigqueueinfo(2)).
    pub fn from_bytes(signal: u32, bytes: &[u8; SIGINFO_LEN]) -> Self {
        let word = |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut fields = [0; 4];
        for (i, field) in fields.iter_mut().enumerate() {
            *field = pair(word(16 + i * 8) as u32, word(20 + i * 8) as u32);
        }
        SigInfo { signal, errno: word(4), code: word(8), fields }
    }
}

/// si_code of timers (`SI_TIMER`).
pub const SI_TIMER: i32 = -2;
/// si_code of tgkill(2) (`SI_TKILL`).
pub const SI_TKILL: i32 = -6;
/// si_code of kill(2) (`SI_USER`).
pub const SI_USER: i32 = 0;

/// The signal's bit in a mask.
pub const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Signals that can be neither blocked, ignored nor handled.
pub const UNBLOCKABLE: u64 = bit(abi::SIGKILL) | bit(abi::SIGSTOP);
