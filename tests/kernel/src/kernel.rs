//! What `coracle-kernel` is to a guest: the boot, and the entries from the hardware layer.
use crate::{disk, sys, threads, virtio};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::descriptors::DescriptorTable;
use coracle_core::mm::memory::Memory;
use coracle_core::task::process::{self, Process};
use coracle_core::task::signal::{Action, IGNORE};
use coracle_core::task::thread::{Thread, Work};
use coracle_core::task::{exit, sched};
use coracle_fs::lost;
use coracle_fs::memory::remains;
use coracle_hal::context::{Fault, UserContext};
use coracle_hal::host::schedule::{self, Scheduler};
use coracle_hal::host::{cpus, program};
use coracle_hal::kernel::Kernel;
use coracle_hal::once::Once;
use coracle_hal::task::{Ring, set_ring};
use coracle_image::cmdline::CommandLine;
use coracle_ipc::sysv::semaphores;
use coracle_linux::call::Call;
use coracle_linux::{dispatch, leaving, uring};
use coracle_system::root;
use linux_raw_sys::general::SIGCHLD;
use std::sync::Arc;

coracle_core::give_ending!(exit::Ending { undo: semaphores::process_ended, free: remains::free });
coracle_core::give_before_off!([|| {}, || {}, || {}, || {}, lost::tell, || {}]);
coracle_system::give_tap!(|_| {});

/// The process of the idle threads.
static IDLE_PROCESS: Once<Arc<Process>> = Once::new();

struct Host;

impl Kernel for Host {
    type Thread = Thread;
    type Error = Errno;
    const AN_ERROR: (Errno, usize) = (Errno::NOSYS, Errno::NOSYS.to_rax());

    fn main() -> ! {
        set_ring(Ring::Protected);
        disk::add_all();
        virtio::add_all();
        root::init(None, false).expect("an empty root is mounted");
        coracle_net::start(None, &CommandLine::parse(b""));
        let idle = Process::idle().expect("there is memory");
        // So that those that have ended go at once.
        idle.signals.lock().set_action(SIGCHLD, Action { handler: IGNORE, ..Action::default() });
        IDLE_PROCESS.call_once(|| idle);
        access::enforce();
        Self::cpu_main()
    }

    fn cpu_main() -> ! {
        let process = IDLE_PROCESS.wait();
        sched::run_idle(Thread::idle(process.clone()).expect("there is memory"))
    }

    fn thread_start(thread: &Arc<Thread>, context: &mut UserContext) {
        if thread.work().any(Work::WORKER) {
            uring::main(thread);
        }
        if thread.work().is_some() {
            leaving::leave(thread, context, false);
        }
    }

    fn syscall(call: &Call) -> SysResult {
        dispatch(call)
    }

    fn attend(call: &Call) {
        leaving::attend(call);
    }

    fn fault(thread: &Arc<Thread>, context: &mut UserContext, fault: Fault) {
        leaving::fault(thread, context, fault);
    }

    fn interrupted(thread: &Arc<Thread>, context: &mut UserContext) {
        leaving::interrupted(thread, context);
    }
}

/// Runs `test` as the first thread of a new process, as root, with an empty root directory of its own and no open files; returns when it has
/// come to its end and the machine has nothing to do.
///
/// # Panics
/// If the test or the kernel panics, or if the test's threads wait for what cannot come.
pub fn run(test: impl FnOnce() + Send + 'static) {
    run_under(&schedule::Host, false, test);
}

/// [`run`] under a scheduler of the test's.
pub fn run_under(scheduler: &'static dyn Scheduler, has_points: bool, test: impl FnOnce() + Send + 'static) {
    cpus::run::<Host>(scheduler, has_points, move || start(test).expect("there is memory for a process"));
}

fn start(test: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
    let code = program::code(move || {
        program::set_stack(sys::memory(threads::STACK_SIZE) + threads::STACK_SIZE);
        test();
        cpus::finish();
        sys::exit_group(0)
    });
    let kernel = IDLE_PROCESS.wait();
    let context = coracle_core::arch::registers::of_new_program(code as usize, 0);
    let pid = process::new_id();
    let (descriptors, files) = (Arc::new(DescriptorTable::new()), Arc::new(FsContext::new()));
    let process = Process::new(pid, Memory::new()?, descriptors, files)?;
    let thread = Thread::new(process.clone(), pid, &context, 0, false)?;
    thread.set_name(b"test");
    process.add_thread(&thread, &thread)?;
    process.publish(kernel)?;
    process.join_family(kernel.clone());
    sched::start(thread);
    Ok(())
}
