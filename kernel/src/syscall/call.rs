//! A system call in progress: who calls, and with what arguments.
use crate::task::thread::Thread;
use alloc::sync::Arc;
use coracle_hal::context::UserContext;

/// The calling thread and its registers. Every system call is `fn(&mut Call) -> SysResult`.
pub struct Call<'a> {
    /// The calling thread.
    pub thread: &'a Arc<Thread>,
    /// Its registers at the call.
    pub registers: &'a mut UserContext,
}

#[allow(missing_docs)]
impl Call<'_> {
    /// Argument `n` (0 to 5) as the program passed it (syscall(2): rdi, rsi, rdx, r10, r8, r9).
    #[inline(always)]
    pub fn raw(&self, n: usize) -> u64 {
        let r = &self.registers;
        match n {
            0 => r.rdi,
            1 => r.rsi,
            2 => r.rdx,
            3 => r.r10,
            4 => r.r8,
            _ => r.r9,
        }
    }
    #[inline(always)]
    pub fn usize(&self, n: usize) -> usize {
        self.raw(n) as usize
    }
    #[inline(always)]
    pub fn i32(&self, n: usize) -> i32 {
        self.raw(n) as i32
    }
    #[inline(always)]
    pub fn u32(&self, n: usize) -> u32 {
        self.raw(n) as u32
    }
    #[inline(always)]
    pub fn i64(&self, n: usize) -> i64 {
        self.raw(n) as i64
    }
}
