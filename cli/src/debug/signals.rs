//! Linux's numbers of signals, and gdb's (GDB manual, "Stop Reply Packets"; `include/gdb/signals.def`).

use gdbstub::common::Signal;

/// Signals whose numbers differ: Linux's, gdb's.
const DIFFERENT: [(u8, Signal); 18] = [
    (7, Signal::SIGBUS),
    (10, Signal::SIGUSR1),
    (12, Signal::SIGUSR2),
    (16, Signal::UNKNOWN),
    (17, Signal::SIGCHLD),
    (18, Signal::SIGCONT),
    (19, Signal::SIGSTOP),
    (20, Signal::SIGTSTP),
    (21, Signal::SIGTTIN),
    (22, Signal::SIGTTOU),
    (23, Signal::SIGURG),
    (26, Signal::SIGVTALRM),
    (27, Signal::SIGPROF),
    (28, Signal::SIGWINCH),
    (29, Signal::SIGIO),
    (30, Signal::SIGPWR),
    (31, Signal::SIGSYS),
    (32, Signal::SIG32),
];
/// The first and the last real-time signal that gdb has in a row, from [`Signal::SIG33`] on.
const ROW: std::ops::RangeInclusive<u8> = 33..=63;

/// gdb's number of a signal.
pub fn to_gdb(signal: u8) -> Signal {
    if let Some((_, own)) = DIFFERENT.iter().find(|(linux, _)| *linux == signal) {
        return *own;
    }
    match signal {
        64 => Signal::SIG64,
        number if ROW.contains(&number) => Signal(Signal::SIG33.0 + (number - ROW.start())),
        number => Signal(number),
    }
}

/// Linux's number of a signal; 0 if it has none.
pub fn from_gdb(signal: Signal) -> u8 {
    (1..=64).find(|linux| to_gdb(*linux) == signal).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_one_number() {
        for linux in (1..=64u8).filter(|linux| *linux != 16) {
            assert_eq!(from_gdb(to_gdb(linux)), linux);
        }
        assert_eq!((to_gdb(11), to_gdb(7), to_gdb(17)), (Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGCHLD));
        assert_eq!(from_gdb(Signal::SIGLOST), 0);
    }
}
