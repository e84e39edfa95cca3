//! Futexes (futex(2)): sleeping until a word of memory changes.
use super::long_call;
use super::sched::{self, Wake};
use super::thread::Thread;
use crate::errno::Errno;
use crate::mm::user;
use crate::time::wall::Deadline;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::once::Once;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::*};
use core::cell::Cell;
use linux_raw_sys::general as abi;

/// Buckets of the hash table. Power of two; Linux has 256 per CPU.
const BUCKETS: usize = 256;
/// FUTEX_BITSET_MATCH_ANY.
pub const ANY: u32 = u32::MAX;
/// Longest robust list that is followed (Linux's ROBUST_LIST_LIMIT).
const ROBUST_LIST_LIMIT: usize = 2048;

/// What threads that wait for the same word have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The memory's id, or 0 for a word that memories share.
    memory: u64,
    /// The address, or the physical address of a shared word.
    address: u64,
}

/// A thread's place in a list of those that wait. Each thread has one, so that waiting takes no memory.
pub struct Waiter {
    pub(super) thread: Once<Weak<Thread>>,
    /// Which wake-ups are meant for it; 0: it waits for a lock with priority inheritance ([`super::futex_pi`]).
    pub(super) bitset: AtomicU32,
    /// Where it waits; changed by requeue.
    pub(super) key: Mutex<Key>,
    pub(super) woken: AtomicBool,
    /// The lock that it waits for was given to it.
    pub(super) granted: AtomicBool,
    /// The thread that holds that lock.
    pub(super) owner: AtomicI32,
    /// It waits to be moved to a lock with priority inheritance, and to none else but that of `target` (FUTEX_WAIT_REQUEUE_PI).
    pub(super) requeues: AtomicBool,
    pub(super) target: Mutex<Key>,
    /// Threads may wait for a lock that the thread of this place holds.
    pub(super) is_owner: AtomicBool,
    /// Its number in the order in which waiters came to its bucket, by whose lock it is guarded.
    pub(super) number: AtomicU64,
    /// The one behind it in its bucket's list, by whose lock it is guarded.
    next: Mutex<Option<Arc<Waiter>>>,
}

impl Waiter {
    /// In no list.
    pub fn new() -> Waiter {
        Waiter {
            thread: Once::new(),
            bitset: AtomicU32::new(0),
            key: Mutex::new(Key { memory: 0, address: 0 }),
            woken: AtomicBool::new(false),
            granted: AtomicBool::new(false),
            owner: AtomicI32::new(0),
            requeues: AtomicBool::new(false),
            target: Mutex::new(Key { memory: 0, address: 0 }),
            is_owner: AtomicBool::new(false),
            number: AtomicU64::new(0),
            next: Mutex::new(None),
        }
    }
    /// Says whose it is.
    pub fn belongs_to(&self, thread: &Arc<Thread>) {
        self.thread.call_once(|| Arc::downgrade(thread));
    }
}

/// Those that wait for words of one hash, the first that came first.
pub(super) struct Bucket {
    first: Option<Arc<Waiter>>,
    last: Option<Arc<Waiter>>,
    /// The number of the waiter that comes next.
    next_number: u64,
}

impl Bucket {
    const EMPTY: Bucket = Bucket { first: None, last: None, next_number: 0 };

    pub(super) fn push(&mut self, waiter: Arc<Waiter>) {
        waiter.number.store(self.next_number, Relaxed);
        self.next_number += 1;
        match self.last.replace(waiter.clone()) {
            Some(last) => *last.next.lock() = Some(waiter),
            None => self.first = Some(waiter),
        }
    }
    /// Takes out the first with a number below `end` that `wanted` holds for.
    pub(super) fn take(&mut self, end: u64, wanted: impl Fn(&Arc<Waiter>) -> bool) -> Option<Arc<Waiter>> {
        let mut before: Option<Arc<Waiter>> = None;
        let mut at = self.first.clone();
        while let Some(waiter) = at {
            if waiter.number.load(Relaxed) >= end {
                break;
            }
            if !wanted(&waiter) {
                at = waiter.next.lock().clone();
                before = Some(waiter);
                continue;
            }
            let next = waiter.next.lock().take();
            if next.is_none() {
                self.last = before.clone();
            }
            match before {
                Some(before) => *before.next.lock() = next,
                None => self.first = next,
            }
            return Some(waiter);
        }
        None
    }

    /// Calls `f` for each waiter.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Arc<Waiter>)) {
        let mut at = self.first.clone();
        while let Some(waiter) = at {
            f(&waiter);
            at = waiter.next.lock().clone();
        }
    }
}

pub(super) static TABLE: [Mutex<Bucket>; BUCKETS] = [const { Mutex::new(Bucket::EMPTY) }; BUCKETS];

impl Key {
    /// The key of the word at `addr`; `private`: the caller says that no other process waits for it. EINVAL, EFAULT.
    pub fn new(addr: usize, private: bool) -> Result<Key, Errno> {
        if !addr.is_multiple_of(4) {
            return Err(Errno::INVAL);
        }
        let memory = crate::this::with(|thread| thread.process.memory_id());
        if !private {
            // The page must be there for its frame to be known; a shared mapping's stays the same from then on.
            user::load_u32(addr)?;
            let shared = crate::this::with(|thread| thread.process.memory().shared_word(addr))?;
            if let Some(address) = shared {
                return Ok(Key { memory: 0, address });
            }
        }
        Ok(Key { memory, address: addr as u64 })
    }

    pub(super) fn bucket(&self) -> usize {
        // Fibonacci hashing: the high bits of the product depend on all bits.
        let hash = (self.address ^ self.memory << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 56) as usize % BUCKETS
    }
}

/// Sleeps until woken if the word at `addr` is `expected`. EAGAIN if it isn't, ETIMEDOUT, EINTR, EFAULT.
pub fn wait(
    addr: usize,
    private: bool,
    expected: u32,
    bitset: u32,
    deadline: Option<Deadline>,
) -> Result<(), Errno> {
    if bitset == 0 {
        return Err(Errno::INVAL);
    }
    let key = Key::new(addr, private)?;
    let waiter = crate::this::with(|thread| thread.waiter.clone());
    waiter.bitset.store(bitset, Relaxed);
    waiter.woken.store(false, Relaxed);
    *waiter.key.lock() = key;
    // Listed before the word is read: who changes it and wakes afterwards finds us.
    TABLE[key.bucket()].lock().push(waiter.clone());
    let value = user::load_u32(addr);
    let outcome = match value {
        Ok(found) if found == expected => sleep(&waiter, deadline),
        Ok(_) => Err(Errno::AGAIN),
        Err(error) => Err(error),
    };
    if outcome.is_err() && !waiter.woken.load(Acquire) {
        remove(&waiter);
    }
    // A wake-up that was spent on us counts, whatever else happened; only a value seen to differ goes first, since the
    // waker can't tell.
    if waiter.woken.load(Acquire) { Ok(()) } else { outcome }
}

pub(super) fn sleep(waiter: &Arc<Waiter>, deadline: Option<Deadline>) -> Result<(), Errno> {
    sleep_at(core::slice::from_ref(waiter), deadline)
}

/// A word to wait for, one of several (futex_waitv(2)).
pub struct Word {
    /// Its address.
    pub address: usize,
    /// No other process waits for it.
    pub private: bool,
    /// What it must hold.
    pub expected: u32,
}

/// Sleeps until woken at one of `words`, if all hold what they must; returns which. Each has a waiter of its own. EAGAIN, ETIMEDOUT,
/// EINTR, EFAULT, ENOMEM.
pub fn wait_any(words: &[Word], deadline: Option<Deadline>) -> Result<usize, Errno> {
    let mut waiters: Vec<Arc<Waiter>> = Vec::new();
    waiters.make_room(words.len())?;
    let outcome = list(words, &mut waiters).and_then(|()| sleep_at(&waiters, deadline));
    let woken = |waiter: &Arc<Waiter>| waiter.woken.load(Acquire);
    // A wake-up counts, also one that came at the last moment.
    for waiter in &waiters {
        if !woken(waiter) {
            remove(waiter);
        }
    }
    waiters.iter().position(woken).ok_or(outcome.err().unwrap_or(Errno::AGAIN))
}

fn list(words: &[Word], waiters: &mut Vec<Arc<Waiter>>) -> Result<(), Errno> {
    for word in words {
        let key = Key::new(word.address, word.private)?;
        let waiter = try_arc(Waiter::new())?;
        crate::this::with(|thread| waiter.belongs_to(thread));
        waiter.bitset.store(ANY, Relaxed);
        *waiter.key.lock() = key;
        TABLE[key.bucket()].lock().push(waiter.clone());
        waiters.push_reserved(waiter);
        if user::load_u32(word.address)? != word.expected {
            return Err(Errno::AGAIN);
        }
    }
    Ok(())
}

fn sleep_at(waiters: &[Arc<Waiter>], deadline: Option<Deadline>) -> Result<(), Errno> {
    loop {
        if waiters.iter().any(|waiter| waiter.woken.load(Acquire)) {
            return Ok(());
        }
        let wake = match deadline {
            Some(deadline) => sched::park_until(deadline, true),
            None => sched::park(None, true),
        };
        match wake {
            Wake::Woken => {}
            Wake::TimedOut => return Err(Errno::TIMEDOUT),
            Wake::Interrupted => return Err(Errno::RESTARTSYS),
        }
    }
}

/// Takes a waiter off its list, wherever it was moved meanwhile. False if it was in none any more.
pub(super) fn remove(waiter: &Arc<Waiter>) -> bool {
    loop {
        let key = *waiter.key.lock();
        let mut bucket = TABLE[key.bucket()].lock();
        if *waiter.key.lock() != key {
            continue;
        }
        return bucket.take(u64::MAX, |other| Arc::ptr_eq(other, waiter)).is_some();
    }
}

/// Wakes up to `count` threads that wait for the word at `addr` with one of `bitset`. Gives how many. EINVAL, EFAULT.
pub fn wake(addr: usize, private: bool, count: usize, bitset: u32) -> Result<usize, Errno> {
    if bitset == 0 {
        return Err(Errno::INVAL);
    }
    wake_key(Key::new(addr, private)?, count, bitset)
}

/// The kernel's own wake-up of a word that may be shared or not.
pub fn wake_word(addr: usize, count: usize) -> Result<usize, Errno> {
    wake(addr, false, count, ANY)
}

/// Waiters that are woken or moved without a pause.
const PIECE: usize = 64;

/// A wake-up or a move of the threads that wait for a word as it begins: those that come during a pause are none of them.
struct Walk {
    key: Key,
    /// The number of the first waiter that is none of them; known once one was taken.
    end: u64,
    /// How many were woken or moved.
    done: usize,
}

impl Walk {
    fn new(key: Key) -> Walk {
        Walk { key, end: u64::MAX, done: 0 }
    }

    /// Takes the next waiter with one of `bitset` out of `bucket`, which is the key's. EINVAL if one before it waits for a lock with
    /// priority inheritance.
    fn take(&mut self, bucket: &mut Bucket, bitset: u32) -> Result<Option<Arc<Waiter>>, Errno> {
        self.end = self.end.min(bucket.next_number);
        let refused = Cell::new(false);
        let found = bucket.take(self.end, |waiter| {
            let own = waiter.bitset.load(Relaxed);
            if (own != 0 && own & bitset == 0) || refused.get() || *waiter.key.lock() != self.key {
                return false;
            }
            refused.set(own == 0 || waiter.requeues.load(Relaxed));
            !refused.get()
        });
        if refused.get() { Err(Errno::INVAL) } else { Ok(found) }
    }

    /// Counts a waiter, and pauses after a piece. Hold no lock.
    fn count(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(PIECE) {
            long_call::pause();
        }
    }
}

fn wake_key(key: Key, count: usize, bitset: u32) -> Result<usize, Errno> {
    let mut walk = Walk::new(key);
    while walk.done < count {
        let found = {
            let mut bucket = TABLE[key.bucket()].lock();
            let found = walk.take(&mut bucket, bitset)?;
            // Under the lock: a thread whose wait ends finds itself in the list, or woken.
            found.inspect(|waiter| waiter.woken.store(true, Release))
        };
        let Some(waiter) = found else { break };
        if let Some(thread) = waiter.thread.get().and_then(Weak::upgrade) {
            sched::unpark(&thread);
        }
        walk.count();
    }
    Ok(walk.done)
}

/// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: wakes up to `wake_count` at `from`, moves up to `move_count` of the rest to `to`.
/// Gives how many were woken, and how many moved. EAGAIN if the word isn't `expected`.
pub fn requeue(
    from: usize,
    to: usize,
    private: bool,
    wake_count: usize,
    move_count: usize,
    expected: Option<u32>,
) -> Result<(usize, usize), Errno> {
    let (from_key, to_key) = (Key::new(from, private)?, Key::new(to, private)?);
    if let Some(expected) = expected
        && user::load_u32(from)? != expected
    {
        return Err(Errno::AGAIN);
    }
    let woken = wake_key(from_key, wake_count, ANY)?;
    let mut walk = Walk::new(from_key);
    while walk.done < move_count && from_key != to_key {
        // One at a time, with both buckets' locks taken in order of their index.
        let (a, b) = (from_key.bucket(), to_key.bucket());
        let mut first = TABLE[a.min(b)].lock();
        let mut second = (a != b).then(|| TABLE[a.max(b)].lock());
        let source = if a <= b { &mut *first } else { second.as_deref_mut().unwrap_or(&mut first) };
        let Some(waiter) = walk.take(source, ANY)? else { break };
        *waiter.key.lock() = to_key;
        match (&mut second, a < b) {
            (Some(second), true) => second.push(waiter),
            _ => first.push(waiter),
        }
        drop((first, second));
        walk.count();
    }
    Ok((woken, walk.done))
}

/// FUTEX_WAKE_OP: changes the word at `second` as `operation` says, wakes at `first`, and, if the old value compares as
/// asked, at `second`.
pub fn wake_op(
    first: usize,
    second: usize,
    private: bool,
    count: usize,
    second_count: usize,
    operation: u32,
) -> Result<usize, Errno> {
    let (first_key, second_key) = (Key::new(first, private)?, Key::new(second, private)?);
    let old = modify(second, operation)?;
    let sign_extend = |value: u32| ((value << 20) as i32) >> 20;
    let argument = sign_extend(operation & 0xfff);
    let old = old as i32;
    let holds = match operation >> 24 & 15 {
        abi::FUTEX_OP_CMP_EQ => old == argument,
        abi::FUTEX_OP_CMP_NE => old != argument,
        abi::FUTEX_OP_CMP_LT => old < argument,
        abi::FUTEX_OP_CMP_LE => old <= argument,
        abi::FUTEX_OP_CMP_GT => old > argument,
        abi::FUTEX_OP_CMP_GE => old >= argument,
        _ => return Err(Errno::NOSYS),
    };
    let woken = wake_key(first_key, count, ANY)?;
    Ok(woken + if holds { wake_key(second_key, second_count, ANY)? } else { 0 })
}

/// The operation of FUTEX_WAKE_OP on the word; gives its old value.
fn modify(addr: usize, operation: u32) -> Result<u32, Errno> {
    let mut argument = (((operation >> 12 & 0xfff) << 20) as i32 >> 20) as u32;
    let code = operation >> 28;
    if code & abi::FUTEX_OP_OPARG_SHIFT != 0 {
        argument = 1u32.wrapping_shl(argument);
    }
    let mut old = user::load_u32(addr)?;
    loop {
        let new = match code & 7 {
            abi::FUTEX_OP_SET => argument,
            abi::FUTEX_OP_ADD => old.wrapping_add(argument),
            abi::FUTEX_OP_OR => old | argument,
            abi::FUTEX_OP_ANDN => old & !argument,
            abi::FUTEX_OP_XOR => old ^ argument,
            _ => return Err(Errno::NOSYS),
        };
        let found = user::compare_exchange_u32(addr, old, new)?;
        if found == old {
            return Ok(old);
        }
        old = found;
    }
}

/// Marks the futexes that a thread held when it died (get_robust_list(2), and Linux's robust-futex-ABI document).
pub fn release_robust_list(thread: &Arc<Thread>, head: usize) {
    // struct robust_list_head: the first entry, the offset from an entry to its futex, an entry in the making.
    let Ok([first, offset, pending]) = user::read_words::<3>(head) else { return };
    let release = |entry: u64, pending: bool| {
        // The lowest bit says that it is a PI futex.
        let word = (entry & !1).wrapping_add(offset) as usize;
        let _ = owner_died(thread, word, entry & 1 != 0, pending);
    };
    let mut entry = first;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !1 == head as u64 {
            break;
        }
        let next = user::read_words::<1>((entry & !1) as usize);
        if entry & !1 != pending & !1 {
            release(entry, false);
        }
        match next {
            Ok([next]) => entry = next,
            Err(_) => break,
        }
    }
    if pending != 0 {
        release(pending, true);
    }
}

fn owner_died(
    thread: &Arc<Thread>,
    word: usize,
    priority_inheriting: bool,
    pending: bool,
) -> Result<(), Errno> {
    if !word.is_multiple_of(4) {
        return Err(Errno::INVAL);
    }
    let mut value = user::load_u32(word)?;
    loop {
        if value & abi::FUTEX_TID_MASK != thread.own_tid() as u32 {
            // The unlock of a pending entry may have been cut between its store and its wake-up.
            if pending && !priority_inheriting && value & abi::FUTEX_TID_MASK == 0 {
                wake_word(word, 1)?;
            }
            return Ok(());
        }
        let found =
            user::compare_exchange_u32(word, value, (value & abi::FUTEX_WAITERS) | abi::FUTEX_OWNER_DIED)?;
        if found == value {
            break;
        }
        value = found;
    }
    if !priority_inheriting && value & abi::FUTEX_WAITERS != 0 {
        wake_word(word, 1)?;
    }
    Ok(())
}
