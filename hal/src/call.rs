//! A system call in progress: its frame at the top of its thread's kernel stack.
use crate::arch::context::UserContext;
use crate::sync::atomic::{AtomicU32, Ordering};
use alloc::sync::Arc;
use core::cell::Cell;
use core::mem::{ManuallyDrop, MaybeUninit};

/// The calling thread and its registers.
///
/// The entry saves the minimum: the arguments, the number and the return address. The kernel's functions preserve rbx, rbp and
/// r12 to r15, and rcx and r11 are lost by definition. These are stored here, with the result, only if
/// [`Task::attention`](crate::task::Task::attention) requests the slow exit; see
/// [`Kernel::attend`](crate::kernel::Kernel::attend).
#[repr(C)]
pub struct Call<T> {
    registers: Cell<UserContext>,
    pub(crate) top: Top<T>,
}

/// The result of a system call: a `Result` in two registers (tag, value). The conversion costs nothing;
/// [`crate::kernel!`] proves that the layouts agree.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Outcome {
    tag: MaybeUninit<usize>,
    /// What the program finds in rax.
    pub rax: usize,
}

/// The top of a kernel stack, above the registers.
#[repr(C)]
pub(crate) struct Top<T> {
    /// See [`Task::attention`](crate::task::Task::attention).
    pub attention: AtomicU32,
    /// The thread while it runs, as a copy of the reference that its CPU owns; none before a boot stack is adopted.
    pub thread: Option<ManuallyDrop<Arc<T>>>,
    /// Keeps the registers below aligned to 16 bytes, as called functions require.
    reserved: u64,
}

/// Defines how an argument is read as each type.
macro_rules! arguments {
    ($($type:ident)*) => {
        $(
            /// An argument; see [`Call::raw`].
            #[inline(always)]
            pub fn $type(&self, n: usize) -> $type {
                self.raw(n) as $type
            }
        )*
    };
}

impl<T> Call<T> {
    /// Runs `f` with a call that the kernel makes for `thread`, the running one, as its program might: so a function of a system
    /// call serves other ways to ask for the same (io_uring(7)). It has no registers but the number and the arguments.
    pub fn with_arguments<R>(
        thread: &Arc<T>,
        number: usize,
        arguments: [u64; 6],
        f: impl FnOnce(&Call<T>) -> R,
    ) -> R {
        let registers = Cell::new(UserContext::of_call(number, arguments));
        let thread = Some(ManuallyDrop::new(thread.clone()));
        let mut call = Call { registers, top: Top { attention: AtomicU32::new(0), thread, reserved: 0 } };
        let result = f(&call);
        drop(call.top.thread.take().map(ManuallyDrop::into_inner));
        result
    }
    /// Argument `n` (0 to 5) as the program passed it (syscall(2)).
    #[inline(always)]
    pub fn raw(&self, n: usize) -> u64 {
        let r = self.registers.as_ptr();
        // SAFETY: the cell's own memory, and nobody writes meanwhile: this CPU is here, and no other may.
        unsafe { (*r).argument(n) }
    }
    arguments!(usize i32 u32 i64);
    /// The first arguments, so many: 6 at most.
    #[inline(always)]
    pub fn first_arguments<const N: usize>(&self) -> [u64; N] {
        const { assert!(N <= 6) };
        // SAFETY: as for one argument.
        let all = unsafe { (*self.registers.as_ptr()).arguments() };
        match all.first_chunk() {
            Some(first) => *first,
            None => unreachable!("there are as many"),
        }
    }
    /// The call's number.
    #[inline(always)]
    pub fn number(&self) -> usize {
        // SAFETY: as for the arguments.
        unsafe { (*self.registers.as_ptr()).call_number() }
    }
    /// The return address: after the program's `syscall` instruction.
    #[inline(always)]
    pub fn return_address(&self) -> usize {
        // SAFETY: as for the arguments.
        unsafe { (*self.registers.as_ptr()).return_address() }
    }
    /// The calling thread.
    #[inline(always)]
    pub fn thread(&self) -> &Arc<T> {
        match &self.top.thread {
            Some(thread) => thread,
            // SAFETY: a call is made by a thread, and the top of its stack names it while it runs.
            None => unsafe { core::hint::unreachable_unchecked() },
        }
    }
    /// Whether the call ends on the slow exit: [`Task::attention`](crate::task::Task::attention) is not 0.
    #[inline(always)]
    pub fn has_attention(&self) -> bool {
        self.top.attention.load(Ordering::Relaxed) != 0
    }
    /// The registers, as far as they were saved.
    pub fn registers(&self) -> UserContext {
        self.registers.get()
    }
    /// Changes the registers that the slow exit restores.
    pub fn set_registers(&self, registers: UserContext) {
        self.registers.set(registers);
    }
}
