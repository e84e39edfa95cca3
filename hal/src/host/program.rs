//! Programs: closures that run as threads of a process, on the kernel stack of their thread.
//!
//! What a program executes is found by the address in its program counter: [`code`] gives a closure an address. So a thread begins where its
//! registers say, as on a real machine, and a signal's handler is called because the kernel has set the program counter to it. A program has
//! no instructions, so that it can be interrupted, and signals arrive, only at the end of a call and at an access to its memory that faults.
use super::cpus;
use crate::context::{Fault, UserContext};
use crate::kernel::Kernel;
use crate::local::Local;
use crate::task;
use crate::{call, irq, user};
use core::mem::offset_of;
use std::any::Any;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The kernel's functions, for the one kernel of this process.
struct Entries {
    main: fn() -> !,
    cpu_main: fn() -> !,
    thread_start: unsafe fn(*const (), *mut UserContext),
    syscall: unsafe fn(*const UserContext) -> usize,
    attend: unsafe fn(*const UserContext),
    fault: unsafe fn(*mut UserContext, Fault),
    interrupted: unsafe fn(*mut UserContext),
}

static KERNEL: OnceLock<Entries> = OnceLock::new();

fn kernel() -> &'static Entries {
    KERNEL.get().expect("a program runs on a machine that was started")
}

/// The thread that runs.
///
/// # Safety
/// `K` is the kernel of this process, and a thread runs.
unsafe fn thread<'a, K: Kernel>() -> &'a std::sync::Arc<K::Thread> {
    // SAFETY: the slot at the top of the running stack holds the thread while it runs.
    let thread = unsafe { (*task::slot::<K::Thread>(Local::get().stack_top.get())).as_ref() };
    thread.expect("a thread runs")
}

/// The call whose registers are at the top of the running stack.
///
/// # Safety
/// As for [`thread`].
unsafe fn the_call<'a, K: Kernel>(registers: *const UserContext) -> &'a call::Call<K::Thread> {
    // SAFETY: below the stack's `Top` lie the registers: the two make a `Call`.
    unsafe { &*registers.cast() }
}

unsafe fn start_thread<K: Kernel>(previous: *const (), context: *mut UserContext) {
    // SAFETY: the switch passes the thread that it left; the new one runs, with its registers at the top of its stack.
    unsafe {
        task::finish_switch::<K::Thread>(previous.cast());
        K::thread_start(thread::<K>(), &mut *context);
    }
}

unsafe fn make_call<K: Kernel>(registers: *const UserContext) -> usize {
    // SAFETY: by the caller's word.
    let result = K::syscall(unsafe { the_call::<K>(registers) });
    const { assert!(size_of::<Result<usize, K::Error>>() == size_of::<call::Outcome>()) };
    // SAFETY: of one size, and any two words are an `Outcome`; `kernel!` proves of the same kernel that the second is the one meant.
    unsafe { core::mem::transmute_copy::<_, call::Outcome>(&result) }.rax
}

/// Sets the kernel of this process.
pub(super) fn set_kernel<K: Kernel>() {
    const {
        assert!(offset_of!(call::Call<K::Thread>, top) == size_of::<UserContext>());
    }
    KERNEL.get_or_init(|| Entries {
        main: K::main,
        cpu_main: K::cpu_main,
        thread_start: start_thread::<K>,
        syscall: make_call::<K>,
        // SAFETY: a thread runs, and its registers are at the top of its stack, by the word of the functions below.
        attend: |registers| K::attend(unsafe { the_call::<K>(registers) }),
        // SAFETY: as above.
        fault: |registers, fault| unsafe { K::fault(thread::<K>(), &mut *registers, fault) },
        // SAFETY: as above.
        interrupted: |registers| unsafe { K::interrupted(thread::<K>(), &mut *registers) },
    });
}

/// The code of a thread.
type Run = Box<dyn FnOnce() + Send>;

/// What there is at an address of code.
#[derive(Clone)]
enum Code {
    Once(Arc<Mutex<Option<Run>>>),
    Handler(Arc<dyn Fn(i32) + Send + Sync>),
}

/// Where the code of programs begins.
const FIRST_ADDRESS: u64 = 0x40_0000;
/// The distance of one piece from the next.
const STEP: u64 = 16;
/// Where a signal's handler returns to (the restorer of its action): it makes the call rt_sigreturn(2).
pub const RETURN: u64 = FIRST_ADDRESS - 2 * STEP;
/// Where programs make their calls.
const CALL_SITE: u64 = FIRST_ADDRESS - STEP;

static CODE: Mutex<BTreeMap<u64, Code>> = Mutex::new(BTreeMap::new());

fn add(code: Code) -> u64 {
    let mut all = CODE.lock().unwrap_or_else(PoisonError::into_inner);
    let address = all.last_key_value().map_or(FIRST_ADDRESS, |(&last, _)| last + STEP);
    all.insert(address, code);
    address
}

/// Gives the code of a thread an address. It runs once; at its end the thread must have left by a system call.
pub fn code(run: impl FnOnce() + Send + 'static) -> u64 {
    add(Code::Once(Arc::new(Mutex::new(Some(Box::new(run))))))
}

/// Gives a signal's handler an address, for ever. It is called with the signal's number, and returns to [`RETURN`].
pub fn handler(run: impl Fn(i32) + Send + Sync + 'static) -> u64 {
    add(Code::Handler(Arc::new(run)))
}

fn find(address: u64) -> Code {
    let all = CODE.lock().unwrap_or_else(PoisonError::into_inner);
    all.get(&address)
        .cloned()
        .unwrap_or_else(|| panic!("a program jumps to {address:#x}, where there is no code"))
}

/// Runs the code of a thread, or of a program that execve(2) has started.
fn begin_code(code: Code) -> ! {
    let Code::Once(code) = code else { panic!("a thread begins in a signal's handler") };
    let code = code.lock().unwrap_or_else(PoisonError::into_inner).take();
    code.expect("a thread's code runs once")();
    panic!("a thread has come to the end of its code");
}

/// The first code on a stack: of a thread, which was switched to from `previous`, or of a CPU.
pub(crate) unsafe extern "C" fn begin(previous: *const (), end: *mut UserContext) -> ! {
    let run = || {
        if previous.is_null() {
            // A CPU that boots.
            if Local::get().id.get() == 0 { (kernel().main)() } else { (kernel().cpu_main)() }
        }
        // SAFETY: a thread's registers end its stack, and the switch passes what it left.
        unsafe { (kernel().thread_start)(previous, end) };
        // SAFETY: as above.
        let (pc, given) = unsafe { ((*end).rip, (*end).r9) };
        // A child of clone(2) begins where its parent made the call, and that has said where the child goes on.
        let pc = if pc == CALL_SITE { given } else { pc };
        begin_code(find(pc))
    };
    let failure: Box<dyn Any + Send> = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(never) => never,
        Err(failure) => failure,
    };
    cpus::fail(failure)
}

/// The registers of the running program.
fn registers() -> *mut UserContext {
    (Local::get().stack_top.get() - size_of::<UserContext>()) as *mut UserContext
}

/// Sets the stack pointer of the running program, below which signals put their frames.
pub fn set_stack(end: usize) {
    // SAFETY: as in `call`.
    unsafe { (*registers()).rsp = end as u64 };
}

/// Makes a system call; returns what the program finds in its result register. The child of a call that makes one goes on with the code
/// at the address that is the last argument.
pub fn call(number: usize, arguments: [u64; 6]) -> i64 {
    let registers = registers();
    // SAFETY: the registers of the running thread, which nothing else uses while its program runs.
    unsafe {
        let (rsp, rflags) = ((*registers).rsp, (*registers).rflags);
        *registers = UserContext { rip: CALL_SITE, rsp, rflags, ..UserContext::of_call(number, arguments) };
        (*registers).rax = (kernel().syscall)(registers) as u64;
        if task::attention_of(Local::get()).load(core::sync::atomic::Ordering::Relaxed) != 0 {
            (kernel().attend)(registers);
        }
        interruption();
        resume(number, arguments)
    }
}

/// The program goes on: by what its registers say now. Returns the result of the call that it has made.
///
/// # Safety
/// A program runs.
unsafe fn resume(number: usize, arguments: [u64; 6]) -> i64 {
    /// Bytes of the instruction that makes a call.
    const CALL_LEN: u64 = 2;
    loop {
        let registers = registers();
        // SAFETY: as in `call`.
        let (pc, result) = unsafe { ((*registers).rip, (*registers).rax) };
        match pc {
            CALL_SITE => return result as i64,
            // The call is to be made again.
            again if again == CALL_SITE - CALL_LEN => {
                let number = if result as usize == number { number } else { result as usize };
                return call(number, arguments);
            }
            address => match find(address) {
                // SAFETY: as in `call`.
                Code::Handler(run) => unsafe { handle(&*run) },
                // Another program took the place of this one, which is not come back to.
                program @ Code::Once(_) => begin_code(program),
            },
        }
    }
}

/// Runs a signal's handler, which returns to its restorer, and that to the kernel.
///
/// # Safety
/// A program runs.
unsafe fn handle(run: &dyn Fn(i32)) {
    // SAFETY: as in `call`. A handler's calls use the same place for their registers.
    let entered = unsafe { *registers() };
    run(entered.rdi as i32);
    // SAFETY: as in `call`. The handler has returned: it took the restorer's address from the stack, and that makes the call.
    unsafe {
        let registers = registers();
        let number = SIGRETURN;
        *registers = UserContext {
            rip: CALL_SITE,
            rsp: entered.rsp + size_of::<u64>() as u64,
            rflags: entered.rflags,
            ..UserContext::of_call(number, [0; 6])
        };
        (*registers).rax = (kernel().syscall)(registers) as u64;
        if task::attention_of(Local::get()).load(core::sync::atomic::Ordering::Relaxed) != 0 {
            (kernel().attend)(registers);
        }
    }
}

/// rt_sigreturn(2) on x86-64.
const SIGRETURN: usize = 15;

/// Takes the interrupts that wait while the program runs.
fn interruption() {
    if crate::arch::entry::take_interrupt() || irq::any_pending() {
        // SAFETY: a program runs.
        unsafe { (kernel().interrupted)(registers()) };
    }
}

/// An access to the program's memory, as its own instruction: a fault is the kernel's to resolve, which may also send a signal.
fn access<T>(mut access: impl FnMut() -> Result<T, user::Fault>) -> T {
    loop {
        match access() {
            Ok(value) => return value,
            Err(user::Fault { addr, write, .. }) => {
                // SAFETY: a program runs; its registers are those of the last call.
                unsafe {
                    let registers = registers();
                    let before = (*registers).rip;
                    let present = false;
                    (kernel().fault)(registers, Fault::Page { addr, write, exec: false, present });
                    if (*registers).rip != before {
                        let Code::Handler(run) = find((*registers).rip) else {
                            panic!("a fault leads to a signal's handler")
                        };
                        handle(&*run);
                    }
                }
            }
        }
    }
}

/// Reads a word of the program's memory.
pub fn load_u32(address: usize) -> u32 {
    access(|| user::load_u32(address))
}

/// Writes a word of the program's memory.
pub fn store_u32(address: usize, value: u32) {
    access(|| user::store_u32(address, value));
}

/// Reads a word of the program's memory.
pub fn load_u64(address: usize) -> u64 {
    access(|| user::load_u64(address))
}

/// Writes a word of the program's memory.
pub fn store_u64(address: usize, value: u64) {
    access(|| user::store_u64(address, value));
}

/// Compares a word of the program's memory with `expected`, and puts `new` there if it is that; returns what was there.
pub fn compare_exchange_u32(address: usize, expected: u32, new: u32) -> u32 {
    access(|| user::compare_exchange_u32(address, expected, new))
}

/// Copies from the program's memory.
pub fn read(address: usize, to: &mut [u8]) {
    access(|| user::copy_from(to, address));
}

/// Copies to the program's memory.
pub fn write(address: usize, from: &[u8]) {
    access(|| user::copy_to(address, from));
}
