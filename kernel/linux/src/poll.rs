//! poll(2), select(2) and what they share with epoll: time-outs and temporary signal masks.
use super::call::Call;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::descriptors::DescriptorTable;
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::poll::Events;
use coracle_core::mm::user;
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::signal;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::time;
use coracle_ipc::unix;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;
/// `struct pollfd`.
const POLLFD_SIZE: usize = 8;
/// Bytes of a signal set.
const SIGSET_SIZE: usize = 8;
/// Descriptors that an fd_set of the C library has; select(2) itself takes more.
const BITS: usize = u64::BITS as usize;

/// The deadline of a time-out in milliseconds: none if negative, 0 if it is zero (look once).
#[inline(always)]
pub fn deadline_after_ms(ms: i32) -> Option<u64> {
    match ms {
        0 => Some(0),
        1.. => Some(time::now_ns() + ms as u64 * NS_PER_MS),
        _ => None,
    }
}

fn deadline_after(seconds: u64, ns: u64) -> u64 {
    if (seconds, ns) == (0, 0) {
        return 0;
    }
    time::now_ns().saturating_add(seconds.saturating_mul(NS_PER_S).saturating_add(ns))
}

/// The deadline of the `struct timespec` at `addr`, if there is one: EINVAL for a time that is none.
pub fn deadline_at(addr: usize) -> Result<Option<u64>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    let [seconds, ns] = user::read_words::<2>(addr)?;
    if seconds > i64::MAX as u64 || ns >= NS_PER_S {
        return Err(Errno::INVAL);
    }
    Ok(Some(deadline_after(seconds, ns)))
}

/// Runs `f` under the signal mask at `addr`, if there is one. EINTR leaves the old mask to be put back after the handler
/// ran; anything else puts it back at once.
pub fn with_mask(call: &Call, addr: usize, size: usize, f: impl FnOnce() -> SysResult) -> SysResult {
    if addr == 0 {
        return f();
    }
    if size != SIGSET_SIZE {
        return Err(Errno::INVAL);
    }
    let mask = user::read_u64(addr)?;
    signal::set_temporary_mask(call.thread(), mask);
    let result = f();
    if !matches!(result, Err(Errno::INTR | Errno::RESTARTNOHAND | Errno::RESTARTSYS)) {
        signal::restore_mask(call.thread());
    }
    result
}

/// A descriptor that is polled for some events, and what was found.
struct Watched {
    fd: i32,
    /// What it led to at first: as on Linux, it stays open as long as the call takes. `None`: not open.
    file: Option<Arc<OpenFile>>,
    events: Events,
    found: Events,
    /// While the thread waits.
    subscription: Option<u64>,
}

impl Watched {
    fn look(&mut self) -> bool {
        self.found = self.state_of(self.file.as_ref());
        !self.found.is_empty()
    }
    /// Looks at what the descriptor leads to now: it may have been closed or replaced while the thread slept.
    fn look_again(&mut self, descriptors: &DescriptorTable) -> bool {
        let now = descriptors.usable(self.fd).ok();
        self.found = self.state_of(now.as_ref());
        now.into_iter().for_each(unix::let_go);
        !self.found.is_empty()
    }
    fn state_of(&self, file: Option<&Arc<OpenFile>>) -> Events {
        file.map_or(Events::NVAL, |open| self.events.report(open.file.readiness()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.file.take().into_iter().for_each(unix::let_go);
    }
}

/// Waits until one of `watched` has something to report; how many have.
fn wait(watched: &mut [Watched], descriptors: &DescriptorTable, deadline: Option<u64>) -> SysResult {
    fn look(watched: &mut [Watched]) -> usize {
        watched.iter_mut().map(|one| usize::from(one.look())).sum()
    }
    let look_again = |watched: &mut [Watched]| {
        watched.iter_mut().map(|one| usize::from(one.look_again(descriptors))).sum::<usize>()
    };
    let ready = look(watched);
    if ready > 0 {
        return Ok(ready);
    }
    if deadline == Some(0) {
        // The devices get to deliver once; this doesn't sleep.
        sched::park(deadline, true);
        return Ok(look(watched));
    }
    let subscribed = subscribe(watched);
    if let Err(error) = subscribed {
        unsubscribe(watched);
        return Err(error);
    }
    let mut ready = look(watched);
    let result = loop {
        if ready > 0 {
            break Ok(ready);
        }
        let wake = sched::park(deadline, true);
        ready = look_again(watched);
        match wake {
            Wake::Woken => {}
            Wake::TimedOut => break Ok(ready),
            Wake::Interrupted if ready == 0 => break Err(Errno::RESTARTNOHAND),
            Wake::Interrupted => break Ok(ready),
        }
    };
    unsubscribe(watched);
    result
}

/// Has the files wake the running thread. ENOMEM: some may do so, and [`unsubscribe`] must follow.
fn subscribe(watched: &mut [Watched]) -> Result<(), Errno> {
    for one in watched {
        if let Some(source) = one.file.as_ref().and_then(|open| open.file.poll_source()) {
            one.subscription =
                Some(source.subscribe_thread(coracle_core::this::with(Arc::clone), one.events)?);
        }
    }
    Ok(())
}

fn unsubscribe(watched: &mut [Watched]) {
    for one in watched {
        if let (Some(id), Some(open)) = (one.subscription.take(), &one.file)
            && let Some(source) = open.file.poll_source()
        {
            source.unsubscribe(id);
        }
    }
}

fn poll_until(call: &Call, deadline: Option<u64>) -> SysResult {
    let (addr, count) = (call.usize(0), call.u32(1) as usize);
    let descriptors = &call.thread().process.descriptors;
    if count > descriptors.limit() as usize {
        return Err(Errno::INVAL);
    }
    let mut watched = Vec::new();
    watched.make_room(count)?;
    // Where in the program's array each stands: negative descriptors are left out.
    let mut places = Vec::new();
    places.make_room(count)?;
    for index in 0..count {
        let at = addr.wrapping_add(index * POLLFD_SIZE);
        let entry = user::read_u64(at)?;
        let (fd, events) = (entry as u32 as i32, (entry >> 32) as u16);
        if fd < 0 {
            user::write(at + 6, &[0, 0])?;
            continue;
        }
        let events = Events::from_bits_truncate(u32::from(events));
        let (file, found) = (descriptors.usable(fd).ok(), Events::empty());
        watched.push_reserved(Watched { fd, file, events, found, subscription: None });
        places.push_reserved(at);
    }
    let ready = wait(&mut watched, descriptors, deadline)?;
    for (one, at) in watched.iter().zip(places) {
        /// Offset of `revents`.
        const REVENTS: usize = 6;
        user::write(at + REVENTS, &(one.found.bits() as u16).to_le_bytes())?;
    }
    Ok(ready)
}

/// poll(2).
pub fn poll(call: &Call) -> SysResult {
    poll_until(call, deadline_after_ms(call.i32(2)))
}

/// Tells how much of the time-out is left, as Linux does: `unit` is the length of the second word's unit in nanoseconds.
fn write_remaining(addr: usize, deadline: Option<u64>, unit: u64) {
    if addr == 0 {
        return;
    }
    let left = deadline.unwrap_or(0).saturating_sub(time::now_ns());
    // A program may keep the time-out in read-only memory: not an error (select(2)).
    let _ = user::write_words(addr, &[left / NS_PER_S, left % NS_PER_S / unit]);
}

/// ppoll(2).
pub fn ppoll(call: &Call) -> SysResult {
    let deadline = deadline_at(call.usize(2))?;
    let result = with_mask(call, call.usize(3), call.usize(4), || poll_until(call, deadline));
    write_remaining(call.usize(2), deadline, 1);
    result
}

/// What select(2)'s three sets ask for, and which events answer each (select(2), "Correspondence between select() and
/// poll() notifications"). A descriptor that was closed while the thread slept answers all three (Linux's fs/select.c).
const SETS: [(Events, Events); 3] = [
    (
        Events::IN.union(Events::RDNORM).union(Events::RDBAND),
        Events::IN
            .union(Events::RDNORM)
            .union(Events::RDBAND)
            .union(Events::HUP)
            .union(Events::ERR)
            .union(Events::NVAL),
    ),
    (
        Events::OUT.union(Events::WRNORM).union(Events::WRBAND),
        Events::OUT.union(Events::WRNORM).union(Events::WRBAND).union(Events::ERR).union(Events::NVAL),
    ),
    (Events::PRI, Events::PRI.union(Events::NVAL)),
];

fn select_until(call: &Call, deadline: Option<u64>) -> SysResult {
    let count = call.i32(0);
    let descriptors = &call.thread().process.descriptors;
    let count = usize::try_from(count).map_err(|_| Errno::INVAL)?.min(descriptors.limit() as usize);
    let words = count.div_ceil(BITS);
    let addresses = [call.usize(1), call.usize(2), call.usize(3)];
    let mut sets: [Vec<u64>; 3] = [filled(0, words)?, filled(0, words)?, filled(0, words)?];
    for (set, addr) in sets.iter_mut().zip(addresses).filter(|(_, addr)| *addr != 0) {
        for (index, word) in set.iter_mut().enumerate() {
            *word = user::read_u64(addr.wrapping_add(index * 8))?;
        }
    }
    let mut watched = Vec::new();
    let mut numbers = Vec::new();
    for fd in 0..count {
        let mut events = Events::empty();
        for (set, (asked, _)) in sets.iter().zip(SETS) {
            if set[fd / BITS] & 1 << (fd % BITS) != 0 {
                events |= asked;
            }
        }
        if !events.is_empty() {
            let fd_number = fd as i32;
            descriptors.get(fd_number)?;
            // A mere place is open, and answers as poll(2) says of one that isn't.
            let file = descriptors.usable(fd_number).ok();
            watched.try_push(Watched {
                fd: fd_number,
                file,
                events,
                found: Events::empty(),
                subscription: None,
            })?;
            numbers.try_push(fd)?;
        }
    }
    wait(&mut watched, descriptors, deadline)?;
    let mut found = 0;
    let mut results = sets;
    results.iter_mut().for_each(|set| set.fill(0));
    for (one, fd) in watched.iter().zip(numbers) {
        for (index, (asked, answers)) in SETS.into_iter().enumerate() {
            if one.events.contains(asked) && one.found.intersects(answers) {
                results[index][fd / BITS] |= 1 << (fd % BITS);
                found += 1;
            }
        }
    }
    for (set, addr) in results.iter().zip(addresses).filter(|(_, addr)| *addr != 0) {
        set.iter().enumerate().try_for_each(|(i, word)| user::write_u64(addr + i * 8, *word))?;
    }
    Ok(found)
}

/// select(2).
pub fn select(call: &Call) -> SysResult {
    let addr = call.usize(4);
    let deadline = if addr == 0 {
        None
    } else {
        let [seconds, us] = user::read_words::<2>(addr)?;
        if seconds > i64::MAX as u64 || us > i64::MAX as u64 {
            return Err(Errno::INVAL);
        }
        Some(deadline_after(seconds, us.saturating_mul(NS_PER_US)))
    };
    let result = select_until(call, deadline);
    write_remaining(addr, deadline, NS_PER_US);
    result
}

/// pselect6(2).
pub fn pselect6(call: &Call) -> SysResult {
    let deadline = deadline_at(call.usize(4))?;
    let [mask, size] = if call.usize(5) == 0 { [0, 0] } else { user::read_words::<2>(call.usize(5))? };
    let result = with_mask(call, mask as usize, size as usize, || select_until(call, deadline));
    write_remaining(call.usize(4), deadline, 1);
    result
}
