//! Where the hardware layer calls the kernel: boot, system calls, exceptions, interrupts.
use crate::{boot, clock_source, control, metrics, outbound, storage};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::patch;
use coracle_core::task::thread::{Thread, Work};
use coracle_hal::context::{Fault, UserContext};
use coracle_hal::kernel::Kernel;
use coracle_linux as syscall;
use coracle_linux::call::Call;
use coracle_linux::leaving;

/// The kernel, as the hardware layer knows it.
pub struct Coracle;

impl Kernel for Coracle {
    type Thread = Thread;
    type Error = Errno;
    const AN_ERROR: (Errno, usize) = (Errno::NOSYS, Errno::NOSYS.to_rax());

    fn main() -> ! {
        boot::boot()
    }

    fn cpu_main() -> ! {
        boot::idle()
    }

    fn thread_start(thread: &Arc<Thread>, context: &mut UserContext) {
        if thread.work().is_some() {
            if thread.work().any(Work::KERNEL) {
                storage::main();
            }
            if thread.work().any(Work::CRON) {
                control::cron::main();
            }
            if thread.work().any(Work::CONTROL) {
                control::main();
            }
            if thread.work().any(Work::WORKER) {
                syscall::uring::main(thread);
            }
            if thread.work().any(Work::METRICS) {
                metrics::main();
            }
            if thread.work().any(Work::NTP) {
                outbound::ntp::main();
            }
            if thread.work().any(Work::HOST_CLOCK) {
                clock_source::main();
            }
            if thread.work().any(Work::SYSLOG) {
                outbound::syslog::main();
            }
            leaving::leave(thread, context, false);
        }
    }

    fn syscall(call: &Call) -> SysResult {
        syscall::dispatch(call)
    }

    fn attend(call: &Call) {
        leaving::attend(call);
    }

    fn new_site(call: &Call) -> bool {
        patch::consider(call)
    }

    fn fault(thread: &Arc<Thread>, context: &mut UserContext, fault: Fault) {
        leaving::fault(thread, context, fault);
    }

    fn interrupted(thread: &Arc<Thread>, context: &mut UserContext) {
        leaving::interrupted(thread, context);
    }
}
