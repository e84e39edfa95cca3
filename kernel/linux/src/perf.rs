//! perf_event_open(2): software events of threads.
use super::call::Call;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::mm::user;
use coracle_core::task::perf::{self, Attributes, PerfEvent, bit};
use coracle_core::task::{look_into, pid_space};
use coracle_hal::cpu;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::general::O_RDWR;

/// Where the size is in a `struct perf_event_attr`, and its bounds: the first one, what this kernel knows, and a page.
const SIZE_AT: usize = 4;
const FIRST_SIZE: usize = 64;
const KNOWN_SIZE: usize = 136;
const MOST: usize = 4096;
/// PERF_TYPE_SOFTWARE.
const SOFTWARE: u32 = 1;
/// Bits of the attributes: a frequency is given in place of a period; those that mean nothing yet.
const FREQUENCY: u64 = 1 << 10;
const RESERVED: u64 = !0 << 38;
/// PERF_SAMPLE_*, all of them.
const SAMPLES: u64 = (1 << 25) - 1;
/// The bit of a sample period that none may have.
const NO_PERIOD: u64 = 1 << 63;

/// PERF_FLAG_*.
const NO_GROUP: u32 = 1;
const OUTPUT: u32 = 2;
const CGROUP: u32 = 4;
const CLOSES: u32 = 8;

/// Reads a `struct perf_event_attr`: the type, the attributes, and whether samples are wanted. E2BIG with the known size in the
/// structure, for one of another size that says more.
fn read_attributes(at: usize) -> Result<(u32, Attributes, u64), Errno> {
    let too_big = || {
        user::write_u32(at.wrapping_add(SIZE_AT), KNOWN_SIZE as u32)?;
        Err(Errno::TOOBIG)
    };
    let size = match user::read_u32(at.wrapping_add(SIZE_AT))? as usize {
        0 => FIRST_SIZE,
        size @ FIRST_SIZE..=MOST => size,
        _ => return too_big(),
    };
    // Beyond what is known there may be zeros alone.
    let mut beyond = [0; 64];
    let mut from = KNOWN_SIZE;
    while from < size {
        let part = &mut beyond[..(size - from).min(64)];
        user::read(part, at.wrapping_add(from))?;
        if part.iter().any(|byte| *byte != 0) {
            return too_big();
        }
        from += part.len();
    }
    let [head, kind, period, samples, format, bits]: [u64; 6] = user::read_words(at)?;
    if bits & RESERVED != 0 || samples & !SAMPLES != 0 || format & !perf::FORMATS != 0 {
        return Err(Errno::INVAL);
    }
    if bits & FREQUENCY == 0 && period & NO_PERIOD != 0 {
        return Err(Errno::INVAL);
    }
    Ok((head as u32, Attributes { kind, format, bits }, period))
}

/// perf_event_open(2). Events of CPUs, and those of threads on one CPU of several, are not counted: EOPNOTSUPP; nor is anything
/// sampled.
pub fn perf_event_open(call: &Call) -> SysResult {
    let (pid, cpu, group, flags) = (call.i32(1), call.i32(2), call.i32(3), call.u32(4));
    if flags & !(NO_GROUP | OUTPUT | CGROUP | CLOSES) != 0 {
        return Err(Errno::INVAL);
    }
    let (kind, attributes, period) = read_attributes(call.usize(0))?;
    let is_trusted =
        || check_capability(capability::PERFMON).is_ok() || check_capability(capability::SYS_ADMIN).is_ok();
    if attributes.bits & bit::EXCLUDE_KERNEL == 0 && perf::PARANOID.load(Relaxed) > 1 && !is_trusted() {
        return Err(Errno::ACCES);
    }
    if flags & CGROUP != 0 {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let leader = match group {
        -1 => None,
        fd => Some(PerfEvent::of(process.descriptors.get(fd)?.file.clone()).ok_or(Errno::BADF)?),
    };
    let thread = match pid {
        -1 => None,
        0 => Some(call.thread().clone()),
        pid => Some(pid_space::thread(pid).ok_or(Errno::SRCH)?),
    };
    let is_of_group = |leader: &Arc<PerfEvent>| leader.may_lead(attributes.bits);
    let leader = leader.filter(|_| flags & NO_GROUP == 0);
    if leader.as_ref().is_some_and(|leader| !is_of_group(leader)) {
        return Err(Errno::INVAL);
    }
    if cpu < -1 || cpu >= cpu::count() as i32 || (cpu == -1 && thread.is_none()) {
        return Err(Errno::INVAL);
    }
    if kind != SOFTWARE || attributes.kind >= perf::KINDS {
        return Err(Errno::NOENT);
    }
    let Some(thread) = thread else {
        return Err(if perf::PARANOID.load(Relaxed) > 0 && !is_trusted() {
            Errno::ACCES
        } else {
            Errno::OPNOTSUPP
        });
    };
    if period != 0 || (cpu != -1 && cpu::count() > 1) {
        return Err(Errno::OPNOTSUPP);
    }
    look_into::check(&thread.process).map_err(|_| Errno::ACCES)?;
    if leader.as_ref().is_some_and(|leader| !leader.counts(&thread)) {
        return Err(Errno::INVAL);
    }
    let event = PerfEvent::new(attributes, &thread, leader)?;
    // Where there is no description for it, nothing else closes it.
    let open = OpenFile::new(event.clone(), O_RDWR).inspect_err(|_| event.closed())?;
    process.descriptors.insert(open, flags & CLOSES != 0, 0).map(|fd| fd as usize)
}
