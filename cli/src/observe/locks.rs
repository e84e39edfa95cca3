//! Which thread another waits for: one that has a lock, as far as that can be read in the program's memory, or one that is to end.

use std::fmt::Write as _;

use super::calls::{Call, Memory};
use super::stack::Thread;

/// What a thread waits for another with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its address.
    pub address: u64,
    /// The thread that has it, or that is to end.
    pub owner: u32,
    /// How the owner is known.
    source: Source,
}

/// How the owner of a lock is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The futex word holds the owner's number (futex(2), "Priority-inheritance futexes"; get_robust_list(2)).
    Word,
    /// glibc's `pthread_mutex_t` has it beside the futex word.
    Mutex,
    /// The kernel clears the word when that thread, and no other, ends (pthread_join(3), set_tid_address(2)).
    End,
}

/// A thread, and the lock that it waits for.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The thread.
    pub waiter: u32,
    /// The lock.
    pub lock: Lock,
}

impl Lock {
    /// `the mutex 0x…, which thread 2 "name" has`
    pub fn describe(&self, owner: Option<&str>) -> String {
        let owner = match owner {
            Some(name) => format!("thread {} \"{name}\"", self.owner),
            None => format!("thread {}, which is no more,", self.owner),
        };
        let how = match self.source {
            Source::Word => "the futex word says so",
            Source::Mutex => "its pthread_mutex_t says so",
            Source::End => return format!("the end of {}", owner.trim_end_matches(',')),
        };
        format!("the lock {:#x}, which {owner} has ({how})", self.address)
    }

    /// `the lock 0x… of thread 2`
    fn brief(&self) -> String {
        match self.source {
            Source::End => format!("the end of thread {}", self.owner),
            Source::Word | Source::Mutex => format!("the lock {:#x} of thread {}", self.address, self.owner),
        }
    }
}

/// The end of a thread that `waiter` waits for with this call, if it is that of one of `threads`.
pub fn ending(call: &Call, waiter: &Thread, threads: &[Thread]) -> Option<Lock> {
    let (address, _, expected) = futex_wait(call)?;
    let is_told =
        |other: &&Thread| (other.record.pid, other.record.clear_child_tid) == (waiter.record.pid, address);
    let mut told = threads.iter().filter(is_told);
    let owner = u32::try_from(told.next()?.record.tid).ok()?;
    // A word that is cleared at the end of several threads is a lock of theirs (musl's of its list of threads).
    (told.next().is_none() && owner == expected).then_some(Lock { address, owner, source: Source::End })
}

/// The address, the command and the expected value of a call that waits for a futex.
fn futex_wait(call: &Call) -> Option<(u64, i32, u32)> {
    const COMMAND: u64 = 127;
    let is_futex = i64::try_from(call.number) == Ok(libc::SYS_futex);
    let [address, operation, expected, ..] = call.arguments;
    let command = i32::try_from(operation & COMMAND).ok()?;
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET, libc::FUTEX_LOCK_PI].contains(&command);
    (is_futex && waits).then_some((address, command, expected as u32))
}

/// The lock that a call waits for, if its owner is known.
pub fn wanted(call: &Call, memory: &mut dyn Memory) -> Option<Lock> {
    /// Bits of the word of a futex with priority inheritance that are the owner's number (FUTEX_TID_MASK).
    const OWNER: u32 = 0x3fff_ffff;
    /// The word of a `pthread_mutex_t` that others wait for (glibc, lowlevellock.h).
    const CONTENDED: u32 = 2;
    /// Offset of `__owner` in it (glibc, struct_mutex.h).
    const OWNER_OFFSET: u64 = 8;
    const PRIVATE: u64 = libc::FUTEX_PRIVATE_FLAG as u64;
    let (address, command, expected) = futex_wait(call)?;
    let [_, operation, _, timeout, ..] = call.arguments;
    let mut word = |address| memory.read(address, 4).try_into().ok().map(u32::from_le_bytes);
    let (owner, source) = match command {
        // A thread's end is waited for so ([`ending`]), and its number may be that of a contended mutex.
        libc::FUTEX_WAIT_BITSET if operation & PRIVATE == 0 && timeout == 0 => return None,
        libc::FUTEX_LOCK_PI => (word(address)? & OWNER, Source::Word),
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET if expected == CONTENDED => {
            if word(address)? != CONTENDED {
                return None;
            }
            (word(address + OWNER_OFFSET)?, Source::Mutex)
        }
        _ => return None,
    };
    (owner != 0).then_some(Lock { address, owner, source })
}

/// Each ring of threads that wait for one another, in words.
pub fn cycles(held: &[Held]) -> Vec<String> {
    let mut found = Vec::new();
    for start in held {
        let mut ring = vec![*start];
        while let Some(next) =
            held.iter().find(|next| ring.last().is_some_and(|last| last.lock.owner == next.waiter))
        {
            if next.waiter == start.waiter {
                // Each ring once, from its lowest thread on.
                if ring.iter().all(|other| other.waiter >= start.waiter) {
                    let mut text = "deadlock: ".to_owned();
                    for (place, one) in ring.iter().enumerate() {
                        let _ = match place {
                            0 => write!(text, "thread {} waits for {}", one.waiter, one.lock.brief()),
                            _ => write!(text, ", which waits for {}", one.lock.brief()),
                        };
                    }
                    found.push(text);
                }
                break;
            }
            if ring.len() > held.len() {
                // It leads into a ring that it is no part of.
                break;
            }
            ring.push(*next);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use coracle_control::ThreadRecord;

    use super::*;

    struct Words(Vec<(u64, u32)>);

    impl Memory for Words {
        fn read(&mut self, address: u64, len: usize) -> Vec<u8> {
            let word = self.0.iter().find(|(at, _)| *at == address);
            word.map(|(_, value)| value.to_le_bytes()[..len].to_vec()).unwrap_or_default()
        }
    }

    fn futex(operation: u64, value: u64) -> Call {
        Call {
            arch: crate::arch::Arch::X86_64,
            number: libc::SYS_futex as usize,
            arguments: [0x1000, operation, value, 0, 0, 0],
            result: None,
        }
    }

    #[test]
    fn owners() {
        let mutex = || Words(vec![(0x1000, 2), (0x1008, 7)]);
        assert_eq!(wanted(&futex(128, 2), &mut mutex()).map(|lock| lock.owner), Some(7));
        // Another word is no mutex of glibc's, and one that is not contended has been given back.
        assert_eq!(wanted(&futex(128, 1), &mut mutex()), None);
        assert_eq!(wanted(&futex(128, 2), &mut Words(vec![(0x1000, 0), (0x1008, 7)])), None);
        // A wait for the end of thread 2, and one for a mutex with a deadline.
        const JOIN: u64 = libc::FUTEX_WAIT_BITSET as u64 | libc::FUTEX_CLOCK_REALTIME as u64;
        assert_eq!(wanted(&futex(JOIN, 2), &mut mutex()), None);
        assert_eq!(wanted(&futex(JOIN | 128, 2), &mut mutex()).map(|lock| lock.owner), Some(7));
        let with_priority = || Words(vec![(0x1000, 0x8000_0005)]);
        assert_eq!(wanted(&futex(6 | 128, 0), &mut with_priority()).map(|lock| lock.owner), Some(5));
    }

    #[test]
    fn ends() {
        let thread = |pid, tid, clear_child_tid| Thread {
            record: ThreadRecord { pid, tid, clear_child_tid, ..Default::default() },
            name: format!("thread {tid}"),
            stack: Vec::new(),
        };
        let joined = futex(libc::FUTEX_WAIT_BITSET as u64 | libc::FUTEX_CLOCK_REALTIME as u64, 2);
        let found = |threads: &[Thread]| ending(&joined, &threads[0], threads);
        let lock = found(&[thread(1, 1, 0x2000), thread(1, 2, 0x1000)]).expect("thread 2 is to end");
        assert_eq!(lock.describe(Some("name")), "the end of thread 2 \"name\"");
        assert_eq!(lock.describe(None), "the end of thread 2, which is no more");
        assert_eq!(found(&[thread(1, 1, 0x2000), thread(1, 3, 0x1000)]), None, "another word");
        assert_eq!(found(&[thread(1, 1, 0x2000), thread(2, 2, 0x1000)]), None, "of another process");
        assert_eq!(found(&[thread(1, 1, 0x1000), thread(1, 2, 0x1000)]), None, "a lock of several");
    }

    #[test]
    fn rings() {
        let wait = |waiter, owner| Held {
            waiter,
            lock: Lock { address: u64::from(owner) << 12, owner, source: Source::Mutex },
        };
        assert!(cycles(&[wait(1, 2), wait(2, 3)]).is_empty());
        // One that waits for a thread of the ring is no part of it.
        let found = cycles(&[wait(4, 3), wait(1, 2), wait(2, 3), wait(3, 1)]);
        assert_eq!(
            found,
            [
                "deadlock: thread 1 waits for the lock 0x2000 of thread 2, which waits for the lock 0x3000 of thread 3, which waits for the lock 0x1000 of thread 1"
            ]
        );
        let ends =
            |waiter, owner| Held { waiter, lock: Lock { address: 0x5000, owner, source: Source::End } };
        assert_eq!(
            cycles(&[ends(1, 2), wait(2, 1)]),
            ["deadlock: thread 1 waits for the end of thread 2, which waits for the lock 0x1000 of thread 1"]
        );
        assert_eq!(cycles(&[wait(5, 5)]), ["deadlock: thread 5 waits for the lock 0x5000 of thread 5"]);
    }
}
