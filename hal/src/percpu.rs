//! One value per CPU.
use alloc::boxed::Box;

/// One `T` for each CPU, each in its own cache lines. Allocated on first use.
pub struct PerCpu<T> {
    cells: spin::Once<Box<[T]>>,
    make: fn(usize) -> T,
}

impl<T: Sync + Send> PerCpu<T> {
    /// `make(cpu)` gives each CPU's first value.
    pub const fn new(make: fn(usize) -> T) -> Self {
        PerCpu { cells: spin::Once::new(), make }
    }
    /// This CPU's value.
    #[inline]
    pub fn get(&self) -> &T {
        self.of(crate::cpu::id())
    }
    /// The value of `cpu`.
    #[inline]
    pub fn of(&self, cpu: usize) -> &T {
        let cells = self.cells.call_once(|| (0..MAX_CPUS).map(self.make).collect());
        &cells[cpu]
    }
}
/// CPUs supported at most.
pub const MAX_CPUS: usize = 64;
