//! What the kernel above must provide: the places where the hardware layer calls up.
use crate::context::{Fault, UserContext};
use crate::task::Task;
use alloc::sync::Arc;

/// Implemented once by the kernel and named in [`crate::kernel!`].
pub trait Kernel: 'static {
    /// The kernel's thread object; it embeds a [`Task`].
    type Thread: HasTask;
    /// The boot CPU, once memory, traps, time and the heap work. Runs on the boot stack.
    fn main() -> !;
    /// A secondary CPU, started by [`crate::cpu::start_others`].
    fn cpu_main() -> !;
    /// First code of a new thread, on its own kernel stack; on return the program is entered with the thread's context.
    fn thread_start(thread: &Arc<Self::Thread>, context: &mut UserContext);
    /// The program made a system call; on return it goes on with `context` as it is now.
    fn syscall(thread: &Arc<Self::Thread>, context: &mut UserContext);
    /// The program caused an exception.
    fn fault(thread: &Arc<Self::Thread>, context: &mut UserContext, fault: Fault);
    /// An interrupt arrived while the program ran; what it was stands in [`crate::irq`], [`crate::time`] and [`crate::cpu`].
    fn interrupted(thread: &Arc<Self::Thread>, context: &mut UserContext);
}

/// A kernel object that owns a hardware task.
pub trait HasTask: Send + Sync + 'static {
    /// The hardware task embedded in this thread.
    fn task(&self) -> &Task;
}

/// Names the kernel's implementation. Expands to the entry symbols and to a module `this` with
/// `this::with(|t: &Arc<Thread>| …)` (the running thread), `this::switch_to(next: Arc<Thread>)`, and
/// `this::adopt(thread: Arc<Thread>)` (the boot stack of this CPU becomes that thread: its idle thread).
#[macro_export]
macro_rules! kernel {
    ($k:ty) => {
        /// The thread that runs on this CPU.
        pub mod this {
            use super::*;
            type Thread = <$k as $crate::kernel::Kernel>::Thread;
            /// Calls `f` with the running thread.
            #[inline(always)]
            pub fn with<R>(f: impl FnOnce(&::alloc::sync::Arc<Thread>) -> R) -> R {
                // body replaced by the hal author
                let _ = f;
                todo!()
            }
            /// Leaves the running thread and goes on with `next`; returns when somebody switches back.
            pub fn switch_to(next: ::alloc::sync::Arc<Thread>) {
                let _ = next;
                todo!()
            }
            /// Makes the stack that runs now the given thread (each CPU's idle thread).
            pub fn adopt(thread: ::alloc::sync::Arc<Thread>) {
                let _ = thread;
                todo!()
            }
        }
    };
}
