//! The trait that the kernel implements: the places where the hardware layer calls it.
use crate::arch::context::{Fault, UserContext};
use crate::call::Call;
use crate::task::Task;
use alloc::sync::Arc;

/// Implemented once by the kernel and named in [`crate::kernel!`].
pub trait Kernel: 'static {
    /// The kernel's thread object; it embeds a [`Task`], and is named in [`crate::running!`].
    type Thread: Running;
    /// The boot CPU, once memory, traps, time and the heap work. Runs on the boot stack.
    fn main() -> !;
    /// A secondary CPU, started by [`crate::cpu::start_others`].
    fn cpu_main() -> !;
    /// First code of a new thread, on its own kernel stack; on return the program is entered with the thread's context.
    fn thread_start(thread: &Arc<Self::Thread>, context: &mut UserContext);
    /// The error of a system call: a number of 64 bits, the value of rax.
    type Error: Copy;
    /// An error, and its number.
    const AN_ERROR: (Self::Error, usize);
    /// The program made a system call; returns the value of rax.
    fn syscall(call: &Call<Self::Thread>) -> Result<usize, Self::Error>;
    /// The thread's [`Task::attention`] is not 0 at the end of a call. All registers are in the call by now, the result in
    /// rax; on return the program continues with them as they are then.
    fn attend(call: &Call<Self::Thread>);
    /// In unikernel mode: the call that is about to be made comes from another `syscall` instruction than the last one
    /// on this CPU. True: this method need not be called for the instruction again until another one was used.
    fn new_site(call: &Call<Self::Thread>) -> bool {
        let _ = call;
        true
    }
    /// The program caused an exception.
    fn fault(thread: &Arc<Self::Thread>, context: &mut UserContext, fault: Fault);
    /// An interrupt arrived while the program ran; [`crate::irq`], [`crate::time`] and [`crate::cpu`] show which.
    fn interrupted(thread: &Arc<Self::Thread>, context: &mut UserContext);
}

/// A kernel object that owns a hardware task.
pub trait HasTask: Send + Sync + 'static {
    /// The hardware task embedded in this thread.
    fn task(&self) -> &Task;
}

/// The functions that [`crate::kernel!`] defines. A "slot" is the address of a thread's `Arc` at the top of its stack.
#[cfg(target_os = "none")]
pub(crate) mod symbols {
    use crate::arch::context::UserContext;
    use crate::call::Outcome;
    /// Address of an `Arc<Kernel::Thread>`.
    pub type Slot = *const ();
    unsafe extern "C" {
        pub fn coracle_main() -> !;
        pub fn coracle_cpu_main() -> !;
        pub fn coracle_thread_start(previous: *const (), slot: Slot, context: *mut UserContext);
        pub fn coracle_syscall(call: *const ()) -> Outcome;
        pub fn coracle_attend(call: *const ());
        pub fn coracle_new_site(call: *const ()) -> usize;
        pub fn coracle_fault(slot: Slot, context: *mut UserContext, fault: *const ());
        pub fn coracle_interrupted(slot: Slot, context: *mut UserContext);
    }
}

/// The threads that CPUs run. Implemented by [`crate::running!`] alone, for one type of the whole program.
///
/// # Safety
/// No other type implements it: what a CPU runs is taken for a thread of this type.
pub unsafe trait Running: HasTask {}

/// Names the type of the kernel's threads; used once in the whole program, as the linker sees to. Expands to a module `this`
/// with `this::with(|t: &Arc<Thread>| …)` (the running thread), `this::is_any()`, `this::switch_to(next: Arc<Thread>)`, and
/// `this::adopt(thread: Arc<Thread>)` (the boot stack of this CPU becomes that thread: its idle thread).
#[macro_export]
macro_rules! running {
    ($thread:ty) => {
        /// The thread that runs on this CPU.
        pub mod this {
            #[allow(unused_imports)]
            use super::*;
            type Running = $thread;
            // SAFETY: there is one symbol of this name in a program, so one type.
            unsafe impl $crate::kernel::Running for Running {}
            #[unsafe(export_name = "coracle_running")]
            static RUNNING: u8 = 0;
            /// Calls `f` with the running thread.
            #[inline(always)]
            pub fn with<R>(f: impl FnOnce(&$crate::__private::Arc<Running>) -> R) -> R {
                // SAFETY: all threads that run are of this type, the only one that is `Running`.
                unsafe { $crate::__private::with_current(f) }
            }
            /// Whether a thread runs on this CPU: false at boot, before `adopt`.
            #[inline(always)]
            pub fn is_any() -> bool {
                // SAFETY: as above.
                unsafe { $crate::__private::is_any_current::<Running>() }
            }
            /// Switches from the running thread to `next`; returns when a CPU switches back to it.
            ///
            /// `next` may still be leaving another CPU: this CPU then spins until that one has left its stack. So a
            /// scheduler chooses `next` *before* it lets other CPUs find the running thread. Two CPUs that queue their
            /// threads first and then take each other's would spin for ever.
            pub fn switch_to(next: $crate::__private::Arc<Running>) {
                // SAFETY: as above.
                unsafe { $crate::__private::switch_to(next) }
            }
            /// Makes the stack that runs now the given thread (each CPU's idle thread).
            pub fn adopt(thread: $crate::__private::Arc<Running>) {
                // SAFETY: as above.
                unsafe { $crate::__private::adopt(thread) }
            }
        }
    };
}

/// Names the kernel's implementation. Expands to the entry symbols.
///
/// All is statically dispatched: the symbols below are what the entry code calls.
#[macro_export]
macro_rules! kernel {
    ($k:ty) => {
        const _: () = {
            type Thread = <$k as $crate::kernel::Kernel>::Thread;
            type Slot = $crate::__private::Arc<Thread>;
            type Context = $crate::context::UserContext;
            type Call = $crate::call::Call<Thread>;
            type Outcome = $crate::call::Outcome;
            type Error = <$k as $crate::kernel::Kernel>::Error;
            /// A result in two registers.
            #[inline(always)]
            const fn outcome(result: Result<usize, Error>) -> Outcome {
                // SAFETY: any two words are an `Outcome`; that the second is the one meant is proven below.
                unsafe { core::mem::transmute::<Result<usize, Error>, Outcome>(result) }
            }
            const _: () = {
                let (error, number) = <$k as $crate::kernel::Kernel>::AN_ERROR;
                assert!(outcome(Ok(1)).rax == 1 && outcome(Err(error)).rax == number);
            };
            #[unsafe(no_mangle)]
            extern "C" fn coracle_main() -> ! {
                <$k as $crate::kernel::Kernel>::main()
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_cpu_main() -> ! {
                <$k as $crate::kernel::Kernel>::cpu_main()
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_thread_start(previous: *const (), thread: &Slot, context: &mut Context) {
                // SAFETY: the switch passes the thread that it left.
                unsafe { $crate::__private::finish_switch::<Thread>(previous.cast()) };
                <$k as $crate::kernel::Kernel>::thread_start(thread, context)
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_syscall(call: &Call) -> Outcome {
                outcome(<$k as $crate::kernel::Kernel>::syscall(call))
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_attend(call: &Call) {
                <$k as $crate::kernel::Kernel>::attend(call)
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_new_site(call: &Call) -> usize {
                if <$k as $crate::kernel::Kernel>::new_site(call) { call.return_address() } else { 0 }
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_fault(
                thread: &Slot,
                context: &mut Context,
                fault: &$crate::context::Fault,
            ) {
                <$k as $crate::kernel::Kernel>::fault(thread, context, *fault)
            }
            #[unsafe(no_mangle)]
            extern "C" fn coracle_interrupted(thread: &Slot, context: &mut Context) {
                <$k as $crate::kernel::Kernel>::interrupted(thread, context)
            }
        };
    };
}
