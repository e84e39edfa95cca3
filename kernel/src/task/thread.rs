//! A thread of a program.
use super::process::Process;
use alloc::sync::Arc;
use coracle_hal::kernel::HasTask;
use coracle_hal::task::Task;

/// A thread.
pub struct Thread {
    /// Kernel stack and saved registers.
    pub task: Task,
    /// Thread id (gettid(2)).
    pub tid: i32,
    /// The process it belongs to.
    pub process: Arc<Process>,
}

impl HasTask for Thread {
    #[inline(always)]
    fn task(&self) -> &Task {
        &self.task
    }
}
