//! The stack's timers: wheels for connections and for the chores of the protocols, sharded so that CPUs do not contend.
//!
//! Connections set their timers lazily: an entry is moved only when its owner wants to be called *earlier*. An owner that is
//! called too early sets it again. A busy connection thus touches its wheel a few times a second, not once per packet.

use crate::device::Device;
use crate::events::Events;
use crate::tcp::{TcpSocket, Tuple};
use alloc::sync::Weak;
use coracle_fallible::NoMemory;
use coracle_timer_wheel::{TimerId, Wheel};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use spin::Mutex;

const SHARDS: usize = 2;
/// Deadlines are moved to the end of a span of 2^20 ns, about a millisecond, so that those close together cost one
/// interrupt. No time-out of a protocol is meant more exactly.
const TICK_NS: u64 = 1 << 20;
/// No deadline.
pub const NEVER: u64 = u64::MAX;

/// Who is called.
pub enum Timer<D: Device, E: Events> {
    /// A connection.
    Connection(Weak<TcpSocket<D, E>>),
    /// A half-open connection, or one in TIME_WAIT.
    Tuple(Tuple),
    /// The neighbour cache.
    Neighbors,
    /// Reassembly.
    Reassembly,
    /// The DHCP client.
    Dhcp,
    /// IPv6 on the link.
    Ipv6,
    /// The watchers of packets on the way.
    Watchers,
}

impl<D: Device, E: Events> Clone for Timer<D, E> {
    fn clone(&self) -> Self {
        match self {
            Timer::Connection(socket) => Timer::Connection(socket.clone()),
            Timer::Tuple(tuple) => Timer::Tuple(*tuple),
            Timer::Neighbors => Timer::Neighbors,
            Timer::Reassembly => Timer::Reassembly,
            Timer::Dhcp => Timer::Dhcp,
            Timer::Ipv6 => Timer::Ipv6,
            Timer::Watchers => Timer::Watchers,
        }
    }
}

/// Names a timer.
#[derive(Clone, Copy, Debug)]
pub struct TimerHandle {
    shard: u8,
    id: TimerId,
}

struct Shard<D: Device, E: Events> {
    wheel: Mutex<Wheel<Timer<D, E>>>,
    /// What `wheel.next()` last said, readable without the lock.
    next: AtomicU64,
}

/// All timers.
pub struct Timers<D: Device, E: Events> {
    shards: [Shard<D, E>; SHARDS],
}

impl<D: Device, E: Events> Timers<D, E> {
    /// No timer.
    pub fn new() -> Self {
        Timers {
            shards: core::array::from_fn(|_| Shard {
                wheel: Mutex::new(Wheel::default()),
                next: AtomicU64::new(NEVER),
            }),
        }
    }

    /// Makes a timer that is not set. `spread` chooses the shard.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn insert(&self, spread: u64, timer: Timer<D, E>) -> Result<TimerHandle, NoMemory> {
        let shard = spread as usize % SHARDS;
        Ok(TimerHandle { shard: shard as u8, id: self.shards[shard].wheel.lock().insert(timer)? })
    }

    /// Sets or moves a timer; `NEVER` cancels it.
    pub fn set(&self, timer: TimerHandle, deadline: u64) {
        let shard = &self.shards[usize::from(timer.shard)];
        let mut wheel = shard.wheel.lock();
        if deadline == NEVER {
            wheel.unset(timer.id);
        } else {
            wheel.set(timer.id, deadline | (TICK_NS - 1));
        }
        shard.next.store(wheel.next().unwrap_or(NEVER), Relaxed);
    }

    /// Removes a timer.
    pub fn remove(&self, timer: TimerHandle) {
        let shard = &self.shards[usize::from(timer.shard)];
        let mut wheel = shard.wheel.lock();
        let value = wheel.remove(timer.id);
        shard.next.store(wheel.next().unwrap_or(NEVER), Relaxed);
        drop(wheel);
        drop(value); // may be the last trace of a socket: not under the lock
    }

    /// A copy of a timer, and when it is due; [`NEVER`] if it is not set. `None`: it is gone.
    pub fn look(&self, timer: TimerHandle) -> Option<(Timer<D, E>, u64)> {
        let wheel = self.shards[usize::from(timer.shard)].wheel.lock();
        let (value, deadline) = wheel.get(timer.id)?;
        Some((value.clone(), deadline.unwrap_or(NEVER)))
    }

    /// Takes a timer that is due.
    pub fn pop(&self, now: u64) -> Option<Timer<D, E>> {
        for shard in &self.shards {
            if shard.next.load(Relaxed) <= now {
                let mut wheel = shard.wheel.lock();
                let due = wheel.pop(now);
                shard.next.store(wheel.next().unwrap_or(NEVER), Relaxed);
                if due.is_some() {
                    return due;
                }
            }
        }
        None
    }

    /// When the first timer may be due; `NEVER` if none is set.
    pub fn next(&self) -> u64 {
        self.shards.iter().map(|shard| shard.next.load(Relaxed)).min().unwrap_or(NEVER)
    }
}
