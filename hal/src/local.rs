//! A CPU's own data, reached through a register of the CPU.
use crate::arch::base;
use crate::arch::tables::Tables;
use crate::mm::frame::FrameCache;
use crate::mm::heap::Magazines;
use crate::percpu::MAX_CPUS;
use crate::records::Lane;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use coracle_event_ring::Ring;
use coracle_interrupts::OneShot;
use core::cell::Cell;

/// One CPU's own data. The first fields' offsets are known to the entry code.
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
    pub space: Cell<*const crate::mm::paging::AddressSpace>,
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
    /// Where its events are noted (`crate::events`): a ring that lives for ever, or null.
    pub events: AtomicPtr<Ring>,
    /// Where its records go (`crate::records`).
    pub lane: Lane,
    /// What the CPU itself reads: descriptor tables and the like.
    pub tables: Tables,
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
            events: AtomicPtr::new(core::ptr::null_mut()),
            lane: Lane::new(),
            tables: Tables::new(),
        }
    }

    /// Makes this the running CPU's data.
    ///
    /// # Safety
    /// Called once per CPU, by that CPU, before anything else of it uses [`Local::get`].
    pub unsafe fn install(&'static self, id: usize) {
        // SAFETY: the register is the kernel's own by the design of `entry`, and this data lives for ever.
        unsafe { base::set(self) };
        self.announce(id);
    }

    /// Gives the CPU its number, by which others find its data.
    pub fn announce(&'static self, id: usize) {
        self.this.set(self);
        self.id.set(id);
        LOCALS[id].store(self as *const Local as *mut Local, Ordering::Release);
    }

    /// The running CPU's data.
    #[inline(always)]
    pub fn get() -> &'static Local {
        // SAFETY: `install` put the address there before any other code of this CPU ran; it lives for ever.
        unsafe { &*base::get() }
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
