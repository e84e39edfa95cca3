//! A CPU's own data, reached through the GS base.
use crate::frame::FrameCache;
use crate::heap::Magazines;
use crate::percpu::MAX_CPUS;
use crate::x86;
use coracle_interrupts::OneShot;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// Bytes of a CPU's stack for non-maskable interrupts, whose handler only returns.
const NMI_STACK_SIZE: usize = 256;

/// One CPU's own data. The first fields' offsets are known to `entry.rs`.
#[repr(C, align(64))]
pub struct Local {
    /// Its own address (offset 0).
    pub this: Cell<*const Local>,
    /// Where on the running thread's kernel stack a [`Top`](crate::call::Top) lies (offset 8), below it its context.
    pub stack_top: Cell<usize>,
    /// Scratch of the system-call entry (offset 16): the program's stack pointer.
    pub user_rsp: Cell<usize>,
    /// Scratch of the trap entry (offset 24).
    pub scratch: Cell<usize>,
    /// Where to go to restore all of a program's registers (offset 32).
    pub full_exit: Cell<usize>,
    /// Where the last `syscall` instruction of unikernel mode returned to, if its site is settled (offset 40).
    pub site: Cell<usize>,
    /// Number of this CPU.
    pub id: Cell<usize>,
    /// Its interrupt controller's id.
    pub apic_id: Cell<u32>,
    /// The FS base in the register.
    pub fs_base: Cell<u64>,
    /// The task whose FPU state is in the registers (an address to compare with, nothing more).
    pub fpu_owner: Cell<usize>,
    /// The address space in use, as a leaked `Arc`, or null.
    pub space: Cell<*const crate::paging::AddressSpace>,
    /// Small objects of the heap.
    pub magazines: Magazines,
    /// Free frames.
    pub frames: FrameCache,
    /// The timer's mode: what was last written to its register.
    pub timer_mode: Cell<u32>,
    /// What the timer is set to, and whether it went off.
    pub timer: OneShot,
    /// Another CPU has sent a wake-up that was not received yet.
    pub kicked: AtomicBool,
    /// Shoot-downs requested from this CPU, and how many of them are done.
    pub flush_asked: AtomicU64,
    pub flush_done: AtomicU64,
    pub gdt: UnsafeCell<[u64; 8]>,
    pub tss: UnsafeCell<Tss>,
    nmi_stack: UnsafeCell<[u8; NMI_STACK_SIZE]>,
}

/// The 64-bit task-state segment (Intel SDM volume 3, 8.7). The fields are packed by the hardware.
#[repr(C, packed(4))]
pub struct Tss {
    reserved0: u32,
    pub rsp: [u64; 3],
    reserved1: u64,
    /// Interrupt stacks 1 to 7.
    pub ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    pub io_map: u16,
}

// SAFETY: cells are used by the owning CPU only (`get` gives no other; kernel code is never preempted); what other CPUs
// touch through `of` is atomic.
unsafe impl Sync for Local {}

impl Local {
    /// A CPU's data before it runs.
    pub const fn new() -> Local {
        Local {
            this: Cell::new(core::ptr::null()),
            stack_top: Cell::new(0),
            user_rsp: Cell::new(0),
            scratch: Cell::new(0),
            full_exit: Cell::new(0),
            site: Cell::new(0),
            id: Cell::new(0),
            apic_id: Cell::new(0),
            fs_base: Cell::new(0),
            fpu_owner: Cell::new(0),
            space: Cell::new(core::ptr::null()),
            magazines: Magazines::new(),
            frames: FrameCache::new(),
            timer_mode: Cell::new(u32::MAX),
            timer: OneShot::new(),
            kicked: AtomicBool::new(false),
            flush_asked: AtomicU64::new(0),
            flush_done: AtomicU64::new(0),
            gdt: UnsafeCell::new([0; 8]),
            tss: UnsafeCell::new(Tss {
                reserved0: 0,
                rsp: [0; 3],
                reserved1: 0,
                ist: [0; 7],
                reserved2: 0,
                reserved3: 0,
                io_map: core::mem::size_of::<Tss>() as u16,
            }),
            nmi_stack: UnsafeCell::new([0; NMI_STACK_SIZE]),
        }
    }

    /// Top of the stack for non-maskable interrupts.
    pub fn nmi_stack_top(&self) -> u64 {
        self.nmi_stack.get() as u64 + NMI_STACK_SIZE as u64
    }

    /// Makes this the running CPU's data.
    ///
    /// # Safety
    /// Called once per CPU, by that CPU, before anything else of it uses [`Local::get`].
    pub unsafe fn install(&'static self, id: usize) {
        self.this.set(self);
        self.id.set(id);
        // SAFETY: the GS base is the kernel's own by the design of `entry.rs`.
        unsafe { x86::wrmsr(x86::msr::GS_BASE, self as *const Local as u64) };
        LOCALS[id].store(self as *const Local as *mut Local, Ordering::Release);
    }

    /// The running CPU's data: in tests on the host, the thread's.
    #[cfg(test)]
    pub fn get() -> &'static Local {
        crate::host::local()
    }

    /// The running CPU's data.
    #[cfg(not(test))]
    #[inline(always)]
    pub fn get() -> &'static Local {
        let this: *const Local;
        // SAFETY: `install` put the address there before any other code of this CPU ran; it lives for ever.
        unsafe {
            core::arch::asm!("mov {}, gs:[0]", out(reg) this, options(readonly, nostack, preserves_flags));
            &*this
        }
    }

    /// Another CPU's data, if it has started: for its atomics only.
    #[inline]
    pub fn of(cpu: usize) -> Option<&'static Local> {
        let local = LOCALS.get(cpu)?.load(Ordering::Acquire);
        // SAFETY: `install` stored a reference that lives for ever.
        unsafe { local.cast_const().as_ref() }
    }
}

/// The data of the CPU that boots.
pub static BOOT: Local = Local::new();
static LOCALS: [AtomicPtr<Local>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];
