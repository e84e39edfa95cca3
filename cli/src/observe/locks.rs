//! Which thread has a lock that another waits for, as far as that can be read in the program's memory.

use std::fmt::Write as _;

use super::calls::{Call, Memory};

/// A lock that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its address.
    pub address: u64,
    /// The thread that has it.
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
        };
        format!("the lock {:#x}, which {owner} has ({how})", self.address)
    }
}

/// The lock that a call waits for, if its owner is known.
pub fn wanted(call: &Call, memory: &mut dyn Memory) -> Option<Lock> {
    /// Bits of the word of a futex with priority inheritance that are the owner's number (FUTEX_TID_MASK).
    const OWNER: u32 = 0x3fff_ffff;
    /// The word of a `pthread_mutex_t` that others wait for (glibc, lowlevellock.h).
    const CONTENDED: u32 = 2;
    /// Offset of `__owner` in it (glibc, struct_mutex.h).
    const OWNER_OFFSET: u64 = 8;
    const COMMAND: u64 = 127;
    const PRIVATE: u64 = libc::FUTEX_PRIVATE_FLAG as u64;
    if i64::try_from(call.number) != Ok(libc::SYS_futex) {
        return None;
    }
    let [address, operation, expected, timeout, ..] = call.arguments;
    let mut word = |address| memory.read(address, 4).try_into().ok().map(u32::from_le_bytes);
    let command = i32::try_from(operation & COMMAND).ok()?;
    let (owner, source) = match command {
        // pthread_join(3) waits so for the end of a thread whose number may be that of a contended mutex.
        libc::FUTEX_WAIT_BITSET if operation & PRIVATE == 0 && timeout == 0 => return None,
        libc::FUTEX_LOCK_PI => (word(address)? & OWNER, Source::Word),
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET if expected as u32 == CONTENDED => {
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
                        let then = if place == 0 { "" } else { ", which waits for the lock" };
                        let _ = match place {
                            0 => write!(
                                text,
                                "thread {} waits for the lock {:#x} of thread {}",
                                one.waiter, one.lock.address, one.lock.owner
                            ),
                            _ => write!(text, "{then} {:#x} of thread {}", one.lock.address, one.lock.owner),
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
        assert_eq!(cycles(&[wait(5, 5)]), ["deadlock: thread 5 waits for the lock 0x5000 of thread 5"]);
    }
}
