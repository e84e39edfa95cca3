//! All threads, with their registers and kernel stacks.
use super::answer::Answer;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{Moment, NAME_BYTES, ThreadRecord, thread_flag};
use coracle_core::errno::Errno;
use coracle_core::task::thread::Thread;
use coracle_core::task::{process, sched};
use coracle_core::this;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use coracle_hal::task::KERNEL_STACK_SIZE;
use coracle_hal::{boot, cpu, time};

/// Answers with all threads of all processes.
pub fn all(answer: &mut Answer) -> Result<(), Errno> {
    let kernel_slide = boot::kernel_slide() as u64;
    answer.push(&Moment { now_ns: time::now_ns(), kernel_slide, cpus: cpu::count() as u64 }.encode())?;
    let mut stack = filled(0, KERNEL_STACK_SIZE)?;
    let mut threads = Vec::new();
    for process in process::all() {
        for thread in process.threads.lock().iter() {
            threads.try_push(thread.clone())?;
        }
    }
    // The stack of a thread that runs changes; and a CPU idles on the stack of the thread that ran there last. So this thread visits
    // all CPUs: where it runs, no other does.
    let visited = (0..cpu::count()).try_for_each(|cpu| {
        visit(cpu);
        let mut result = Ok(());
        threads.retain(|thread| {
            let is_told = result.is_ok() && {
                let copied = thread.task.copy_stack(&mut stack);
                copied.is_some_and(|(pointer, len)| {
                    result = tell(thread, pointer, &stack[..len.min(stack.len())], answer);
                    true
                })
            };
            !is_told
        });
        result
    });
    visit_any();
    visited?;
    // What is left moved about at the same time.
    threads.iter().try_for_each(|thread| tell(thread, 0, &[], answer))
}

/// Moves to a CPU.
pub(super) fn visit(cpu: usize) {
    this::with(|me| {
        sched::set_affinity(me, 1 << cpu);
        sched::migrate(me);
    });
}

/// May run on all CPUs again.
pub(super) fn visit_any() {
    this::with(|me| sched::set_affinity(me, u64::MAX));
}

fn tell(thread: &Arc<Thread>, stack_pointer: usize, stack: &[u8], answer: &mut Answer) -> Result<(), Errno> {
    let (process, sched) = (&thread.process, &thread.sched);
    let asleep = sched.is_parked();
    let flags = [
        (thread_flag::ASLEEP, asleep),
        (thread_flag::WOKEN, sched.is_woken()),
        (thread_flag::RUNNABLE, !asleep),
        (thread_flag::HELD, thread.debug.held.lock().is_some()),
        (thread_flag::STOPPED, process.stopped.load(Relaxed) != 0),
        (thread_flag::WALL_CLOCK, sched.sleep_timer.follows_wall()),
    ];
    let record = ThreadRecord {
        pid: process.pid as u64,
        tid: thread.tid() as u64,
        flags: flags.into_iter().filter(|(_, holds)| *holds).map(|(flag, _)| flag).sum(),
        cpu: sched.last_cpu() as u64,
        run_ns: sched.run_ns(),
        deadline_ns: sched.sleep_timer.deadline_ns(),
        work: u64::from(thread.task.attention().load(Relaxed)),
        fs_base: thread.task.fs_base(),
        clear_child_tid: thread.clear_child_tid.load(Relaxed) as u64,
        stack_pointer: stack_pointer as u64,
        stack_bytes: stack.len() as u64,
    };
    answer.push(&record.encode())?;
    let mut name = [0; NAME_BYTES];
    let own = thread.name();
    name[..own.as_bytes().len()].copy_from_slice(own.as_bytes());
    answer.push(&name)?;
    answer.push(stack)
}
