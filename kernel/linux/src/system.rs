//! About the system: names, memory, limits, random numbers.
use super::call::Call;
use super::process::rusage;
use alloc::sync::Arc;
use coracle_core::arch::machine;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability, check_capability_in};
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::process::{self, Process, process_by_pid_or_self};
use coracle_core::task::run_queue;
use coracle_core::task::time_space;
use coracle_core::task::usage::Usage;
use coracle_core::task::uts::{self, UTS_LEN, UtsName, hostname, set_hostname};
use coracle_core::task::{limits, long_call};
use coracle_core::time::clock::{self, SECOND_NS};
use coracle_hal::frame;
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// What uname(2) tells as release: the Linux whose interface this is. Programs compare it.
pub const RELEASE: &str = "6.1.0-coracle";
/// What uname(2) tells as version.
pub const VERSION: &str = concat!("#1 SMP Coracle ", env!("CARGO_PKG_VERSION"));
/// Largest page-sized piece of getrandom(2) that is made at once.
const RANDOM_PIECE: usize = 256;

/// Descriptors that RLIMIT_NOFILE may allow (fs.nr_open).
const MAX_FILES: u64 = coracle_core::fs::descriptors::MAX_LIMIT as u64;

/// uname(2).
pub fn uname(call: &Call) -> SysResult {
    let domain = uts::domain();
    let domain = if domain.is_empty() { &b"(none)"[..] } else { &domain };
    let fields: [&[u8]; 6] =
        [b"Linux", &hostname(), RELEASE.as_bytes(), VERSION.as_bytes(), machine::NAME, domain];
    let mut bytes = [0; 6 * UTS_LEN];
    for (place, field) in bytes.chunks_exact_mut(UTS_LEN).zip(fields) {
        let len = field.len().min(UTS_LEN - 1);
        place[..len].copy_from_slice(&field[..len]);
    }
    user::write(call.usize(0), &bytes)?;
    Ok(0)
}

fn read_name(call: &Call) -> Result<UtsName, Errno> {
    check_capability_in(uts::own().and_then(|uts| uts.owner.clone()).as_ref(), capability::SYS_ADMIN)?;
    let len = call.usize(1);
    if len > UTS_LEN - 1 {
        return Err(Errno::INVAL);
    }
    let mut name = UtsName::new();
    name.resize_default(len).map_err(|_| Errno::INVAL)?;
    user::read(&mut name, call.usize(0))?;
    Ok(name)
}

/// sethostname(2).
pub fn sethostname(call: &Call) -> SysResult {
    set_hostname(&read_name(call)?);
    Ok(0)
}

/// setdomainname(2).
pub fn setdomainname(call: &Call) -> SysResult {
    uts::set_domain(read_name(call)?);
    Ok(0)
}

/// sysinfo(2).
pub fn sysinfo(call: &Call) -> SysResult {
    let (free, total) = frame::counts();
    let load = (run_queue::runnable().saturating_sub(1) as u64) << 16;
    let mut words = [0u64; 14];
    words[0] = time_space::shown(time_space::BOOTTIME, clock::monotonic_ns()) / SECOND_NS;
    words[1..4].fill(load);
    words[4] = (total * PAGE_SIZE) as u64;
    words[5] = (free * PAGE_SIZE) as u64;
    // procs is 16 bits wide; the memory unit, behind the words for high memory, is a byte.
    words[10] = process::thread_count() as u64 & 0xffff;
    words[13] = 1;
    user::write_words(call.usize(0), &words)?;
    Ok(0)
}

/// getrandom(2). As Linux (5.18 and later), it looks for signals after each page: requests of up to 256 bytes are never
/// interrupted, larger ones return what was made until then.
pub fn getrandom(call: &Call) -> SysResult {
    let (addr, len, flags) = (call.usize(0), call.usize(1), call.u32(2));
    let both = abi::GRND_RANDOM | abi::GRND_INSECURE;
    if flags & !(abi::GRND_NONBLOCK | both) != 0 || flags & both == both {
        return Err(Errno::INVAL);
    }
    let len = len.min(i32::MAX as usize);
    let mut piece = [0; RANDOM_PIECE];
    let mut to = UserBuf::user(addr, len);
    while to.remaining() > 0 {
        if to.done() > 0
            && to.done().is_multiple_of(PAGE_SIZE)
            && long_call::pause_unless_interrupted().is_err()
        {
            break;
        }
        let part = to.remaining().min(RANDOM_PIECE);
        coracle_core::random::fill(&mut piece[..part]);
        match to.put(&piece[..part]) {
            Ok(_) => {}
            Err(_) if to.done() > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(to.done())
}

/// getrlimit(2).
pub fn getrlimit(call: &Call) -> SysResult {
    let (soft, hard) = call.thread().process.limits.get(call.u32(0)).ok_or(Errno::INVAL)?;
    user::write_words(call.usize(1), &[soft, hard])?;
    Ok(0)
}

/// setrlimit(2).
pub fn setrlimit(call: &Call) -> SysResult {
    let new = user::read_words(call.usize(1))?;
    set_limit(&call.thread().process, call.u32(0), new)?;
    Ok(0)
}

fn set_limit(process: &Arc<Process>, resource: u32, [soft, hard]: [u64; 2]) -> Result<(), Errno> {
    let (_, old_hard) = process.limits.get(resource).ok_or(Errno::INVAL)?;
    if soft > hard {
        return Err(Errno::INVAL);
    }
    if hard > old_hard {
        check_capability(capability::SYS_RESOURCE)?;
    }
    if resource == abi::RLIMIT_NOFILE {
        // fs.nr_open.
        if hard > MAX_FILES && hard != limits::INFINITY {
            return Err(Errno::PERM);
        }
        process.descriptors.set_limit(soft.min(MAX_FILES) as u32);
    }
    process.limits.set(resource, soft, hard);
    if resource == abi::RLIMIT_CPU { process.timers.limit_cpu(process) } else { Ok(()) }
}

/// EPERM unless the caller may read and set limits of `target` (prlimit(2)): it has the same user and group ids, or CAP_SYS_RESOURCE.
fn check_limits_of(call: &Call, target: &Arc<Process>) -> Result<(), Errno> {
    let own = &call.thread().process;
    if Arc::ptr_eq(own, target) {
        return Ok(());
    }
    let own = own.credentials.lock().ids();
    let same = own.has_all_ids_of(&target.credentials.lock());
    if same { Ok(()) } else { check_capability(capability::SYS_RESOURCE) }
}

/// prlimit64(2).
pub fn prlimit64(call: &Call) -> SysResult {
    let target = process_by_pid_or_self(call.thread(), call.i32(0))?;
    let old = target.limits.get(call.u32(1)).ok_or(Errno::INVAL)?;
    check_limits_of(call, &target)?;
    if call.usize(2) != 0 {
        let new = user::read_words(call.usize(2))?;
        set_limit(&target, call.u32(1), new)?;
    }
    if call.usize(3) != 0 {
        user::write_words(call.usize(3), &[old.0, old.1])?;
    }
    Ok(0)
}

/// getrusage(2).
pub fn getrusage(call: &Call) -> SysResult {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    let process = &call.thread().process;
    let usage = match call.i32(0) {
        RUSAGE_SELF => Usage::of_process(process),
        RUSAGE_CHILDREN => *process.children.lock(),
        RUSAGE_THREAD => {
            Usage { resident_kib: Usage::of_process(process).resident_kib, ..Usage::of_thread(call.thread()) }
        }
        _ => return Err(Errno::INVAL),
    };
    user::write_words(call.usize(1), &rusage(&usage))?;
    Ok(0)
}

/// personality(2): kept and told; no other personality is played.
pub fn personality(call: &Call) -> SysResult {
    const ASK: u32 = u32::MAX;
    let place = &call.thread().process.personality;
    let old = place.load(Relaxed);
    if call.u32(0) != ASK {
        place.store(call.u32(0) as usize, Relaxed);
    }
    Ok(old)
}

/// reboot(2): halting or restarting ends the machine, as the last process's exit does.
pub fn reboot(call: &Call) -> SysResult {
    const MAGIC1: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const RESTART: u32 = 0x0123_4567;
    check_capability(capability::SYS_BOOT)?;
    if call.u32(0) != MAGIC1 || !MAGIC2.contains(&call.u32(1)) {
        return Err(Errno::INVAL);
    }
    match call.u32(2) {
        HALT | POWER_OFF | RESTART => coracle_core::power::off(0),
        // Ctrl-Alt-Del on or off.
        0 | 0x89ab_cdef => Ok(0),
        _ => Err(Errno::INVAL),
    }
}
