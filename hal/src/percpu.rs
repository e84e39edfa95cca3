//! One value per CPU.
use crate::once::Once;
use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// One `T` for each CPU of the machine, each in its own cache lines. Allocated on first use, and never freed.
pub struct PerCpu<T> {
    /// The first CPU's, once all are made.
    first: AtomicPtr<CacheLines<T>>,
    /// How many there are: written before `first`.
    count: AtomicUsize,
    made: Once<()>,
    make: fn(usize) -> T,
}

/// A value that shares no cache line with another (two lines: CPUs fetch them in pairs).
#[repr(align(128))]
struct CacheLines<T>(T);

impl<T: Sync + Send> PerCpu<T> {
    /// `make(cpu)` returns each CPU's first value.
    pub const fn new(make: fn(usize) -> T) -> Self {
        PerCpu { first: AtomicPtr::new(ptr::null_mut()), count: AtomicUsize::new(0), made: Once::new(), make }
    }
    /// This CPU's value.
    #[inline(always)]
    pub fn get(&self) -> &T {
        let first = self.first();
        // SAFETY: there is a value for each CPU that the machine has, and one that runs is numbered below their count
        // (`smp::start_others`).
        unsafe { &(*first.add(crate::cpu::id())).0 }
    }
    /// The value of `cpu`.
    #[inline(always)]
    pub fn of(&self, cpu: usize) -> &T {
        let first = self.first();
        if cpu >= self.count.load(Ordering::Relaxed) {
            refuse(cpu);
        }
        // SAFETY: there are `count` values.
        unsafe { &(*first.add(cpu)).0 }
    }
    /// The first value. All are shared from when `first` is set, and never freed.
    #[inline(always)]
    fn first(&self) -> *const CacheLines<T> {
        let first = self.first.load(Ordering::Acquire);
        if first.is_null() { self.fill() } else { first }
    }
    #[cold]
    #[inline(never)]
    fn fill(&self) -> *const CacheLines<T> {
        self.made.call_once(|| {
            let values: Box<[_]> =
                (0..crate::cpu::possible()).map(|cpu| CacheLines((self.make)(cpu))).collect();
            self.count.store(values.len(), Ordering::Relaxed);
            self.first.store(Box::into_raw(values).cast(), Ordering::Release);
        });
        self.first.load(Ordering::Acquire)
    }
}

/// The kernel named a CPU that the machine doesn't have.
#[cold]
#[inline(never)]
fn refuse(cpu: usize) -> ! {
    panic!("the machine has no CPU {cpu}");
}

/// CPUs supported at most.
pub const MAX_CPUS: usize = 64;
