//! The tests, and the smallest kernel that can run them.
extern crate alloc;

use crate::program::{self, call};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal as hal;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use hal::call::Call;
use hal::context::{Fault, UserContext};
use hal::frame::Frame;
use hal::io::dma::DmaRegion;
use hal::io::one_byte::OutputPort;
use hal::kernel::{HasTask, Kernel};
use hal::paging::{AddressSpace, Prot};
use hal::task::{Ring, Task};

struct Out;
impl Write for Out {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        hal::console::write(s.as_bytes());
        Ok(())
    }
}
macro_rules! say { ($($t:tt)*) => { let _ = writeln!(Out, $($t)*); } }
macro_rules! check {
    ($what:expr, $ok:expr) => {
        let ok = $ok;
        say!("{} {:6} ms: {}", if ok { "ok  " } else { "FAIL" }, hal::time::now_ns() / 1_000_000, $what);
        if !ok {
            FAILED.store(true, Ordering::Relaxed);
        }
    };
}

static FAILED: AtomicBool = AtomicBool::new(false);
static READY: spin::Mutex<VecDeque<Arc<Thread>>> = spin::Mutex::new(VecDeque::new());
static IDLE: hal::percpu::PerCpu<spin::Mutex<Option<Arc<Thread>>>> =
    hal::percpu::PerCpu::new(|_| spin::Mutex::new(None));
static LIVE: AtomicUsize = AtomicUsize::new(0);
static FAULTS: spin::Mutex<Vec<Fault>> = spin::Mutex::new(Vec::new());
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
/// Flags that the kernel has run with and must not.
static FLAGS: AtomicU64 = AtomicU64::new(0);
static REPORTS: spin::Mutex<Vec<(u64, u64)>> = spin::Mutex::new(Vec::new());
static CPUS_SEEN: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds that something may take on a busy host.
const PATIENCE: u64 = 20_000_000_000;

const CODE: usize = 0x40_0000;
const DATA: usize = 0x50_0000;
const STACK: usize = 0x60_0000;

struct Thread {
    task: Task,
    space: Option<Arc<AddressSpace>>,
}
impl HasTask for Thread {
    fn task(&self) -> &Task {
        &self.task
    }
}

struct Test;

/// Goes on with the next thread that can run, or the idle thread. A running thread that `stays` ready is queued after the
/// choice, as [`this::switch_to`] asks.
fn schedule(stays: Option<&Arc<Thread>>) {
    let next = {
        let mut ready = READY.lock();
        let next = ready.pop_front();
        ready.extend(stays.cloned());
        next
    };
    let idle = || IDLE.get().lock().clone();
    if let Some(next) = next.or_else(idle) {
        if let Some(space) = &next.space {
            space.activate();
        }
        this::switch_to(next);
    }
}

/// What a CPU other than the first is to do when it is idle.
static JOB: spin::Mutex<Option<fn()>> = spin::Mutex::new(None);

fn take_job() -> Option<fn()> {
    if hal::cpu::id() == 0 { None } else { JOB.lock().take() }
}

fn idle_loop(until_done: bool) {
    loop {
        if let Some(job) = take_job() {
            job();
        }
        let next = READY.lock().pop_front();
        if let Some(next) = next {
            if let Some(space) = &next.space {
                space.activate();
            }
            this::switch_to(next);
            continue;
        }
        if until_done && LIVE.load(Ordering::Acquire) == 0 {
            return;
        }
        hal::cpu::wait_for_interrupt(|| {
            READY.lock().is_empty()
                && JOB.lock().is_none()
                && !(until_done && LIVE.load(Ordering::Acquire) == 0)
        });
    }
}

fn adopt_idle() {
    let idle = Arc::new(Thread { task: Task::idle(), space: None });
    *IDLE.get().lock() = Some(idle.clone());
    this::adopt(idle);
}

fn new_space() -> Arc<AddressSpace> {
    let space = AddressSpace::new().expect("memory");
    for (i, page) in program::code().chunks(4096).enumerate() {
        let frame = Frame::alloc_zeroed().expect("memory");
        frame.write(0, page);
        space.map(CODE + i * 4096, frame, Prot::READ | Prot::EXEC).expect("mapped");
    }
    for page in [DATA, STACK] {
        space.map(page, Frame::alloc_zeroed().expect("memory"), Prot::READ | Prot::WRITE).expect("mapped");
    }
    space
}

fn start(space: &Arc<AddressSpace>, entry: usize, argument: u64) {
    let stack = STACK + 4096 - 256 * (argument as usize % 8);
    let context = program::context(CODE + entry, stack, argument, DATA);
    let task = Task::new(&context, 0x1234_0000 + argument, false).expect("memory");
    LIVE.fetch_add(1, Ordering::AcqRel);
    READY.lock().push_back(Arc::new(Thread { task, space: Some(space.clone()) }));
}

fn run(entry: usize, arguments: core::ops::Range<u64>) -> Vec<(u64, u64)> {
    REPORTS.lock().clear();
    FAULTS.lock().clear();
    let space = new_space();
    for argument in arguments {
        start(&space, entry, argument);
    }
    for cpu in 1..hal::cpu::count() {
        hal::cpu::kick(cpu);
    }
    idle_loop(true);
    core::mem::take(&mut *REPORTS.lock())
}

/// Notes flags that the kernel must not run with, whatever the program has set.
fn note_flags() {
    FLAGS.fetch_or(program::wrong_flags(), Ordering::Relaxed);
}

impl Kernel for Test {
    type Thread = Thread;
    type Error = usize;
    const AN_ERROR: (usize, usize) = (38, 38);
    fn main() -> ! {
        let ticks = program::ticks();
        say!("     {ticks} ticks until Kernel::main");
        if hal::boot::command_line().contains("protected") {
            hal::task::set_ring(Ring::Protected);
        }
        say!(
            "kernel at {:#x}, {} KiB, {:?}",
            hal::boot::kernel_slide(),
            hal::boot::memory_size() / 1024,
            hal::task::ring()
        );
        adopt_idle();
        if let Some((_, how)) = hal::boot::command_line().split_once("crash=") {
            program::crash(how);
        }
        if hal::boot::command_line().contains("drift") {
            drift();
        }
        basics();
        programs();
        copies_that_fail();
        costs();
        say!("now {} ns, wall {}", hal::time::now_ns(), hal::time::wall_offset_ns() / 1_000_000_000);
        let cpus = hal::cpu::start_others();
        say!("{cpus} CPUs");
        if cpus > 1 {
            many_cpus();
            hand_over_memory();
        }
        scattered_memory();
        time_passes();
        let failed = FAILED.load(Ordering::Relaxed);
        say!("{}", if failed { "some tests FAILED" } else { "all passed" });
        end(failed.into())
    }
    fn cpu_main() -> ! {
        adopt_idle();
        idle_loop(false);
        unreachable!()
    }
    fn thread_start(thread: &Arc<Thread>, _: &mut UserContext) {
        CPUS_SEEN.fetch_or(1 << hal::cpu::id(), Ordering::Relaxed);
        assert!(thread.task.on_cpu());
    }
    fn syscall(call: &Call<Thread>) -> Result<usize, usize> {
        note_flags();
        let thread = call.thread();
        let rax = match call.number() as u64 {
            call::NULL => 7,
            call::REPORT => {
                // Left by the longer way.
                thread.task.attention().store(1, Ordering::Relaxed);
                REPORTS.lock().push((call.raw(0), call.raw(1)));
                0
            }
            call::EXIT => {
                LIVE.fetch_sub(1, Ordering::AcqRel);
                hal::cpu::kick(0);
                schedule(None);
                unreachable!("an ended thread runs");
            }
            call::YIELD => {
                schedule(Some(thread));
                CPUS_SEEN.fetch_or(1 << hal::cpu::id(), Ordering::Relaxed);
                hal::cpu::id()
            }
            call::ALARM => {
                hal::time::interrupt_by(hal::time::now_ns() + call.raw(0));
                0
            }
            call::COPY => {
                let mut bytes = [0; 64];
                match hal::user::copy_from(&mut bytes[..call.usize(1)], call.usize(0)) {
                    Ok(()) => bytes.iter().map(|b| usize::from(*b)).sum(),
                    Err(fault) => fault.addr,
                }
            }
            call::REMAP => {
                let page = call.usize(0);
                let frame = Frame::alloc_zeroed().expect("memory");
                frame.write(0, &call.raw(1).to_le_bytes());
                let space = thread.space.as_ref().expect("a program");
                drop(space.replace(page, frame, Prot::READ | Prot::WRITE).expect("replaced"));
                0
            }
            other => panic!("system call {other}"),
        };
        Ok(rax)
    }
    fn attend(call: &Call<Thread>) {
        call.thread().task.attention().store(0, Ordering::Relaxed);
    }
    fn fault(thread: &Arc<Thread>, context: &mut UserContext, fault: Fault) {
        note_flags();
        FAULTS.lock().push(fault);
        let space = thread.space.as_ref().expect("a program");
        match fault {
            Fault::Page { addr, write, present, .. } => {
                let page = addr & !4095;
                if present && write && page == CODE + 4096 * 64 {
                    drop(space.protect(&mut (page..page + 4096), Prot::READ | Prot::WRITE));
                } else if !present && (0x1_0000..hal::paging::USER_END).contains(&addr) {
                    let frame = Frame::alloc_zeroed().expect("memory");
                    // Another thread may have been faster.
                    let _ = space.map(page, frame, if write { Prot::READ | Prot::WRITE } else { Prot::READ });
                } else {
                    program::skip(context);
                }
            }
            fault if program::is_breakpoint(&fault) => program::after_breakpoint(context),
            _ => program::skip(context),
        }
    }
    fn interrupted(_: &Arc<Thread>, _: &mut UserContext) {
        note_flags();
        INTERRUPTED.fetch_add(1, Ordering::Relaxed);
        if hal::time::take_expired() {
            let _ = hal::user::store_u32(DATA, 1);
        }
    }
}
hal::running!(Thread);
hal::kernel!(Test);

/// What only one architecture has.
#[cfg(target_arch = "x86_64")]
fn machine() {
    program::interrupt_early();
    let early = (hal::irq::came_early(), hal::time::take_expired());
    while !hal::time::take_expired() {
        hal::cpu::wait_for_interrupt(|| true);
    }
    check!("an interrupt that comes while interrupts are off is put off", early == (1, false));
    check!(
        "vDSO",
        hal::vdso::get().is_some_and(|v| v.code.len() == 1 && v.data.len() == 1 && v.sigreturn % 16 == 0)
    );
}

/// What only one architecture has: nothing to try.
#[cfg(target_arch = "aarch64")]
fn machine() {}

fn basics() {
    let strings: Vec<String> = (0..1000).map(|i| alloc::format!("{i}")).collect();
    check!("heap", strings.iter().map(String::len).sum::<usize>() == 2890);
    drop(strings);
    let before = hal::frame::counts().0;
    for _ in 0..3 {
        let mut large = alloc::vec![1u8; 100_000];
        large.extend_from_slice(&[2; 50_000]);
        assert_eq!(large.iter().map(|b| *b as usize).sum::<usize>(), 200_000);
    }
    check!("large blocks come back", hal::frame::counts().0 + 40 > before);
    let mut bytes = [0u8; 600];
    for n in 0..200 {
        for shift in [1usize, 3, 8, 9, 40] {
            for (i, b) in bytes.iter_mut().enumerate() {
                *b = i as u8;
            }
            bytes.copy_within(100..100 + n, 100 + shift);
            assert!((0..n).all(|i| bytes[100 + shift + i] == (100 + i) as u8));
            for (i, b) in bytes.iter_mut().enumerate() {
                *b = i as u8;
            }
            bytes.copy_within(100..100 + n, 100 - shift);
            assert!((0..n).all(|i| bytes[100 - shift + i] == (100 + i) as u8));
            assert!(n == 0 || bytes[100 - shift + n] == (100 - shift + n) as u8);
        }
        let other = bytes;
        bytes[..n].fill(7);
        assert!(bytes[..n].iter().all(|b| *b == 7) && bytes[n] == other[n]);
        if n > 0 {
            let mut a = other;
            a[n - 1] = a[n - 1].wrapping_add(1);
            assert!(a[..n] != other[..n] && (a[..n] > other[..n]) == (a[n - 1] > other[n - 1]));
        }
        assert!(other[..n] == *core::hint::black_box(&other[..n]));
    }
    check!("memcpy and its kin", true);
    let mut random = [0; 16];
    hal::random::fill(&mut random);
    check!("random bytes", random.iter().any(|b| *b != 0));
    let t = hal::time::now_ns();
    check!("time goes on", hal::time::now_ns() >= t && t > 0);
    let start = hal::time::now_ns();
    hal::time::interrupt_by(start + 1_000_000);
    while !hal::time::take_expired() {
        hal::cpu::wait_for_interrupt(|| true);
    }
    let slept = hal::time::now_ns() - start;
    check!(alloc::format!("timer: 1 ms took {} us", slept / 1000), (1_000_000..PATIENCE).contains(&slept));
    hal::time::interrupt_by(hal::time::now_ns() + 1_000_000);
    while !hal::cpu::take_interrupts() {
        assert!(!hal::time::take_expired());
    }
    check!("a window takes the timer's interrupt", hal::time::take_expired() && !hal::cpu::take_interrupts());
    machine();
    let frame = Frame::alloc().expect("memory");
    let second = frame.clone();
    check!(
        "reference counts",
        !frame.is_unique() && {
            drop(second);
            frame.is_unique()
        }
    );
}

/// Takes memory until half of it is free and no two frames of that lie side by side.
fn fragment() -> (Vec<Frame>, Vec<DmaRegion>) {
    let mut held = Vec::with_capacity(hal::frame::counts().0);
    // More than the pairs of frames that are kept for the kernel.
    let mut pairs = Vec::with_capacity(1024);
    held.extend(core::iter::from_fn(Frame::alloc));
    held.retain(|frame| frame.phys() / 4096 % 2 == 1);
    pairs.extend(core::iter::from_fn(|| DmaRegion::alloc(2 * 4096)).take(1024));
    (held, pairs)
}

/// Waits until so many frames are free: those that were freed come back when every CPU has dropped its translations.
fn has_free(frames: usize) -> bool {
    let deadline = hal::time::now_ns() + PATIENCE;
    while hal::frame::counts().0 < frames && hal::time::now_ns() < deadline {
        hal::cpu::relax();
    }
    hal::frame::counts().0 >= frames
}

/// `len` words that tell the round and their place. `None`: out of memory.
fn words(len: usize, round: u64) -> Option<Vec<u64>> {
    let mut words = Vec::new();
    words.try_reserve_exact(len).ok()?;
    words.extend((0..len as u64).map(|place| place ^ round << 32));
    Some(words)
}

fn are_of(words: &[u64], round: u64) -> bool {
    words.iter().zip(0..).all(|(word, place)| *word == place ^ round << 32)
}

/// Frames that tables and the CPUs' own lists may have kept.
const KEPT: usize = 80;

fn scattered_memory() {
    const WORDS: usize = (8 << 20) / size_of::<u64>();
    let held = fragment();
    let before = hal::frame::counts().0;
    let ok = (0..4).all(|round| {
        let ok = words(WORDS, round).is_some_and(|words| are_of(&words, round));
        ok && has_free(before - KEPT)
    });
    check!("8 MiB of scattered frames, which come back", ok);
    let mut most = Vec::<u8>::new();
    check!("more than there is is refused", most.try_reserve_exact(before * 4096).is_err());
    check!("nothing of it is kept", has_free(before - KEPT));
    drop(held);
}

/// What the first CPU hands to another, with its round.
static HANDED: spin::Mutex<Option<(u64, Vec<u64>)>> = spin::Mutex::new(None);
static ARE_RIGHT: AtomicBool = AtomicBool::new(true);
const ROUNDS: u64 = 60;

/// Scattered memory that one CPU writes is read and freed by another, and its addresses are used again for other frames: a
/// translation that was not dropped would show.
fn hand_over_memory() {
    // Few enough for their translations to stay, but for those that are dropped.
    const WORDS: usize = (64 << 10) / size_of::<u64>();
    let held = fragment();
    let before = hal::frame::counts().0;
    ARE_RIGHT.store(true, Ordering::Relaxed);
    *JOB.lock() = Some(|| {
        for expected in 0..ROUNDS {
            let (round, words) = loop {
                if let Some(handed) = HANDED.lock().take() {
                    break handed;
                }
                hal::cpu::relax();
            };
            if round != expected || !are_of(&words, round) {
                ARE_RIGHT.store(false, Ordering::Relaxed);
            }
        }
        LIVE.fetch_sub(1, Ordering::AcqRel);
    });
    LIVE.fetch_add(1, Ordering::AcqRel);
    hal::cpu::kick(1);
    // One frame is kept each round, so that another takes its place.
    let mut kept = Vec::with_capacity(ROUNDS as usize);
    for round in 0..ROUNDS {
        kept.extend(Frame::alloc());
        let Some(words) = words(WORDS, round) else { break };
        let mut handed = Some((round, words));
        while handed.is_some() {
            let mut place = HANDED.lock();
            if place.is_none() {
                *place = handed.take();
            }
            drop(place);
            hal::cpu::relax();
        }
    }
    let deadline = hal::time::now_ns() + PATIENCE;
    while LIVE.load(Ordering::Acquire) != 0 && hal::time::now_ns() < deadline {
        hal::cpu::relax();
    }
    let done = LIVE.load(Ordering::Acquire) == 0 && kept.len() == ROUNDS as usize;
    check!("scattered memory goes from CPU to CPU", done && ARE_RIGHT.load(Ordering::Relaxed));
    drop(kept);
    check!("it comes back", has_free(before - KEPT));
    drop(held);
}

/// Programs that only one architecture has.
#[cfg(target_arch = "x86_64")]
fn programs_of_architecture() {
    let reports = run(program::offset(program::Entry::Compat), 0..1);
    let faults = core::mem::take(&mut *FAULTS.lock());
    check!(
        "no way to 32-bit code",
        reports == [(2, 0)] && matches!(faults[..], [Fault::GeneralProtection { .. }])
    );
    if hal::task::ring() == Ring::Unikernel {
        let reports = run(program::offset(program::Entry::Patched), 0..1);
        check!("a patched system call", reports == [(7, 1)]);
    }
    let reports = run(program::offset(program::Entry::Flags), 0..1);
    check!("flags of the program, in faults, calls and interrupts", reports == [(1, 0)]);
    if hal::task::ring() == Ring::Unikernel {
        let reports = run(program::offset(program::Entry::FlagsPatched), 0..1);
        check!("flags of the program, in patched calls", reports == [(7, 0)]);
    }
}

/// Programs that only one architecture has.
#[cfg(target_arch = "aarch64")]
fn programs_of_architecture() {
    let reports = run(program::offset(program::Entry::Pointer), 0..4);
    check!("programs write their thread pointers", reports.len() == 4 && reports.iter().all(|r| r.0 == 1));
}

fn programs() {
    let reports = run(program::offset(program::Entry::Registers), 0..1);
    check!("registers survive a system call", reports == [(1, 0)]);
    let reports = run(program::offset(program::Entry::Faults), 0..1);
    let faults = core::mem::take(&mut *FAULTS.lock());
    check!("faults resume", reports == [program::FAULTS_REPORT]);
    let expected = program::are_expected(&faults, DATA);
    if !expected {
        say!("{faults:x?}");
    }
    check!("faults are what they are", expected);
    let reports = run(program::offset(program::Entry::Alarm), 0..1);
    check!("a timer interrupts the program", reports == [(5, 1)] && INTERRUPTED.load(Ordering::Relaxed) > 0);
    let reports = run(program::offset(program::Entry::Switch), 0..6);
    check!("threads keep SSE registers and FS", reports.len() == 6 && reports.iter().all(|r| r.0 == 1));
    let reports = run(program::offset(program::Entry::Copies), 0..1);
    check!(
        "copies from the program",
        matches!(reports[..], [(sum, 0x90_0000..=0x90_0017)] if sum == 0x33 * 40)
    );
    programs_of_architecture();
    let flags = FLAGS.load(Ordering::Relaxed);
    check!(alloc::format!("the kernel has none of the program's flags ({flags:#x})"), flags == 0);
    let reports = run(program::offset(program::Entry::Null), 0..1);
    let (ticks, calls) = reports[0];
    say!("     null system call: {} ticks (instructions with -icount shift=0)", ticks / calls);
    let (free, _) = hal::frame::counts();
    for _ in 0..5 {
        run(program::offset(program::Entry::Registers), 0..1);
    }
    check!("ended threads give their memory back", hal::frame::counts().0 + 60 > free);
}

/// Copies up to the end of the program's memory, and beyond it: what counts as copied was, and of what could be written, little was not.
fn copies_that_fail() {
    const END: usize = DATA + 4096;
    /// Bytes of which all or none may be copied.
    const AT_ONCE: usize = 32;
    let space = new_space();
    space.activate();
    let bytes: [u8; 320] = core::array::from_fn(|at| (at % 251) as u8 + 1);
    let is_right = |fits: usize, more: usize, result: Result<(), hal::user::Fault>| match result {
        Ok(()) => (more == 0).then_some(fits),
        Err(fault) => {
            let is_there = (END - AT_ONCE..END + more).contains(&fault.addr);
            (more > 0 && fault.done <= fits && is_there).then_some(fault.done)
        }
    };
    let mut all_right = true;
    for fits in 0..200 {
        for more in [0, 1, 7, 8, 33, 64, 100] {
            let mut back = [0; 320];
            hal::user::zero(DATA, 4096).expect("mapped");
            let to = is_right(fits, more, hal::user::copy_to(END - fits, &bytes[..fits + more]));
            let from = is_right(fits, more, hal::user::copy_from(&mut back[..fits + more], END - fits));
            all_right &=
                matches!((to, from), (Some(to), Some(from)) if back[..to.min(from)] == bytes[..to.min(from)]);
            let zeroed = is_right(fits, more, hal::user::zero(END - fits, fits + more));
            let read = hal::user::copy_from(&mut back[..fits], END - fits);
            all_right &= [to, zeroed].iter().flatten().all(|&done| fits <= done + AT_ONCE);
            all_right &=
                zeroed.is_some_and(|zeroed| read.is_ok() && back[..zeroed].iter().all(|&byte| byte == 0));
        }
    }
    check!("copies end where the program's memory does", all_right);
    hal::paging::activate_kernel();
}

/// Prints what the common operations cost: in instructions with `-icount shift=0`.
fn costs() {
    const ROUNDS: u64 = 1000;
    let measure = |what: &str, f: &mut dyn FnMut()| {
        f();
        let start = program::ticks();
        for _ in 0..ROUNDS {
            f();
        }
        say!("     {what}: {} ticks", (program::ticks() - start) / ROUNDS);
    };
    measure("nothing", &mut || ());
    measure("Box of 64 bytes made and dropped", &mut || {
        drop(core::hint::black_box(alloc::boxed::Box::new([0u64; 8])))
    });
    measure("Frame made and dropped", &mut || drop(core::hint::black_box(Frame::alloc())));
    measure("zeroed Frame made and dropped", &mut || drop(core::hint::black_box(Frame::alloc_zeroed())));
    measure("PacketBuffer made and dropped", &mut || {
        drop(core::hint::black_box(hal::io::dma::PacketBuffer::alloc()))
    });
    measure("now_ns", &mut || {
        core::hint::black_box(hal::time::now_ns());
    });
    measure("interrupt_by, later each time", &mut || {
        hal::time::interrupt_by(hal::time::now_ns() + 5_000_000_000)
    });
    let space = new_space();
    measure("page mapped and unmapped", &mut || {
        let frame = Frame::alloc().expect("memory");
        space.map(0x10_0000, frame, Prot::READ).expect("mapped");
        drop(space.unmap(&mut (0x10_0000..0x10_1000)));
    });
    space.activate();
    let mut bytes = [1u8; 2048];
    measure("2048 bytes to the program", &mut || hal::user::copy_to(DATA, &bytes).expect("mapped"));
    measure("16 bytes to the program", &mut || hal::user::copy_to(DATA, &bytes[..16]).expect("mapped"));
    measure("1024 bytes copied in the kernel", &mut || {
        core::hint::black_box(&mut bytes).copy_within(..1024, 1024)
    });
    measure("word from the program", &mut || {
        let _ = core::hint::black_box(hal::user::load_u32(DATA));
    });
    hal::paging::activate_kernel();
}

fn many_cpus() {
    CPUS_SEEN.store(0, Ordering::Relaxed);
    let reports = run(program::offset(program::Entry::Switch), 0..8);
    check!("threads on several CPUs", reports.len() == 8 && reports.iter().all(|r| r.0 == 1));
    // Which ones is a matter of speed; the next test needs another for certain.
    say!("     CPUs used: {:#b}", CPUS_SEEN.load(Ordering::Relaxed));
    let began = hal::time::now_ns();
    let reports = run(program::offset(program::Entry::Remap), 0..4);
    check!(
        alloc::format!(
            "pages replaced on several CPUs at once, in {} ms",
            (hal::time::now_ns() - began) / 1_000_000
        ),
        reports.len() == 4 && reports.iter().all(|r| r.0 == 1)
    );
    say!("     {:6} ms", hal::time::now_ns() / 1_000_000);
    // A program spins on another CPU while this one takes its page away and gives another.
    REPORTS.lock().clear();
    let space = new_space();
    start(&space, program::offset(program::Entry::Spin), 0);
    hal::cpu::kick(1);
    let deadline = hal::time::now_ns() + PATIENCE;
    while !READY.lock().is_empty() && hal::time::now_ns() < deadline {
        hal::cpu::relax();
    }
    let wait = hal::time::now_ns() + 20_000_000;
    while hal::time::now_ns() < wait {
        hal::cpu::relax();
    }
    say!("     {:6} ms", hal::time::now_ns() / 1_000_000);
    let flag = Frame::alloc_zeroed().expect("memory");
    flag.write(0, &[1]);
    let flush = space.replace(DATA, flag, Prot::READ | Prot::WRITE).expect("replaced");
    drop(flush);
    let deadline = hal::time::now_ns() + PATIENCE;
    while LIVE.load(Ordering::Acquire) != 0 && hal::time::now_ns() < deadline {
        hal::cpu::relax();
    }
    check!("another CPU sees a page replaced", LIVE.load(Ordering::Acquire) == 0);
}

/// Prints the time every half second, to be compared with another clock.
fn drift() -> ! {
    loop {
        say!("{}", hal::time::now_ns());
        hal::time::interrupt_by(hal::time::now_ns() + 500_000_000);
        while !hal::time::take_expired() {
            hal::cpu::wait_for_interrupt(|| true);
        }
    }
}

fn time_passes() {
    // Against the RTC over a few seconds would be slow; a hundredth of a second each shows a wrong rate.
    for _ in 0..5 {
        hal::time::interrupt_by(hal::time::now_ns() + 20_000_000);
        while !hal::time::take_expired() {
            hal::cpu::wait_for_interrupt(|| true);
        }
    }
    say!("now {} ns", hal::time::now_ns());
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    say!("PANIC on CPU {}: {info}", hal::cpu::id());
    hal::backtrace::kernel(|address| {
        say!("  {:#x}", address - hal::boot::kernel_slide());
    });
    end(1)
}

/// Ends QEMU with the status `(result << 1) | 1`, by its isa-debug-exit.
fn end(result: u8) -> ! {
    if let Some(port) = OutputPort::new(0x501) {
        port.write(result);
    }
    hal::power::soft_off();
    hal::power::halt()
}
