//! A task: a kernel stack, the saved registers of a thread that is not running, its FPU state and its FS base.
use crate::arch::bases::Bases;
pub use crate::arch::bases::is_user_base;
use crate::arch::context::UserContext;
use crate::arch::fpu;
use crate::arch::switch;
use crate::call::Top;
use crate::kernel::HasTask;
use crate::local::Local;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::mem::{ManuallyDrop, offset_of, size_of};

/// The hardware side of a thread. Embedded in the kernel's thread object.
///
/// The top of a kernel stack is a `Top` that names the thread while it runs; below lies its [`UserContext`].
pub struct Task {
    /// Address of the stack's [`Top`]; 0 for an idle task that was not adopted.
    top: AtomicUsize,
    /// The stack is this task's own.
    owns_stack: bool,
    /// Stack pointer while not running.
    saved: UnsafeCell<usize>,
    bases: Bases,
    on_cpu: AtomicBool,
    /// `None`: never enters a program.
    fpu: Option<fpu::Area>,
    /// The CPU whose registers held the state last.
    fpu_cpu: Cell<usize>,
}

// SAFETY: `saved`, `fpu` and `fpu_cpu` are used only by the CPU that set `on_cpu`.
unsafe impl Sync for Task {}
// SAFETY: nothing in it is bound to a CPU.
unsafe impl Send for Task {}

/// Size of a kernel stack in bytes, without its guard page.
pub use crate::mm::stack::SIZE as KERNEL_STACK_SIZE;
/// Bytes of a stack's [`Top`].
const TOP_SIZE: usize = size_of::<Top<()>>();
/// `fpu_cpu` of a task whose state is in no register.
const NO_CPU: usize = usize::MAX;
impl Task {
    /// Where in it the address of its stack's `Top` is, in bytes.
    pub const TOP: usize = offset_of!(Task, top);
    /// Where its stack pointer is while it does not run.
    pub const SAVED: usize = offset_of!(Task, saved);

    /// A task that will enter the program with `context` after `Kernel::thread_start`. `None`: out of memory, or `fs_base` is
    /// none that a program may have.
    /// `fpu_from_current`: copy the running thread's FPU state (clone), else the initial state.
    pub fn new(context: &UserContext, fs_base: u64, fpu_from_current: bool) -> Option<Task> {
        if !is_user_base(fs_base) {
            return None;
        }
        let area = fpu::Area::new(fpu_from_current)?;
        let top = crate::mm::stack::alloc()? - TOP_SIZE;
        let place = top - size_of::<UserContext>();
        // SAFETY: the stack is fresh and all this lies within it, aligned.
        let saved = unsafe {
            (top as *mut [u8; TOP_SIZE]).write_bytes(0, 1);
            *(place as *mut UserContext) = *context;
            switch::prepare(place)
        };
        Some(Task {
            top: AtomicUsize::new(top),
            owns_stack: true,
            saved: UnsafeCell::new(saved),
            bases: Bases::new(fs_base),
            on_cpu: AtomicBool::new(false),
            fpu: Some(area),
            fpu_cpu: Cell::new(NO_CPU),
        })
    }
    /// A task for a stack that runs already (idle threads; see `this::adopt`).
    pub fn idle() -> Task {
        Task {
            top: AtomicUsize::new(0),
            owns_stack: false,
            saved: UnsafeCell::new(0),
            bases: Bases::new(0),
            on_cpu: AtomicBool::new(false),
            fpu: None,
            fpu_cpu: Cell::new(NO_CPU),
        }
    }
    /// The program's FS base (thread pointer).
    pub fn fs_base(&self) -> u64 {
        if self.runs_here() {
            self.bases.save();
        }
        self.bases.fs()
    }
    /// Sets the program's FS base, at once if this task runs here. Returns false for non-canonical values.
    pub fn set_fs_base(&self, base: u64) -> bool {
        if !is_user_base(base) {
            return false;
        }
        self.bases.set_fs(base, self.runs_here());
        true
    }
    /// The same for GS (kept apart from the kernel's own GS; in unikernel mode only stored).
    pub fn set_gs_base(&self, base: u64) -> bool {
        if !is_user_base(base) {
            return false;
        }
        self.bases.set_gs(base, self.runs_here());
        true
    }
    /// The program's GS base.
    pub fn gs_base(&self) -> u64 {
        self.bases.gs()
    }
    /// Bits of the kernel's own choice. If any is set at the end of a system call,
    /// [`Kernel::attend`](crate::kernel::Kernel::attend) is called before the program continues. Checking costs one load.
    #[inline(always)]
    pub fn attention(&self) -> &AtomicU32 {
        /// Of an idle task that was not adopted.
        static NOBODY: AtomicU32 = AtomicU32::new(0);
        match self.top.load(Ordering::Relaxed) {
            0 => &NOBODY,
            // SAFETY: the stack lives as long as the task, and this word of it is only ever used as an atomic.
            top => unsafe { &*(top as *const AtomicU32) },
        }
    }
    /// Calls `f` with the floating-point state of a task that does not run, as the CPU saves it; what `f` changes is what the task goes on
    /// with. `None`: a CPU runs it, it has none, or the CPU would refuse what `f` made of it, which is then the initial state.
    pub fn with_fpu<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let area = self.fpu.as_ref()?;
        if self.on_cpu.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `on_cpu` was free, and is this CPU's until it is freed below: nothing else uses the area.
        let (result, is_valid) = unsafe { area.change(f) };
        self.fpu_cpu.set(NO_CPU);
        self.on_cpu.store(false, Ordering::Release);
        is_valid.then_some(result)
    }
    /// True while some CPU still runs on this task's stack.
    #[inline]
    pub fn on_cpu(&self) -> bool {
        self.on_cpu.load(Ordering::Acquire)
    }
    /// Copies the kernel stack of a task that does not run to the front of `copy`, from the stack pointer to the end of the
    /// program's registers. Returns the stack pointer, and the bytes that the stack has, of which those that have no room in `copy` are
    /// missing. `None`: a CPU runs on the stack, or it has none.
    pub fn copy_stack(&self, copy: &mut [u8]) -> Option<(usize, usize)> {
        let top = self.top.load(Ordering::Relaxed);
        if top == 0 || self.on_cpu.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `on_cpu` was free, and is this CPU's until it is freed below: nothing else uses `saved` or the stack.
        let saved = unsafe { *self.saved.get() };
        let len = top - saved;
        let copied = len.min(copy.len());
        // SAFETY: as above; the stack is mapped as long as its task lives, and the registers end it at `top`.
        unsafe { core::ptr::copy_nonoverlapping(saved as *const u8, copy.as_mut_ptr(), copied) };
        self.on_cpu.store(false, Ordering::Release);
        Some((saved, len))
    }
    /// The registers with which the task has entered the kernel, as far as they were saved, even while it runs: if it enters it once more
    /// meanwhile, they are a mixture, which the caller has to notice. `None`: it has no stack of its own.
    pub fn look_at_registers(&self) -> Option<UserContext> {
        const WORDS: usize = size_of::<UserContext>() / size_of::<u64>();
        const { assert!(WORDS * size_of::<u64>() == size_of::<UserContext>()) };
        if !self.owns_stack {
            return None;
        }
        let words = (self.top.load(Ordering::Relaxed) - size_of::<UserContext>()) as *const AtomicU64;
        // SAFETY: the registers end the stack at `top`, which is mapped as long as the task lives; their words are read one by one, as
        // atomics.
        let words: [u64; WORDS] =
            core::array::from_fn(|place| unsafe { (*words.add(place)).load(Ordering::Relaxed) });
        // SAFETY: as large, and all of its words are numbers.
        Some(unsafe { core::mem::transmute::<[u64; WORDS], UserContext>(words) })
    }
    #[inline]
    fn runs_here(&self) -> bool {
        self.top.load(Ordering::Relaxed) == Local::get().stack_top.get()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.owns_stack {
            debug_assert!(!self.on_cpu());
            // SAFETY: allocated by `new`; a task is dropped after its CPU left the stack (see `finish_switch`).
            unsafe { crate::mm::stack::free(*self.top.get_mut() + TOP_SIZE) };
        }
    }
}

/// Where a stack's [`Top`] has its thread.
pub(crate) fn slot<T>(top: usize) -> *mut Option<ManuallyDrop<Arc<T>>> {
    (top + offset_of!(Top<T>, thread)) as *mut _
}

/// The attention of the task whose stack a CPU uses.
pub(crate) fn attention_of(local: &Local) -> &AtomicU32 {
    // SAFETY: each CPU is on a stack that ends with a `Top`, whose first word is only ever used as an atomic.
    unsafe { &*(local.stack_top.get() as *const AtomicU32) }
}

/// Calls `f` with the running thread.
///
/// # Safety
/// `T` is the type of the threads that run.
#[inline(always)]
pub unsafe fn with_current<T: HasTask, R>(f: impl FnOnce(&Arc<T>) -> R) -> R {
    let slot = slot::<T>(Local::get().stack_top.get());
    // SAFETY: the slot lies on this thread's own stack, and holds its `Arc` (or null before `adopt`) while it runs.
    match unsafe { &*slot } {
        Some(thread) => f(thread),
        None => panic!("no thread runs yet: this::adopt comes first"),
    }
}

/// Whether this CPU runs a thread: not before its boot stack has become one.
///
/// # Safety
/// As for [`with_current`].
#[inline(always)]
pub unsafe fn is_any_current<T: HasTask>() -> bool {
    // SAFETY: as in `with_current`.
    unsafe { (*slot::<T>(Local::get().stack_top.get())).is_some() }
}

/// Switches from the running thread to `next`.
///
/// # Safety
/// As for [`with_current`].
pub unsafe fn switch_to<T: HasTask>(next: Arc<T>) {
    let local = Local::get();
    // SAFETY: the slot of the running thread holds a copy of the `Arc` with which it was switched to. `finish_switch` on
    // the next stack ends that reference.
    let Some(previous) = (unsafe { slot::<T>(local.stack_top.get()).read() }) else {
        panic!("no thread runs yet: this::adopt comes first")
    };
    if Arc::ptr_eq(&previous, &next) {
        return;
    }
    let (old, new) = (previous.task(), next.task());
    // The CPU that ran it may not have left its stack yet.
    while new.on_cpu.swap(true, Ordering::Acquire) {
        crate::cpu::relax();
    }
    if let Some(area) = &old.fpu {
        old.bases.save();
        area.save();
        old.fpu_cpu.set(local.id.get());
        local.fpu_owner.set(core::ptr::from_ref(old) as usize);
    }
    if let Some(area) = &new.fpu {
        let owner = core::ptr::from_ref(new) as usize;
        if local.fpu_owner.get() != owner || new.fpu_cpu.get() != local.id.get() {
            area.load();
            local.fpu_owner.set(owner);
            new.fpu_cpu.set(local.id.get());
        }
        new.bases.load(local);
    }
    let top = new.top.load(Ordering::Relaxed);
    local.stack_top.set(top);
    let (save, saved) = (old.saved.get(), new.saved.get());
    // SAFETY: `next` is on no CPU (its `on_cpu` was free), so its slot, saved stack and registers are ours. The running
    // thread's own state is complete when `finish_switch` frees it.
    unsafe {
        slot::<T>(top).write(Some(ManuallyDrop::new(next)));
        let left = switch::switch_stacks(save, *saved, Arc::as_ptr(&previous).cast());
        finish_switch::<T>(left.cast());
    }
}

/// After a switch, on the new stack: the thread that was left may run elsewhere, and this CPU's reference to it ends.
///
/// # Safety
/// Called once after each switch with the thread that was left.
#[inline(always)]
pub unsafe fn finish_switch<T: HasTask>(previous: *const T) {
    // SAFETY: `switch_to` kept the reference for us.
    let previous = unsafe { Arc::from_raw(previous) };
    previous.task().on_cpu.store(false, Ordering::Release);
}

/// Makes the running boot stack the thread `thread`.
///
/// # Safety
/// As for [`with_current`].
pub unsafe fn adopt<T: HasTask>(thread: Arc<T>) {
    let top = Local::get().stack_top.get();
    let slot = slot::<T>(top);
    // SAFETY: `enter_stack` made the slot at the top of this CPU's boot stack.
    let empty = unsafe { (*slot).is_none() };
    assert!(empty, "this stack is a thread already");
    let task = thread.task();
    assert!(task.top.load(Ordering::Relaxed) == 0, "this task has a stack already");
    task.top.store(top, Ordering::Relaxed);
    task.on_cpu.store(true, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { slot.write(Some(ManuallyDrop::new(thread))) };
}

/// Goes on with `code` on the empty stack that ends at `top`.
///
/// # Safety
/// The stack is mapped and unused, for ever.
#[cfg(target_os = "none")]
pub(crate) unsafe fn enter_stack(top: usize, code: unsafe extern "C" fn() -> !) -> ! {
    let top = top - TOP_SIZE;
    Local::get().stack_top.set(top);
    // SAFETY: within the stack; nothing returns to the old one.
    unsafe {
        (top as *mut [u8; TOP_SIZE]).write_bytes(0, 1);
        switch::enter(top, code)
    }
}

/// Makes the empty stack that ends at `top` one to switch to, which begins with the first code of a CPU. Returns the stack pointer to switch
/// to.
///
/// # Safety
/// The stack is mapped and unused.
#[cfg(all(not(target_os = "none"), target_arch = "x86_64"))]
pub(crate) unsafe fn prepare_boot(top: usize) -> usize {
    let top = top - TOP_SIZE;
    Local::get().stack_top.set(top);
    // SAFETY: within the stack.
    unsafe {
        (top as *mut [u8; TOP_SIZE]).write_bytes(0, 1);
        switch::prepare(top)
    }
}

/// Whether programs run in ring 0 beside the kernel or in ring 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Ring 0, one address space, system calls as plain calls where patched.
    Unikernel,
    /// Ring 3 with SMEP and SMAP.
    Protected,
}

/// The chosen [`Ring`], as a number; read by `entry.rs`, too.
pub(crate) static RING: AtomicU8 = AtomicU8::new(0);

/// Chooses the ring for all programs of this boot. Called once, before the first program is entered and before other
/// CPUs are started.
pub fn set_ring(ring: Ring) {
    RING.store(ring as u8, Ordering::Relaxed);
    crate::arch::trap::init_syscall(Local::get());
    crate::arch::copy::init();
}

/// The ring that programs run in.
#[inline]
pub fn ring() -> Ring {
    if RING.load(Ordering::Relaxed) == Ring::Unikernel as u8 { Ring::Unikernel } else { Ring::Protected }
}

/// Address of the system-call entry for patched call sites in unikernel mode: a site's stub loads the return address
/// into rcx and the number into eax, then jumps here.
pub fn patched_syscall_entry() -> usize {
    crate::arch::entry::patched_syscall_entry as *const () as usize
}
