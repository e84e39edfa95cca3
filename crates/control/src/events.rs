//! What a guest's kernel notes of what it does: the answer to [`Request::EventsFetch`](crate::Request::EventsFetch), and what its flight
//! recorder holds.

/// Kinds of events. A kind is a number; the bits by which kinds are chosen are in [`event::bit`].
pub mod event {
    /// The bits of a choice.
    pub mod bit {
        /// Switches, wake-ups and sleeps.
        pub const SCHED: u32 = 1;
        /// Timers.
        pub const TIMER: u32 = 2;
        /// Interrupts.
        pub const IRQ: u32 = 4;
        /// Page faults of programs.
        pub const FAULT: u32 = 8;
        /// Requests to disks.
        pub const BLOCK: u32 = 16;
        /// TCP connections, and packets that were dropped.
        pub const TCP: u32 = 32;
        /// All of them.
        pub const ALL: u32 = 63;
    }

    /// A CPU goes on with another thread. `small`: 1 if the one before sleeps, 0 if it still wants a CPU, 2 if it ended.
    /// `a`: process and thread that go on; `b`: those before. Processes are in the upper half of a word.
    pub const SWITCH: u16 = 1;
    /// A thread is woken. `small`: the state it was in, of the kernel's own choice; `a`: process and thread.
    pub const WAKE: u16 = 2;
    /// The running thread begins to sleep. `a`: when it wakes at the latest, in nanoseconds since boot; `u64::MAX`: never by itself.
    /// `b`: process and thread.
    pub const PARK: u16 = 3;
    /// A CPU idles on the stack of the thread that sleeps. `a`: process and thread.
    pub const IDLE: u16 = 4;
    /// The thread on whose stack a CPU idled goes on. `a`: process and thread.
    pub const RESUME: u16 = 5;
    /// A timer is set. `a`: its deadline, in nanoseconds since boot; `b`: process and thread if it is that of a sleep, else 0.
    pub const TIMER_SET: u16 = 6;
    /// A timer has fired. `a`: as `b` of [`TIMER_SET`].
    pub const TIMER_FIRED: u16 = 7;
    /// An interrupt. `a`: its vector.
    pub const INTERRUPT: u16 = 8;
    /// A page fault of a program. `small`: bits of [`access`]; `a`: the address; `b`: the program counter.
    pub const FAULT: u16 = 9;
    /// A disk is given a request. `small`: the operation, of [`operation`]; `a`: its first sector; `b`: bytes, and in the upper half
    /// what tells the requests that are waited for together.
    pub const BLOCK_ISSUE: u16 = 10;
    /// A request is done. `small`: how (0: well, 1: the device knows no such request, 2: it failed); `b`: the upper half as that of
    /// [`BLOCK_ISSUE`].
    pub const BLOCK_DONE: u16 = 11;
    /// A TCP connection has another state. `small`: the old state in the upper byte, the new in the lower, by their numbers in
    /// /proc/net/tcp; `a`: ports, the local one in the upper half; `b`: the last eight bytes of the peer's address.
    pub const TCP_STATE: u16 = 12;
    /// A segment is sent again. `a`, `b`: as for [`TCP_STATE`].
    pub const TCP_RETRANSMIT: u16 = 13;
    /// A peer's window has no room. `a`, `b`: as for [`TCP_STATE`].
    pub const TCP_ZERO_WINDOW: u16 = 14;
    /// A packet is dropped. `small`: why, of [`reason`]; `a`, `b`: as for [`TCP_STATE`], as far as known.
    pub const DROP: u16 = 15;

    /// Threads of the kernel's own, which have no numbers.
    pub mod thread {
        /// A CPU's, which idles.
        pub const IDLE: u64 = 0;
        /// The one that answers requests.
        pub const CONTROL: u64 = 1 << 31;
        /// The one that looks after disks.
        pub const STORAGE: u64 = 1 << 31 | 1;
    }

    /// Bits of a page fault's access.
    pub mod access {
        /// It writes.
        pub const WRITE: u16 = 1;
        /// It fetches an instruction.
        pub const EXECUTE: u16 = 2;
        /// The page is there.
        pub const PRESENT: u16 = 4;
    }

    /// Operations of disks (virtio 1.2, section 5.2.6).
    pub mod operation {
        /// Read.
        pub const READ: u16 = 0;
        /// Write.
        pub const WRITE: u16 = 1;
        /// Flush.
        pub const FLUSH: u16 = 4;
        /// The device's serial number.
        pub const IDENTIFY: u16 = 8;
        /// Discard.
        pub const DISCARD: u16 = 11;
        /// Write zeroes.
        pub const ZERO: u16 = 13;
    }

    /// Why packets are dropped.
    pub mod reason {
        /// No socket is at the port.
        pub const NO_SOCKET: u16 = 1;
        /// The header or the checksum is wrong.
        pub const MALFORMED: u16 = 2;
        /// There is no room for it in the socket's buffer.
        pub const NO_ROOM: u16 = 3;
        /// The queue of connections to accept is full.
        pub const BACKLOG: u16 = 4;
        /// It is for another address.
        pub const NOT_OURS: u16 = 5;
        /// Memory is short.
        pub const NO_MEMORY: u16 = 6;
    }
}

words! {
    /// When events were fetched, by both clocks.
    EventsHead {
        /// Nanoseconds since boot.
        now_ns,
        /// The counter by which events have their times, at the same moment.
        now_ticks,
        /// Nanoseconds of a tick, times 2^32.
        rate,
        /// CPUs whose events follow.
        cpus,
    }
}

words! {
    /// How many events of a CPU follow.
    RingHead {
        /// The CPU.
        cpu,
        /// How many.
        count,
        /// How many more there were, which were overwritten before they could be read.
        lost,
    }
}

/// An event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventRecord {
    /// When, by a counter of the CPU's.
    pub ticks: u64,
    /// Its kind, of [`event`].
    pub kind: u16,
    /// As the kind says.
    pub small: u16,
    /// As the kind says.
    pub a: u64,
    /// As the kind says.
    pub b: u64,
}

impl EventRecord {
    /// Words of a record.
    pub const WORDS: usize = 4;
    /// Bytes of a record.
    pub const BYTES: usize = 8 * Self::WORDS;

    /// As words, in the order in which they are sent.
    pub const fn words(&self) -> [u64; Self::WORDS] {
        [self.ticks, self.kind as u64 | (self.small as u64) << 16, self.a, self.b]
    }

    /// From words.
    pub const fn from_words([ticks, kind, a, b]: [u64; Self::WORDS]) -> EventRecord {
        EventRecord { ticks, kind: kind as u16, small: (kind >> 16) as u16, a, b }
    }

    /// As it is sent.
    pub fn encode(&self) -> [u8; EventRecord::BYTES] {
        let mut bytes = [0; EventRecord::BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From the front of `bytes`, with what follows; `None` if there are too few.
    pub fn decode(bytes: &[u8]) -> Option<(EventRecord, &[u8])> {
        let (own, rest) = bytes.split_at_checked(EventRecord::BYTES)?;
        let mut words = [0; Self::WORDS];
        for (word, bytes) in words.iter_mut().zip(own.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some((EventRecord::from_words(words), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(ticks: u64, kind: u16, small: u16, a: u64, b: u64) {
            let record = EventRecord { ticks, kind, small, a, b };
            let bytes = record.encode();
            prop_assert_eq!(EventRecord::decode(&bytes), Some((record, &[][..])));
        }
    }
}
