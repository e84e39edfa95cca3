//! One value per CPU.
use alloc::boxed::Box;

/// One `T` for each CPU of the machine, each in its own cache lines. Allocated on first use.
pub struct PerCpu<T> {
    cells: spin::Once<Box<[CacheLines<T>]>>,
    make: fn(usize) -> T,
}

/// A value that shares no cache line with another (two lines: CPUs fetch them in pairs).
#[repr(align(128))]
struct CacheLines<T>(T);

impl<T: Sync + Send> PerCpu<T> {
    /// `make(cpu)` gives each CPU's first value.
    pub const fn new(make: fn(usize) -> T) -> Self {
        PerCpu { cells: spin::Once::new(), make }
    }
    /// This CPU's value.
    #[inline(always)]
    pub fn get(&self) -> &T {
        self.of(crate::cpu::id())
    }
    /// The value of `cpu`.
    #[inline(always)]
    pub fn of(&self, cpu: usize) -> &T {
        let cells = match self.cells.get() {
            Some(cells) => cells,
            None => self.fill(),
        };
        &cells[cpu].0
    }
    #[cold]
    #[inline(never)]
    fn fill(&self) -> &[CacheLines<T>] {
        self.cells.call_once(|| (0..crate::cpu::possible()).map(|cpu| CacheLines((self.make)(cpu))).collect())
    }
}
/// CPUs supported at most.
pub const MAX_CPUS: usize = 64;
